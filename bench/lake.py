"""Measures how data lies: one huge CSV file, and very many small files beside the same rows in few: `make bench-lake`.

A scheduler and two executors answer. Of the huge file the rows that each executor scored are shown: a file that were not cut
would be one executor's. Ten thousand files take turns with sixteen, and the ratio of their times is printed. Every answer is
checked: every row once, by count and sum of the keys. Each model has its own ratio: the less it does, the more of the time goes to
files; so polars with ONNX Runtime (`floor_polars.py`) is asked about the same Parquet files, too. Nothing here fails for being slow.
"""

import argparse
import json
import shutil
import sys
import time
from functools import lru_cache
from pathlib import Path
from statistics import median

import pools
from words import say

sys.path.insert(0, str(Path(__file__).parent.parent / "tools/demo"))
import trips  # noqa: E402

LIGHTEST = "linear"
SMALL_ROWS = 1000
FEW_FILES = 16
RATIO_TARGET = 1.5
POLARS_BATCH = 131_072
REPORT_DEADLINE = 30


@lru_cache(maxsize=1)
def block(index: int):
    """Small files share a block of the generator; it is made once."""
    return trips.block(index)


def write(out: Path, format_name: str, rows: int, files: int) -> None:
    folder = out / format_name
    folder.mkdir()
    for number in range(files):
        start, stop = rows * number // files, rows * (number + 1) // files
        writer = trips.open_writer(folder / f"trips-{number:05}.{format_name}", format_name)
        while start < stop:
            index, offset = divmod(start, trips.BLOCK_ROWS)
            length = min(trips.BLOCK_ROWS - offset, stop - start)
            writer.write_batch(block(index).slice(offset, length))
            start += length
        writer.close()


