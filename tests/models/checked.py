"""Files to damage: the same rows as Parquet with page checksums (several row groups, dictionaries and plain values, snappy and
zstd), as an Arrow file and as JSON lines.
"""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

ROWS = 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    ids = range(ROWS)
    table = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "fare": pa.array([(n * 7919 % 10_007) / 100 for n in ids], pa.float64()),
            "zone": pa.array([f"zone-{n * 31 % 17}" for n in ids]),
            "note": pa.array([None if n % 5 == 0 else f"{n * 104_729 % 1_000_003:x}" for n in ids]),
        }
    )
    for codec in ["snappy", "zstd", "none"]:
        pa.parquet.write_table(
            table,
            out / f"{codec}.parquet",
            compression=codec,
            row_group_size=1_000,
            data_page_size=4_096,
            use_dictionary=["zone"],
            write_page_checksum=True,
        )
    pa.feather.write_feather(table, out / "plain.arrow", compression="uncompressed", chunksize=1_000)
    with open(out / "plain.json", "w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in table.to_pylist())


main()
