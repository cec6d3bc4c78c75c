"""Makes the ONNX models of the demo, the bench and the tests, the same ones every time.

`fare`, `linear`, `lightgbm` and `mlp` predict a trip's fare from its nine features through one `[N,9]` float input; their
`feature_names` metadata is a JSON list of the columns. `columns` takes one `[N,1]` input per column. The rest is made by
`graphs.py` and shows one trait each.
"""

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import graphs
import numpy as np
import onnx
import trips

OPSET = {"": 15, "ai.onnx.ml": 3}
IR_VERSION = 8


def training_data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    table = trips.block(0).slice(0, rows)
    features = np.column_stack([table[name].to_numpy().astype(np.float32) for name in trips.FEATURES])
    return features, table["fare_amount"].to_numpy()


def named(model: onnx.ModelProto, producer: str) -> onnx.ModelProto:
    """The model with its feature names and without whatever differs from one run to the next."""
    model.graph.name = producer
    model.ir_version = IR_VERSION
    model.graph.doc_string = ""
    entry = model.metadata_props.add()
    entry.key, entry.value = "feature_names", json.dumps(trips.FEATURES)
    return model


def from_sklearn(estimator, name: str) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    inputs = [("features", FloatTensorType([None, len(trips.FEATURES)]))]
    return named(convert_sklearn(estimator, name=name, initial_types=inputs, target_opset=OPSET), name)


def fare() -> onnx.ModelProto:
    from sklearn.ensemble import GradientBoostingRegressor

    features, target = training_data(20_000)
    estimator = GradientBoostingRegressor(n_estimators=40, max_depth=4, random_state=1)
    return from_sklearn(estimator.fit(features, target), "fare")


def linear() -> onnx.ModelProto:
    from sklearn.linear_model import LinearRegression

    return from_sklearn(LinearRegression().fit(*training_data(100_000)), "linear")


def lightgbm() -> onnx.ModelProto:
    from lightgbm import LGBMRegressor
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    estimator = LGBMRegressor(
        n_estimators=200, num_leaves=31, learning_rate=0.05, random_state=1, deterministic=True, force_row_wise=True, verbose=-1
    )
    estimator.fit(*training_data(100_000))
    inputs = [("features", FloatTensorType([None, len(trips.FEATURES)]))]
    return named(convert_lightgbm(estimator, name="lightgbm", initial_types=inputs, target_opset=15), "lightgbm")


def mlp() -> onnx.ModelProto:
    from sklearn.neural_network import MLPRegressor

    features, target = training_data(30_000)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    estimator = MLPRegressor(hidden_layer_sizes=(128, 128), max_iter=6, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and need not
        estimator.fit((features - mean) / spread, target)
    weights, biases = list(estimator.coefs_), list(estimator.intercepts_)
    # The scaling moves into the first layer, so that the graph is three matrix products and nothing else.
    biases[0] = biases[0] - (mean / spread) @ weights[0]
    weights[0] = weights[0] / spread[:, None]
    return named(graphs.dense(weights, biases), "mlp")


def columns() -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = trips.block(0).slice(0, 20_000)
    names = ["trip_distance", "duration_min", "passenger_count", "payment_type", "borough"]
    rows = np.empty((table.num_rows, len(names)), dtype=object)
    for place, name in enumerate(names):
        rows[:, place] = table[name].to_pylist()
    steps = [
        ("floats", StandardScaler(), [0, 1]),
        ("ints", OneHotEncoder(handle_unknown="ignore"), [2, 3]),
        ("texts", OneHotEncoder(handle_unknown="ignore"), [4]),
    ]
    estimator = make_pipeline(ColumnTransformer(steps), LinearRegression())
    estimator.fit(rows, table["fare_amount"].to_numpy())
    types = [FloatTensorType, FloatTensorType, Int64TensorType, Int64TensorType, StringTensorType]
    inputs = [(name, kind([None, 1])) for name, kind in zip(names, types, strict=True)]
    model = convert_sklearn(estimator, name="columns", initial_types=inputs, target_opset=OPSET)
    model.ir_version = IR_VERSION
    return model


def classifier(zipmap: bool) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, target = training_data(20_000)
    labels = np.array(["cheap", "dear"])[(target > 20.0).astype(int)]
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
    inputs = [("features", FloatTensorType([None, len(trips.FEATURES)]))]
    options = {id(estimator): {"zipmap": zipmap}}
    model = convert_sklearn(estimator, name="classifier", initial_types=inputs, target_opset=OPSET, options=options)
    return named(model, "classifier_zipmap" if zipmap else "classifier")


def all_models() -> dict:
    return {
        "fare": fare,
        "linear": linear,
        "lightgbm": lightgbm,
        "mlp": mlp,
        "columns": columns,
        "classifier": lambda: classifier(zipmap=False),
        "classifier_zipmap": lambda: classifier(zipmap=True),
        **graphs.all_models(trips.FEATURES),
    }


def write(out: Path) -> None:
    for name, make in all_models().items():
        model = make()
        (out / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (out / "not_a_model.onnx").write_text("This is a text file that calls itself a model.\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to make; gets NAME.onnx files")
    out = parser.parse_args().out
    begun = time.monotonic()
    print(f"models: training and writing them in {out} ...", flush=True)
    sources = [Path(source) for source in (__file__, graphs.__file__, trips.__file__)]
    if trips.make_folder(out, sources, {}, write):
        print(f"models: made, {len(list(out.glob('*.onnx')))} files in {time.monotonic() - begun:.1f} s")
    else:
        print("models: there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
