"""Models of every kind that people train, small ones, for `parity.py`: through their usual converters against ONNX Runtime, and
LightGBM's own text against LightGBM."""

from pathlib import Path

import lightgbm
import numpy as np
import parity as kit
import xgboost
import xgboost_files
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatInput
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn import ensemble, linear_model, preprocessing, tree
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

WIDTH = 8
OPSET = {"": 15, "ai.onnx.ml": 3}


def data(missing: bool = False):
    rng = np.random.default_rng(5)
    rows = rng.normal(0, 10, (3_000, WIDTH)).astype(np.float32)
    rows[:, 1] = np.round(rows[:, 1])
    rows[:, 2] = rng.integers(0, 6, len(rows))
    rows[rng.random(len(rows)) < 0.3, 3] = 0.0
    signal = rows[:, 0] * np.where(rows[:, 2] > 2, 1.0, -0.5) + np.abs(rows[:, 1]) + 3 * np.sin(rows[:, 4]) + rng.normal(0, 1, len(rows))
    if missing:
        rows[rng.random(rows.shape) < 0.08] = np.nan
    return rows, signal.astype(np.float64)


def classes(signal: np.ndarray, count: int) -> np.ndarray:
    return np.digitize(signal, np.quantile(signal, np.linspace(0, 1, count + 1)[1:-1]))


def sklearn_models():
    rows, signal = data()
    two, four = classes(signal, 2), classes(signal, 4)
    words = np.array(["no", "yes"])[two]
    yield "ridge, scaled", make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()).fit(rows, signal), False
    yield "lasso, min-max", make_pipeline(preprocessing.MinMaxScaler(), linear_model.Lasso(alpha=0.01)).fit(rows, signal), False
    yield "robust, max-abs", make_pipeline(preprocessing.RobustScaler(), preprocessing.MaxAbsScaler(), linear_model.LinearRegression()).fit(rows, signal), False
    yield "normalised", make_pipeline(preprocessing.Normalizer(), linear_model.LinearRegression()).fit(rows, signal), False
    yield "two targets", linear_model.LinearRegression().fit(rows, np.stack([signal, -signal / 3], axis=1)), False
    yield "logistic, words", make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(rows, words), False
    yield "logistic, four", make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()).fit(rows, four), False
    gaps, _ = data(missing=True)
    filled = make_pipeline(SimpleImputer(), preprocessing.StandardScaler(), linear_model.LogisticRegression())
    yield "logistic, imputed", filled.fit(gaps, two), True
    yield "tree", tree.DecisionTreeRegressor().fit(rows, signal), False
    yield "tree, four", tree.DecisionTreeClassifier(max_depth=7).fit(rows, four), False
    yield "tree, two targets", tree.DecisionTreeRegressor(max_depth=6).fit(rows, np.stack([signal, -signal], axis=1)), False
    yield "forest, large", ensemble.RandomForestRegressor(12, max_leaf_nodes=700, random_state=1).fit(rows, signal), False
    yield "forest, two", ensemble.RandomForestClassifier(12, max_depth=6, random_state=1).fit(rows, two), False
    yield "forest, words", ensemble.RandomForestClassifier(12, max_depth=6, random_state=1).fit(rows, words), False
    yield "extra trees, four", ensemble.ExtraTreesClassifier(12, random_state=1).fit(rows, four), False
    yield "boosting", ensemble.GradientBoostingRegressor(n_estimators=30, random_state=1).fit(rows, signal), False
    yield "boosting, two", ensemble.GradientBoostingClassifier(n_estimators=20, random_state=1).fit(rows, two), False
    yield "boosting, four", ensemble.GradientBoostingClassifier(n_estimators=10, random_state=1).fit(rows, four), False
    yield "scaled boosting", make_pipeline(preprocessing.StandardScaler(), ensemble.GradientBoostingRegressor(n_estimators=20)).fit(rows, signal), False


