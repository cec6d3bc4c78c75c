"""Makes the trips table: taxi rides that look real, the same bytes every time, as CSV and Parquet.

The rows come in blocks, each from its own seed, so that row n is the same however many rows, files or formats are asked for,
and ten million rows need no more memory than one block. A finished folder has a `done.json`; the same call finds it and does
nothing.
"""

import argparse
import json
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
VERSION = 1

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
        (out / format_name).mkdir(parents=True)
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
    return pa.parquet.ParquetWriter(path, SCHEMA, compression="snappy")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make; gets a folder per format")
    parser.add_argument("--files", type=int, default=4, help="files per format")
    parser.add_argument("--formats", default="csv,parquet")
    arguments = parser.parse_args()
    formats = arguments.formats.split(",")
    if not set(formats) <= {"csv", "parquet"} or arguments.rows < 0 or arguments.files < 1:
        parser.error("formats are csv and parquet, rows at least 0, files at least 1")
    made = {"version": VERSION, "rows": arguments.rows, "files": arguments.files, "formats": formats}
    stamp = arguments.out / "done.json"
    if stamp.exists() and json.loads(stamp.read_text()) == made:
        print(f"trips: {arguments.out} is there ({arguments.rows:,} rows)")
        return 0
    print(f"trips: making {arguments.rows:,} rows in {arguments.out} ...", flush=True)
    begun = time.monotonic()
    unfinished = arguments.out.with_name(arguments.out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write(unfinished, arguments.rows, arguments.files, formats)
    (unfinished / "done.json").write_text(json.dumps(made))
    shutil.rmtree(arguments.out, ignore_errors=True)
    unfinished.rename(arguments.out)
    seconds = time.monotonic() - begun
    print(f"trips: {arguments.rows:,} rows, {folder_bytes(arguments.out) / 1e6:.0f} MB in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
