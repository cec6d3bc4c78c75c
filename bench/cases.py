"""What pools are measured with: the bench's three models in every format and size, and variants, each of which shows one trait."""

from dataclasses import dataclass, field
from pathlib import Path

import pool_models

PREDICT = "predict"


@dataclass(frozen=True)
class Case:
    """A model, the rows it scores, what is asked of it, and what the floor does for the same."""

    model: str
    title: str
    rows: str = "trips"
    # What PREDICT's value is asked for.
    part: str = ""
    floor: dict = field(default_factory=dict)

    def query(self, table: str, key: str | None = None) -> str:
        kept = f"{key}, " if key else ""
        return f"SELECT {kept}PREDICT('{self.model}', *){self.part} AS {PREDICT} FROM {table}"

    def file(self, dev: Path) -> Path:
        own = pool_models.folder(dev) / f"{self.model}.onnx"
        return own if own.exists() else dev / "models" / f"{self.model}.onnx"


MODELS = [Case("linear", "linear regression"), Case("lightgbm", "LightGBM, 200 trees of 31 leaves"), Case("mlp", "MLP, 128 x 128")]
# Over Parquet, at the smallest size.
VARIANTS = [
    Case("wide", "LightGBM, 200 trees, 100 features", rows="wide"),
    Case("many_trees", "LightGBM, 1,000 trees of 31 leaves"),
    Case("columns", "texts and numbers, one-hot and scaled, linear"),
    Case(
        "classifier_zipmap",
        "logistic regression with ZipMap",
        part="['output_probability']['dear']",
        floor={"output": "output_probability", "class": "dear"},
    ),
]

