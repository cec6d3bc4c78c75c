"""The inputs of the benches, made once: trips, rows of a hundred columns, very many tiny files, and a row that no model takes."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from words import say

sys.path.insert(0, str(Path(__file__).parent.parent / "tools/demo"))
import trips  # noqa: E402

FILES = 8
WIDE = [f"f{place:02}" for place in range(100)]
# Rows that are made at a time, each such block from a seed of its own.
WIDE_BLOCK = 50_000
# The model `fails_above_two` looks into a table of three values.
TAKEN, POISON = 3, 9


def made(out: Path, parameters: dict, fill) -> Path:
    """A folder of Parquet files, filled unless it is there already."""
    sources = [Path(__file__), Path(trips.__file__)]
    if trips.make_folder(out, sources, parameters, fill):
        say(f"made {out.name}, {trips.folder_bytes(out) / 1e6:.0f} MB")
    return out / "parquet"


def some_trips(data: Path, rows: int) -> Path:
    return made(data / f"trips-{rows}", {"rows": rows}, lambda out: trips.write(out, rows, FILES, ["parquet"]))


def wide_rows(block: int, rows: int) -> np.ndarray:
    """Two digits each, as many columns have them."""
    return np.random.default_rng([trips.SEED, block]).normal(0, 1, (rows, len(WIDE))).round(2).astype(np.float32)


def wide(data: Path, rows: int) -> Path:
    def fill(out: Path) -> None:
        (out / "parquet").mkdir()
        schema = pa.schema([("trip_id", pa.int64()), *((name, pa.float32()) for name in WIDE)])
        for number in range(FILES):
            first, last = rows * number // FILES, rows * (number + 1) // FILES
            with pa.parquet.ParquetWriter(out / "parquet" / f"wide-{number}.parquet", schema) as writer:
                for start in range(first, last, WIDE_BLOCK):
                    stop = min(start + WIDE_BLOCK, last)
                    # The models are trained with the first block.
                    columns = wide_rows(1 + start, stop - start).T
                    writer.write_table(pa.table([np.arange(start, stop), *columns], schema=schema))

    return made(data / f"wide-{rows}", {"rows": rows}, fill)


def tiny_trips(data: Path, files: int, rows_each: int) -> Path:
    """Trips again, so few in each file that a task has next to nothing to do."""

    def fill(out: Path) -> None:
        folder = out / "parquet"
        folder.mkdir()
        rows = pa.Table.from_batches(trips.batches(0, files * rows_each))
        for number in range(files):
            pa.parquet.write_table(rows.slice(number * rows_each, rows_each), folder / f"trips-{number:05}.parquet")

    return made(data / f"tiny-{files}-{rows_each}", {"files": files, "rows_each": rows_each}, fill)


def passengers(data: Path, rows: int, poison: int | None) -> Path:
    """Rows that `fails_above_two` takes, but for the one with this key."""

    def fill(out: Path) -> None:
        folder = out / "parquet"
        folder.mkdir()
        for number in range(FILES):
            keys = np.arange(rows * number // FILES, rows * (number + 1) // FILES)
            counts = keys % TAKEN
            if poison is not None:
                counts[keys == poison] = POISON
            table = pa.table({"trip_id": keys, "passenger_count": counts})
            pa.parquet.write_table(table, folder / f"passengers-{number}.parquet")

    name = "passengers-clean" if poison is None else "passengers-poison"
    return made(data / f"{name}-{rows}", {"rows": rows, "poison": poison}, fill)
