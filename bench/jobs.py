"""Measures score jobs, in one run: `make bench-jobs`.

The same trips are scored by plain Python that writes Parquet like a job does (`floor.py`, in the best of some sizes of batch), the linear
model by polars with ONNX Runtime too (`floor_polars.py`, likewise), by a pool of one executor, and by one of two; all have the same
cores, and take turns. What both pools write must be the same rows to the last bit. Then: what executors remember when there are ten
times the rows, what a split costs beside its rows, and what one row costs that cannot be scored. Wrong rows end the bench; nothing fails
for being slow: the targets and what was reached are printed.
"""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import inputs
import outputs
import pools
import scoring
from jobs_report import report
from scoring import PREDICT, Scored
from words import chosen, say

BATCHES = [4_096, 16_384, 65_536, 131_072, 1_048_576]
# As a job writes.
LIKE_A_JOB = {"group_rows": 1_048_576, "writer": {"compression": "zstd", "compression_level": 1}}
# What else jobs are measured beside, by the model: a name and its program.
BESIDE = {"linear": {"polars": "floor_polars.py"}}
# Of a scheduler that cuts as fine as it ever does.
FINE = "partitions_per_slot = 5000\nmax_partitions = 5000\n"
MODELS = ["linear", "mlp", "lightgbm"]
TINY_MODEL = "linear"
POISONED_MODEL = "fails_above_two"


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.rows, self.repeats = arguments.rows, arguments.repeats
        self.whimbrel = str(arguments.whimbrel.resolve())
        self.wanted = chosen(MODELS, arguments.models)
        self.models = arguments.dev.resolve() / "models"
        self.folder = arguments.dev.resolve() / "bench-jobs" / "run"
        self.data = self.folder.parent / "data"
        self.outputs = 0
        self.found: dict = {"models": [], "agreement": []}

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        running: list[pools.Cluster] = []
        try:
            for count in (1, 2):
                running.append(self.start(f"pool-{count}", count))
            for model in self.wanted:
                self.take_turns(running, model)
            if self.arguments.poison_rows:
                self.poison(running[0])
            if self.arguments.files:
                fine = self.folder / "fine.toml"
                fine.write_text(FINE)
                running.append(self.start("pool-fine", 1, ("--config", str(fine))))
                self.splits(coarse=running[0], fine=running[-1])
        finally:
            for pool in running:
                pool.close()
            # Not between passes: a file system that has just lost thousands of files is slow at making others.
            for out in self.folder.glob("out-*"):
                shutil.rmtree(out)

    def start(self, name: str, executors: int, options: tuple[str, ...] = ()) -> pools.Cluster:
        pool = pools.Cluster(self.whimbrel, self.folder / name, executors, options)
        for model in {*self.wanted, TINY_MODEL, POISONED_MODEL}:
            pool.whimbrel_command("model", "bind", model, "--uri", str(self.models / f"{model}.onnx"))
        return pool

    def new_output(self) -> Path:
        self.outputs += 1
        return self.folder / f"out-{self.outputs}"

    def best(self, passes: dict) -> dict[str, Scored]:
        """The best of some passes of each kind that take turns, after one each that does not count."""
        best: dict[str, Scored] = {}
        for turn in range(self.repeats + 1):
            for kind, scores in passes.items():
                out = self.new_output()
                scored = scores(out)
                if turn == 1 or (turn > 1 and scored.seconds < best[kind].seconds):
                    best[kind] = scored
        return best

    def take_turns(self, running: list[pools.Cluster], model: str) -> None:
        few, all_trips = (inputs.some_trips(self.data, rows) for rows in (self.rows // 10, self.rows))
        memory = {pool.name: self.remembered(pool, model, few, self.rows // 10) for pool in running}
        floors = self.start_floors(model)
        try:
            batches = {name: self.best_batch(floor, few) for name, floor in floors.items()}
            written = self.check_outputs(running, model, all_trips, floors, batches)
            beside, jobs = {name: [] for name in floors}, {pool.name: [] for pool in running}
            for _ in range(self.repeats):
                for name, floor in floors.items():
                    out = self.folder / "floor" / "out.parquet"
                    beside[name].append(self.floor_pass(floor, all_trips, batches[name], out))
                for pool in running:
                    jobs[pool.name].append(self.scored(pool, model, all_trips, self.rows))
        finally:
            for floor in floors.values():
                floor.close()
        for pool in running:
            memory[pool.name]["all"] = {name: asdict(seen) for name, seen in jobs[pool.name][-1].memory.items()}
        seconds = {name: [scored.seconds for scored in passes] for name, passes in jobs.items()}
        shown = ", ".join(f"{name} {min(passes):.2f} s" for name, passes in (beside | seconds).items())
        say(f"{self.rows:,} rows, {model}: {shown}")
        case = {
            "model": model,
            "batch_rows": batches["floor"],
            "floor_seconds": beside.pop("floor"),
            "beside": {name: {"batch_rows": batches[name], "seconds": passes} for name, passes in beside.items()},
            "seconds": seconds,
            "wall_seconds": {name: [scored.wall_seconds for scored in passes] for name, passes in jobs.items()},
            "memory": memory,
            **written,
        }
        self.found["models"].append(case)

    def start_floors(self, model: str) -> dict[str, pools.Floor]:
        programs = {"floor": "floor.py", **BESIDE.get(model, {})}
        path, folder = self.models / f"{model}.onnx", self.folder / "floor"
        return {name: pools.Floor(sys.executable, path, folder, program) for name, program in programs.items()}

    def remembered(self, pool: pools.Cluster, model: str, few: Path, rows: int) -> dict:
        """What executors have in memory with a tenth of the rows; once before, so that the model is there."""
        self.scored(pool, model, few, rows)
        scored = self.scored(pool, model, few, rows)
        return {"tenth": {name: asdict(seen) for name, seen in scored.memory.items()}}

    def scored(self, pool: pools.Cluster, model: str, data: Path, rows: int) -> Scored:
        out = self.new_output()
        scored = scoring.score(pool, model, data, out)
        scoring.check_counts(scored, rows)
        return scored

    def floor_pass(self, floor: pools.Floor, data: Path, batch_rows: int, out: Path) -> float:
        answer = floor.score(data, "parquet", out, keep=[outputs.KEY], batch_rows=batch_rows, **LIKE_A_JOB)
        return answer["seconds"]

    def best_batch(self, floor: pools.Floor, data: Path) -> int:
        """The floor is as good as its author could make it."""
        out = self.folder / "floor" / "out.parquet"
        self.floor_pass(floor, data, BATCHES[0], out)
        seconds = {rows: min(self.floor_pass(floor, data, rows, out) for _ in range(2)) for rows in BATCHES}
        return min(seconds, key=seconds.get)

    def check_outputs(self, running: list[pools.Cluster], model: str, data: Path, floors: dict, batches: dict[str, int]) -> dict:
        """The passes that warm everything up: both pools must write the same, and what the floors write."""
        expected, also = (self.folder / "floor" / f"{name}.parquet" for name in ("expected", "also"))
        self.floor_pass(floors["floor"], data, batches["floor"], expected)
        for name in floors.keys() - {"floor"}:
            self.floor_pass(floors[name], data, batches[name], also)
            outputs.compare(outputs.keyed(expected, PREDICT), outputs.keyed(also, PREDICT), f"{model}: {name} and the floor")
        written = {}
        for pool in running:
            written[pool.name] = self.new_output()
            scored = scoring.score(pool, model, data, written[pool.name])
            scoring.check_counts(scored, self.rows)
        one, two = written.values()
        outputs.check_identical(one, two, f"{model}: {' and '.join(written)}")
        worst = outputs.compare(outputs.keyed(expected, PREDICT), outputs.keyed(one, PREDICT), f"{model}: a job and the floor")
        sizes = {"floor_bytes": expected.stat().st_size, "job_bytes": scored.progress["bytes_written"]}
        self.found["agreement"].append(worst)
        return {**sizes, "splits": scored.progress["splits_total"]}

    def poison(self, pool: pools.Cluster) -> None:
        rows = self.arguments.poison_rows
        poison = rows * 2 // 3
        clean, poisoned = inputs.passengers(self.data, rows, None), inputs.passengers(self.data, rows, poison)

        def aside(data: Path, expected: list[int]):
            def scores(out: Path) -> Scored:
                letters = out.with_name(out.name + "-dead")
                scored = scoring.score(pool, POISONED_MODEL, data, out, "--on-error", f"deadletter={letters}")
                scoring.check_counts(scored, rows - len(expected), len(expected))
                check_letters(letters, expected)
                outputs.check_keys(out, rows, without=expected)
                return scored

            return scores

        best = self.best(
            {
                "fail": lambda out: scoring.score(pool, POISONED_MODEL, clean, out),
                "clean": aside(clean, []),
                "poison": aside(poisoned, [poison]),
            }
        )
        self.found["poison"] = {"rows": rows, "key": poison, "seconds": {kind: scored.seconds for kind, scored in best.items()}}
        say(f"{rows:,} rows, one poisoned: {self.found['poison']['seconds']}")

    def splits(self, coarse: pools.Cluster, fine: pools.Cluster) -> None:
        files, each = self.arguments.files, self.arguments.rows_each
        tiny, few = inputs.tiny_trips(self.data, files, each), inputs.some_trips(self.data, files * each)

        def counted(pool: pools.Cluster, data: Path, splits: int | None):
            def scores(out: Path) -> Scored:
                scored = scoring.score(pool, TINY_MODEL, data, out)
                scoring.check_counts(scored, files * each)
                total = scored.progress["splits_total"]
                if splits not in (None, total):
                    raise SystemExit(f"bench: {data} was cut into {total:,} splits, not {splits:,}")
                return scored

            return scores

        best = self.best(
            {
                "many": counted(fine, tiny, files),
                "packed": counted(coarse, tiny, None),
                "few": counted(coarse, few, None),
            }
        )
        self.found["splits"] = {
            "files": files,
            "rows": files * each,
            "splits": {kind: scored.progress["splits_total"] for kind, scored in best.items()},
            "seconds": {kind: scored.seconds for kind, scored in best.items()},
            "wall_seconds": {kind: scored.wall_seconds for kind, scored in best.items()},
            "commit_ms": {kind: scored.status["commit_ms"] for kind, scored in best.items()},
        }
        say(f"{files:,} files: {self.found['splits']['seconds']}")


def check_letters(folder: Path, expected: list[int]) -> None:
    """Exactly these rows were put aside."""
    files = [path for path in folder.glob("*") if path.is_file() and not path.name.startswith((".", "_"))]
    keys = sorted(json.loads(line)["row"][outputs.KEY] for path in files for line in path.read_text().splitlines())
    if keys != expected:
        raise SystemExit(f"bench: {folder} has the dead letters of {keys[:10]}, not of {expected}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--dev", type=Path, required=True, help="the folder with models and data")
    parser.add_argument("--rows", type=int, default=10_000_000, help="how many trips")
    parser.add_argument("--models", type=lambda text: text.split(","), default=[], help="only these")
    parser.add_argument("--files", type=int, default=5_000, help="how many tiny files, each its own split; 0 leaves them out")
    parser.add_argument("--rows-each", type=int, default=20, help="rows of a tiny file")
    parser.add_argument("--poison-rows", type=int, default=5_000_000, help="rows of which one cannot be scored; 0 leaves them out")
    parser.add_argument("--repeats", type=int, default=3)
    bench = Bench(parser.parse_args())
    bench.run()
    text = report(bench.found, bench.rows, bench.repeats)
    (bench.folder / "report.md").write_text(text + "\n")
    (bench.folder / "results.json").write_text(json.dumps(bench.found, indent=1) + "\n")
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
