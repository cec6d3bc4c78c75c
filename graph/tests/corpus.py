"""Makes the small models that `fuzz.rs` begins with, one of each kind that the readers know:

    python graph/tests/corpus.py graph/tests/corpus
"""

import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas
import xgboost
from onnx import TensorProto, checker, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as FloatInput
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn import ensemble, linear_model, preprocessing
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

WIDTH = 4
OPSET = {"": 15, "ai.onnx.ml": 3}


def data():
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 10, (400, WIDTH)).astype(np.float32)
    rows[:, 2] = rng.integers(0, 6, len(rows))
    gaps = np.where(rng.random(rows.shape) < 0.1, np.nan, rows)
    target = rows[:, 0] + 5 * np.sin(rows[:, 1]) + 3 * (rows[:, 2] > 2)
    return rows, gaps, target


def classes(target, count: int):
    return np.digitize(target, np.quantile(target, np.linspace(0, 1, count + 1)[1:-1]))


def onnx_models():
    rows, gaps, target = data()
    two, three = classes(target, 2), classes(target, 3)
    words = np.array(["no", "yes"])[two]
    scaled = make_pipeline(SimpleImputer(), preprocessing.StandardScaler(), linear_model.LogisticRegression())
    inputs = [("x", FloatTensorType([None, WIDTH]))]
    for name, estimator in [
        ("imputed", scaled.fit(gaps, words)),
        ("ridge", make_pipeline(preprocessing.Normalizer(), linear_model.Ridge()).fit(rows, target)),
        ("logistic", linear_model.LogisticRegression().fit(rows, three)),
        ("forest", ensemble.RandomForestRegressor(3, max_leaf_nodes=9, random_state=1).fit(rows, target)),
        ("classes", ensemble.RandomForestClassifier(3, max_leaf_nodes=9, random_state=1).fit(rows, three)),
        ("boosting", ensemble.GradientBoostingClassifier(n_estimators=3, max_depth=2).fit(rows, two)),
    ]:
        yield name, convert_sklearn(estimator, initial_types=inputs, target_opset=OPSET)
    inputs = [("x", FloatInput([None, WIDTH]))]
    booster = xgboost.XGBClassifier(n_estimators=3, max_depth=3, n_jobs=1).fit(gaps, two)
    yield "xgboost", convert_xgboost(booster, initial_types=inputs, target_opset=15)
    settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 5, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(gaps, three), 2)
    yield "lightgbm", convert_lightgbm(booster, initial_types=inputs, target_opset=15)
    yield "sets", fifth()


def typed_models():
    """Over columns of texts, whole numbers and doubles."""
    rng = np.random.default_rng(1)
    texts, ints = rng.choice(["a", "blue", "green", ""], 300), rng.integers(0, 6, 300)
    rows = pandas.DataFrame({"t": texts, "n": rng.normal(0, 9, 300).astype(np.float32), "i": ints})
    target = (rows.n + rows.i + 5 * (rows.t == "a")).values
    inputs = [("t", StringTensorType([None, 1])), ("n", FloatTensorType([None, 1])), ("i", Int64TensorType([None, 1]))]

    def encoded(unknown: str):
        encoder = preprocessing.OneHotEncoder(handle_unknown=unknown)
        return ColumnTransformer([("e", encoder, ["t", "i"]), ("s", preprocessing.StandardScaler(), ["n"])])

    forest = ensemble.RandomForestRegressor(3, max_leaf_nodes=9, random_state=1)
    ordinal = preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    wide = rng.normal(5, 3, (300, WIDTH))
    logistic = make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    for name, estimator, given in [
        ("typed_ridge", make_pipeline(encoded("ignore"), linear_model.Ridge()).fit(rows, target), inputs),
        ("typed_forest", make_pipeline(encoded("error"), forest).fit(rows, target), inputs),
        ("typed_ordinal", make_pipeline(ordinal, ensemble.GradientBoostingRegressor(n_estimators=3)).fit(rows[["t"]], target), inputs[:1]),
        ("typed_doubles", logistic.fit(wide, wide[:, 0] > 5), [("x", DoubleTensorType([None, WIDTH]))]),
    ]:
        yield name, convert_sklearn(estimator, initial_types=given, target_opset=OPSET)


