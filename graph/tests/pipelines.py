"""Pipelines over columns of texts, whole numbers, floats and doubles, for `parity.py`: what scikit-learn's converters make of
encoders, scalers, imputers and discretizers before a model, on rows with categories that no one knows, empty texts, texts that
are not ASCII, gaps, infinities and values at thresholds."""

import lightgbm
import numpy as np
import pandas
import parity as kit
import xgboost
from onnx import helper
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common import data_types
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes
from sklearn import decomposition, ensemble, linear_model, preprocessing, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

OPSET = {"": 15, "ai.onnx.ml": 3}
CITIES = ["Zürich", "Paris", "", "東京", "São Paulo", "Nice", "a city whose name is longer than most", "nice", "Ni", "Nizza"]
KINDS = ["car", "bus", "tram"]
STRANGERS = ["Atlantis", "zürich", "Zürich ", " ", "car ", "é", "e\u0301", "a city whose name is longer than mosT", "x" * 300]

options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
update_registered_converter(lightgbm.LGBMClassifier, "Lgbm", calculate_linear_classifier_output_shapes, convert_lightgbm, options=options)
update_registered_converter(lightgbm.LGBMRegressor, "LgbmR", calculate_linear_regressor_output_shapes, convert_lightgbm, options={"split": None})
update_registered_converter(xgboost.XGBClassifier, "Xgb", calculate_linear_classifier_output_shapes, convert_xgboost, options=options)


def frame(rows: int, seed: int, hard: bool) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    numbers = {name: rng.normal(0, 10, rows).astype(np.float32) for name in ("x", "y", "z")}
    numbers["y"] = np.round(numbers["y"])
    columns = {
        "city": rng.choice(np.array(CITIES, dtype=object), rows, p=np.arange(1, 11) / 55),
        "kind": rng.choice(np.array(KINDS, dtype=object), rows),
        "count": rng.integers(-3, 9, rows),
        "code": rng.choice(np.array([7, 1 << 40, -5, 1_000_003]), rows),
        "hour": rng.integers(0, 24, rows).astype(np.int32),
        **numbers,
    }
    if hard:
        for name in ("city", "kind"):
            strange = rng.random(rows) < 0.15
            columns[name][strange] = rng.choice(np.array(STRANGERS, dtype=object), rows)[strange]
        columns["count"] = np.where(rng.random(rows) < 0.1, rng.choice([100, -(2**63), 2**63 - 1, 2**24 + 1], rows), columns["count"])
        columns["code"] = np.where(rng.random(rows) < 0.1, rng.integers(-(2**62), 2**62, rows), columns["code"])
        for name in ("x", "y", "z"):
            worst = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38, -3e38], dtype=np.float32)
            odd = rng.random(rows) < 0.05
            columns[name][odd] = rng.choice(worst, rows)[odd]
    return pandas.DataFrame(columns)


def targets(data: pandas.DataFrame) -> np.ndarray:
    effect = {city: place * 1.7 - 8 for place, city in enumerate(CITIES)}
    signal = data.city.map(effect) + data.x / 3 + np.abs(data.y) / 4 + 4 * (data.kind == "bus") + (data["count"] > 3) * 3
    return (signal + np.random.default_rng(2).normal(0, 1, len(data))).to_numpy()


TYPES = {
    "city": data_types.StringTensorType,
    "kind": data_types.StringTensorType,
    "count": data_types.Int64TensorType,
    "code": data_types.Int64TensorType,
    "hour": data_types.Int32TensorType,
    "x": data_types.FloatTensorType,
    "y": data_types.FloatTensorType,
    "z": data_types.FloatTensorType,
}
ARRAYS = {"StringTensorType": object, "Int64TensorType": np.int64, "Int32TensorType": np.int32, "FloatTensorType": np.float32, "DoubleTensorType": np.float64}


def one_hot(**settings):
    return preprocessing.OneHotEncoder(**{"handle_unknown": "ignore", **settings})


def ordinal(**settings):
    return preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", **{"unknown_value": -1, **settings})


def columns(*parts, **settings):
    return ColumnTransformer([(str(place), *part) for place, part in enumerate(parts)], **settings)


