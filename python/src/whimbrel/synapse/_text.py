"""What a statement's text says on its outside, past strings, quoted names, comments and what is in parentheses."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"""(?P<skip>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<word>[A-Za-z_]\w*)|.""",
    re.DOTALL,
)
# What may stand in FROM (...).
QUERIES = ("SELECT", "WITH", "VALUES")
# What gives rows and changes nothing.
LISTINGS = ("SHOW", "DESCRIBE", "DESC", "EXPLAIN", "CHECK")


def words(sql: str) -> list[str]:
    """The words outside of parentheses, in capitals."""
    found, depth = [], 0
    for token in TOKEN.finditer(sql):
        depth += (token["open"] is not None) - (token["close"] is not None)
        if token["word"] and depth == 0:
            found.append(token["word"].upper())
    return found


def first_word(sql: str) -> str:
    """The statement's verb; that in parentheses where all of it is in them."""
    for token in TOKEN.finditer(sql):
        if token["word"]:
            return token["word"].upper()
    return ""


def limited(sql: str, rows: int) -> str:
    """The first rows of a query. Its own ORDER BY holds: in a subquery it would mean nothing."""
    said = words(sql)
    ordered = any(pair == ("ORDER", "BY") for pair in zip(said, said[1:], strict=False))
    if ordered and not {"LIMIT", "OFFSET", "FETCH"} & set(said):
        return f"{sql}\nLIMIT {rows}"
    return f"SELECT * FROM ({sql}\n) AS t LIMIT {rows}"


def mentions(sql: str, name: str) -> bool:
    """Whether the name stands in the text, quoted or not; once too often rather than too rarely."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None