def fifth():
    tensor = numpy_helper.from_array
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=2, aggregate_function=1, post_transform=0, tree_roots=[0],
        nodes_modes=tensor(np.array([0, 6, 4], dtype=np.uint8)), nodes_featureids=[0, 2, 1],
        nodes_splits=tensor(np.array([1.5, 0, 3], dtype=np.float32)),
        membership_values=tensor(np.array([1, 3, 5, np.nan], dtype=np.float32)),
        nodes_truenodeids=[1, 0, 2], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[2, 1, 3], nodes_falseleafs=[0, 1, 1],
        nodes_missing_value_tracks_true=[1, 0, 0], leaf_targetids=[0, 1, 0, 1], leaf_weights=tensor(np.array([1, 2, 3, 4], dtype=np.float32)),
    )  # fmt: skip
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)])
    checker.check_model(model)
    return model


def lightgbm_models():
    rows, gaps, target = data()
    plain = {"num_leaves": 6, "verbose": -1, "num_threads": 1, "min_data_per_group": 5, "max_cat_to_onehot": 1}
    for name, settings, values, wanted, options in [
        ("regression", {"objective": "regression"}, gaps, target, {}),
        ("classes", {"objective": "multiclass", "num_class": 3}, rows, classes(target, 3), {}),
        ("categories", {"objective": "regression"}, rows, target, {"categorical_feature": [2]}),
        ("zeros", {"objective": "binary", "zero_as_missing": True}, gaps, classes(target, 2), {}),
        ("forest", {"objective": "poisson", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, rows, target - target.min() + 0.1, {}),
    ]:
        yield name, lightgbm.train({**plain, **settings}, lightgbm.Dataset(values.astype(np.float64), wanted, **options), 3)


def xgboost_models():
    rows, gaps, target = data()
    two, three = classes(target, 2), classes(target, 3)
    sets = {"feature_types": ["q", "q", "c", "q"], "enable_categorical": True}
    both = np.stack([target, -target], axis=1)
    squared = {"objective": "reg:squarederror"}
    for name, settings, values, wanted, options in [
        ("regression", squared, gaps, target, {"feature_names": ["one", "two", 'with "quotes"', "ünï"]}),
        ("classes", {"objective": "multi:softprob", "num_class": 3}, gaps, three, {}),
        ("categories", {**squared, "max_cat_to_onehot": 1}, rows, target, sets),
        ("dart", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, gaps, two, {}),
        ("vectors", {**squared, "multi_strategy": "multi_output_tree"}, gaps, both, {}),
        ("linear", {"objective": "count:poisson", "booster": "gblinear"}, rows, target - target.min() + 0.1, {}),
    ]:
        matrix = xgboost.DMatrix(values, wanted, **options)
        yield name, xgboost.train({"max_depth": 3, "nthread": 1, "seed": 1, **settings}, matrix, 3)
    estimator = xgboost.XGBClassifier(n_estimators=9, max_depth=2, learning_rate=1.0, n_jobs=1, early_stopping_rounds=1)
    yield "estimator", estimator.fit(gaps[:200], two[:200], eval_set=[(gaps[200:], two[200:])], verbose=False)


def main() -> None:
    folder = Path(sys.argv[1])
    for name, model in [*onnx_models(), *typed_models()]:
        model.doc_string = model.graph.doc_string = ""
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, booster in lightgbm_models():
        text = booster.model_to_string()
        end = text.index("end of trees\n") + len("end of trees\n")
        (folder / f"{name}.lgb").write_text(text[:end])
    for name, model in xgboost_models():
        for ending in ("json", "ubj"):
            model.save_model(folder / f"{name}.{ending}")


if __name__ == "__main__":
    main()