def filled(text: str = "missing", strategy: str = "constant"):
    return SimpleImputer(strategy=strategy, fill_value=text if strategy == "constant" else None, missing_values="")


TEXTS, NUMBERS = ["city", "kind"], ["x", "y", "z"]


def pipelines():
    """(name, pipeline, target: number, two or words, what is hard about the rows, options)"""
    scale, logistic = preprocessing.StandardScaler, linear_model.LogisticRegression
    boosting = dict(n_estimators=30, random_state=1)
    light = dict(n_estimators=30, num_leaves=31, verbose=-1, n_jobs=1, random_state=1)
    both = columns((one_hot(), TEXTS), (scale(), NUMBERS))
    yield "one-hot, scaler, logistic", make_pipeline(both, logistic()), "two", "gaps", {}
    yield "the same, words, no zipmap", make_pipeline(both, logistic()), "words", "gaps", {"zipmap": False}
    yield "the same, four", make_pipeline(both, logistic()), "four", "gaps", {"zipmap": False}
    yield "the same, columns of a zipmap", make_pipeline(both, logistic()), "four", "gaps", {"zipmap": "columns"}
    yield "the same, raw scores", make_pipeline(both, logistic()), "two", "gaps", {"zipmap": False, "raw_scores": True}
    yield "one-hot, drop first, ridge", make_pipeline(columns((one_hot(drop="first"), TEXTS), (scale(), NUMBERS)), linear_model.Ridge()), "number", "gaps", {}
    drop = columns((one_hot(drop="if_binary", handle_unknown="error"), ["kind"]), (scale(), NUMBERS))
    yield "one-hot, drop if binary, known only", make_pipeline(drop, linear_model.LinearRegression()), "number", "known", {}
    yield "one-hot, known only, lasso", make_pipeline(columns((one_hot(handle_unknown="error"), TEXTS)), linear_model.Lasso(alpha=0.01)), "number", "known", {}
    imputed = make_pipeline(filled(), one_hot())
    frequent = make_pipeline(filled(strategy="most_frequent"), one_hot())
    numbers = make_pipeline(SimpleImputer(), scale())
    yield "texts and numbers imputed", make_pipeline(columns((imputed, ["city"]), (numbers, NUMBERS)), logistic()), "two", "gaps", {"zipmap": False}
    yield "the most frequent text", make_pipeline(columns((frequent, ["city"]), (numbers, NUMBERS)), linear_model.Ridge()), "number", "gaps", {}
    chain = make_pipeline(filled("Paris"), ordinal())
    yield "imputed, ordinal, forest", make_pipeline(columns((chain, ["city"]), (SimpleImputer(strategy="median"), NUMBERS)), ensemble.RandomForestRegressor(10, max_leaf_nodes=500, random_state=1)), "number", "gaps", {}
    mixed = columns((one_hot(), ["city", "count"]), (one_hot(), ["code"]), (scale(), ["x", "hour"]))
    yield "one-hot of whole numbers", make_pipeline(mixed, logistic()), "words", "gaps", {"zipmap": False}
    yield "ordinal, boosting", make_pipeline(columns((ordinal(), TEXTS), (SimpleImputer(), NUMBERS), remainder="passthrough"), ensemble.GradientBoostingRegressor(**boosting)), "number", "gaps", {}
    yield "ordinal with NaN, LightGBM", make_pipeline(columns((ordinal(unknown_value=np.nan), TEXTS), ("passthrough", NUMBERS)), lightgbm.LGBMRegressor(**light)), "number", "gaps", {}
    yield "ordinal of whole numbers, tree", make_pipeline(columns((ordinal(), ["count", "code"]), ("passthrough", ["y"])), tree.DecisionTreeClassifier(max_depth=8)), "four", "", {"zipmap": False}
    yield "one-hot, GradientBoosting", make_pipeline(both, ensemble.GradientBoostingClassifier(**boosting)), "two", "", {"zipmap": False}
    yield "one-hot, forest, words", make_pipeline(both, ensemble.RandomForestClassifier(10, max_depth=7, random_state=1)), "words", "", {}
    yield "one-hot, LightGBM", make_pipeline(both, lightgbm.LGBMClassifier(**light)), "two", "gaps", {"zipmap": False}
    yield "one-hot, LightGBM, four", make_pipeline(both, lightgbm.LGBMClassifier(**light)), "four", "gaps", {"zipmap": False}
    yield "ordinal, LightGBM regression", make_pipeline(columns((ordinal(), TEXTS), ("passthrough", [*NUMBERS, "count", "hour"])), lightgbm.LGBMRegressor(**light)), "number", "gaps", {}
    yield "one-hot, XGBoost", make_pipeline(both, xgboost.XGBClassifier(n_estimators=20, max_depth=5, n_jobs=1, random_state=1)), "two", "gaps", {"zipmap": False}
    bins = preprocessing.KBinsDiscretizer(5, encode="ordinal")
    dense = preprocessing.KBinsDiscretizer(4, encode="onehot-dense")
    yield "bins, ridge", make_pipeline(columns((bins, NUMBERS), (one_hot(), TEXTS)), linear_model.Ridge()), "number", "gaps", {}
    yield "one-hot bins, logistic", make_pipeline(columns((dense, NUMBERS), (one_hot(), TEXTS)), logistic()), "two", "", {"zipmap": False}
    yield "min-max, clipped", make_pipeline(columns((preprocessing.MinMaxScaler(clip=True), NUMBERS), (one_hot(), TEXTS)), linear_model.Ridge()), "number", "gaps", {}
    yield "robust, max-abs, binarizer", make_pipeline(columns((preprocessing.RobustScaler(), ["x"]), (preprocessing.MaxAbsScaler(), ["y"]), (preprocessing.Binarizer(threshold=0.3), ["z"]), (one_hot(), TEXTS)), logistic()), "two", "", {"zipmap": False}
    yield "polynomial, ridge", make_pipeline(columns((make_pipeline(scale(), preprocessing.PolynomialFeatures(3)), NUMBERS), (one_hot(), TEXTS)), linear_model.Ridge()), "number", "mild", {}
    yield "polynomial without bias", make_pipeline(columns((preprocessing.PolynomialFeatures(2, interaction_only=True, include_bias=False), NUMBERS)), scale(), linear_model.Ridge()), "number", "mild", {}
    yield "power, ridge", make_pipeline(columns((preprocessing.PowerTransformer(), ["x", "y"]), (one_hot(), TEXTS)), linear_model.Ridge()), "number", "mild", {}
    yield "normalised by the largest", make_pipeline(columns((preprocessing.Normalizer("max"), NUMBERS), (one_hot(), TEXTS)), linear_model.Ridge()), "number", "mild", {}
    yield "one-hot, SVD, logistic", make_pipeline(both, decomposition.TruncatedSVD(4, random_state=1), logistic()), "two", "mild", {"zipmap": False}
    yield "one-hot, PCA, ridge", make_pipeline(columns((one_hot(sparse_output=False), TEXTS), (scale(), NUMBERS)), decomposition.PCA(3), linear_model.Ridge()), "number", "mild", {}
    yield "SGD, squared hinge", make_pipeline(both, linear_model.SGDClassifier(random_state=1)), "two", "mild", {"zipmap": False}
    yield "whole numbers, logistic", make_pipeline(columns(("passthrough", ["count", "hour"])), logistic()), "two", "", {"zipmap": False}
    yield "whole numbers, scaler, trees", make_pipeline(columns((scale(), ["count"]), (scale(), ["code"])), ensemble.RandomForestRegressor(5, max_depth=6, random_state=1)), "number", "", {}


