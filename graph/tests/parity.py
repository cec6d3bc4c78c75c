"""Compares the crate with ONNX Runtime and with the models' own libraries, model by model:

    python graph/tests/parity.py --score TARGET/debug/examples/score --zoo .dev/zoo

Rows sit on thresholds, next to them and on what numbers are at their worst (NaN, infinities, zeros of both signs,
subnormals). Prints a line for each model, and fails if one differs or is not covered that should be.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

ROWS = 4_000
TOLERANCE = 1e-5
LEVELS = ["portable", "avx2", "avx512"]


def thresholds(model) -> dict[int, np.ndarray]:
    """By feature, the values that trees compare with."""
    found = {}
    for node in model.graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        values = attributes.get("nodes_values")
        if values is None and "nodes_splits" in attributes:
            values = numpy_helper.to_array(attributes["nodes_splits"])
        if values is not None:
            features, values = np.array(attributes["nodes_featureids"]), np.array(values, dtype=np.float32)
            for feature in np.unique(features):
                found[int(feature)] = np.unique(values[features == feature])
    return found


def hard_rows(rng, width: int, known: dict[int, np.ndarray], missing: bool) -> np.ndarray:
    count = ROWS
    rows = rng.normal(0, 30, (count, width)).astype(np.float32)
    for place in range(width):
        values = known.get(place, np.array([0.0, 1.0], dtype=np.float32))
        picked = rng.choice(values, count).astype(np.float32)
        kind = rng.integers(0, 6, count)
        column = rows[:, place]
        column[kind == 1] = picked[kind == 1]
        column[kind == 2] = np.nextafter(picked, np.float32(np.inf))[kind == 2]
        column[kind == 3] = np.nextafter(picked, np.float32(-np.inf))[kind == 3]
        worst = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-35, 3e38], dtype=np.float32)
        special = kind == 4
        column[special] = rng.choice(worst, count)[special]
        if missing:
            column[rng.random(count) < 0.1] = np.nan
    return rows


def runtime(model: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Scored:
    """What the crate said of one model at one level."""

    def __init__(self, score: str, path: Path, rows: np.ndarray | Path, level: str):
        with tempfile.TemporaryDirectory() as folder:
            data = rows
            if not isinstance(rows, Path):
                data = Path(folder) / "rows"
                np.ascontiguousarray(rows.T, dtype="<f4").tofile(data)
            count = ROWS if isinstance(rows, Path) else len(rows)
            command = [score, str(path), str(data), str(count), str(Path(folder) / "out"), level]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            self.refused = lines[0].split("\t")[1] if lines[0].startswith("refused") else None
            self.kernels = "" if self.refused else lines[0].split("\t")[1]
            self.outputs = {}
            for place, line in enumerate([] if self.refused else lines[1:]):
                name, kind, what = line.split("\t")
                file = Path(folder) / "out" / str(place)
                if kind == "numbers":
                    self.outputs[name] = np.fromfile(file, dtype="<f4").reshape(-1, int(what))
                else:
                    labels = np.array(what.split("|"))
                    self.outputs[name] = labels[np.fromfile(file, dtype="<u4")]


def as_array(answer, width: int | None) -> np.ndarray:
    if isinstance(answer, list):  # of a ZipMap
        return np.array([list(row.values()) for row in answer], dtype=np.float32)
    answer = np.asarray(answer)
    return answer.reshape(len(answer), -1) if answer.dtype.kind == "f" else answer.reshape(-1).astype(str)


def difference(ours: np.ndarray, theirs: np.ndarray, least: float = 1.0) -> tuple[float, bool]:
    """The largest, relative where the numbers are larger than `least`, and whether all is equal bit for bit."""
    if ours.dtype.kind == "U":
        return float(np.mean(ours != theirs)), bool((ours == theirs).all())
    if ours.shape != theirs.shape:
        return float("inf"), False
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(all="ignore"):
        apart = np.abs(ours.astype(np.float64) - theirs) / np.maximum(least, np.abs(theirs))
    apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))
    return float(apart.max(initial=0.0)), bool(same.all())


def write(folder: Path, feeds: dict) -> None:
    """The columns as `examples/rows` reads them, of each input."""
    number = 0
    for array in feeds.values():
        for values in array.T:
            if values.dtype == object:
                texts = [text.encode() for text in values]
                offsets = np.cumsum([0, *map(len, texts)]).astype("<i4")
                offsets.tofile(folder / f"{number}.offsets")
                (folder / f"{number}.bytes").write_bytes(b"".join(texts))
            else:
                np.ascontiguousarray(values).tofile(folder / str(number))
            number += 1


class Parity:
    def __init__(self, score: str):
        self.score, self.failed, self.models = score, [], 0
        self.folder = tempfile.TemporaryDirectory()

    def onnx(self, name: str, model, missing: bool, tolerance: float = TOLERANCE, rows=None) -> None:
        shape = model.graph.input[0].type.tensor_type.shape.dim
        width = shape[1].dim_value if len(shape) > 1 else 1
        rng = np.random.default_rng(len(name) * 7919 + width)
        if rows is None:
            rows = hard_rows(rng, width, thresholds(model), missing)
        path = Path(self.folder.name) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        session = runtime(model.SerializeToString())
        names = [output.name for output in session.get_outputs()]
        answers = dict(zip(names, session.run(None, {session.get_inputs()[0].name: rows}), strict=True))
        self.compare(name, path, rows, {key: as_array(answer, None) for key, answer in answers.items()}, tolerance)

    def feeds(self, name: str, model, feeds: dict) -> None:
        """By input, its columns side by side."""
        path = Path(self.folder.name) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        session = runtime(model.SerializeToString())
        names = [output.name for output in session.get_outputs()]
        answers = dict(zip(names, session.run(None, feeds), strict=True))
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), feeds)
            self.compare(name, path, Path(folder), {key: as_array(answer, None) for key, answer in answers.items()})

    def compare(self, name: str, path: Path, rows, answers: dict, tolerance: float = TOLERANCE, least: float = 1.0) -> None:
        self.models += 1
        notes = []
        for level in LEVELS if path.suffix == ".onnx" else ["best"]:
            scored = Scored(self.score, path, rows, level)
            if scored.refused:
                self.failed.append(name)
                print(f"{name:34} REFUSED {scored.refused}")
                return
            for output, theirs in answers.items():
                apart, exact = difference(scored.outputs[output], theirs, least)
                good = apart <= (tolerance if theirs.dtype.kind == "f" else 0.0)
                if not good:
                    self.failed.append(name)
                notes.append(f"{output}: {'bit-equal' if exact else f'{apart:.1e}'}{'' if good else ' DIFFERS'}")
        unique = list(dict.fromkeys(notes))
        print(f"{name:34} {scored.kernels:24} {'; '.join(unique)}", flush=True)

    def refusal(self, name: str, model, word: str) -> None:
        path = Path(self.folder.name) / "refused.onnx"
        path.write_bytes(model.SerializeToString())
        self.refused(name, path, word)

    def refused(self, name: str, path: Path, word: str) -> None:
        """Whether the model is, and the reason has the word."""
        scored = Scored(self.score, path, np.zeros((1, 1), dtype=np.float32), "best")
        self.models += 1
        if not scored.refused or word not in scored.refused:
            self.failed.append(name)
        print(f"{name:34} refused: {scored.refused}")


def zoo(parity: Parity, folder: Path) -> None:
    import pyarrow.parquet

    paths = sorted([*folder.glob("*.onnx"), *folder.glob("*/model.onnx")])
    for path in paths:
        name = path.stem if path.parent == folder else path.parent.name
        if name.startswith(("cnn", "crash")):
            continue
        model = onnx.load(path)
        if name == "mlp":
            parity.refusal(f"zoo {name}", model, "Relu")
            continue
        table = pyarrow.parquet.read_table(folder / "trips.parquet")
        if name == "pipeline":
            parity.feeds(f"zoo {name}", model, zoo_feeds(model, table))
            continue
        known = any(node.op_type.startswith("Tree") for node in model.graph.node)
        width = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        rows = np.random.default_rng(1).gamma(2.0, 6.0, (table.num_rows, width)).astype(np.float32)
        rows[:, 2] = table["trip_distance"].to_numpy()
        parity.onnx(f"zoo {name}", model, missing=known, rows=None if known else rows)
        expected = folder / f"{name}.expected.parquet"
        features = feature_columns(table, width)
        if expected.exists() and features is not None:
            answer = pyarrow.parquet.read_table(expected)
            numbers = [c for c in answer.column_names if c not in ("row_id", "label")]
            theirs = np.stack([answer[c].to_numpy() for c in numbers], axis=1).astype(np.float32)
            ours = Scored(parity.score, path, features, "best")
            output = next(values for values in ours.outputs.values() if values.dtype.kind == "f")
            apart, _ = difference(output, theirs)
            print(f"{'':34} {'':24} the library's own answers: {apart:.1e}")


def zoo_feeds(model, table) -> dict:
    picked = np.random.default_rng(2).integers(0, table.num_rows, ROWS)
    kinds = {given.name: object if given.type.tensor_type.elem_type == onnx.TensorProto.STRING else np.float32 for given in model.graph.input}
    return {name: table[name].to_numpy()[picked].astype(kind).reshape(-1, 1) for name, kind in kinds.items()}


def feature_columns(table, width: int):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/demo"))
    import trips

    names = trips.FEATURES if width == len(trips.FEATURES) else [*trips.FEATURES, "tip_amount"]
    if width != len(names):
        return None
    return np.stack([table[name].to_numpy().astype(np.float32) for name in names], axis=1)


def single(operator: str, width: int, outputs: list[str], version: int = 3, **attributes):
    node = helper.make_node(operator, ["x"], outputs, domain="ai.onnx.ml", **attributes)
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", width])
    graph = helper.make_graph([node], "g", [value], [helper.make_empty_tensor_value_info(name) for name in outputs])
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def random_trees(rng, width: int, trees: int, leaves: int, modes: list[str], targets: list[int], missing: bool) -> tuple:
    keys = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
    nodes = {f"nodes_{key}": [] for key in keys}
    weights = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(trees):
        split, leaf_nodes, count = {}, [0], 1
        for _ in range(int(rng.integers(0, leaves))):
            node = leaf_nodes.pop(int(rng.integers(0, len(leaf_nodes))))
            split[node] = (count, count + 1)
            leaf_nodes += [count, count + 1]
            count += 2
        for node in range(count):
            branch = split.get(node)
            row = [tree, node, int(rng.integers(0, width)), str(rng.choice(modes)) if branch else "LEAF"]
            row += [float(rng.integers(-8, 9)) / 2 if branch else 0.0, *(branch or (0, 0)), int(missing and rng.random() < 0.5)]
            for key, entry in zip(keys, row, strict=True):
                nodes[f"nodes_{key}"].append(entry)
            if not branch:
                for target in targets if len(targets) <= 2 else [targets[tree % len(targets)]]:
                    for key, entry in zip(weights, [tree, node, target, float(np.float32(rng.normal()))], strict=True):
                        weights[key].append(entry)
    return nodes, weights


ORDERED = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]


def random_ensembles(parity: Parity) -> None:
    rng = np.random.default_rng(11)
    for modes in [[mode] for mode in [*ORDERED, "BRANCH_EQ", "BRANCH_NEQ"]] + [ORDERED, [*ORDERED, "BRANCH_EQ", "BRANCH_NEQ"]]:
        for leaves in (20, 64, 300):
            nodes, weights = random_trees(rng, 5, 30, leaves, modes, [0], missing=True)
            weights = {f"target_{key}": values for key, values in weights.items()}
            model = single("TreeEnsembleRegressor", 5, ["y"], n_targets=1, base_values=[0.3], **nodes, **weights)
            name = modes[0][7:] if len(modes) == 1 else f"{len(modes)} modes"
            parity.onnx(f"random {name}, {leaves} leaves", model, missing="BRANCH_NEQ" not in modes or len(modes) > 1, tolerance=0.0)
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        for targets in (1, 2):
            nodes, weights = random_trees(rng, 5, 12, 30, ORDERED, list(range(targets)), missing=True)
            weights = {f"target_{key}": values for key, values in weights.items()}
            base = {"base_values": [0.25, -0.5][:targets]}
            model = single("TreeEnsembleRegressor", 5, ["y"], n_targets=targets, aggregate_function=aggregate, **base, **nodes, **weights)
            parity.onnx(f"random {aggregate}, {targets} targets", model, missing=True)
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"):
        for targets in ([0], [0, 1], [0, 1, 2, 3]):
            if transform == "PROBIT" and targets == [0]:
                continue
            nodes, weights = random_trees(rng, 4, 16, 20, ["BRANCH_LEQ"], targets, missing=False)
            classes = {"classlabels_int64s": list(range(10, 10 + max(2, len(targets))))}
            positive = {**weights, "weights": list(np.abs(weights["weights"]) / 30)}
            kinds = [("", weights)] + ([("positive ", positive)] if targets == [0] else [])
            for kind, chosen in kinds:
                of = {f"class_{key}": values for key, values in chosen.items()}
                model = single("TreeEnsembleClassifier", 4, ["l", "p"], post_transform=transform, **classes, **nodes, **of)
                parity.onnx(f"random {kind}classes {transform} {len(targets)}", model, missing=False)
        nodes, weights = random_trees(rng, 4, 16, 20, ["BRANCH_LEQ"], [0, 1], missing=False)
        of = {f"target_{key}": values for key, values in weights.items()}
        model = single("TreeEnsembleRegressor", 4, ["y"], n_targets=2, post_transform=transform, **nodes, **of)
        parity.onnx(f"random targets {transform}", model, missing=False)
        for count in (1, 2, 3):
            linear = {"coefficients": rng.normal(size=4 * count).tolist(), "intercepts": rng.normal(size=count).tolist()}
            rows = rng.normal(size=(ROWS, 4)).astype(np.float32)
            if transform != "PROBIT":
                labels = {"classlabels_strings": ["a", "b", "c"][: max(2, count)]}
                model = single("LinearClassifier", 4, ["l", "p"], 1, post_transform=transform, **labels, **linear)
                parity.onnx(f"linear classes {transform} {count}", model, False, rows=rows)
            model = single("LinearRegressor", 4, ["y"], 1, post_transform=transform, targets=count, **linear)
            rows = rows if transform != "PROBIT" else rows * 0
            parity.onnx(f"linear targets {transform} {count}", model, False, rows=rows)


def fifth(parity: Parity) -> None:
    """TreeEnsemble, which came with version 5 of the operators."""
    def tensor(values, kind=onnx.TensorProto.FLOAT):
        return helper.make_tensor("t", kind, (len(values),), values)

    common = {
        "n_targets": 2,
        "tree_roots": [0],
        "nodes_featureids": [0, 0, 1],
        "nodes_truenodeids": [1, 0, 2],
        "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [2, 1, 3],
        "nodes_falseleafs": [0, 1, 1],
        "nodes_splits": tensor([3.14, 1.2, 4.2]),
        "leaf_targetids": [0, 1, 0, 1],
        "leaf_weights": tensor([5.23, 12.12, -12.23, 7.21]),
    }
    for modes in ([0, 0, 0], [1, 2, 3], [0, 4, 5]):
        model = single("TreeEnsemble", 2, ["y"], 5, nodes_modes=tensor(modes, onnx.TensorProto.UINT8), **common)
        try:
            parity.onnx(f"TreeEnsemble {modes}", model, missing=5 not in modes)
        except Exception as error:  # what this ONNX Runtime does not take is no parity to check
            print(f"TreeEnsemble {modes}: ONNX Runtime says {str(error)[:90]}")
    one_node = {
        "n_targets": 2,
        "tree_roots": [0],
        "nodes_featureids": [0],
        "nodes_truenodeids": [0],
        "nodes_trueleafs": [1],
        "nodes_falsenodeids": [1],
        "nodes_falseleafs": [1],
        "nodes_splits": tensor([0.0]),
        "nodes_modes": tensor([6], onnx.TensorProto.UINT8),
        "membership_values": tensor([1.0, 3.0, 4.5, float("nan")]),
        "leaf_targetids": [0, 1],
        "leaf_weights": tensor([1.0, 10.0]),
    }
    rows = np.array([[value, 0] for value in (0, 1, 2, 3, 4, 4.5, -1, np.inf)], dtype=np.float32)
    model = single("TreeEnsemble", 2, ["y"], 5, **one_node)
    try:
        parity.onnx("TreeEnsemble of a set", model, missing=False, rows=rows)
    except Exception as error:
        print(f"TreeEnsemble of a set: ONNX Runtime says {str(error)[:90]}")


def main() -> int:
    global ROWS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", required=True, help="the program of examples/score.rs")
    parser.add_argument("--zoo", type=Path, help="the folder that tests/models/zoo.py made")
    parser.add_argument("--only", action="store_true", help="none of those that need no training")
    parser.add_argument("--trained", action="store_true", help="train models of every kind, too")
    parser.add_argument("--pipelines", action="store_true", help="train pipelines over columns of all types, too")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows for each model")
    arguments = parser.parse_args()
    ROWS = arguments.rows
    parity = Parity(arguments.score)
    warnings.simplefilter("ignore")
    if arguments.zoo:
        zoo(parity, arguments.zoo)
    if not arguments.only:
        random_ensembles(parity)
        fifth(parity)
    if arguments.trained:
        import trained

        trained.check(parity)
    if arguments.pipelines:
        import pipelines

        pipelines.check(parity)
    print(f"{parity.models} models, {len(set(parity.failed))} that differ: {sorted(set(parity.failed))}")
    return 1 if parity.failed else 0


if __name__ == "__main__":
    # The module that `trained` imports, so that there is one number of rows.
    import parity

    sys.exit(parity.main())
