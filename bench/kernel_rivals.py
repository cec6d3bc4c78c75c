"""Who takes turns in `kernels.py`: our kernels, by the program of `graph/examples/measure.rs`, and what scores the same models from
Python. Each has one thread, and answers `window()` by rows for each second of processor time, which what else the machine does
stretches little; `total` is a weighted sum over the first turn's values, by which they are compared."""

import json
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import kernel_models
import numpy as np
import onnxruntime
import pandas
from onnx import TensorProto, helper

TURN = 8_192
WINDOW_SECONDS = 0.2
# As in `measure.rs`.
WEIGHTS = 7
STOP_DEADLINE = 30


def total(answer) -> float:
    values = np.asarray(answer, dtype=np.float64).reshape(-1)
    return float(values @ (np.arange(len(values)) % WEIGHTS + 1))


class Rival:
    """Something that Python calls with the rows of a turn."""

    def __init__(self, name: str, predict, turns: list, plain=np.asarray):
        """`plain` makes an array of an answer, for the comparison only."""
        self.name, self.predict, self.turns, self.next = name, predict, turns, 0
        self.total = total(plain(predict(turns[0])))

    def window(self) -> float:
        begun, scored = time.process_time(), 0
        while (taken := time.process_time() - begun) < WINDOW_SECONDS:
            self.predict(self.turns[self.next])
            self.next = (self.next + 1) % len(self.turns)
            scored += TURN
        return scored / taken

    def close(self) -> None:
        pass


class Kernel:
    """Our kernels at one level of instructions."""

    def __init__(self, program: Path, model: Path, rows: Path, count: int, level: str):
        command = [program, model, rows, str(count), level]
        self.name = level
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.answer().split("\t")
        self.absent = words == ["absent"]
        if self.absent:
            self.close()
        else:
            self.kernels, self.total = words[0], float(words[1])

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self.process.args} ended; its words stand above")
        return line.rstrip("\n")

    def window(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def session(model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def turns_of(rows) -> list:
    firsts = range(0, len(rows) - TURN + 1, TURN)
    return [rows[first : first + TURN] for first in firsts]


def feeds_of(rows: pandas.DataFrame) -> dict:
    return {name: rows[[name]].to_numpy().astype(object if name in kernel_models.TEXTS else np.float32) for name in rows.columns}


def write_rows(folder: Path, rows) -> Path:
    """As `graph/examples/rows` reads them."""
    if isinstance(rows, np.ndarray):
        np.ascontiguousarray(rows.T, dtype="<f4").tofile(folder / "rows")
        return folder / "rows"
    for number, name in enumerate(rows.columns):
        values = rows[name]
        if name in kernel_models.TEXTS:
            texts = [text.encode() for text in values]
            np.cumsum([0, *map(len, texts)]).astype("<i4").tofile(folder / f"{number}.offsets")
            (folder / f"{number}.bytes").write_bytes(b"".join(texts))
        else:
            values.to_numpy().astype("<f4").tofile(folder / str(number))
    return folder


def runtime(path: Path, rows) -> Rival:
    """ONNX Runtime, asked for the output that our kernels are asked for: the last, which a classifier's probabilities are."""
    opened = session(str(path))
    output = [opened.get_outputs()[-1].name]
    if isinstance(rows, np.ndarray):
        given = opened.get_inputs()[0].name
        return Rival("ONNX Runtime", lambda turn: opened.run(output, {given: turn})[0], turns_of(rows), from_maps)
    return Rival("ONNX Runtime", lambda turn: opened.run(output, turn)[0], text_turns(rows))


def from_maps(answer) -> np.ndarray:
    """ZipMap gives a dictionary for each row."""
    return np.array([list(row.values()) for row in answer]) if isinstance(answer, list) else answer


def text_turns(rows: pandas.DataFrame) -> list[dict]:
    return [{name: np.ascontiguousarray(feed) for name, feed in feeds_of(turn).items()} for turn in turns_of(rows)]


def only_texts(rows: pandas.DataFrame) -> Rival:
    """A graph that takes the texts and the numbers and gives how many there are: what ONNX Runtime spends to make texts of its own of
    Python's, which its kernels are not to be blamed for."""
    names = list(rows.columns)
    nodes = [helper.make_node("Shape", [name], [f"shape of {name}"]) for name in names]
    kinds = [TensorProto.STRING if name in kernel_models.TEXTS else TensorProto.FLOAT for name in names]
    inputs = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in zip(names, kinds, strict=True)]
    outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in nodes]
    graph = helper.make_graph(nodes, "texts", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    opened = session(model.SerializeToString())
    return Rival("texts alone", lambda turn: opened.run(None, turn), text_turns(rows))


def others(path: Path, rows) -> list[Rival]:
    """The libraries that know the model's own file."""
    found = []
    if (own := path.with_suffix(".lgb")).exists():
        import lightgbm

        booster = lightgbm.Booster(model_file=own)
        found.append(Rival("LightGBM", lambda turn: booster.predict(turn, num_threads=1), turns_of(rows)))
    if (compiled := path.with_suffix(".lleaves")).exists() and find_spec("lleaves"):
        import lleaves

        model = lleaves.Model(path.with_suffix(".lgb"))
        model.compile(cache=compiled)
        # It computes with doubles, and would make them of others in each call.
        found.append(Rival("lleaves", lambda turn: model.predict(turn, n_jobs=1), turns_of(rows.astype(np.float64))))
    if (own := path.with_suffix(".ubj")).exists():
        import xgboost

        booster = xgboost.Booster({"nthread": 1}, model_file=own)
        found.append(Rival("XGBoost", booster.inplace_predict, turns_of(rows)))
    return found


def compile_seconds(path: Path) -> float | None:
    told = path.with_suffix(".lleaves.json")
    return json.loads(told.read_text())["seconds"] if told.exists() else None
