"""What such notebooks take from `pyspark.sql.functions`."""

from __future__ import annotations

from typing import Any, NoReturn

from whimbrel._error import Error
from whimbrel.synapse._column import Column, expr, named, of_value


def col(name: str) -> Column:
    """A column by its name."""
    return named(name)


column = col


def lit(value: Any) -> Column:
    """A value."""
    return of_value(value)


def udf(*_: Any, **__: Any) -> NoReturn:
    """Notebooks import this beside `lit`; a pool runs models, not Python."""
    raise Error("invalid", "Python functions do not run on a pool", "use model.udf(lit(alias), *columns), or write SQL")


pandas_udf = udf

__all__ = ["col", "column", "expr", "lit", "pandas_udf", "udf"]
