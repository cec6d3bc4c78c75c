"""XGBoost's own files against XGBoost, every kind of booster, objective and split, in both forms; a part of `parity.py`, and

    python graph/tests/xgboost_files.py --score TARGET/debug/examples/score --rows 100000

alone. Rows are as hard as there; XGBoost takes infinities only in place, so `Booster.predict` sees the rows without them and
`Booster.inplace_predict` all.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import parity as kit
import xgboost

WIDTH = 8
ROUNDS = 25
NAMES = [f"c{place}" for place in range(WIDTH)]
# Sums are XGBoost's bit for bit; sums of products and what exponentials are made into, within this, relative.
TOLERANCE = 1e-6
EXACT = {"reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror"}
EXACT |= {"binary:logitraw", "binary:hinge", "multi:softmax", "rank:pairwise", "rank:ndcg", "rank:map"}


def data(rows: int = 3_000):
    rng = np.random.default_rng(5)
    values = rng.normal(0, 10, (rows, WIDTH)).astype(np.float32)
    values[:, 1] = np.round(values[:, 1])
    values[:, 2] = rng.integers(0, 9, rows)
    values[rng.random(rows) < 0.3, 3] = 0.0
    values[:, 5] = rng.integers(0, 150, rows)
    known = rng.permutation(150)
    signal = values[:, 0] * np.where(np.isin(values[:, 2], [1, 2, 5, 8]), 1.0, -0.5) + np.abs(values[:, 1]) + 3 * np.sin(values[:, 4])
    signal = signal + known[values[:, 5].astype(int)] / 10 + rng.normal(0, 1, rows)
    values[rng.random(values.shape) < 0.08] = np.nan
    return values, signal


def classes(signal: np.ndarray, count: int) -> np.ndarray:
    return np.digitize(signal, np.quantile(signal, np.linspace(0, 1, count + 1)[1:-1]))


CATEGORIES = ["float", "float", "c", "float", "float", "c", "float", "float"]


def boosters():
    """Name, settings, target, and what else the data has."""
    _, signal = data()
    positive = signal - signal.min() + 0.1
    two, four = classes(signal, 2), classes(signal, 4)
    both = np.stack([signal, -signal / 3 + 2], axis=1)
    unit = (signal - signal.min()) / np.ptp(signal)
    groups = {"group": [30] * 100}
    category = {"feature_types": CATEGORIES}
    yield "squared error", {"objective": "reg:squarederror"}, signal, {}
    yield "exact splits", {"objective": "reg:squarederror", "tree_method": "exact"}, signal, {}
    yield "approximate splits", {"objective": "reg:squarederror", "tree_method": "approx"}, signal, {}
    yield "deep", {"objective": "reg:squarederror", "max_depth": 12}, signal, {}
    yield "by loss", {"objective": "reg:squarederror", "grow_policy": "lossguide", "max_leaves": 64, "max_depth": 0}, signal, {}
    yield "pruned", {"objective": "reg:squarederror", "gamma": 900, "tree_method": "exact"}, signal, {}
    yield "one leaf", {"objective": "reg:squarederror", "gamma": 1e9}, signal, {}
    yield "no rounds", {"objective": "reg:squarederror", "rounds": 0}, signal, {}
    for objective in ("squaredlogerror", "pseudohubererror", "absoluteerror"):
        yield objective, {"objective": f"reg:{objective}"}, positive, {}
    yield "a quantile", {"objective": "reg:quantileerror", "quantile_alpha": 0.3}, signal, {}
    yield "quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.8]}, signal, {}
    yield "probability", {"objective": "reg:logistic"}, unit, {}
    yield "logistic", {"objective": "binary:logistic"}, two, {}
    yield "logistic, base score", {"objective": "binary:logistic", "base_score": 0.123}, two, {}
    yield "logistic, steep", {"objective": "binary:logistic", "eta": 5.0, "lambda": 0.0}, two, {}
    yield "logistic, margin", {"objective": "binary:logitraw"}, two, {}
    yield "hinge", {"objective": "binary:hinge"}, two, {}
    yield "softprob", {"objective": "multi:softprob", "num_class": 4}, four, {}
    yield "softprob, base score", {"objective": "multi:softprob", "num_class": 4, "base_score": 0.5}, four, {}
    yield "softmax", {"objective": "multi:softmax", "num_class": 4}, four, {}
    yield "poisson", {"objective": "count:poisson"}, positive, {}
    yield "gamma", {"objective": "reg:gamma"}, positive, {}
    yield "tweedie", {"objective": "reg:tweedie", "base_score": 2.5}, positive, {}
    yield "cox", {"objective": "survival:cox"}, np.where(two == 1, positive, -positive), {}
    yield "aft", {"objective": "survival:aft"}, None, {"label_lower_bound": positive, "label_upper_bound": positive + two}
    for objective in ("pairwise", "ndcg", "map"):
        yield f"rank {objective}", {"objective": f"rank:{objective}"}, two, groups
    yield "dart", {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.3}, signal, {}
    yield "dart, four", {"objective": "multi:softprob", "num_class": 4, "booster": "dart", "rate_drop": 0.3, "normalize_type": "forest"}, four, {}
    forest = {"num_parallel_tree": 30, "subsample": 0.6, "colsample_bynode": 0.6, "eta": 1.0, "rounds": 1}
    yield "forest", {"objective": "reg:squarederror", "max_depth": 10, **forest}, signal, {}
    yield "forests, four", {"objective": "multi:softprob", "num_class": 4, **forest, "num_parallel_tree": 3, "rounds": 8}, four, {}
    yield "categories, one", {"objective": "reg:squarederror", "max_cat_to_onehot": 1000}, signal, category
    yield "categories, sets", {"objective": "reg:squarederror", "max_cat_to_onehot": 1, "max_cat_threshold": 200}, signal, category
    yield "categories, dart, four", {"objective": "multi:softprob", "num_class": 4, "booster": "dart", "rate_drop": 0.2}, four, category
    yield "two targets", {"objective": "reg:squarederror"}, both, {}
    yield "two labels", {"objective": "binary:logistic"}, np.stack([two, 1 - (four > 1)], axis=1), {}
    yield "vector leaves", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}, both, {}
    yield "vector leaves, four", {"objective": "multi:softprob", "num_class": 4, "multi_strategy": "multi_output_tree"}, four, {}
    yield "linear", {"objective": "reg:squarederror", "booster": "gblinear"}, signal, {}
    yield "linear, logistic", {"objective": "binary:logistic", "booster": "gblinear"}, two, {}
    yield "linear, four", {"objective": "multi:softprob", "num_class": 4, "booster": "gblinear"}, four, {}
    yield "stopped early", {"objective": "reg:squarederror", "stop": True, "eta": 1.0}, signal, {}


def train(settings: dict, target, extra: dict):
    values, _ = data()
    types = extra.get("feature_types")
    names = ["one", "two", "with space", 'with "quotes"', "ünïcode", "6", "se\tven", "back\\slash"]
    matrix = xgboost.DMatrix(values, target, feature_types=types, feature_names=names, enable_categorical=types is not None)
    if "group" in extra:
        matrix.set_group(extra["group"])
    for key in ("label_lower_bound", "label_upper_bound"):
        if key in extra:
            matrix.set_float_info(key, extra[key])
    settings = {"max_depth": 6, "nthread": 1, "seed": 1, **settings}
    rounds, stop = settings.pop("rounds", ROUNDS), settings.pop("stop", False)
    if not stop:
        return xgboost.train(settings, matrix, rounds), names
    fresh = np.random.default_rng(3)
    other = xgboost.DMatrix(fresh.permutation(values), target, feature_names=names)
    return xgboost.train(settings, matrix, rounds, evals=[(other, "other")], early_stopping_rounds=4, verbose_eval=False), names


def thresholds(booster) -> dict[int, np.ndarray]:
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    model = model.get("gbtree", model)["model"]
    if "trees" not in model:
        return {}
    parts = [[np.array(tree[key]) for key in ("left_children", "split_indices", "split_conditions")] for tree in model["trees"]]
    if not parts:
        return {}
    left, features, values = (np.concatenate(list(arrays)) for arrays in zip(*parts, strict=True))
    return {int(feature): values[(left != -1) & (features == feature)].astype(np.float32) for feature in np.unique(features[left != -1])}


def hard_rows(booster, categories: bool) -> np.ndarray:
    rng = np.random.default_rng(3)
    rows = kit.hard_rows(rng, WIDTH, thresholds(booster), missing=True)
    if categories:
        for place in (2, 5):
            odd = np.array([np.nan, -0.0, -0.5, -1e-45, -1, 0.5, 2.5, 8.999, 40, 149.5, 151, 1e6, 16777215, 16777216, 3e38, np.inf, -np.inf], np.float32)
            usual = rng.integers(0, 10 if place == 2 else 160, len(rows)).astype(np.float32)
            rows[:, place] = np.where(rng.random(len(rows)) < 0.3, rng.choice(odd, len(rows)), usual)
    return rows


def apart(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, bool]:
    """The largest differences, relative and absolute, and whether all is equal bit for bit but for zeros' signs."""
    if ours.shape != theirs.shape:
        return float("inf"), float("inf"), False
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(all="ignore"):
        distance = np.where(same, 0.0, np.abs(ours - theirs))
        # What is too small for a normal float is nothing.
        relative = np.where(distance < 1e-37, 0.0, distance / np.abs(theirs))
    return float(relative.max(initial=0.0)), float(distance.max(initial=0.0)), bool(same.all())


