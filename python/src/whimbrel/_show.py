"""Rows as people read them: aligned columns with a frame, as Spark prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(names: Sequence[str], rows: Sequence[Sequence[Any]], truncate: int = 0) -> str:
    """The rows under their names; texts longer than `truncate` are cut, numbers stand at the right. Without columns there are none."""
    if not names:
        return "done"
    cells = [[_cell(value, truncate) for value in row] for row in rows]
    heads = [_cut(name, truncate) for name in names]
    widths = [max([len(head), *(len(row[place]) for row in cells)]) for place, head in enumerate(heads)]
    right = [_is_numeric([row[place] for row in rows]) for place in range(len(names))]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"

    def aligned(texts: Sequence[str]) -> str:
        padded = (text.rjust(width) if numeric else text.ljust(width) for text, width, numeric in zip(texts, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line, aligned(heads), line, *(aligned(row) for row in cells), line])


def _is_numeric(values: list[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, (int, float)) for value in known)


def _cell(value: Any, truncate: int) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cut(" ".join(str(value).split()), truncate)


def _cut(text: str, truncate: int) -> str:
    if 0 < truncate < len(text):
        return text[: max(truncate - 3, 1)] + "..."
    return text
