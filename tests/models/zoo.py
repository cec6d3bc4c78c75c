"""Trains one model of every kind that people bring, exports each to ONNX by its usual converter, and writes down what the
original library says about 10,000 rows that it has not seen: what PREDICT must say too.

    trips.parquet, digits.parquet      the rows, with a `row_id`
    NAME.onnx, or the folder NAME      the model, alone or as MLflow saves it
    NAME.expected.parquet              `row_id` and the library's own answer, one column per number or label
    crash.onnx                         a model that kills its process
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from unittest import mock

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Threads that wait for each other on shared cores take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/demo"))

import images
import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import trips
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

ROWS = 10_000
TRAINING_ROWS = 20_000
OPSET = {"": 15, "ai.onnx.ml": 3}
IR_VERSION = 8
FEATURES = trips.FEATURES
# Features and a column with gaps, which trees take as they are.
GAPPY = [*FEATURES, "tip_amount"]
NUMBERS = ["trip_distance", "duration_min", "tip_amount"]
TEXTS = ["borough", "payment"]
PAYMENTS = np.array(["", "card", "cash", "free", "disputed"])


def table(block: int, rows: int) -> pd.DataFrame:
    """Trips, with their payment in words and a tip that one row in eight lacks."""
    frame = trips.block(block).slice(0, rows).to_pandas()
    rng = np.random.default_rng([trips.SEED, block, 1])
    tip = np.round(frame["fare_amount"].to_numpy() * rng.uniform(0.0, 0.3, rows), 2)
    tip[rng.random(rows) < 0.125] = np.nan
    frame["tip_amount"] = tip
    frame["payment"] = PAYMENTS[frame["payment_type"].to_numpy()]
    return frame.rename(columns={"trip_id": "row_id"})


def words(fare: pd.Series) -> np.ndarray:
    return np.array(["cheap", "dear", "fair"])[np.select([fare < 12.0, fare > 25.0], [0, 1], 2)]


def codes(fare: pd.Series) -> np.ndarray:
    """Classes that are not 0, 1, 2, so that a place is not mistaken for a class."""
    return np.select([fare < 12.0, fare > 25.0], [3, 11], 7)


def numbers(frame: pd.DataFrame, names: list[str] = FEATURES) -> np.ndarray:
    return frame[names].to_numpy(dtype=np.float64)


def value(answer: np.ndarray) -> dict:
    return {"value": np.asarray(answer).reshape(-1)}


def classes(estimator, rows) -> dict:
    """The label and one probability per class, in the order of the classes."""
    probabilities = estimator.predict_proba(rows)
    return {"label": estimator.predict(rows), **{f"p{place}": probabilities[:, place] for place in range(probabilities.shape[1])}}


def export(estimator, width: int, zipmap: bool | None = None) -> onnx.ModelProto:
    options = {} if zipmap is None else {id(estimator): {"zipmap": zipmap}}
    inputs = [("features", FloatTensorType([None, width]))]
    return convert_sklearn(estimator, initial_types=inputs, target_opset=OPSET, options=options)


def linear(train, rows):
    from sklearn.linear_model import LinearRegression

    estimator = LinearRegression().fit(numbers(train), train["fare_amount"])
    return export(estimator, 9), value(estimator.predict(numbers(rows)))


def logistic(train, rows, labels=words, zipmap=False):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers(train), labels(train["fare_amount"]))
    return export(estimator, 9, zipmap), classes(estimator, numbers(rows))


def pipeline(train, rows):
    """Numbers with gaps and texts: one input per column, as AutoML exports it too."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    steps = [
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
        ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
    ]
    estimator = make_pipeline(ColumnTransformer(steps), LogisticRegression())
    # A text of no row in training is one that the encoder must ignore.
    known = train[train["payment"] != "disputed"]
    estimator.fit(known[NUMBERS + TEXTS], codes(known["fare_amount"]))
    inputs = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    inputs += [(name, StringTensorType([None, 1])) for name in TEXTS]
    options = {id(estimator): {"zipmap": False}}
    model = convert_sklearn(estimator, initial_types=inputs, target_opset=OPSET, options=options)
    return model, classes(estimator, rows[NUMBERS + TEXTS])


