"""Reads what the benches' passes wrote, a file or a folder of them, and compares it row by row.

The order of a pool's rows is not promised, so rows are compared by their key. An output that is wrong ends the bench.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

KEY = "trip_id"
TOLERANCE = 1e-5


def column(path: Path, name: str) -> np.ndarray:
    values = pyarrow.parquet.read_table(path, columns=[name])[name]
    if values.null_count:
        raise SystemExit(f"bench: {path} has {values.null_count:,} NULL in '{name}'")
    return values.to_numpy().astype(np.float64)


def keyed(path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The keys in order, and this column's values with them."""
    key = pyarrow.parquet.read_table(path, columns=[KEY])[KEY].to_numpy()
    order = np.argsort(key, kind="stable")
    return key[order], column(path, name)[order]


def compare(left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray], what: str) -> float:
    """Two answers of different makers, by the key; gives by how much their predictions differ."""
    if not np.array_equal(left[0], right[0]):
        raise SystemExit(f"bench: {what}: not every row exactly once ({len(right[0]):,} for {len(left[0]):,})")
    return agree(left[1], right[1], what)


def agree(left: np.ndarray, right: np.ndarray, what: str) -> float:
    worst = float(np.max(np.abs(left - right) / np.maximum(1.0, np.abs(left)), initial=0.0))
    if not worst <= TOLERANCE:
        raise SystemExit(f"bench: {what}: predictions differ by {worst:.2e}, more than {TOLERANCE:.0e}")
    return worst


def check_identical(left: Path, right: Path, what: str) -> None:
    """The same rows, to the last bit, in whatever files and order."""
    ours, theirs = (ordered(path) for path in (left, right))
    if ours.equals(theirs):
        return
    if ours.num_rows != theirs.num_rows or not ours[KEY].equals(theirs[KEY]):
        raise SystemExit(f"bench: {what}: not the same rows ({ours.num_rows:,} and {theirs.num_rows:,})")
    shared = set(ours.column_names) & set(theirs.column_names)
    names = [name for name in ours.column_names if name not in shared or not ours[name].equals(theirs[name])]
    raise SystemExit(f"bench: {what}: the same keys, and other values or types in {names}")


def ordered(path: Path) -> pa.Table:
    return pyarrow.parquet.read_table(path).sort_by(KEY)


def check_keys(path: Path, rows: int, without: list[int]) -> None:
    """Every key below `rows` once, but for these."""
    key = np.sort(pyarrow.parquet.read_table(path, columns=[KEY])[KEY].to_numpy())
    if not np.array_equal(key, np.delete(np.arange(rows), without)):
        raise SystemExit(f"bench: {path} has {len(key):,} rows that are not each of {rows:,} but {without} once")