def report(parity: kit.Parity, name: str, path: Path, rows, answer: np.ndarray, exact: bool, linear: bool = False) -> None:
    parity.models += 1
    scored = kit.Scored(parity.score, path, rows, "best")
    if scored.refused:
        parity.failed.append(name)
        print(f"{name:44} REFUSED {scored.refused}")
        return
    ours = scored.outputs["prediction"]
    if ours.dtype.kind == "U":
        ours = ours.astype(np.int64).reshape(-1, 1)
    relative, absolute, same = apart(ours, answer.reshape(len(rows), -1))
    # A linear sum may cancel out, so that only its distance says something.
    good = same if exact else min(relative, absolute if linear else relative) <= TOLERANCE * (50 if linear else 1)
    if not good:
        parity.failed.append(name)
    result = "bit-equal" if same else f"{relative:.1e} relative, {absolute:.1e} absolute"
    print(f"{name:44} {scored.kernels:24} {result}{'' if good else ' DIFFERS'}", flush=True)


def check_boosters(parity: kit.Parity, folder: Path) -> None:
    for name, settings, target, extra in boosters():
        trained, names = train(dict(settings), target, extra)
        linear = settings.get("booster") == "gblinear"
        rows = hard_rows(trained, "feature_types" in extra)
        if linear:
            rows = np.where(np.abs(rows) > 1e4, np.float32(1.0), rows)
        usual = ~np.isinf(rows).any(axis=1) & ~(np.abs(rows) > 1e38).any(axis=1)
        for ending in ("ubj", "json"):
            path = folder / f"model.{ending}"
            trained.save_model(path)
            booster = xgboost.Booster({"nthread": 1}, model_file=path)
            types = extra.get("feature_types")
            matrix = xgboost.DMatrix(rows[usual], feature_names=names, feature_types=types, enable_categorical=types is not None)
            plain = booster.predict(matrix)
            answer, taken = plain, rows[usual]
            # In place, DART takes the base score out of every tree's sum again, and loses digits.
            if not linear and settings.get("booster") != "dart":
                answer, taken = booster.inplace_predict(rows, validate_features=False), rows
                if not np.array_equal(answer[usual], plain, equal_nan=True):
                    parity.failed.append(f"{name}: XGBoost and itself")
                    print(f"{name}: Booster.predict and inplace_predict differ by {apart(answer[usual], plain)}")
            exact = settings["objective"] in EXACT and not linear
            report(parity, f"xgboost: {name}, {ending}, {int(usual.sum())}", path, taken, answer, exact, linear)


