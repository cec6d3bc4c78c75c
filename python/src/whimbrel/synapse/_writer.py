"""`df.write`: the rows of a frame, written by a score job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from whimbrel._error import Error
from whimbrel._job import Job

if TYPE_CHECKING:
    from whimbrel.synapse._frame import DataFrame

MODES = {"error": "error", "errorifexists": "error", "default": "error", "append": "append", "overwrite": "overwrite"}
OPTIONS = {
    "compression": "compression",
    "header": "header",
    "sep": "delimiter",
    "delimiter": "delimiter",
    "on_error": "on_error",
    "max_errors": "max_errors",
    "key": "key",
    "priority": "priority",
    "row_group_rows": "row_group_rows",
}


class DataFrameWriter:
    """What is said of the output before it is named."""

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame
        self._format = "parquet"
        self._mode = "error"
        self._wishes: dict[str, Any] = {}

    def mode(self, name: str) -> DataFrameWriter:
        """error, append or overwrite."""
        if name.lower() not in MODES:
            raise Error("invalid", f"'{name}' is no mode", "there are error, append and overwrite")
        self._mode = MODES[name.lower()]
        return self

    def format(self, name: str) -> DataFrameWriter:
        """parquet, csv, json or arrow."""
        self._format = name.lower()
        return self

    def option(self, key: str, value: Any) -> DataFrameWriter:
        """One of Spark's options, or of a score job's."""
        if key.lower() not in OPTIONS:
            raise Error("invalid", f"option '{key}' is not supported", f"there are {', '.join(OPTIONS)}")
        self._wishes[OPTIONS[key.lower()]] = value
        return self

    def options(self, **pairs: Any) -> DataFrameWriter:
        """Several of them."""
        for key, value in pairs.items():
            self.option(key, value)
        return self

    def parquet(self, path: str, mode: str | None = None) -> Job:
        """Writes Parquet files."""
        return self.save(path, "parquet", mode)

    def csv(self, path: str, mode: str | None = None, **pairs: Any) -> Job:
        """Writes CSV files; without a line of names unless `header` asks for it, as Spark does."""
        return self.options(**pairs).save(path, "csv", mode)

    def json(self, path: str, mode: str | None = None) -> Job:
        """Writes files of one JSON object a line."""
        return self.save(path, "json", mode)

    def save(self, path: str, format: str | None = None, mode: str | None = None) -> Job:
        """Writes the rows and waits until they are there; a job that fails is an error."""
        if format is not None:
            self.format(format)
        if mode is not None:
            self.mode(mode)
        if self._format == "csv":
            self._wishes.setdefault("header", False)
        frame = self._frame
        job = frame._session.connection.score(sql=frame.sql_text, output=path, mode=self._mode, format=self._format, **self._wishes)
        job.wait()
        return job

    def partitionBy(self, *_: str) -> NoReturn:
        """A score job writes one folder."""
        raise Error("invalid", "partitionBy is not supported", "write one job for each part")

    def saveAsTable(self, *_: Any, **__: Any) -> NoReturn:
        """A score job writes files."""
        raise Error("invalid", "saveAsTable is not supported", "write to a folder, and name it with CREATE EXTERNAL TABLE")