def forest(train, rows):
    from sklearn.ensemble import RandomForestRegressor

    estimator = RandomForestRegressor(n_estimators=20, max_depth=8, random_state=1)
    estimator.fit(numbers(train), train["fare_amount"])
    return export(estimator, 9), value(estimator.predict(numbers(rows)))


def forest_classes(train, rows):
    from sklearn.ensemble import RandomForestClassifier

    estimator = RandomForestClassifier(n_estimators=20, max_depth=8, random_state=1)
    estimator.fit(numbers(train), codes(train["fare_amount"]))
    return export(estimator, 9, zipmap=True), classes(estimator, numbers(rows))


def boosting(train, rows):
    from sklearn.ensemble import GradientBoostingRegressor

    estimator = GradientBoostingRegressor(n_estimators=40, max_depth=4, random_state=1)
    estimator.fit(numbers(train), train["fare_amount"])
    return export(estimator, 9), value(estimator.predict(numbers(rows)))


def node_of_ints(*arguments, **attributes):
    """Protobuf takes no truth values for ints, and this converter has some."""
    for key, entry in attributes.items():
        if isinstance(entry, list):
            attributes[key] = [int(item) if isinstance(item, bool | np.bool_) else item for item in entry]
    return onnx.helper.make_node(*arguments, **attributes)


def histogram(train, rows):
    from sklearn.ensemble import HistGradientBoostingRegressor

    estimator = HistGradientBoostingRegressor(max_iter=40, random_state=1)
    estimator.fit(numbers(train, GAPPY), train["fare_amount"])
    with mock.patch("skl2onnx.common._container.make_node", node_of_ints):
        model = export(estimator, len(GAPPY))
    return model, value(estimator.predict(numbers(rows, GAPPY)))


def lightgbm(train, rows, kind="LGBMRegressor", labels=None):
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType as FloatInput

    settings = {"n_estimators": 60, "random_state": 1, "deterministic": True, "force_row_wise": True, "verbose": -1, "n_jobs": 1}
    estimator = getattr(lightgbm, kind)(**settings)
    estimator.fit(numbers(train, GAPPY), labels(train["fare_amount"]) if labels else train["fare_amount"])
    model = convert_lightgbm(estimator, initial_types=[("features", FloatInput([None, len(GAPPY)]))], target_opset=15)
    data = numbers(rows, GAPPY)
    return model, classes(estimator, data) if labels else value(estimator.predict(data))


def xgboost(train, rows, kind="XGBRegressor", labels=None):
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as FloatInput

    estimator = getattr(xgboost, kind)(n_estimators=60, max_depth=5, random_state=1, n_jobs=1)
    estimator.fit(numbers(train, GAPPY), labels(train["fare_amount"]) if labels else train["fare_amount"])
    model = convert_xgboost(estimator, initial_types=[("features", FloatInput([None, len(GAPPY)]))], target_opset=15)
    data = numbers(rows, GAPPY)
    return model, classes(estimator, data) if labels else value(estimator.predict(data))


def places(fare: pd.Series) -> np.ndarray:
    """XGBoost wants its classes to be 0, 1, 2."""
    return np.select([fare < 12.0, fare > 25.0], [0, 1], 2)


def mlp(train, rows):
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    estimator = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(32, 32), max_iter=8, random_state=1))
    estimator.fit(numbers(train), words(train["fare_amount"]))
    return export(estimator, 9, zipmap=False), classes(estimator, numbers(rows))


