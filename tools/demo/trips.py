"""Makes the trips table: taxi rides that look real, the same bytes every time, as CSV and Parquet.

The rows come in blocks, each from its own seed, so that row n is the same however many rows, files or formats are asked for,
and ten million rows need no more memory than one block. A finished folder has a `done.json`; the same call finds it and does
nothing.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SEED = 20240601
BLOCK_ROWS = 131_072

FEATURES = [
    "vendor_id",
    "passenger_count",
    "trip_distance",
    "pickup_hour",
    "pickup_weekday",
    "pu_location",
    "do_location",
    "duration_min",
    "payment_type",
]
BOROUGHS = ["Bronx", "Brooklyn", "EWR", "Manhattan", "Queens", "Staten Island"]

SCHEMA = pa.schema(
    [
        ("trip_id", pa.int64()),
        ("vendor_id", pa.int32()),
        ("passenger_count", pa.int32()),
        ("trip_distance", pa.float64()),
        ("pickup_hour", pa.int32()),
        ("pickup_weekday", pa.int32()),
        ("pu_location", pa.int32()),
        ("do_location", pa.int32()),
        ("duration_min", pa.float64()),
        ("payment_type", pa.int32()),
        ("borough", pa.string()),
        ("fare_amount", pa.float64()),
    ]
)


def block(index: int) -> pa.RecordBatch:
    """The rows `index * BLOCK_ROWS` onwards."""
    rng = np.random.default_rng([SEED, index])
    rows = BLOCK_ROWS
    hour = rng.choice(24, rows, p=hour_weights())
    distance = np.round(np.clip(rng.lognormal(0.75, 0.85, rows), 0.1, 60.0), 2)
    rush = np.isin(hour, [7, 8, 9, 16, 17, 18, 19])
    speed_mph = np.where(rush, 9.0, 13.0) + rng.normal(0.0, 2.0, rows)
    duration = np.round(distance / np.clip(speed_mph, 4.0, None) * 60.0 + rng.exponential(2.0, rows), 1)
    payment = rng.choice([1, 2, 3, 4], rows, p=[0.7, 0.27, 0.02, 0.01])
    pickup = rng.integers(1, 264, rows)
    night = (hour >= 20) | (hour < 6)
    fare = 3.0 + 2.1 * distance + 0.42 * duration + 1.0 * night + 2.5 * rush + rng.normal(0.0, 1.2, rows)
    columns = [
        np.arange(index * rows, (index + 1) * rows),
        rng.choice([1, 2], rows, p=[0.35, 0.65]),
        rng.choice([1, 2, 3, 4, 5, 6], rows, p=[0.72, 0.15, 0.05, 0.03, 0.03, 0.02]),
        distance,
        hour,
        rng.integers(0, 7, rows),
        pickup,
        rng.integers(1, 264, rows),
        duration,
        payment,
        np.array(BOROUGHS)[pickup * len(BOROUGHS) // 264],
        np.round(np.clip(fare, 3.0, None), 2),
    ]
    arrays = [pa.array(values).cast(field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def hour_weights() -> np.ndarray:
    weights = 1.2 + np.cos((np.arange(24) - 18) / 24 * 2 * np.pi)
    return weights / weights.sum()


def batches(start: int, stop: int):
    """The rows from `start` up to `stop`, a block or less at a time."""
    while start < stop:
        index, offset = divmod(start, BLOCK_ROWS)
        length = min(BLOCK_ROWS - offset, stop - start)
        yield block(index).slice(offset, length)
        start += length


def write(out: Path, rows: int, files: int, formats: list[str]) -> None:
    for format_name in formats:
        (out / format_name).mkdir()
    for number in range(files):
        start, stop = rows * number // files, rows * (number + 1) // files
        writers = [open_writer(out / name / f"trips-{number:03}.{name}", name) for name in formats]
        for batch in batches(start, stop):
            for writer in writers:
                writer.write_batch(batch)
        for writer in writers:
            writer.close()


def open_writer(path: Path, format_name: str):
    if format_name == "csv":
        return pa.csv.CSVWriter(path, SCHEMA)
    return pa.parquet.ParquetWriter(path, SCHEMA, compression="snappy", write_page_checksum=True)


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def make_folder(out: Path, sources: list[Path], parameters: dict, fill) -> bool:
    """Fills `out` by `fill(folder)` unless it was made by the same sources with the same parameters; false if it was.

    The work happens in a folder beside it, so that a half-made one is never taken for a whole one.
    """
    made = {"sources": hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest(), **parameters}
    stamp = out / "done.json"
    if stamp.exists() and json.loads(stamp.read_text()) == made:
        os.utime(stamp)  # for make, which goes by the time
        return False
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    fill(unfinished)
    (unfinished / "done.json").write_text(json.dumps(made))
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make; gets a folder per format")
    parser.add_argument("--files", type=int, default=4, help="files per format")
    parser.add_argument("--formats", default="csv,parquet")
    arguments = parser.parse_args()
    rows, files, formats, out = arguments.rows, arguments.files, arguments.formats.split(","), arguments.out
    if not set(formats) <= {"csv", "parquet"} or rows < 0 or files < 1:
        parser.error("formats are csv and parquet, rows at least 0, files at least 1")
    begun = time.monotonic()
    print(f"trips: {rows:,} rows in {out} ...", flush=True)
    parameters = {"rows": rows, "files": files, "formats": formats}
    if make_folder(out, [Path(__file__)], parameters, lambda folder: write(folder, rows, files, formats)):
        print(f"trips: made, {folder_bytes(out) / 1e6:.0f} MB in {time.monotonic() - begun:.1f} s")
    else:
        print("trips: there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
