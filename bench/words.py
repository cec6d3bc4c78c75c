"""The words that the benches share: what they say while they run, and of the machine that they run on."""

import os
import platform
from pathlib import Path


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def chosen(names: list[str], asked: list[str]) -> list[str]:
    """Those that were asked for, or all where nothing was."""
    unknown = [name for name in asked if name not in names]
    if unknown:
        raise SystemExit(f"bench: --models: '{unknown[0]}' is none of {', '.join(names)}")
    return [name for name in names if name in asked or not asked]


def rate(rows: int, seconds: float) -> str:
    per_second = rows / seconds
    return f"{per_second / 1e6:.2f} M" if per_second >= 1e6 else f"{per_second / 1e3:.0f} k"


def millions(per_second: float) -> str:
    """In millions, by the three digits that count."""
    return f"{float(f'{per_second / 1e6:.3g}'):.15g}"


def table(heads: list[str], rows: list[list[str]], words: int = 1) -> list[str]:
    """Lines of Markdown; the first `words` columns are text, the others figures."""
    marks = ["---"] * words + ["---:"] * (len(heads) - words)
    return ["| " + " | ".join(row) + " |" for row in (heads, marks, *rows)]


def machine() -> str:
    return f"{os.cpu_count()} cores, {cpu_name()}, {platform.system()} {platform.machine()}"


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
