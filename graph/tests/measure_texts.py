"""As `measure.py`, for pipelines of four columns of texts and four of numbers before a model:

    python graph/tests/measure_texts.py --measure TARGET/release/examples/measure

What ONNX Runtime takes to make texts of its own of Python's is measured by a graph that does nothing else, and taken off.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightgbm
import measure as kit
import numpy as np
import onnxruntime
import pandas
import parity
import pipelines
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from sklearn import ensemble, linear_model, preprocessing
from sklearn.pipeline import make_pipeline

TEXTS = [f"t{place}" for place in range(4)]
NUMBERS = [f"n{place}" for place in range(4)]
NAMES = ["Amsterdam", "Barcelona", "Casablanca", "Dublin"]


def frame(rows: int, seed: int) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    texts = {name: np.array([f"{NAMES[place]} {number}" for number in range(20)], dtype=object) for place, name in enumerate(TEXTS)}
    columns = {name: rng.choice(known, rows) for name, known in texts.items()}
    columns |= {name: rng.normal(0, 10, rows).astype(np.float32) for name in NUMBERS}
    return pandas.DataFrame(columns)


def models():
    light = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, verbose=-1, n_jobs=1, random_state=1)
    yield "logistic", linear_model.LogisticRegression()
    yield "LightGBM 100 x 31", light
    yield "GradientBoosting 100 x 8", ensemble.GradientBoostingClassifier(n_estimators=100, random_state=1)


def onnx_runtime(session, turns: list[dict]) -> float:
    best, turn = 0.0, 0
    names = [output.name for output in session.get_outputs()]
    for _ in range(kit.WINDOWS):
        begun, scored = time.thread_time(), 0
        while time.thread_time() - begun < kit.WINDOW_SECONDS:
            session.run(names, turns[turn])
            scored += kit.TURN
            turn = (turn + 1) % len(turns)
        best = max(best, scored / (time.thread_time() - begun))
    return best


def only_texts() -> onnxruntime.InferenceSession:
    """A graph that takes the texts and the numbers and gives how many there are."""
    nodes = [helper.make_node("Shape", [name], [f"shape of {name}"]) for name in [*TEXTS, *NUMBERS]]
    kinds = [TensorProto.STRING] * len(TEXTS) + [TensorProto.FLOAT] * len(NUMBERS)
    inputs = [helper.make_tensor_value_info(node.input[0], kind, ["N", 1]) for node, kind in zip(nodes, kinds, strict=True)]
    outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in nodes]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return parity.runtime(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8).SerializeToString())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", required=True, help="the program of examples/measure.rs")
    parser.add_argument("--rows", type=int, default=400_000)
    arguments = parser.parse_args()
    known, rows = frame(20_000, 1), frame(arguments.rows, 2)
    goal = (known.n0 + 5 * (known.t0.str.len() + known.t1.str[-1].map(ord) % 3 - 11) + known.n1.abs() > 8).astype(int)
    types = [(name, pipelines.data_types.StringTensorType([None, 1])) for name in TEXTS]
    types += [(name, pipelines.data_types.FloatTensorType([None, 1])) for name in NUMBERS]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    feeds = {name: rows[[name]].to_numpy().astype(object if name in TEXTS else np.float32) for name in rows.columns}
    firsts = range(0, arguments.rows - kit.TURN + 1, kit.TURN)
    turns = [{name: np.ascontiguousarray(feed[first : first + kit.TURN]) for name, feed in feeds.items()} for first in firsts]
    with tempfile.TemporaryDirectory() as folder:
        parity.write(Path(folder), feeds)
        print(f"{'model':26} {'ONNX Runtime':>14}  " + "  ".join(f"{level:>20}" for level in kit.LEVELS))
        for name, model in models():
            encoder = pipelines.columns((pipelines.one_hot(), TEXTS), (preprocessing.StandardScaler(), NUMBERS))
            pipeline = make_pipeline(encoder, model).fit(known, goal)
            graph = convert_sklearn(pipeline, initial_types=types, target_opset=pipelines.OPSET, options={id(model): {"zipmap": False}})
            path = Path(folder) / "model.onnx"
            path.write_bytes(graph.SerializeToString())
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            whole, texts = onnx_runtime(session, turns), onnx_runtime(only_texts(), turns)
            floor, cells = 1 / (1 / whole - 1 / texts), []
            for level in kit.LEVELS:
                command = [arguments.measure, str(path), folder, str(arguments.rows), level]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode:
                    sys.exit(f"{name}: {answer.stderr.strip()}")
                speed, load, kernels = answer.stdout.rstrip("\n").split("\t")
                cells.append(f"{float(speed) / 1e6:10.2f}M {float(speed) / floor:6.1f}x")
            print(f"{name:26} {floor / 1e6:13.3f}M  " + "  ".join(f"{cell:>20}" for cell in cells) + f"  {kernels}, loaded in {load} ms", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
