"""Measures Whimbrel beside plain Python, end to end, in one run: `make bench`.

For each size, format and model three take turns, so that whatever else the machine does hits all alike: the floor
(`floor.py`), the embedded pool, and a scheduler with two executors; for the linear model over Parquet polars with ONNX Runtime
(`floor_polars.py`), too. Variants of the models follow over Parquet, at the smallest size. A pass of a pool is the wall time of a whole
`whimbrel sql ... -o FILE` process against a pool that has run the query before; a pass of the floor is clocked inside its
process, with the model loaded. Every output is compared with the floor's, row by row. Nothing here fails for being slow: the
targets and what was reached are printed.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import cases
import inputs
import numpy as np
import outputs
import pool_models
import pools
from cases import PREDICT, Case
from run_report import report
from words import chosen, machine, say

FORMATS = ["parquet", "csv"]
# What polars may give the model at a time; the best is taken.
POLARS_BATCHES = [16_384, 131_072, 1_048_576]


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.whimbrel = str(arguments.whimbrel.resolve())
        self.python = sys.executable
        self.dev = arguments.dev.resolve()
        self.folder = self.dev / "bench"
        self.repeats = arguments.repeats
        self.sizes = arguments.rows
        wanted = chosen([case.model for case in [*cases.MODELS, *cases.VARIANTS]], arguments.models)
        self.models = [case for case in cases.MODELS if case.model in wanted]
        self.variants = [case for case in cases.VARIANTS if case.model in wanted]
        self.formats = arguments.formats
        self.passes: list[dict] = []
        self.varied: list[dict] = []
        self.starts: list[dict] = []
        self.memory: list[dict] = []
        self.agreement: list[float] = []

    def data(self, rows: int) -> Path:
        name = f"{rows // 1_000_000}m" if rows % 1_000_000 == 0 else str(rows)
        return self.dev / "data" / f"trips-{name}"

    def make_data(self) -> None:
        script = Path(__file__).parent.parent / "tools/demo/trips.py"
        for rows in self.sizes:
            command = [self.python, script, "--rows", str(rows), "--files", "8", "--out", self.data(rows)]
            subprocess.run(command, check=True)

    def table(self, rows: int, format_name: str) -> str:
        return f"trips_{rows}_{format_name}"

    def set_up(self, pool) -> None:
        for case in [*self.models, *self.variants]:
            pool.whimbrel_command("model", "bind", case.model, "--uri", str(case.file(self.dev)))
        for rows in self.sizes:
            for name in self.formats:
                self.add_table(pool, self.table(rows, name), self.data(rows) / name, name)

    def add_table(self, pool, table: str, data: Path, format_name: str) -> None:
        pool.whimbrel_command("table", "add", table, "--uri", str(data), "--format", format_name, "--replace")

    def score(self, pool, case: Case, table: str, out: Path, key: str | None = None) -> pools.Finished:
        return pool.whimbrel_command("sql", case.query(table, key), "--format", "parquet", "-o", str(out))

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.make_data()
        pool_models.made(self.dev)
        for case in self.models:
            self.start_cold(case)
        running = []
        try:
            for kind, name in ((pools.Embedded, "embedded"), (pools.Cluster, "cluster")):
                say(f"starting the pool '{name}'")
                running.append(kind(self.whimbrel, self.folder / name))
                self.set_up(running[-1])
            for rows in self.sizes:
                self.measure(running, rows)
            for case in self.variants:
                self.vary(running, case)
        finally:
            for pool in running:
                pool.close()

    def measure(self, running: list, rows: int) -> None:
        for pool in running:
            for pid in pool.processes().values():
                pools.forget_peak(pid)
        for format_name in self.formats:
            for case in self.models:
                seconds = self.take_turns(running, case, rows, self.data(rows) / format_name, format_name)
                self.passes.append({"rows": rows, "format": format_name, "model": case.model, "seconds": seconds})
        self.note_memory(running, rows)

    def vary(self, running: list, case: Case) -> None:
        rows = self.sizes[0]
        data = inputs.wide(self.dev / "data", rows) if case.rows == "wide" else self.data(rows) / "parquet"
        for pool in running:
            self.add_table(pool, f"variant_{case.model}", data, "parquet")
        seconds = self.take_turns(running, case, rows, data, "parquet", f"variant_{case.model}")
        self.varied.append({"rows": rows, "model": case.model, "title": case.title, "seconds": seconds})

    def start_cold(self, case: Case) -> None:
        """A pool from nothing: one command that starts it, scores the smallest table and ends."""
        rows = self.sizes[0]
        pool = pools.Alone(self.whimbrel, self.folder / f"start-{case.model}")
        pool.whimbrel_command("model", "bind", case.model, "--uri", str(case.file(self.dev)))
        table = self.table(rows, "parquet")
        self.add_table(pool, table, self.data(rows) / "parquet", "parquet")
        out = pool.folder / "out.parquet"
        runs = [self.score(pool, case, table, out) for _ in range(self.repeats)]
        first = [pool.whimbrel_command("sql", "SELECT 1", "--format", "csv") for _ in range(self.repeats)]
        self.starts.append(
            {
                "model": case.model,
                "rows": rows,
                "select_1_seconds": median(run.seconds for run in first),
                "seconds": median(run.seconds for run in runs),
                "peak_mib": max(run.peak_mib for run in runs),
            }
        )
        say(f"from nothing to {rows:,} rows, {case.model}: {self.starts[-1]['seconds']:.2f} s")

    def floors(self, case: Case, data: Path, format_name: str) -> dict[str, tuple[pools.Floor, dict]]:
        """What the pools are measured beside, and how it is asked."""
        folder, model = self.folder / "floor", case.file(self.dev)
        found = {"floor": (pools.Floor(self.python, model, folder), case.floor)}
        if (case.model, format_name) == ("linear", "parquet"):
            polars = pools.Floor(self.python, model, folder, "floor_polars.py")
            found["polars"] = (polars, {"batch_rows": self.best_batch(polars, data)})
        return found

    def best_batch(self, polars: pools.Floor, data: Path) -> int:
        out = self.folder / "floor" / "polars.parquet"

        def seconds(rows: int) -> float:
            return min(polars.score(data, "parquet", out, keep=[], batch_rows=rows)["seconds"] for _ in range(2))

        return min(POLARS_BATCHES, key=seconds)

    def take_turns(self, running: list, case: Case, rows: int, data: Path, format_name: str, table: str = "") -> dict[str, list[float]]:
        table, what = table or self.table(rows, format_name), f"{rows:,} rows, {format_name}, {case.model}"
        floors = self.floors(case, data, format_name)
        seconds: dict[str, list[float]] = {name: [] for name in [*floors, *(pool.name for pool in running)]}
        written = {name: self.folder / "floor" / f"{name}.parquet" for name in floors}
        expected = self.folder / "floor" / "expected.parquet"
        try:
            for name, (floor, how) in floors.items():
                keyed = expected if name == "floor" else written[name]
                floor.score(data, format_name, keyed, keep=[outputs.KEY], **how)
                self.compare(expected, keyed, f"{name}, {what}")
            for pool in running:
                out = pool.folder / "keyed.parquet"
                self.score(pool, case, table, out, key=outputs.KEY)
                self.compare(expected, out, f"{pool.name}, {what}")
                self.score(pool, case, table, pool.folder / "out.parquet")
            for _ in range(self.repeats):
                for name, (floor, how) in floors.items():
                    seconds[name].append(floor.score(data, format_name, written[name], keep=[], **how)["seconds"])
                for pool in running:
                    out = pool.folder / "out.parquet"
                    seconds[pool.name].append(self.score(pool, case, table, out).seconds)
                    self.compare_values(written["floor"], out, f"{pool.name}, {what}")
        finally:
            for floor, _ in floors.values():
                floor.close()
        say(f"{what}: " + ", ".join(f"{name} {median(taken):.2f} s" for name, taken in seconds.items()))
        return seconds

    def note_memory(self, running: list, rows: int) -> None:
        for pool in running:
            for name, pid in pool.processes().items():
                peak = pools.peak_mib(pid)
                self.memory.append({"pool": pool.name, "process": name, "rows": rows, "peak_mib": peak})

    def compare(self, expected: Path, actual: Path, what: str) -> None:
        self.agreement.append(outputs.compare(outputs.keyed(expected, PREDICT), outputs.keyed(actual, PREDICT), what))

    def compare_values(self, expected: Path, actual: Path, what: str) -> None:
        """The timed passes have no key: their sorted values must be the same."""
        left, right = (np.sort(outputs.column(path, PREDICT)) for path in (expected, actual))
        if len(left) != len(right):
            raise SystemExit(f"bench: {what}: {len(right):,} rows for {len(left):,}")
        self.agreement.append(outputs.agree(left, right, what))

    def found(self) -> dict:
        """What `run_report.py` and whoever comes later reads."""
        return {
            "machine": machine(),
            "repeats": self.repeats,
            "apart": max(self.agreement, default=0.0),
            "passes": self.passes,
            "variants": self.varied,
            "starts": self.starts,
            "memory": self.memory,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--dev", type=Path, required=True, help="the folder with models and data")
    parser.add_argument("--rows", type=lambda text: [int(part) for part in text.split(",")], default=[1_000_000])
    parser.add_argument("--models", type=lambda text: text.split(","), default=[], help="only these")
    parser.add_argument("--formats", type=lambda text: text.split(","), default=FORMATS)
    parser.add_argument("--repeats", type=int, default=3)
    bench = Bench(parser.parse_args())
    bench.run()
    found = bench.found()
    text = report(found)
    (bench.folder / "report.md").write_text(text + "\n")
    (bench.folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
