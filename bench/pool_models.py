"""Models that only the bench of pools has: one of a hundred features, and one of a thousand trees."""

import json
import sys
from pathlib import Path

import inputs
import numpy as np
from words import say

sys.path.insert(0, str(Path(__file__).parent.parent / "tools/demo"))
import models  # noqa: E402
import trips  # noqa: E402

TRAINING_ROWS = 100_000


def folder(dev: Path) -> Path:
    return dev / "bench-models"


def boosted(rows: np.ndarray, goal: np.ndarray, features: list[str], trees: int):
    from lightgbm import LGBMRegressor
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    settings = {"num_leaves": 31, "learning_rate": 0.05, "random_state": 1, "deterministic": True, "force_row_wise": True}
    # Threads that wait for each other on busy cores take many times as long.
    estimator = LGBMRegressor(n_estimators=trees, n_jobs=1, verbose=-1, **settings).fit(rows, goal)
    model = convert_lightgbm(estimator, initial_types=[("features", FloatTensorType([None, len(features)]))], target_opset=15)
    model.ir_version = models.IR_VERSION
    entry = model.metadata_props.add()
    entry.key, entry.value = "feature_names", json.dumps(features)
    return model


def wide():
    rows = inputs.wide_rows(0, TRAINING_ROWS)
    weights = np.cos(np.arange(rows.shape[1]))
    return boosted(rows, rows @ weights + rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]), inputs.WIDE, 200)


def many_trees():
    return boosted(*models.training_data(TRAINING_ROWS), trips.FEATURES, 1_000)


def write(out: Path) -> None:
    for make in (wide, many_trees):
        (out / f"{make.__name__}.onnx").write_bytes(make().SerializeToString(deterministic=True))


def made(dev: Path) -> None:
    sources = [Path(source) for source in (__file__, inputs.__file__, models.__file__, trips.__file__)]
    if trips.make_folder(folder(dev), sources, {}, write):
        say(f"made models in {folder(dev)}")