def check_estimators(parity: kit.Parity, folder: Path) -> None:
    values, signal = data()
    two, four = classes(signal, 2), classes(signal, 4)
    common = {"n_estimators": 40, "max_depth": 4, "n_jobs": 1, "random_state": 1}
    stop = {"early_stopping_rounds": 3, "learning_rate": 0.9}
    for name, estimator, target in [
        ("regressor", xgboost.XGBRegressor(**common), signal),
        ("regressor, stopped early", xgboost.XGBRegressor(**common, **stop), signal),
        ("forest", xgboost.XGBRFRegressor(n_estimators=20, max_depth=5, n_jobs=1), signal),
        ("two classes", xgboost.XGBClassifier(**common), two),
        ("four classes", xgboost.XGBClassifier(**common), four),
        ("four classes, stopped early", xgboost.XGBClassifier(**common, **stop), four),
        ("four classes, forests", xgboost.XGBClassifier(**common, **stop, num_parallel_tree=3, subsample=0.7), four),
        ("four classes, softmax", xgboost.XGBClassifier(**common, objective="multi:softmax"), four),
        ("hinge", xgboost.XGBClassifier(**common, objective="binary:hinge"), two),
    ]:
        keywords = {}
        if estimator.get_params().get("early_stopping_rounds"):
            other = np.random.default_rng(2).permutation(values)
            keywords = {"eval_set": [(pd.DataFrame(other, columns=NAMES), target)], "verbose": False}
        frame = pd.DataFrame(values, columns=NAMES)
        estimator.fit(frame, target, **keywords)
        for ending in ("ubj", "json"):
            path = folder / f"estimator.{ending}"
            estimator.save_model(path)
            loaded = type(estimator)(n_jobs=1)
            loaded.load_model(path)
            rows = hard_rows(loaded.get_booster(), False)
            answer = loaded.predict(pd.DataFrame(rows, columns=frame.columns))
            report(parity, f"estimator: {name}, {ending}", path, rows, answer, exact=True)
            # A Booster takes all trees of the same file.
            whole = folder / f"model.{ending}"
            whole.write_bytes(path.read_bytes())
            booster = xgboost.Booster({"nthread": 1}, model_file=path)
            answer = booster.inplace_predict(rows, validate_features=False)
            report(parity, f"its booster: {name}, {ending}", whole, rows, answer, exact=False)


