"""Models that are bound to aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow

from whimbrel._error import Error
from whimbrel._quote import identifier, literal, options
from whimbrel._values import from_pandas, statements

if TYPE_CHECKING:
    from whimbrel._connection import Connection
    from whimbrel._result import Result


class Model:
    """A binding of a pool."""

    def __init__(self, connection: Connection, alias: str) -> None:
        self._connection = connection
        self.alias = alias

    def __repr__(self) -> str:
        return f"Model({self.alias!r})"

    @property
    def info(self) -> dict[str, Any]:
        """Digest, generation, runtime, inputs, type: what `information_schema.models` has of it now."""
        rows = self._connection.sql(f"SELECT * FROM information_schema.models WHERE alias = {literal(self.alias)}").to_rows()
        if not rows:
            raise Error("not_found", f"no model is bound to the alias '{self.alias}'", "bind one with bind_model(alias, uri)")
        return rows[0]

    def describe(self) -> Result:
        """Inputs, outputs, options, and notes on how the model was understood."""
        return self._connection.sql(f"DESCRIBE MODEL {identifier(self.alias)}")

    def check(self, table: str, sample: int | None = None) -> Result:
        """Scores some rows of a table and reports what feeds what, what is lost, and how fast it is."""
        rows = "" if sample is None else f" SAMPLE {int(sample)}"
        return self._connection.sql(f"CHECK MODEL {identifier(self.alias)} ON {identifier(table)}{rows}")

    def predict(self, frame: Any) -> Any:
        """The predictions for the rows of a `pandas.DataFrame`, as a `pandas.Series` with its index.

        The rows travel inside SQL statements, so this is for some thousands of rows; larger data belongs into files.
        """
        table, index = from_pandas(frame)
        found: list[Any] = []
        for select in statements(table, f"PREDICT({literal(self.alias)}, *) AS predict"):
            found.extend(self._connection.sql(select).to_arrow().column(0).chunks)
        predictions = pyarrow.chunked_array(found, type=found[0].type if found else pyarrow.null())
        if len(predictions) != table.num_rows:
            raise Error(
                "bug", f"{table.num_rows} rows were sent to model '{self.alias}' and {len(predictions)} predictions came back", None
            )
        series = predictions.to_pandas()
        series.index, series.name = index, "predict"
        return series

    def unbind(self) -> None:
        """Removes the binding."""
        self._connection.execute(f"DROP MODEL {identifier(self.alias)}")


def create_statement(
    alias: str,
    uri: str,
    returns: str | None,
    runtime: str | None,
    columns: Mapping[str, str] | None,
    more: Mapping[str, Any] | None,
    replace: bool,
) -> str:
    """CREATE MODEL, with what `whimbrel model bind` takes."""
    said = {key: _word(value) for key, value in (more or {}).items()}
    said |= {f"map.{model_input}": column for model_input, column in (columns or {}).items()}
    if runtime:
        said["runtime"] = runtime
    create = "CREATE OR REPLACE MODEL" if replace else "CREATE MODEL"
    typed = f" RETURNS {_type(returns)}" if returns else ""
    return f"{create} {identifier(alias)} FROM {literal(uri)}{typed}{options(said)}"


def _type(text: str) -> str:
    """A type is no value that could be quoted, so what cannot stand in one is refused here."""
    if not all(letter.isalnum() or letter in " _<>(),:." for letter in text) or "options" in text.lower().split():
        raise Error("invalid", f"'{text}' is not a type", "write a type of Spark or SQL, such as float or array<double>")
    return text


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
