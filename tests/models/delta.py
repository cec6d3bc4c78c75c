"""Delta Lake tables, as a writer of them leaves them: `plain` was appended to, had rows deleted and files rewritten, a column added,
and a checkpoint written; `by_zone` has values that only its log knows well; `vectors`, `renamed` and `cloned` have what is not
read. Beside each of the first two lie its rows as one Parquet file.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from deltalake import DeltaTable, write_deltalake


def rows(start: int, stop: int, **more) -> pa.Table:
    ids = list(range(start, stop))
    fares = [(n * 7919 % 10_007) / 100 for n in ids]
    return pa.table({"id": pa.array(ids, pa.int64()), "fare": pa.array(fares, pa.float64()), **more})


def keep(table: DeltaTable, out: Path) -> None:
    """The rows as the library itself reads them."""
    pa.parquet.write_table(table.to_pyarrow_table(), out)


def plain(out: Path) -> None:
    path = out / "plain"
    for start in range(0, 400, 100):
        write_deltalake(path, rows(start, start + 100), mode="append")
    table = DeltaTable(path)
    table.delete("id % 3 = 0")
    table.create_checkpoint()
    zones = pa.array([f"zone {n % 7}" for n in range(400, 450)])
    write_deltalake(path, rows(400, 450, zone=zones), mode="append", schema_mode="merge")
    DeltaTable(path).update(updates={"fare": "fare + 1000"}, predicate="id = 401")


def by_zone(out: Path) -> None:
    path = out / "by_zone"
    zones = pa.array([["a b", "50%", "x/y", None, "é"][n % 5] for n in range(200)])
    days = pa.array([n % 3 for n in range(200)], pa.int32())
    write_deltalake(path, rows(0, 200, zone=zones, day=days), partition_by=["zone", "day"])
    DeltaTable(path).delete("zone = 'a b' and day = 1")


def edited(out: Path, name: str, edit) -> None:
    """A table whose log says what the library does not write."""
    path = out / name
    write_deltalake(path, rows(0, 10))
    log = path / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        edit(action)
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))


def vectors(action: dict) -> None:
    if "protocol" in action:
        action["protocol"] = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors"],
            "writerFeatures": ["deletionVectors"],
        }
    if "add" in action:
        action["add"]["deletionVector"] = {
            "storageType": "i",
            "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
            "sizeInBytes": 40,
            "cardinality": 6,
        }


def renamed(action: dict) -> None:
    if "protocol" in action:
        action["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    if "metaData" in action:
        metadata = action["metaData"]
        metadata["configuration"] = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2"}
        schema = json.loads(metadata["schemaString"])
        for number, field in enumerate(schema["fields"], 1):
            field["metadata"] = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"col-{number}"}
        metadata["schemaString"] = json.dumps(schema)


def cloned(action: dict) -> None:
    if "add" in action:
        action["add"]["path"] = "file:///elsewhere/part-0.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    plain(out)
    by_zone(out)
    for edit in (vectors, renamed, cloned):
        edited(out, edit.__name__, edit)
    for name in ("plain", "by_zone"):
        keep(DeltaTable(out / name), out / f"{name}.parquet")


main()
# All is written. The library's threads sometimes abort an interpreter that ends in its own way.
sys.stdout.flush()
os._exit(0)
