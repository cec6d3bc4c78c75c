"""`azure.synapse.ml.predict`: binding a model and the three ways to call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whimbrel._error import Error
from whimbrel._quote import literal
from whimbrel.synapse._azure import Workspace
from whimbrel.synapse._column import Column, of
from whimbrel.synapse._frame import DataFrame
from whimbrel.synapse._session import spark

REGISTRIES = ("aml://", "models:/")


class PredictModel:
    """A model and the alias that it is, or will be, bound to."""

    def __init__(
        self,
        return_types: str,
        runtime: str,
        model_alias: str,
        model_uri: str,
        aml_workspace: Workspace | None,
        meta_data: Mapping[str, Any] | None,
    ) -> None:
        self.return_types = return_types
        self.runtime = runtime
        self.model_alias = model_alias
        self.model_uri = model_uri
        self.aml_workspace = aml_workspace
        self.meta_data = meta_data

    def __repr__(self) -> str:
        return f"PredictModel({self.model_alias!r}, {self.model_uri!r})"

    def register(self) -> PredictModel:
        """Binds the model; an alias that is bound already gets this one."""
        # An MLflow folder is known by what is in it.
        runtime = None if self.runtime.lower() == "mlflow" else self.runtime
        try:
            spark.connection.bind_model(
                self.model_alias, self._uri(), returns=self.return_types or None, runtime=runtime, options=self.meta_data, replace=True
            )
        except Error as error:
            if self.aml_workspace is not None and error.code == "not_found" and f"link '{self.aml_workspace.link}'" in error.message:
                raise self.aml_workspace.missing() from None
            raise
        return self

    def _uri(self) -> str:
        """Names the link where the model is in a registry."""
        if self.aml_workspace is None or not self.model_uri.startswith(REGISTRIES) or "?" in self.model_uri:
            return self.model_uri
        return f"{self.model_uri}?link={self.aml_workspace.link}"

    def udf(self, alias: Column | str, *columns: Column | str) -> Column:
        """The prediction for these columns: all of the frame's find the model's inputs by name, others go by their place."""
        called = alias.literal if isinstance(alias, Column) else alias
        if not isinstance(called, str):
            raise Error("invalid", "udf() takes the alias first", "write model.udf(lit('alias'), *df.columns)")
        return prediction(called, columns)

    def create_transformer(self) -> Transformer:
        """The model as a transformer of frames."""
        return Transformer(self.model_alias)

    def predict(self, frame: Any) -> Any:
        """The predictions for a `pandas.DataFrame`; see `whimbrel.Model.predict` for how large it may be."""
        return spark.connection.model(self.model_alias).predict(frame)


class Transformer:
    """Adds the prediction to a frame."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._input: list[str] | None = None
        self._output = "PREDICT"

    def setInputCols(self, columns: Sequence[str]) -> Transformer:
        """The columns that the model is fed with; all of the frame's where none are set."""
        self._input = list(columns)
        return self

    def setOutputCol(self, name: str) -> Transformer:
        """What the prediction's column is called."""
        self._output = name
        return self

    def getInputCols(self) -> list[str] | None:
        """What `setInputCols` set."""
        return self._input

    def getOutputCol(self) -> str:
        """What `setOutputCol` set."""
        return self._output

    def transform(self, frame: DataFrame) -> DataFrame:
        """The frame with the prediction."""
        columns = self._input if self._input is not None else frame.columns
        return frame.withColumn(self._output, prediction(self._alias, columns))


def prediction(alias: str, columns: Sequence[Column | str]) -> Column:
    """A call of PREDICT."""
    given = [of(column) for column in columns]

    def render(known: Sequence[str]) -> str:
        sources = [column.source for column in given]
        whole = sorted(source.casefold() for source in sources if source) == sorted(name.casefold() for name in known)
        fed = ["t.*"] if whole and None not in sources else [column.sql(known) for column in given]
        return f"PREDICT({', '.join([literal(alias), *fed])})"

    return Column(render)


def bind_model(
    return_types: str,
    runtime: str,
    model_alias: str,
    model_uri: str,
    aml_workspace: Workspace | None = None,
    meta_data: Mapping[str, Any] | None = None,
) -> PredictModel:
    """Says which model an alias means; `register()` binds it.

    `return_types` is a type of Spark, `runtime` is `mlflow` or `onnx`, `model_uri` a path, `abfss://`, `s3://`, `models:/` or `aml://`.
    `aml_workspace` says which workspace an `aml://` model is in; `meta_data` are options of the binding.
    """
    return PredictModel(return_types, runtime, model_alias, model_uri, aml_workspace, meta_data)
