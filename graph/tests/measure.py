"""Rows for each second of one core's time: the crate's kernels and the models' usual runtime on the same rows, one after the
other, which is ONNX Runtime, and for XGBoost's own files XGBoost itself:

    python graph/tests/measure.py --measure TARGET/release/examples/measure --data .dev/data/trips-1m MODEL.onnx MODEL.ubj ...

`--train TREES DEPTH FILE` first trains a model of so many trees and saves it.

Processor time, not wall time: what else the machine does hits both, and stretches neither by much.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
import pyarrow.dataset

TURN = 8_192
WINDOWS = 6
WINDOW_SECONDS = 0.25
LEVELS = ["portable", "avx2", "avx512"]


def rows_of(folder: Path | None, width: int, count: int) -> np.ndarray:
    if folder is None:
        return np.random.default_rng(2).normal(0, 1, (count, width)).astype(np.float32)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/demo"))
    import trips

    table = pyarrow.dataset.dataset(folder / "parquet").head(count, columns=trips.FEATURES)
    columns = [table[name].to_numpy().astype(np.float32) for name in trips.FEATURES]
    rng = np.random.default_rng(1)
    while len(columns) < width:
        columns.append((columns[2] * rng.uniform(0, 1, table.num_rows)).astype(np.float32))
    return np.stack(columns[:width], axis=1)


def speed_of(predict, rows: np.ndarray) -> float:
    best, first = 0.0, 0
    for _ in range(WINDOWS):
        begun, scored = time.thread_time(), 0
        while time.thread_time() - begun < WINDOW_SECONDS:
            predict(rows[first : first + TURN])
            scored += TURN
            first = 0 if first + 2 * TURN > len(rows) else first + TURN
        best = max(best, scored / (time.thread_time() - begun))
    return best


def runtime(path: Path):
    """The model's usual runtime with one thread, and how many columns it takes."""
    if path.suffix in (".ubj", ".json"):
        import xgboost

        booster = xgboost.Booster({"nthread": 1}, model_file=path)
        return booster.inplace_predict, booster.num_features()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    return lambda rows: session.run(None, {given.name: rows}), given.shape[1]


def train(folder: Path, trees: int, depth: int, path: Path) -> None:
    import xgboost

    rows = rows_of(folder, 20, 200_000)
    target = rows[:, 2] * np.sin(rows[:, 3]) + np.abs(rows[:, 0]) + np.random.default_rng(2).normal(0, 1, len(rows))
    settings = {"nthread": 1, "max_depth": depth, "eta": 0.1, "objective": "reg:squarederror"}
    xgboost.train(settings, xgboost.DMatrix(rows, target), trees).save_model(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", required=True, help="the program of examples/measure.rs")
    parser.add_argument("--data", type=Path, help="a folder that tools/demo/trips.py made; without it rows are random")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--train", nargs=3, action="append", default=[], metavar=("TREES", "DEPTH", "FILE"))
    parser.add_argument("models", type=Path, nargs="*")
    arguments = parser.parse_args()
    for trees, depth, file in arguments.train:
        train(arguments.data, int(trees), int(depth), Path(file))
        arguments.models.append(Path(file))
    print(f"{'model':24} {'usual runtime':>14}  " + "  ".join(f"{level:>20}" for level in LEVELS))
    for path in arguments.models:
        predict, width = runtime(path)
        rows = rows_of(arguments.data, width, arguments.rows)
        floor = speed_of(predict, rows)
        cells = []
        with tempfile.NamedTemporaryFile() as file:
            np.ascontiguousarray(rows.T, dtype="<f4").tofile(file.name)
            # Other files are always scored with the best instructions.
            for level in LEVELS if path.suffix == ".onnx" else ["best"]:
                command = [arguments.measure, str(path), file.name, str(len(rows)), level]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode:
                    sys.exit(f"{path}: {answer.stderr.strip()}")
                speed, load, kernels, grown = answer.stdout.rstrip("\n").split("\t")
                cells.append(f"{float(speed) / 1e6:10.2f}M {float(speed) / floor:6.1f}x")
        name = path.stem if path.stem != "model" else path.parent.name
        print(f"{name:24} {floor / 1e6:13.3f}M  " + "  ".join(f"{cell:>20}" for cell in cells) + f"  {kernels}, loaded in {load} ms, {grown} times its size", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
