"""Logs models of LightGBM and XGBoost in the libraries' own flavors, and writes down what `mlflow.pyfunc` says about the zoo's
rows: what PREDICT must say too.

    NAME                        the folder that MLflow saved
    NAME.expected.parquet       `row_id` and the answer, one column per number or label
    lgb_estimator               an estimator of LightGBM, which only Python can read
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update({"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_LOGGING_LEVEL": "ERROR"})
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools/demo"))

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import trips
import xgboost
import zoo
from mlflow.models import infer_signature

ROUNDS = 30


def boosters(train: pd.DataFrame):
    """Name and model; rows with gaps are part of what they see."""
    data, fare = train[zoo.GAPPY].astype("float64"), train["fare_amount"]
    three, two = zoo.places(fare), (fare > 15).astype(int)

    def light(objective: str, target, **more):
        settings = {"objective": objective, "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True, **more}
        return lightgbm.train(settings, lightgbm.Dataset(data, target), ROUNDS)

    def extreme(objective: str, target, **more):
        settings = {"objective": objective, "nthread": 1, "seed": 1, **more}
        return xgboost.train(settings, xgboost.DMatrix(data, target), ROUNDS)

    settings = {"n_estimators": ROUNDS, "random_state": 1, "n_jobs": 1}
    yield "lgb_regression", light("regression", fare), {}
    yield "lgb_binary", light("binary", two), {}
    yield "lgb_multiclass", light("multiclass", three, num_class=3), {}
    yield "xgb_regression", extreme("reg:squarederror", fare), {}
    yield "xgb_binary", extreme("binary:logistic", two), {"model_format": "json"}
    yield "xgb_multiclass", extreme("multi:softprob", three, num_class=3), {}
    yield "xgb_regressor", xgboost.XGBRegressor(**settings).fit(data, fare), {}
    yield "xgb_classifier", xgboost.XGBClassifier(**settings).fit(data, three), {}


def answer(values) -> dict:
    values = np.asarray(values)
    if values.ndim == 1:
        return {"value": values}
    return {f"p{place}": values[:, place] for place in range(values.shape[1])}


def write(out: Path) -> None:
    train, rows = zoo.table(0, zoo.TRAINING_ROWS), zoo.table(1, zoo.ROWS)
    data = rows[zoo.GAPPY].astype("float64")
    for name, model, more in boosters(train):
        flavor = mlflow.xgboost if name.startswith("xgb") else mlflow.lightgbm
        own = model.predict(xgboost.DMatrix(data)) if isinstance(model, xgboost.Booster) else model.predict(data)
        signature = infer_signature(data[:100], own[:100])
        flavor.save_model(model, str(out / name), signature=signature, pip_requirements=["mlflow"], **more)
        said = mlflow.pyfunc.load_model(str(out / name)).predict(data)
        columns = {"row_id": rows["row_id"].to_numpy(), **answer(said)}
        pa.parquet.write_table(pa.table(columns), out / f"{name}.expected.parquet")
    estimator = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(data[:500], zoo.places(rows["fare_amount"])[:500])
    mlflow.lightgbm.save_model(estimator, str(out / "lgb_estimator"), pip_requirements=["mlflow"], serialization_format="cloudpickle")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    out = parser.parse_args().out
    begun = time.monotonic()
    sources = [Path(source) for source in (__file__, zoo.__file__, trips.__file__)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about integers that cannot be missing
        made = trips.make_folder(out, sources, {}, write)
    print(f"flavours: {'made' if made else 'there already'} in {time.monotonic() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