def lightgbm_models():
    gaps, signal = data(missing=True)
    full, _ = data()
    positive = signal - signal.min() + 0.1
    two, four = classes(signal, 2), classes(signal, 4)
    yield "regression", {"objective": "regression"}, gaps, signal, 40, {}
    yield "no missing", {"objective": "regression", "use_missing": False}, full, signal, 20, {}
    yield "zero as missing", {"objective": "regression", "zero_as_missing": True}, gaps, signal, 20, {}
    yield "binary", {"objective": "binary"}, gaps, two, 30, {}
    sure = {"learning_rate": 1.0, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 1e-9}
    yield "binary, near 0 and 1", {"objective": "binary", **sure}, full, two, 20, {}
    yield "multi-class", {"objective": "multiclass", "num_class": 4}, gaps, four, 10, {}
    yield "one against all", {"objective": "multiclassova", "num_class": 4}, full, four, 10, {}
    yield "poisson", {"objective": "poisson"}, full, positive, 20, {}
    yield "tweedie", {"objective": "tweedie"}, full, positive, 20, {}
    yield "l1", {"objective": "regression_l1"}, full, signal, 20, {}
    yield "dart", {"objective": "regression", "boosting": "dart"}, gaps, signal, 30, {}
    yield "forest", {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, full, signal, 20, {}
    yield "large trees", {"objective": "regression", "num_leaves": 400, "min_data_in_leaf": 2}, full, signal, 10, {}
    yield "one leaf", {"objective": "regression", "min_data_in_leaf": 5_000}, full, signal, 3, {}
    yield "categories", {"objective": "regression", "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 1}, full, signal, 20, {"categorical_feature": [2]}


def text_rows(booster, rng, missing: bool) -> np.ndarray:
    known = {}
    for line in booster.model_to_string().splitlines():
        if line.startswith("split_feature="):
            features = [int(value) for value in line.split("=")[1].split()]
        if line.startswith("threshold="):
            for feature, value in zip(features, line.split("=")[1].split(), strict=True):
                known.setdefault(feature, []).append(np.float32(value))
    return kit.hard_rows(rng, WIDTH, {key: np.array(values) for key, values in known.items()}, missing)


def check_lightgbm(parity: kit.Parity) -> None:
    for name, settings, rows, target, rounds, options in lightgbm_models():
        dataset = lightgbm.Dataset(rows.astype(np.float64), target, **options, free_raw_data=False)
        settings = {"verbose": -1, "num_leaves": 31, "num_threads": 1, "seed": 1, **settings}
        booster = lightgbm.train(settings, dataset, rounds)
        path = Path(parity.folder.name) / "model.txt"
        booster.save_model(path)
        hard = text_rows(booster, np.random.default_rng(3), missing=True)
        if options:  # what is no small whole number is no category
            hard[:, 2] = np.random.default_rng(4).choice([0, 1, 2, 3, 4, 5, 6, 40, 2.5, -0.5, -1, np.nan], len(hard))
        with np.errstate(all="ignore"):
            answer = np.asarray(booster.predict(hard.astype(np.float64)), dtype=np.float64).reshape(len(hard), -1)
        # Sums of both signs may cancel out; what is positive keeps its digits however small it is.
        least = 1.0 if settings["objective"].startswith("regression") else 1e-37
        parity.compare(f"text: {name}", path, hard, {"prediction": answer.astype(np.float32)}, least=least)
        if options or name in ("zero as missing", "one leaf"):
            continue
        try:
            model = convert_lightgbm(booster, initial_types=[("features", FloatInput([None, WIDTH]))], target_opset=15, zipmap=False)
        except Exception as error:  # the converter knows less than LightGBM
            print(f"lightgbm: {name}: not converted: {str(error)[:70]}")
            continue
        parity.onnx(f"lightgbm: {name}", model, missing=True)


def check_xgboost(parity: kit.Parity) -> None:
    gaps, signal = data(missing=True)
    two, four = classes(signal, 2), classes(signal, 4)
    common = {"n_estimators": 25, "max_depth": 5, "random_state": 1, "n_jobs": 1}
    kinds = [
        ("regression", xgboost.XGBRegressor(**common), signal),
        ("exact", xgboost.XGBRegressor(**common, tree_method="exact"), signal),
        ("deep", xgboost.XGBRegressor(**{**common, "max_depth": 9}), signal),
        ("dart", xgboost.XGBRegressor(**common, booster="dart", rate_drop=0.2), signal),
        ("poisson", xgboost.XGBRegressor(**common, objective="count:poisson"), signal - signal.min()),
        ("binary", xgboost.XGBClassifier(**common), two),
        ("multi-class", xgboost.XGBClassifier(**common), four),
        ("forest", xgboost.XGBRFRegressor(**common), signal),
    ]
    for name, estimator, target in kinds:
        estimator.fit(gaps, target)
        try:
            model = convert_xgboost(estimator, initial_types=[("features", FloatInput([None, WIDTH]))], target_opset=15)
        except Exception as error:
            print(f"xgboost: {name}: not converted: {str(error)[:70]}")
            continue
        parity.onnx(f"xgboost: {name}", model, missing=True)


def check(parity: kit.Parity) -> None:
    for name, estimator, missing in sklearn_models():
        model = convert_sklearn(estimator, initial_types=[("features", FloatTensorType([None, WIDTH]))], target_opset=OPSET)
        rows = None
        if not kit.thresholds(model):
            rows = np.random.default_rng(9).normal(0, 10, (kit.ROWS, WIDTH)).astype(np.float32)
            if missing:
                rows[np.random.default_rng(8).random(rows.shape) < 0.1] = np.nan
        parity.onnx(f"sklearn: {name}", model, missing=False, rows=rows)
    check_lightgbm(parity)
    check_xgboost(parity)
    xgboost_files.check(parity)
