"""Measures the kernels alone, on one core, in one run: `make bench-kernels`.

For each model all take turns, window by window, over the same rows, which come again only after all others: our kernels with the
instructions of any processor, with AVX2 and with AVX-512, ONNX Runtime, and where they know the model LightGBM, XGBoost
and lleaves, all called from Python. What they predict is compared, and wrong values end the bench. Then: what loading a model takes.
Nothing fails for being slow: the targets and what was reached are printed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# Before any library makes threads: each has one core.
os.environ["OMP_NUM_THREADS"] = "1"

import kernel_models
import kernel_rivals
from kernels_plot import plot
from kernels_report import report
from words import chosen, machine, say

LEVELS = ["portable", "avx2", "avx512"]
# Of the sum by which predictions are compared.
TOLERANCE = 1e-4


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.folder = arguments.dev.resolve() / "bench-kernels" / "run"
        wanted = chosen([case.name for case in kernel_models.CASES], arguments.models)
        self.cases = [case for case in kernel_models.CASES if case.name in wanted]
        self.found: dict = {"machine": machine(), "rows": arguments.rows, "windows": arguments.windows, "models": [], "left_out": []}

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        paths = {case: kernel_models.made(self.folder.parent / "models", case) for case in self.cases}
        if not find_spec("lleaves"):
            self.leave_out("lleaves, which cannot be installed for this Python")
        for case, path in paths.items():
            with ExitStack() as closing:
                self.found["models"].append(self.measure(case, path, closing))
        self.load(list(paths.values()))

    def leave_out(self, what: str) -> None:
        if what not in self.found["left_out"]:
            self.found["left_out"].append(what)
            say(f"left out: {what}")

    def measure(self, case: kernel_models.Case, path: Path, closing: ExitStack) -> dict:
        count = self.arguments.rows
        texts = case.kind == "texts"
        rows = kernel_models.texts(count, 2) if texts else kernel_models.numbers(case.width, count, 2)
        data = self.folder / case.name
        data.mkdir()
        kernels = self.kernels(path, kernel_rivals.write_rows(data, rows), closing)
        rivals = [kernel_rivals.runtime(path, rows), *kernel_rivals.others(path, rows)]
        for rival in [*kernels, *rivals]:
            compare(rivals[0], rival, case.title)
        taking_turns = [*kernels, *rivals, *([kernel_rivals.only_texts(rows)] if texts else [])]
        best = dict.fromkeys((rival.name for rival in taking_turns), 0.0)
        for _ in range(self.arguments.windows):
            for rival in taking_turns:
                best[rival.name] = max(best[rival.name], rival.window())
        if texts:
            best["ONNX Runtime"] = 1 / (1 / best["ONNX Runtime"] - 1 / best.pop("texts alone"))
        shutil.rmtree(data)
        say(f"{case.title}: " + ", ".join(f"{name} {speed / 1e6:.3g} M" for name, speed in best.items()))
        return {
            "name": case.name,
            "title": case.title,
            "kind": case.kind,
            "rows_per_second": best,
            "kernels": {kernel.name: kernel.kernels for kernel in kernels},
            "lleaves_compile_seconds": kernel_rivals.compile_seconds(path),
        }

    def kernels(self, model: Path, rows: Path, closing: ExitStack) -> list[kernel_rivals.Kernel]:
        """A level that this processor has not is left out, and said."""
        found = []
        for level in LEVELS:
            kernel = kernel_rivals.Kernel(self.arguments.examples / "measure", model, rows, self.arguments.rows, level)
            if kernel.absent:
                self.leave_out(f"{level}, which this processor lacks")
                continue
            closing.callback(kernel.close)
            found.append(kernel)
        return found

    def load(self, paths: list[Path]) -> None:
        """The loading of each model, which `graph/examples/load.rs` says in lines, in their order."""
        done = subprocess.run([self.arguments.examples / "load", *paths], check=True, capture_output=True, text=True)
        heads, *lines = (line.split("\t") for line in done.stdout.splitlines())
        for case, line in zip(self.found["models"], lines, strict=True):
            facts = dict(zip(heads, line, strict=True))
            case["load"] = {
                "bytes": int(facts["file"]),
                "ms": float(facts["ms"]),
                "peak_of_file": float(facts["peak/file"]),
                "kept_of_file": float(facts["kept/file"]),
                "trees": int(facts["trees"]),
            }


def compare(expected, found, title: str) -> None:
    """One sum each, over values whose weights differ."""
    apart = abs(found.total - expected.total) / max(1.0, abs(expected.total))
    if not apart <= TOLERANCE:
        raise SystemExit(f"bench: {title}: {found.name} sums to {found.total}, {expected.name} to {expected.total}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=Path, required=True, help="the folder with the programs `measure` and `load`")
    parser.add_argument("--dev", type=Path, required=True, help="the folder for models")
    parser.add_argument("--rows", type=int, default=400_000, help="rows until the first come again")
    parser.add_argument("--windows", type=int, default=6, help="windows of each, of which the best counts")
    parser.add_argument("--models", type=lambda text: text.split(","), default=[], help="only these, by the names of their files")
    bench = Bench(parser.parse_args())
    bench.run()
    text = report(bench.found)
    (bench.folder / "results.json").write_text(json.dumps(bench.found, indent=1) + "\n")
    (bench.folder / "report.md").write_text(text + "\n")
    (bench.folder / "kernels.svg").write_text(plot(bench.found))
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