def double_pipelines():
    """The same with all numbers doubles."""
    scale, logistic = preprocessing.StandardScaler, linear_model.LogisticRegression
    both = columns((one_hot(), TEXTS), (scale(), NUMBERS))
    yield "scaler, ridge", make_pipeline(both, linear_model.Ridge()), "number", "mild", {}
    yield "scaler, logistic", make_pipeline(both, logistic()), "two", "mild", {"zipmap": False}
    yield "min-max, lasso", make_pipeline(columns((preprocessing.MinMaxScaler(clip=True), NUMBERS), (one_hot(), TEXTS)), linear_model.Lasso(alpha=0.01)), "number", "mild", {}
    yield "boosting", make_pipeline(both, ensemble.GradientBoostingRegressor(n_estimators=20, random_state=1)), "number", "", {}
    yield "forest, large", make_pipeline(columns(("passthrough", NUMBERS)), ensemble.RandomForestRegressor(5, max_leaf_nodes=700, random_state=1)), "number", "", {}
    yield "a tree of classes", make_pipeline(columns(("passthrough", NUMBERS)), tree.DecisionTreeClassifier(max_depth=9)), "four", "", {"zipmap": False}
    yield "binarizer, ridge", make_pipeline(columns((preprocessing.Binarizer(threshold=0.3), NUMBERS)), linear_model.Ridge()), "number", "mild", {}
    yield "PCA, ridge", make_pipeline(columns((scale(), NUMBERS)), decomposition.PCA(2), linear_model.Ridge()), "number", "mild", {}