def named(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Without what differs from one run to the next: the same bytes, hence the same digest."""
    model.graph.name = name
    model.ir_version = IR_VERSION
    model.graph.doc_string = ""
    return model


def write_model(out: Path, name: str, model: onnx.ModelProto, example: pd.DataFrame | np.ndarray | None, answer: dict) -> None:
    """Alone, or as MLflow saves it with the signature that it infers from the rows."""
    if example is None:
        (out / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        return
    import mlflow
    from mlflow.models import infer_signature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about integer columns that cannot hold missing values
        signature = infer_signature(example[:100], next(iter(answer.values()))[:100])
        mlflow.onnx.save_model(model, str(out / name), signature=signature, pip_requirements=["onnxruntime"])


def write_expected(out: Path, name: str, row_id, answer: dict) -> None:
    columns = {"row_id": np.asarray(row_id), **answer}
    arrays = {key: values.astype(str) if values.dtype.kind in "OU" else values for key, values in columns.items()}
    pa.parquet.write_table(pa.table(arrays), out / f"{name}.expected.parquet")


# name, how it is made, and the columns of its MLflow signature where it is saved by MLflow
TABULAR = [
    ("linear", linear, None),
    ("logistic", logistic, FEATURES),
    ("logistic_zipmap", lambda train, rows: logistic(train, rows, labels=codes, zipmap=True), None),
    ("logistic_zipmap_text", lambda train, rows: logistic(train, rows, zipmap=True), None),
    ("pipeline", pipeline, NUMBERS + TEXTS),
    ("forest", forest, FEATURES),
    ("forest_classes", forest_classes, None),
    ("boosting", boosting, None),
    ("histogram", histogram, GAPPY),
    ("lightgbm", lightgbm, GAPPY),
    ("lightgbm_classes", lambda train, rows: lightgbm(train, rows, "LGBMClassifier", codes), None),
    ("xgboost", xgboost, GAPPY),
    ("xgboost_classes", lambda train, rows: xgboost(train, rows, "XGBClassifier", places), None),
    ("mlp", mlp, FEATURES),
]


def write(out: Path) -> None:
    train, rows = table(0, TRAINING_ROWS), table(1, ROWS)
    pa.parquet.write_table(pa.Table.from_pandas(rows, preserve_index=False), out / "trips.parquet", row_group_size=1_000)
    for name, make, columns in TABULAR:
        begun = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the MLP has not converged, and need not
            model, answer = make(train, rows)
        write_model(out, name, named(model, name), rows[columns] if columns else None, answer)
        write_expected(out, name, rows["row_id"], answer)
        print(f"zoo: {name} in {time.monotonic() - begun:.1f} s", flush=True)
    write_model(out, "crash", named(crash(), "crash"), None, {})
    digits = images.rows(ROWS)
    images.write_table(digits, out / "digits.parquet")
    network = images.Network().fit()
    for name, example in [("cnn", None), ("cnn_mlflow", digits)]:
        write_model(out, name, named(network.export(), "cnn"), example, classes(network, digits))
        write_expected(out, name, np.arange(ROWS), classes(network, digits))


def crash() -> onnx.ModelProto:
    """Kills its process (SIGFPE) at a row of one passenger: the smallest integer by minus one is no integer."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [helper.make_node("Neg", ["passenger_count"], ["minus"]), helper.make_node("Div", ["smallest", "minus"], ["value"])]
    inputs = [helper.make_tensor_value_info("passenger_count", TensorProto.INT64, ["N", 1])]
    outputs = [helper.make_tensor_value_info("value", TensorProto.INT64, ["N", 1])]
    smallest = numpy_helper.from_array(np.array([[np.iinfo(np.int64).min]]), "smallest")
    body = helper.make_graph(nodes, "crash", inputs, outputs, [smallest])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], producer_name="whimbrel-tests")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    out = parser.parse_args().out
    begun = time.monotonic()
    print(f"zoo: training and exporting models in {out} ...", flush=True)
    sources = [Path(source) for source in (__file__, images.__file__, trips.__file__)]
    if trips.make_folder(out, sources, {}, write):
        print(f"zoo: made, {trips.folder_bytes(out) / 1e6:.0f} MB in {time.monotonic() - begun:.1f} s")
    else:
        print("zoo: there already")
    return 0


if __name__ == "__main__":
    sys.exit(main())