class Lake:
    def __init__(self, arguments: argparse.Namespace):
        self.folder = arguments.dev.resolve() / "bench-lake"
        self.data = arguments.dev.resolve() / "data"
        self.models = arguments.dev.resolve() / "models"
        self.whimbrel = str(arguments.whimbrel.resolve())
        self.arguments = arguments
        self.lines: list[str] = []

    def make(self, format_name: str, rows: int, files: int) -> Path:
        out = self.data / f"lake-{rows}-{files}-{format_name}"
        sources = [Path(__file__), Path(trips.__file__)]
        say(f"{files:,} {format_name} files of {rows // files:,} rows in {out} ...")
        trips.make_folder(out, sources, {"rows": rows, "files": files}, lambda folder: write(folder, format_name, rows, files))
        return out / format_name

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        arguments = self.arguments
        small = {name: self.make(name, arguments.files * SMALL_ROWS, arguments.files) for name in arguments.formats}
        few = {name: self.make(name, arguments.files * SMALL_ROWS, FEW_FILES) for name in arguments.formats}
        big = self.make("csv", arguments.big_rows, 1) if arguments.big_rows else None
        pool = pools.Cluster(self.whimbrel, self.folder)
        try:
            for model in {LIGHTEST, *arguments.models}:
                pool.whimbrel_command("model", "bind", model, "--uri", str(self.models / f"{model}.onnx"))
            if big:
                self.one_file(pool, big)
            for name in arguments.formats:
                self.many_files(pool, name, small[name], few[name])
        finally:
            pool.close()
        if "parquet" in arguments.formats:
            self.beside(small["parquet"], few["parquet"])

    def one_file(self, pool: pools.Cluster, data: Path) -> None:
        rows = self.arguments.big_rows
        pool.whimbrel_command("table", "add", "big", "--uri", str(data))
        seconds = self.ask(pool, LIGHTEST, "big", rows)
        scored = self.scored(pool, rows)
        size = sum(path.stat().st_size for path in data.iterdir())
        self.say(
            f"one CSV file of {size / 1e9:.2f} GB, {rows:,} rows, scored in {seconds:.1f} s ({rows / seconds / 1e6:.2f} M rows/s);"
            f" rows by executor: {', '.join(f'{count:,}' for count in scored)}"
        )

    def scored(self, pool: pools.Cluster, rows: int) -> list[int]:
        """The rows that each executor scored; they report once a second."""
        deadline = time.monotonic() + REPORT_DEADLINE
        while True:
            status = json.loads(pool.whimbrel_command("pool", "status", "--json").output)
            scored = [sum(model["rows_scored"] for model in executor["models"]) for executor in status["executors"]]
            if sum(scored) == rows:
                return scored
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: the executors scored {scored} rows, together not {rows:,}")
            time.sleep(0.1)

    def many_files(self, pool: pools.Cluster, name: str, small: Path, few: Path) -> None:
        rows = self.arguments.files * SMALL_ROWS
        for table, data in ((f"small_{name}", small), (f"few_{name}", few)):
            added = pool.whimbrel_command("table", "add", table, "--uri", str(data)).seconds
            say(f"{table} added in {added:.2f} s")
            self.ask(pool, LIGHTEST, table, rows)
        for model in self.arguments.models:
            seconds: dict[str, list[float]] = {"small": [], "few": []}
            for _ in range(self.arguments.repeats):
                for which, times in seconds.items():
                    times.append(self.ask(pool, model, f"{which}_{name}", rows))
            many, those = median(seconds["small"]), median(seconds["few"])
            met = "met" if many <= RATIO_TARGET * those else "MISSED"
            self.say(
                f"{met}: {model}: {self.arguments.files:,} {name} files of {SMALL_ROWS:,} rows {many:.2f} s,"
                f" the same in {FEW_FILES} files {those:.2f} s: {many / those:.2f} times (at most {RATIO_TARGET})"
            )

    def beside(self, small: Path, few: Path) -> None:
        polars = pools.Floor(sys.executable, self.models / f"{LIGHTEST}.onnx", self.folder, "floor_polars.py")
        out = self.folder / "polars.parquet"
        seconds: dict[Path, list[float]] = {small: [], few: []}
        try:
            for _ in range(self.arguments.repeats):
                for data, times in seconds.items():
                    times.append(polars.score(data, "parquet", out, keep=[], batch_rows=POLARS_BATCH)["seconds"])
        finally:
            polars.close()
        many, those = median(seconds[small]), median(seconds[few])
        self.say(f"polars with ONNX Runtime, {LIGHTEST}: the small parquet files {many:.2f} s, the few {those:.2f} s: {many / those:.2f} times")

    def ask(self, pool: pools.Cluster, model: str, table: str, rows: int) -> float:
        query = f"SELECT count(*) AS n, sum(trip_id) AS ids, sum(PREDICT('{model}', *)) AS fares FROM {table}"
        out = pool.folder / "answer.json"
        answer = pool.whimbrel_command("sql", query, "--format", "json", "-o", str(out))
        row = json.loads(out.read_text())
        if (row["n"], row["ids"]) != (rows, rows * (rows - 1) // 2):
            raise SystemExit(f"bench: {table}: {row} is not every one of {rows:,} rows once")
        return answer.seconds

    def say(self, text: str) -> None:
        self.lines.append(text)
        say(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--dev", type=Path, required=True, help="the folder with models and data")
    parser.add_argument("--big-rows", type=int, default=41_000_000, help="rows of the one CSV file: 41 million are 2 GB; 0 leaves it out")
    parser.add_argument("--models", type=lambda text: text.split(","), default=["linear", "mlp", "lightgbm"])
    parser.add_argument("--files", type=int, default=10_000, help="how many small files")
    parser.add_argument("--formats", type=lambda text: text.split(","), default=["parquet", "csv"])
    parser.add_argument("--repeats", type=int, default=3)
    lake = Lake(parser.parse_args())
    lake.run()
    (lake.folder / "report.md").write_text("".join(f"- {line}\n" for line in lake.lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
