"""Measures Whimbrel beside plain Python, end to end, in one run: `make bench`.

For each size, format and model three take turns, so that whatever else the machine does hits all alike: the floor
(`floor.py`), the embedded pool, and a scheduler with two executors. A pass of a pool is the wall time of a whole
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

import numpy as np
import outputs
import pools
from outputs import TOLERANCE
from words import machine, rate, say

MODELS = ["linear", "lightgbm", "mlp"]
FORMATS = ["parquet", "csv"]
PREDICT = "predict"
# The least ratio to the floor's rows/s, by format and model.
RATIO_TARGETS = {
    "parquet": {"linear": 0.5, "lightgbm": 0.95, "mlp": 0.9},
    "csv": {"linear": 1.0, "lightgbm": 1.0, "mlp": 1.0},
}
START_SECONDS = 2.0
START_MIB = 400.0
SCORING_MIB = 1536.0
# Peaks of one process vary by about this much between equal runs.
GROWTH = 1.25


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.whimbrel = str(arguments.whimbrel.resolve())
        self.python = sys.executable
        self.dev = arguments.dev.resolve()
        self.folder = self.dev / "bench"
        self.repeats = arguments.repeats
        self.sizes = arguments.rows
        self.models = arguments.models
        self.formats = arguments.formats
        self.passes: list[dict] = []
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
        for model in self.models:
            pool.whimbrel_command("model", "bind", model, "--uri", str(self.dev / "models" / f"{model}.onnx"))
        for rows in self.sizes:
            for name in self.formats:
                uri = str(self.data(rows) / name)
                pool.whimbrel_command("table", "add", self.table(rows, name), "--uri", uri, "--format", name, "--replace")

    def score(self, pool, rows: int, format_name: str, model: str, out: Path, with_id: bool = False) -> pools.Finished:
        key = "trip_id, " if with_id else ""
        query = f"SELECT {key}PREDICT('{model}', *) AS predict FROM {self.table(rows, format_name)}"
        return pool.whimbrel_command("sql", query, "--format", "parquet", "-o", str(out))

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.make_data()
        for model in self.models:
            self.start_cold(model)
        running = []
        try:
            for kind, name in ((pools.Embedded, "embedded"), (pools.Cluster, "cluster")):
                say(f"starting the pool '{name}'")
                running.append(kind(self.whimbrel, self.folder / name))
                self.set_up(running[-1])
            for rows in self.sizes:
                for pool in running:
                    for pid in pool.processes().values():
                        pools.forget_peak(pid)
                for format_name in self.formats:
                    for model in self.models:
                        self.take_turns(running, rows, format_name, model)
                self.note_memory(running, rows)
        finally:
            for pool in running:
                pool.close()

    def start_cold(self, model: str) -> None:
        """A pool from nothing: one command that starts it, scores the smallest table and ends."""
        rows = self.sizes[0]
        pool = pools.Alone(self.whimbrel, self.folder / f"start-{model}")
        pool.whimbrel_command("model", "bind", model, "--uri", str(self.dev / "models" / f"{model}.onnx"))
        table = self.table(rows, "parquet")
        pool.whimbrel_command("table", "add", table, "--uri", str(self.data(rows) / "parquet"), "--format", "parquet")
        out = pool.folder / "out.parquet"
        runs = [self.score(pool, rows, "parquet", model, out) for _ in range(self.repeats)]
        first = [pool.whimbrel_command("sql", "SELECT 1", "--format", "csv") for _ in range(self.repeats)]
        self.starts.append(
            {
                "model": model,
                "rows": rows,
                "select_1_seconds": median(run.seconds for run in first),
                "seconds": median(run.seconds for run in runs),
                "peak_mib": max(run.peak_mib for run in runs),
            }
        )
        say(f"from nothing to {rows:,} rows, {model}: {self.starts[-1]['seconds']:.2f} s")

    def take_turns(self, running: list, rows: int, format_name: str, model: str) -> None:
        folder = self.folder / "floor"
        data = self.data(rows) / format_name
        floor = pools.Floor(self.python, self.dev / "models" / f"{model}.onnx", folder)
        try:
            expected = folder / "expected.parquet"
            floor.score(data, format_name, expected, keep=["trip_id"])
            for pool in running:
                out = pool.folder / "keyed.parquet"
                self.score(pool, rows, format_name, model, out, with_id=True)
                self.compare(expected, out, f"{pool.name}, {rows:,} rows, {format_name}, {model}")
                self.score(pool, rows, format_name, model, pool.folder / "out.parquet")
            seconds: dict[str, list[float]] = {"floor": [], **{pool.name: [] for pool in running}}
            for _ in range(self.repeats):
                seconds["floor"].append(floor.score(data, format_name, folder / "out.parquet", keep=[])["seconds"])
                for pool in running:
                    out = pool.folder / "out.parquet"
                    seconds[pool.name].append(self.score(pool, rows, format_name, model, out).seconds)
                    self.compare_values(folder / "out.parquet", out, f"{pool.name}, {rows:,} rows, {format_name}, {model}")
        finally:
            floor.close()
        case = {"rows": rows, "format": format_name, "model": model, "seconds": seconds}
        self.passes.append(case)
        say(f"{rows:,} rows, {format_name}, {model}: " + ", ".join(f"{k} {median(v):.2f} s" for k, v in seconds.items()))

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


def report(bench: Bench) -> str:
    lines = [
        f"{machine()}; medians of {bench.repeats};"
        f" predictions differ from the floor's by at most {max(bench.agreement):.1e} (limit {TOLERANCE:.0e}).",
        "",
        "| rows | format | model | floor rows/s | embedded pool | ratio | two executors | ratio |",
        "|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for case in bench.passes:
        floor, embedded, cluster = (median(case["seconds"][name]) for name in ("floor", "embedded pool", "two executors"))
        rates = [rate(case["rows"], seconds) for seconds in (floor, embedded, cluster)]
        lines.append(
            f"| {case['rows']:,} | {case['format']} | {case['model']} | {rates[0]} | {rates[1]} | {floor / embedded:.2f}"
            f" | {rates[2]} | {floor / cluster:.2f} |"
        )
    lines += ["", "| a pool from nothing | first `SELECT 1` | to the last row | peak memory |", "|---|---:|---:|---:|"]
    for start in bench.starts:
        lines.append(
            f"| {start['rows']:,} rows, parquet, {start['model']} | {start['select_1_seconds']:.2f} s"
            f" | {start['seconds']:.2f} s | {start['peak_mib']:.0f} MiB |"
        )
    sizes = " | ".join(f"{rows:,} rows" for rows in bench.sizes)
    lines += ["", f"| peak memory | {sizes} |", "|---|" + "---:|" * len(bench.sizes)]
    for (pool, process), peaks in memory_by_process(bench).items():
        lines.append(f"| {pool}: {process} | " + " | ".join(f"{peak:.0f} MiB" for peak in peaks) + " |")
    lines += ["", *(f"- {'met' if met else 'MISSED'}: {text}" for met, text in targets(bench))]
    return "\n".join(lines)


def memory_by_process(bench: Bench) -> dict[tuple[str, str], list[float]]:
    grouped: dict[tuple[str, str], list[float]] = {}
    for entry in bench.memory:
        grouped.setdefault((entry["pool"], entry["process"]), []).append(entry["peak_mib"])
    return grouped


def targets(bench: Bench) -> list[tuple[bool, str]]:
    found = []
    for case in bench.passes:
        goal = RATIO_TARGETS[case["format"]][case["model"]]
        floor = median(case["seconds"]["floor"])
        for pool, seconds in case["seconds"].items():
            if pool != "floor":
                ratio = floor / median(seconds)
                text = f"{pool}, {case['rows']:,} rows, {case['format']}, {case['model']}: {ratio:.2f} of the floor (at least {goal})"
                found.append((ratio >= goal, text))
    for start in bench.starts:
        if start["model"] == "linear" and start["rows"] == 1_000_000:
            text = f"from nothing to the first million rows: {start['seconds']:.2f} s (under {START_SECONDS:.0f} s)"
            found.append((start["seconds"] < START_SECONDS, text))
            text = f"its peak memory: {start['peak_mib']:.0f} MiB (under {START_MIB:.0f})"
            found.append((start["peak_mib"] < START_MIB, text))
        if start["model"] == "linear":
            text = f"first SELECT 1 from nothing: {start['select_1_seconds']:.2f} s (under 1 s)"
            found.append((start["select_1_seconds"] < 1.0, text))
    for (pool, process), peaks in memory_by_process(bench).items():
        found.append((max(peaks) < SCORING_MIB, f"{pool}, {process}: peak {max(peaks):.0f} MiB (under {SCORING_MIB:.0f})"))
        if len(peaks) > 1:
            text = f"{pool}, {process}: {peaks[0]:.0f} MiB at the smallest size, {peaks[-1]:.0f} at the largest (at most {GROWTH} times)"
            found.append((peaks[-1] <= GROWTH * peaks[0], text))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--dev", type=Path, required=True, help="the folder with models and data")
    parser.add_argument("--rows", type=lambda text: [int(part) for part in text.split(",")], default=[1_000_000])
    parser.add_argument("--models", type=lambda text: text.split(","), default=MODELS)
    parser.add_argument("--formats", type=lambda text: text.split(","), default=FORMATS)
    parser.add_argument("--repeats", type=int, default=3)
    bench = Bench(parser.parse_args())
    bench.run()
    text = report(bench)
    (bench.folder / "report.md").write_text(text + "\n")
    facts = {"passes": bench.passes, "starts": bench.starts, "memory": bench.memory}
    (bench.folder / "results.json").write_text(json.dumps(facts, indent=1) + "\n")
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
