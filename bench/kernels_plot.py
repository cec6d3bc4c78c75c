"""Draws what `kernels.py` found as an SVG, from its results alone and with Python's own library: `kernels_plot.py RESULTS.json OUT.svg`.

A group of bars for each model, as long as the logarithm of its rows a second; our kernels below the others, each with its figure.
"""

import json
import math
import sys
from pathlib import Path
from xml.sax.saxutils import escape

from words import millions

BARS = {
    "LightGBM": ("LightGBM", "#b9b2a3"),
    "XGBoost": ("XGBoost", "#b9b2a3"),
    "lleaves": ("lleaves", "#d9c79a"),
    "ONNX Runtime": ("ONNX Runtime", "#8a8f98"),
    "portable": ("Whimbrel, portable", "#9ecae1"),
    "avx2": ("Whimbrel, AVX2", "#4292c6"),
    "avx512": ("Whimbrel, AVX-512", "#08519c"),
}
WIDTH, LEFT, RIGHT = 960, 340, 90
BAR, GAP, TOP, BOTTOM = 14, 16, 92, 34
FONT = "font-family='sans-serif'"


def plot(found: dict) -> str:
    models = found["models"]
    speeds = [speed for case in models for speed in case["rows_per_second"].values()]
    low, high = math.floor(math.log10(min(speeds))), math.ceil(math.log10(max(speeds)))
    body, top = [], TOP
    for case in models:
        lines, top = group(case, top, low, high)
        body += lines
    height = top + BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        text(16, 26, "Rows a second on one core", size=17, weight="bold"),
        text(16, 46, found["machine"] + "; a logarithmic scale", size=12, fill="#555555"),
        *legend(models),
        *grid(low, high, top),
        *body,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def group(case: dict, top: int, low: int, high: int) -> tuple[list[str], int]:
    """A model's bars, and where the next group begins."""
    lines, first = [], top
    for name, (_, colour) in BARS.items():
        speed = case["rows_per_second"].get(name)
        if speed is None:
            continue
        length = place(speed, low, high) - LEFT
        lines.append(f"<rect x='{LEFT}' y='{top}' width='{length:.1f}' height='{BAR - 2}' fill='{colour}'/>")
        lines.append(text(LEFT + length + 5, top + BAR - 4, f"{millions(speed)} M", size=11))
        top += BAR
    lines.append(text(LEFT - 10, (first + top) / 2 + 3, case["title"], size=11, anchor="end"))
    return lines, top + GAP


def place(speed: float, low: int, high: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(speed) - low) / (high - low)


def grid(low: int, high: int, bottom: int) -> list[str]:
    lines = []
    for power in range(low, high + 1):
        x = place(10**power, low, high)
        lines.append(f"<line x1='{x:.1f}' y1='{TOP - 8}' x2='{x:.1f}' y2='{bottom - GAP + 6}' stroke='#dddddd'/>")
        lines.append(text(x, bottom + 8, words(power), size=11, anchor="middle", fill="#555555"))
    return lines


def words(power: int) -> str:
    for least, unit in ((9, "G"), (6, "M"), (3, "k")):
        if power >= least:
            return f"{10 ** (power - least)} {unit}"
    return str(10**power)


def legend(models: list[dict]) -> list[str]:
    """Only what is drawn; libraries of one colour share an entry."""
    drawn = {name for case in models for name in case["rows_per_second"]}
    entries: dict[str, list[str]] = {}
    for name, (label, colour) in BARS.items():
        if name in drawn:
            entries.setdefault(colour, []).append(label)
    lines, x = [], 16
    for colour, labels in entries.items():
        label = ", ".join(labels)
        lines.append(f"<rect x='{x}' y='60' width='12' height='12' fill='{colour}'/>")
        lines.append(text(x + 17, 70, label, size=12))
        x += 34 + 7 * len(label)
    return lines


def text(x: float, y: float, words: str, size: int, anchor: str = "start", weight: str = "normal", fill: str = "#222222") -> str:
    style = f"{FONT} font-size='{size}' text-anchor='{anchor}' font-weight='{weight}' fill='{fill}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' {style}>{escape(words)}</text>"


def main() -> int:
    results, out = map(Path, sys.argv[1:])
    out.write_text(plot(json.loads(results.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
