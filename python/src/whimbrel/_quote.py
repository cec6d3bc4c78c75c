"""Names and values as SQL text. Everything that a user gives goes through here before it becomes part of a statement."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

from whimbrel._error import Error


def identifier(name: str) -> str:
    """A name of a column, table or view, kept as it is written."""
    return '"' + _checked(name, "a name").replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text."""
    return "'" + _checked(text, "a text").replace("'", "''") + "'"


def options(pairs: dict[str, str]) -> str:
    """` OPTIONS (...)`, or nothing."""
    if not pairs:
        return ""
    return " OPTIONS (" + ", ".join(f"{literal(key)} {literal(value)}" for key, value in pairs.items()) + ")"


def value(given: Any) -> str:
    """A Python value as an SQL expression of the type that Arrow gives it."""
    if given is None:
        return "NULL"
    if hasattr(given, "item") and not isinstance(given, (str, bytes)):
        given = given.item()
    if isinstance(given, bool):
        return "TRUE" if given else "FALSE"
    if isinstance(given, int):
        return _integer(given)
    if isinstance(given, float):
        return _double(given)
    if isinstance(given, str):
        return literal(given)
    if isinstance(given, bytes):
        return f"X'{given.hex()}'"
    if isinstance(given, decimal.Decimal):
        return _decimal(given)
    if isinstance(given, datetime.datetime):
        kind = "TIMESTAMP" if given.tzinfo is None else "TIMESTAMP WITH TIME ZONE"
        return f"CAST('{given.isoformat()}' AS {kind})"
    if isinstance(given, datetime.date):
        return f"CAST('{given.isoformat()}' AS DATE)"
    if isinstance(given, (list, tuple)):
        return "make_array(" + ", ".join(value(each) for each in given) + ")"
    raise Error("invalid", f"a value of type {type(given).__name__} cannot be sent", "send numbers, texts, dates, bytes, lists or None")


def _integer(given: int) -> str:
    if not -(2**63) <= given < 2**64:
        raise Error("invalid", f"the integer {given} has more than 64 bits", "send it as a text, or as a float")
    # The least integer has no positive counterpart that could be negated.
    return f"CAST('{given}' AS BIGINT)" if given == -(2**63) else str(given)


def _double(given: float) -> str:
    if math.isnan(given):
        return "CAST('NaN' AS DOUBLE)"
    if math.isinf(given):
        return f"CAST('{'-' if given < 0 else ''}Infinity' AS DOUBLE)"
    # An exponent makes the literal a double, and repr's digits give the same one back.
    text = repr(given)
    return text if "e" in text else f"{text}e0"


def _decimal(given: decimal.Decimal) -> str:
    if not given.is_finite():
        return _double(float(given))
    digits, exponent = given.as_tuple().digits, given.as_tuple().exponent
    scale = max(0, -int(exponent))
    precision = max(len(digits) + max(0, int(exponent)), scale + 1)
    if precision > 38:
        raise Error("invalid", f"the decimal {given} has more than 38 digits", "send it as a text, or as a float")
    return f"CAST('{given:f}' AS DECIMAL({precision}, {scale}))"


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise Error("invalid", f"{what} is {text!r}", "write a text")
    if "\0" in text:
        raise Error("invalid", f"{what} holds a NUL character", "leave it out")
    return text
