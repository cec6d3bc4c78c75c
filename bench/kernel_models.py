"""The models that `kernels.py` measures, trained once on random rows: one of each kind that people bring, as ONNX, and LightGBM's and
XGBoost's in their own files beside it, with what lleaves compiles of LightGBM's."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pandas
from words import say

sys.path.insert(0, str(Path(__file__).parent.parent / "tools/demo"))
import trips  # noqa: E402

TRAINING_ROWS = 50_000
OPSET = {"": 15, "ai.onnx.ml": 3}
WIDTH, WIDE = 20, 100
TEXTS = [f"t{place}" for place in range(4)]
NUMBERS = [f"n{place}" for place in range(4)]
CITIES = ["Amsterdam", "Barcelona", "Casablanca", "Dublin"]
CATEGORIES = 20


def numbers(width: int, rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (rows, width)).astype(np.float32)


def texts(rows: int, seed: int) -> pandas.DataFrame:
    """Four columns of texts and four of numbers."""
    rng = np.random.default_rng(seed)
    known = [np.array([f"{city} {number}" for number in range(CATEGORIES)], dtype=object) for city in CITIES]
    columns = {name: rng.choice(values, rows) for name, values in zip(TEXTS, known, strict=True)}
    columns |= {name: rng.normal(0, 10, rows).astype(np.float32) for name in NUMBERS}
    return pandas.DataFrame(columns)


def goal(rows: np.ndarray) -> np.ndarray:
    """Something of every column, and of some together."""
    weights = np.cos(np.arange(rows.shape[1]))
    signal = rows @ weights + rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + np.abs(rows[:, 3])
    return signal + np.random.default_rng(4).normal(0, 0.5, len(rows))


def floats(width: int):
    from onnxmltools.convert.common.data_types import FloatTensorType

    return [("features", FloatTensorType([None, width]))]


def lightgbm(path: Path, trees: int, leaves: int, width: int = WIDTH, compiled: bool = True) -> onnx.ModelProto:
    import lightgbm
    from onnxmltools import convert_lightgbm

    rows = numbers(width, TRAINING_ROWS, 1)
    settings = {"objective": "regression", "num_leaves": leaves, "learning_rate": 0.05, "seed": 1, "deterministic": True, "verbose": -1}
    booster = lightgbm.train(settings | {"force_row_wise": True}, lightgbm.Dataset(rows, goal(rows)), trees)
    booster.save_model(path.with_suffix(".lgb"))
    if compiled:
        compile_lleaves(path)
    return convert_lightgbm(booster, initial_types=floats(width), target_opset=15)


def compile_lleaves(path: Path) -> None:
    """What lleaves compiled is made with the model: it takes seconds, and minutes and gigabytes where there are many nodes."""
    if not find_spec("lleaves"):
        return
    import lleaves

    begun = time.process_time()
    lleaves.Model(path.with_suffix(".lgb")).compile(cache=path.with_suffix(".lleaves"))
    path.with_suffix(".lleaves.json").write_text(json.dumps({"seconds": time.process_time() - begun}))


def xgboost(path: Path, trees: int, depth: int) -> onnx.ModelProto:
    import xgboost
    from onnxmltools import convert_xgboost

    rows = numbers(WIDTH, TRAINING_ROWS, 1)
    estimator = xgboost.XGBRegressor(n_estimators=trees, max_depth=depth, random_state=1).fit(rows, goal(rows))
    estimator.get_booster().save_model(path.with_suffix(".ubj"))
    return convert_xgboost(estimator, initial_types=floats(WIDTH), target_opset=15)


def scikit(estimator, target: Callable = goal, options: dict | None = None) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    rows = numbers(WIDTH, TRAINING_ROWS, 1)
    estimator.fit(rows, target(rows))
    inputs = [("features", FloatTensorType([None, WIDTH]))]
    return convert_sklearn(estimator, initial_types=inputs, target_opset=OPSET, options={id(estimator): options or {}})


def boosting(_path: Path) -> onnx.ModelProto:
    from sklearn.ensemble import GradientBoostingRegressor

    return scikit(GradientBoostingRegressor(n_estimators=100, max_depth=3, subsample=0.2, random_state=1))


def forest(_path: Path) -> onnx.ModelProto:
    from sklearn.ensemble import RandomForestRegressor

    return scikit(RandomForestRegressor(100, max_leaf_nodes=700, max_features=0.3, max_samples=0.5, n_jobs=-1, random_state=1))


def linear(_path: Path) -> onnx.ModelProto:
    from sklearn.linear_model import LinearRegression

    return scikit(LinearRegression())


def zipmap(_path: Path) -> onnx.ModelProto:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def words(rows: np.ndarray) -> np.ndarray:
        return np.array(["cheap", "dear"])[(goal(rows) > 0).astype(int)]

    return scikit(make_pipeline(StandardScaler(), LogisticRegression()), words, {"zipmap": True})


def pipeline(model) -> onnx.ModelProto:
    """Texts one-hot and numbers scaled, before a classifier."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = texts(TRAINING_ROWS, 1)
    target = (rows.n0 + 5 * (rows.t0.str.len() + rows.t1.str[-1].map(ord) % 3 - 11) + rows.n1.abs() > 8).astype(int)
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), TEXTS), (StandardScaler(), NUMBERS))
    estimator = make_pipeline(encoder, model).fit(rows, target)
    inputs = [(name, StringTensorType([None, 1])) for name in TEXTS] + [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    return convert_sklearn(estimator, initial_types=inputs, target_opset=OPSET, options={id(model): {"zipmap": False}})


def text_logistic(_path: Path) -> onnx.ModelProto:
    from sklearn.linear_model import LogisticRegression

    return pipeline(LogisticRegression(max_iter=200))


def text_lightgbm(_path: Path) -> onnx.ModelProto:
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as shapes

    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(lightgbm.LGBMClassifier, "LightGbm", shapes, convert_lightgbm, options=options)
    return pipeline(lightgbm.LGBMClassifier(n_estimators=100, num_leaves=31, verbose=-1, random_state=1))


@dataclass(frozen=True)
class Case:
    """A model: its file's name, its words in tables, how it is made, and which target it stands for."""

    name: str
    title: str
    make: Callable[[Path], onnx.ModelProto]
    kind: str
    width: int = WIDTH


# Kinds: trees of 64 leaves at most, larger ones, and what is not mainly trees.
CASES = [
    Case("lightgbm-200x31", "LightGBM, 200 trees of 31 leaves", lambda path: lightgbm(path, 200, 31), "trees"),
    Case("xgboost-100d6", "XGBoost, 100 trees of depth 6", lambda path: xgboost(path, 100, 6), "trees"),
    Case("boosting-100d3", "scikit-learn gradient boosting, 100 trees of depth 3", boosting, "trees"),
    Case("lightgbm-500x63", "LightGBM, 500 trees of 63 leaves", lambda path: lightgbm(path, 500, 63), "trees"),
    Case("lightgbm-1000x31", "LightGBM, 1,000 trees of 31 leaves", lambda path: lightgbm(path, 1000, 31, compiled=False), "trees"),
    Case("lightgbm-wide", "LightGBM, 200 trees of 31 leaves, 100 features", lambda path: lightgbm(path, 200, 31, WIDE), "trees", WIDE),
    Case("forest-100x700", "random forest, 100 trees of 700 leaves", forest, "forest"),
    Case("linear", "linear regression", linear, "other"),
    Case("zipmap", "scaler, logistic regression, ZipMap", zipmap, "other"),
    Case("texts-logistic", "4 texts and 4 numbers, logistic regression", text_logistic, "texts", 8),
    Case("texts-lightgbm", "4 texts and 4 numbers, LightGBM, 100 trees of 31 leaves", text_lightgbm, "texts", 8),
]


def made(folder: Path, case: Case) -> Path:
    """The model's file in a folder of its own, trained unless it is there."""
    out, begun = folder / case.name, time.monotonic()
    parameters = {"case": case.name, "lleaves": find_spec("lleaves") is not None}

    def fill(unfinished: Path) -> None:
        model = case.make(unfinished / "model.onnx")
        model.ir_version = 8
        (unfinished / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))

    if trips.make_folder(out, [Path(__file__), Path(__file__).with_name("requirements.txt")], parameters, fill):
        say(f"made {case.name} in {time.monotonic() - begun:.1f} s")
    return out / "model.onnx"
