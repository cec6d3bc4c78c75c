"""Whatever a user gives arrives as it was given: texts, names and values go to a real pool and come back."""

from __future__ import annotations

import datetime
import decimal
import math
import random
import struct
from typing import Any

import pytest

import whimbrel
from whimbrel import _quote
from whimbrel._job import Source, copy_statement

NASTY = [
    "'",
    '"',
    "''",
    "\\",
    "\\'",
    "--",
    "/*",
    "*/",
    ";",
    "\n",
    "\r\n",
    "\t",
    "$1",
    "?",
    "`",
    "%",
    "é",
    "日本",
    "🦆",
    "\u202e",
    "\x01",
    "E'",
    "U&'",
    "{}",
    " ",
    "a",
]


def texts(seed: int, count: int) -> list[str]:
    dice = random.Random(seed)
    return ["", *("".join(dice.choices(NASTY, k=dice.randint(1, 8))) for _ in range(count))]


@pytest.mark.parametrize("seed", range(5))
def test_texts_and_names_come_back_as_they_were(pool: whimbrel.Connection, seed: int) -> None:
    values = texts(seed, 40)
    names = list(dict.fromkeys(text for text in texts(seed + 100, 60) if text))[: len(values)]
    pairs = list(zip(values, names, strict=False))
    select = ", ".join(f"{_quote.literal(text)} AS {_quote.identifier(name)}" for text, name in pairs)
    rows = pool.sql(f"SELECT {select}").to_rows()
    assert rows == [{name: text for text, name in pairs}], f"seed {seed}"


def test_values_come_back_with_type_and_bits(pool: whimbrel.Connection) -> None:
    dice = random.Random(7)
    doubles = [struct.unpack("<d", dice.randbytes(8))[0] for _ in range(60)]
    given: list[Any] = [
        *(each for each in doubles if not math.isnan(each)),
        *(0.0, -0.0, 1.0, 1e22, 5e-324, 1.7976931348623157e308, math.inf, -math.inf),
        *(0, -1, 2**63 - 1, -(2**63), 2**64 - 1, dice.randint(-(2**63), 2**63 - 1)),
        *(True, False, None, "x", "", b"", b"\x00\xff'"),
        *(decimal.Decimal("1.50"), decimal.Decimal("-0.001"), decimal.Decimal("9" * 38), decimal.Decimal("1E+3")),
        *(datetime.date(1969, 12, 31), datetime.datetime(2024, 2, 29, 23, 59, 59, 123456)),
        [1, 2, 3],
    ]
    select = ", ".join(f"{_quote.value(each)} AS c{place}" for place, each in enumerate(given))
    row = pool.sql(f"SELECT {select}").to_arrow().to_pylist()[0]
    for place, each in enumerate(given):
        came = row[f"c{place}"]
        if isinstance(each, float):
            assert struct.pack("<d", came) == struct.pack("<d", each), each
        else:
            assert came == each, each
    nan = pool.sql(f"SELECT {_quote.value(math.nan)} AS x").to_rows()[0]["x"]
    assert math.isnan(nan)


def test_what_cannot_be_sent_is_refused() -> None:
    for given in (2**64, -(2**63) - 1, object(), {"a": 1}, "a\0b", decimal.Decimal("1" * 39)):
        with pytest.raises(whimbrel.Error) as caught:
            _quote.value(given)
        assert caught.value.code == "invalid"
    with pytest.raises(whimbrel.Error):
        _quote.identifier("a\0b")


def test_a_job_quotes_all_that_it_is_given() -> None:
    source = Source("o'f", 'tab"le', ['a"b', "c"], False, 'p"q', None)
    copy = copy_statement(source, "s3://l'ake/", "csv", {"delimiter": "'", "header": False, "max_errors": 3, "key": None})
    assert copy == (
        """COPY (SELECT "a""b", "c", PREDICT('o''f', *) AS "p""q" FROM "tab""le") TO 's3://l''ake/' STORED AS CSV"""
        """ OPTIONS ('wait' 'false', 'delimiter' '''', 'header' 'false', 'max_errors' '3')"""
    )


def test_a_word_that_is_no_value_cannot_carry_a_statement(pool: whimbrel.Connection) -> None:
    for returns in ("float OPTIONS (x 'y')", "float'; DROP MODEL fare", "float--"):
        with pytest.raises(whimbrel.Error) as caught:
            pool.bind_model("other", "/nowhere.onnx", returns=returns)
        assert caught.value.code == "invalid" and "is not a type" in caught.value.message
    with pytest.raises(whimbrel.Error, match="is no format"):
        pool.score(sql="SELECT 1", output="/nowhere", format="csv OPTIONS (")
    with pytest.raises(whimbrel.Error, match="is not the name of a setting"):
        pool.set("a = 1; SET b", 2)
