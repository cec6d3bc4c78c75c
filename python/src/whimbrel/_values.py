"""Rows of this process as SQL: a pool takes no uploads, so they travel as VALUES, bounded in size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow

from whimbrel._error import Error
from whimbrel._quote import identifier, literal, value

# Half of what a pool takes for one statement unless it is set otherwise (`max_sql_bytes`).
STATEMENT_BYTES = 128 * 1024
# What all statements together may have: some tens of thousands of rows. Beyond that a file is the faster way by far.
TOTAL_BYTES = 8 * 1024 * 1024

TYPES = {
    "bool": "Boolean",
    "int8": "Int8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
    "uint8": "UInt8",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "float": "Float32",
    "double": "Float64",
    "string": "Utf8",
    "large_string": "Utf8",
    "binary": "Binary",
    "large_binary": "Binary",
    "date32[day]": "Date32",
}


def from_pandas(frame: Any) -> tuple[Any, Any]:
    """The frame as an Arrow table, and its index. What pandas calls missing (None, NaN, NaT) is NULL."""
    if not hasattr(frame, "columns") or not hasattr(frame, "index"):
        raise Error("invalid", f"predict() got a {type(frame).__name__}", "give a pandas.DataFrame")
    try:
        return pyarrow.Table.from_pandas(frame, preserve_index=False), frame.index
    except pyarrow.ArrowException as error:
        raise Error("invalid", f"the frame cannot be sent: {error}", "give columns of one type each") from None


def statements(table: Any, select: str) -> list[str]:
    """`SELECT select FROM` the rows, as many statements as it takes; the rows keep their order."""
    return list(_statements(table, select))


def _statements(table: Any, select: str) -> Iterator[str]:
    names = [str(name) for name in table.schema.names]
    if not names:
        raise Error("invalid", "the rows have no columns", "give the columns that the model takes")
    casts = ", ".join(
        f"arrow_cast(column{place + 1}, {literal(_type(name, field.type))}) AS {identifier(name)}"
        for place, (name, field) in enumerate(zip(names, table.schema, strict=True))
    )
    sent = 0
    rows: list[str] = []
    size = 0
    columns = [_plain(column) for column in table.columns]
    for place in range(table.num_rows):
        row = "(" + ", ".join(value(column[place].as_py()) for column in columns) + ")"
        length = len(row.encode()) + 2
        sent += length
        if sent > TOTAL_BYTES:
            raise Error(
                "exhausted",
                f"{table.num_rows} rows are more than can be sent inside SQL ({TOTAL_BYTES // 1024**2} MiB, reached at row {place})",
                "write them to a Parquet file that the pool can read, and score that with sql() or score()",
            )
        if rows and size + length > STATEMENT_BYTES:
            yield _statement(select, casts, rows)
            rows, size = [], 0
        rows.append(row)
        size += length
    if rows:
        yield _statement(select, casts, rows)


def _statement(select: str, casts: str, rows: list[str]) -> str:
    return f"SELECT {select} FROM (SELECT {casts} FROM (VALUES {', '.join(rows)}) AS v) AS t"


def _plain(column: Any) -> Any:
    """Without dictionaries, whose values are what is meant."""
    if pyarrow.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _type(name: str, kind: Any) -> str:
    """An Arrow type as the engine spells it."""
    if pyarrow.types.is_dictionary(kind):
        return _type(name, kind.value_type)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return f"List({_type(name, kind.value_type)})"
    if pyarrow.types.is_timestamp(kind):
        zone = "None" if kind.tz is None else f'Some("{kind.tz}")'
        return f"Timestamp({UNITS[kind.unit]}, {zone})"
    if pyarrow.types.is_decimal(kind):
        return f"Decimal128({kind.precision}, {kind.scale})"
    # A column without any value is of no type; NULLs of any fit.
    if pyarrow.types.is_null(kind):
        return "Float64"
    if found := TYPES.get(str(kind)):
        return found
    raise Error("invalid", f"column '{name}' is of type {kind}, which cannot be sent", "send numbers, texts, dates, bytes or lists")


UNITS = {"s": "Second", "ms": "Millisecond", "us": "Microsecond", "ns": "Nanosecond"}
