"""Rows of this process arrive with their types, their NULLs and their order."""

from __future__ import annotations

import datetime
import decimal
import math

import pyarrow as pa
import pytest

import whimbrel
from whimbrel import _values

MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)
COLUMNS = {
    "flag": pa.array([True, None, False], pa.bool_()),
    "tiny": pa.array([-128, None, 127], pa.int8()),
    "small": pa.array([None, -(2**15), 1], pa.int16()),
    "int": pa.array([None, -(2**31), 1], pa.int32()),
    "long": pa.array([-(2**63), 2**63 - 1, None], pa.int64()),
    "unsigned": pa.array([0, 2**64 - 1, None], pa.uint64()),
    "byte": pa.array([0, 255, None], pa.uint8()),
    "single": pa.array([0.1, None, -math.inf], pa.float32()),
    "double": pa.array([5e-324, 1.7976931348623157e308, None], pa.float64()),
    "text": pa.array(["it's", None, 'a"b\\\n日本'], pa.string()),
    "bytes": pa.array([b"\x00\xff", None, b""], pa.binary()),
    "day": pa.array([datetime.date(1969, 12, 31), None, datetime.date(9999, 12, 31)], pa.date32()),
    "moment": pa.array([MOMENT, None, datetime.datetime(1900, 1, 1)], pa.timestamp("us")),
    "zoned": pa.array([MOMENT, None, MOMENT], pa.timestamp("ms", "UTC")),
    "exact": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-99999.99")], pa.decimal128(7, 2)),
    "list": pa.array([[1.5, 2.5], None, [3.5]], pa.list_(pa.float64())),
    "only nulls": pa.array([None, None, None], pa.int32()),
    "of few": pa.array(["a", "b", None]).dictionary_encode(),
}


def came_back(pool: whimbrel.Connection, table: pa.Table) -> pa.Table:
    return pa.concat_tables([pool.sql(select).to_arrow() for select in _values.statements(table, "*")])


@pytest.mark.parametrize("name", COLUMNS)
def test_each_type(pool: whimbrel.Connection, name: str) -> None:
    column = COLUMNS[name]
    table = came_back(pool, pa.table({name: column}))
    expected = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    assert table.schema.names == [name]
    assert str(table.schema.field(0).type).replace("item", "element") == str(expected.type).replace("item", "element")
    assert table.column(0).to_pylist() == expected.to_pylist()


def test_not_a_number_is_not_missing(pool: whimbrel.Connection) -> None:
    first, second = came_back(pool, pa.table({"x": pa.array([math.nan, None])})).column(0).to_pylist()
    assert math.isnan(first) and second is None


def test_all_together_over_several_statements(pool: whimbrel.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_values, "STATEMENT_BYTES", 2000)
    rows = pa.table({"n": pa.array(range(500)), "t": pa.array([f"row {n}" for n in range(500)])})
    assert len(_values.statements(rows, "*")) > 3
    assert came_back(pool, rows).to_pydict() == rows.to_pydict()


def test_what_no_column_may_be() -> None:
    for table, said in [
        (pa.table({"s": pa.array([{"a": 1}])}), "column 's' is of type struct"),
        (pa.table({}), "the rows have no columns"),
    ]:
        with pytest.raises(whimbrel.Error, match=said):
            _values.statements(table, "*")
