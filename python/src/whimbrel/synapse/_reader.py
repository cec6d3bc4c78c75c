"""`spark.read`: files as frames.

Files that need no options are read as they are, `FROM 'path'`. What needs options (another delimiter, no header, given types)
becomes a table of the pool under a name of this session's own, which is dropped when the session ends: options have no place in
FROM.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from whimbrel._error import Error
from whimbrel._quote import identifier, literal, options
from whimbrel.synapse._frame import DataFrame
from whimbrel.synapse._types import sql_type

if TYPE_CHECKING:
    from whimbrel.synapse._session import SparkSession

FORMATS = ("parquet", "csv", "json", "arrow")
# Spark's names of what a table takes, in small letters.
CSV = {
    "header": "has_header",
    "sep": "delimiter",
    "delimiter": "delimiter",
    "quote": "quote",
    "escape": "escape",
    "comment": "comment",
    "multiline": "newlines_in_values",
    "nullvalue": "null_value",
    "encoding": "encoding",
    "charset": "encoding",
    "compression": "compression",
    "enforceschema": "check_header",
}
JSON = {"encoding": "encoding", "charset": "encoding", "compression": "compression"}
FLAGS = ("header", "inferschema", "multiline", "enforceschema")


class DataFrameReader:
    """What is said of the files before they are named."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._format = "parquet"
        self._options: dict[str, str] = {}
        self._schema: str | None = None

    def format(self, name: str) -> DataFrameReader:
        """parquet, csv, json or arrow."""
        self._format = name.lower()
        return self

    def option(self, key: str, value: Any) -> DataFrameReader:
        """One of Spark's options."""
        if value is not None:
            self._options[key.lower()] = str(value).lower() if isinstance(value, bool) else str(value)
        return self

    def options(self, **pairs: Any) -> DataFrameReader:
        """Several of them."""
        for key, value in pairs.items():
            self.option(key, value)
        return self

    def schema(self, text: str) -> DataFrameReader:
        """Names and types, as `id BIGINT, fare DOUBLE`."""
        if not isinstance(text, str):
            raise Error("invalid", f"the schema is a {type(text).__name__}", "write it as a text: 'id BIGINT, fare DOUBLE'")
        self._schema = text
        return self

    def csv(self, path: str | list[str], schema: str | None = None, **pairs: Any) -> DataFrame:
        """CSV files."""
        if schema is not None:
            self.schema(schema)
        return self.options(**pairs).load(path, "csv")

    def parquet(self, *paths: str, **pairs: Any) -> DataFrame:
        """Parquet files."""
        return self.options(**pairs).load(list(paths), "parquet")

    def json(self, path: str | list[str], schema: str | None = None, **pairs: Any) -> DataFrame:
        """Files of one JSON object a line."""
        if schema is not None:
            self.schema(schema)
        return self.options(**pairs).load(path, "json")

    def table(self, name: str) -> DataFrame:
        """A table of the pool."""
        return self._session.table(name)

    def load(self, path: str | list[str] | None = None, format: str | None = None, **pairs: Any) -> DataFrame:
        """Files of the format that was said."""
        if format is not None:
            self.format(format)
        self.options(**pairs)
        if self._format not in FORMATS:
            raise Error("invalid", f"'{self._format}' is no format", "there are parquet, csv, json and arrow")
        named = self._options.pop("path", None) if path is None else path
        paths = [named] if isinstance(named, str) else list(named or [])
        if not paths:
            raise Error("invalid", "no files are named", "give their path")
        frames = [self._one(path) for path in paths]
        frame = frames[0] if len(frames) == 1 else DataFrame(self._session, " UNION ALL ".join(f"({each.sql_text})" for each in frames))
        # Files that are not there are missed now, as Spark does, and not at the first use.
        _ = frame.schema
        return frame

    def _one(self, path: str) -> DataFrame:
        said, all_text = self._said()
        if not said and not all_text and self._schema is None:
            return DataFrame(self._session, f"SELECT * FROM {identifier(path)}")
        key = json.dumps([path, self._format, said, all_text, self._schema])
        if key not in self._session.files:
            self._session.files[key] = self._table(path, said, all_text)
        return self._session.files[key]

    def _said(self) -> tuple[dict[str, str], bool]:
        """The table's options, but for those that are as the pool has them anyway; and whether all columns are texts."""
        said: dict[str, str] = {}
        given = {key: self._flag(key, value) if key in FLAGS else value for key, value in self._options.items()}
        infer = given.pop("inferschema", "false" if self._format == "csv" else "true")
        if self._format == "csv":
            given.setdefault("header", "false")
        names = {"csv": CSV, "json": JSON}.get(self._format, {})
        for key, value in given.items():
            if key not in names:
                there = sorted(names) + (["inferschema"] if names is CSV else [])
                raise Error(
                    "invalid",
                    f"option '{key}' of {self._format} files is not supported",
                    f"there are {', '.join(there)}" if there else "leave it out",
                )
            said[names[key]] = _opposite(value) if key == "enforceschema" else value
        for key, usual in (
            ("has_header", "true"),
            ("delimiter", ","),
            ("quote", '"'),
            ("newlines_in_values", "false"),
            ("check_header", "true"),
        ):
            if said.get(key) == usual:
                del said[key]
        return said, infer == "false" and self._schema is None

    def _flag(self, key: str, value: str) -> str:
        if value.lower() not in ("true", "false"):
            raise Error("invalid", f"option '{key}' is '{value}'", "write true or false")
        return value.lower()

    def _table(self, path: str, said: dict[str, str], all_text: bool) -> DataFrame:
        name = self._create(path, said, columns(self._schema) if self._schema else "")
        frame = DataFrame(self._session, f"SELECT * FROM {identifier(name)}")
        if all_text:
            # The names are known only now.
            texts = ", ".join(f"{identifier(column)} VARCHAR" for column in frame.columns)
            name = self._create(path, said, f" ({texts})")
            frame = DataFrame(self._session, f"SELECT * FROM {identifier(name)}")
        if said.get("has_header") == "false" and self._schema is None:
            # As Spark calls them.
            renamed = ", ".join(f"{identifier(column)} AS _c{place}" for place, column in enumerate(frame.columns))
            frame = DataFrame(self._session, f"SELECT {renamed} FROM {identifier(name)}")
        return frame

    def _create(self, path: str, said: dict[str, str], listed: str) -> str:
        name = self._session.file_table()
        create = (
            f"CREATE EXTERNAL TABLE {identifier(name)}{listed} STORED AS {self._format.upper()} LOCATION {literal(path)}{options(said)}"
        )
        self._session.connection.execute(create)
        return name


def _opposite(flag: str) -> str:
    return "false" if flag == "true" else "true"


def columns(text: str) -> str:
    """Spark's list of columns as that of a table."""
    depth, start, parts = 0, 0, []
    for place, letter in enumerate(text):
        depth += (letter in "(<") - (letter in ")>")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return " (" + ", ".join(_column(part) for part in parts) + ")"


def _column(text: str) -> str:
    words = text.strip().split(None, 1)
    if len(words) != 2 or not all(letter.isalnum() or letter in " _(),<>" for letter in words[1]):
        raise Error("invalid", f"'{text.strip()}' is not a column of a schema", "write names and types: 'id BIGINT, fare DOUBLE'")
    kind = words[1].strip()
    return f"{identifier(words[0].strip('`:'))} {sql_type(kind)}"