def check_pandas(parity: kit.Parity, folder: Path) -> None:
    """Categories with names: numbers would be their places in a list that no table has."""
    values, signal = data()
    frame = pd.DataFrame(values)
    frame[2] = pd.Categorical.from_codes(np.nan_to_num(values[:, 2], nan=-1).astype(int), [f"name {place}" for place in range(9)])
    frame.columns = NAMES
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(frame, signal, enable_categorical=True), ROUNDS)
    for ending in ("ubj", "json"):
        path = folder / f"model.{ending}"
        booster.save_model(path)
        parity.refused(f"xgboost: named categories, {ending}", path, "pandas categories")


def check(parity: kit.Parity) -> None:
    folder = Path(parity.folder.name)
    check_boosters(parity, folder)
    check_estimators(parity, folder)
    check_pandas(parity, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--score", required=True, help="the program of examples/score.rs")
    parser.add_argument("--rows", type=int, default=kit.ROWS, help="rows for each model")
    arguments = parser.parse_args()
    kit.ROWS = arguments.rows
    warnings.simplefilter("ignore")
    parity = kit.Parity(arguments.score)
    check(parity)
    print(f"{parity.models} models, {len(set(parity.failed))} that differ: {sorted(set(parity.failed))}")
    return 1 if parity.failed else 0


if __name__ == "__main__":
    sys.exit(main())
