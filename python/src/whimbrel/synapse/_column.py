"""Expressions over the columns of a DataFrame. They become SQL when the frame is known that they are used in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel import _quote
from whimbrel._error import Error
from whimbrel.synapse._types import sql_type

# Of one frame's column names, the expression's SQL. The frame's rows are called `t` there.
Render = Callable[[Sequence[str]], str]


class Column:
    """An expression."""

    def __init__(self, render: Render, name: str | None = None, *, source: str | None = None, literal: Any = None) -> None:
        self._render = render
        #: What its column is called; `None` where the pool may name it.
        self.name = name
        #: The column that it is, where it is nothing more.
        self.source = source
        #: The value that it is, where it is one.
        self.literal = literal

    def sql(self, columns: Sequence[str]) -> str:
        """Its SQL in a frame of these columns."""
        return self._render(columns)

    def alias(self, name: str) -> Column:
        """The same under another name."""
        return Column(self._render, name)

    def cast(self, kind: str) -> Column:
        """The same as another type, by Spark's name of it."""
        if not all(letter.isalnum() or letter in " _(),<>" for letter in kind):
            raise Error("invalid", f"'{kind}' is not a type", "write one such as double, bigint or decimal(10, 2)")
        wanted = sql_type(kind)
        return Column(lambda columns: f"CAST({self.sql(columns)} AS {wanted})", self.name)

    def isNull(self) -> Column:
        """True where there is no value."""
        return Column(lambda columns: f"({self.sql(columns)} IS NULL)")

    def isNotNull(self) -> Column:
        """True where there is a value."""
        return Column(lambda columns: f"({self.sql(columns)} IS NOT NULL)")

    def isin(self, *values: Any) -> Column:
        """True where it is one of the values."""
        listed = values[0] if len(values) == 1 and isinstance(values[0], (list, tuple, set)) else values
        if not listed:
            return Column(lambda _: "FALSE")
        texts = ", ".join(_quote.value(each) for each in listed)
        return Column(lambda columns: f"({self.sql(columns)} IN ({texts}))")

    def getItem(self, key: int | str) -> Column:
        """A place of a list, from 0, or a field of a struct."""
        place = str(key + 1) if isinstance(key, int) else _quote.literal(key)
        return Column(lambda columns: f"{self.sql(columns)}[{place}]")

    __getitem__ = getItem

    def _with(self, operator: str, other: Any, *, swapped: bool = False) -> Column:
        second = of(other, text_is_value=True)
        left, right = (second, self) if swapped else (self, second)
        return Column(lambda columns: f"({left.sql(columns)} {operator} {right.sql(columns)})")

    def __eq__(self, other: object) -> Column:  # type: ignore[override]
        return self._with("=", other)

    def __ne__(self, other: object) -> Column:  # type: ignore[override]
        return self._with("<>", other)

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Column:
        return self._with("<", other)

    def __le__(self, other: Any) -> Column:
        return self._with("<=", other)

    def __gt__(self, other: Any) -> Column:
        return self._with(">", other)

    def __ge__(self, other: Any) -> Column:
        return self._with(">=", other)

    def __add__(self, other: Any) -> Column:
        return self._with("+", other)

    def __radd__(self, other: Any) -> Column:
        return self._with("+", other, swapped=True)

    def __sub__(self, other: Any) -> Column:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> Column:
        return self._with("-", other, swapped=True)

    def __mul__(self, other: Any) -> Column:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> Column:
        return self._with("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Column:
        # Spark divides whole numbers to a fraction.
        return self.cast("double")._with("/", other)

    def __rtruediv__(self, other: Any) -> Column:
        return of(other, text_is_value=True).cast("double")._with("/", self)

    def __mod__(self, other: Any) -> Column:
        return self._with("%", other)

    def __neg__(self) -> Column:
        return Column(lambda columns: f"(- {self.sql(columns)})")

    def __and__(self, other: Any) -> Column:
        return self._with("AND", other)

    def __or__(self, other: Any) -> Column:
        return self._with("OR", other)

    def __invert__(self) -> Column:
        return Column(lambda columns: f"(NOT {self.sql(columns)})")

    def __bool__(self) -> bool:
        raise Error("invalid", "a column is neither true nor false", "combine conditions with &, | and ~, each in parentheses")


def named(name: str) -> Column:
    """A column of the frame; `*` is all of them."""
    if name == "*":
        return Column(lambda _: "t.*", "*")
    return Column(lambda columns: f"t.{_quote.identifier(resolve(name, columns))}", name, source=name)


def of_value(value: Any) -> Column:
    """A value; a column stays what it is."""
    if isinstance(value, Column):
        return value
    return Column(lambda _: _quote.value(value), str(value), literal=value)


def of(given: Any, *, text_is_value: bool = False) -> Column:
    """What a call was given: a column, a column's name, or a value."""
    if isinstance(given, Column):
        return given
    if isinstance(given, str) and not text_is_value:
        return named(given)
    return of_value(given)


def expr(text: str) -> Column:
    """An expression in SQL, by the frame's column names."""
    return Column(lambda _: f"({text}\n)")


def resolve(name: str, columns: Sequence[str]) -> str:
    """The column that is meant: of this name, else of this name but for upper and lower case, as Spark finds it."""
    if name in columns:
        return name
    near = [column for column in columns if column.casefold() == name.casefold()]
    if len(near) == 1:
        return near[0]
    if near:
        raise Error("invalid", f"column '{name}' may be {' or '.join(repr(each) for each in near)}", "write it as it is spelled")
    raise Error("not_found", f"column '{name}' does not exist", "there are " + ", ".join(repr(column) for column in columns))