def converted(pipeline, names: list[str], settings: dict, double: bool):
    types = []
    for name in names:
        kind = TYPES[name]
        if double and kind is data_types.FloatTensorType:
            kind = data_types.DoubleTensorType
        types.append((name, kind([None, 1])))
    chosen = {id(pipeline.steps[-1][1]): settings} if settings else None
    model = convert_sklearn(pipeline, initial_types=types, target_opset=OPSET, options=chosen)
    for output in model.graph.output if double else []:  # whose types the converter gets wrong
        output.CopyFrom(helper.make_empty_tensor_value_info(output.name))
    return model, {name: ARRAYS[type(kind).__name__] for name, kind in types}


def check_one(parity: kit.Parity, case, double: bool) -> None:
    name, pipeline, target, hardness, settings = case
    name = f"{'doubles: ' if double else ''}{name}"
    known = frame(4_000, 1, hard=False)
    signal = targets(known)
    goals = {"number": signal, "two": (signal > 0).astype(int), "four": np.digitize(signal, [-4, 0, 5])}
    goals["words"] = np.array(["nein", "ja"], dtype=object)[goals["two"]]
    used = [column for _, _, part in pipeline.steps[0][1].transformers for column in part]
    if pipeline.steps[0][1].remainder == "passthrough":
        used = list(known.columns)
    names = [column for column in known.columns if column in used]
    known = known[names]
    if double:
        floats = {column: np.float64 for column in names if column in NUMBERS}
        known = known.astype(floats)
    pipeline.fit(known, goals[target])
    model, arrays = converted(pipeline, names, settings, double)
    rows = frame(kit.ROWS, 7, hard=hardness not in ("known", "mild"))
    if hardness == "mild":
        strange = frame(kit.ROWS, 7, hard=True)
        rows[["city", "kind"]] = strange[["city", "kind"]]
    for column in NUMBERS:
        at = np.random.default_rng(3).random(kit.ROWS)
        if hardness == "gaps":
            rows.loc[at < 0.08, column] = np.nan
        edges = known[column] if column in names else known.iloc[:, 0]
        if hardness != "mild" and column in names:
            rows.loc[at > 0.7, column] = np.random.default_rng(4).choice(edges.to_numpy(), kit.ROWS)[at > 0.7]
    if double:
        rows[NUMBERS] = rows[NUMBERS].astype(np.float64)
        for place, column in enumerate(NUMBERS):
            near = np.random.default_rng(5 + place).integers(-2, 3, kit.ROWS)
            rows[column] += near * np.spacing(np.abs(rows[column].to_numpy())) * 3
        for floats in kit.thresholds(model).values() if hardness == "" else []:
            at = np.random.default_rng(6).random(kit.ROWS) < 0.1
            picked = np.random.default_rng(8).choice(floats, kit.ROWS).astype(np.float64)
            rows.loc[at, "x"] = np.nextafter(picked, np.random.default_rng(9).choice([-np.inf, np.inf], kit.ROWS))[at]
    feeds = {column: rows[[column]].to_numpy().astype(kind) for column, kind in arrays.items()}
    parity.feeds(name, model, feeds)


def check(parity: kit.Parity) -> None:
    for double, cases in ((False, pipelines()), (True, double_pipelines())):
        for case in cases:
            try:
                check_one(parity, case, double)
            except Exception as error:  # what is not converted, or not run, is no parity to check
                parity.failed.append(case[0])
                print(f"{case[0]:34} FAILED {type(error).__name__}: {' '.join(str(error).split())[:160]}")
