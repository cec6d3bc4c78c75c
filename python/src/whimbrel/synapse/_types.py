"""Types as Spark writes them, as SQL has them."""

from __future__ import annotations

TYPES = {
    "string": "VARCHAR",
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INT",
    "long": "BIGINT",
    "float": "REAL",
}


def sql_type(kind: str) -> str:
    """SQL's name of the type; one that is not Spark's alone stays as it is."""
    return TYPES.get(kind.strip().lower(), kind)
