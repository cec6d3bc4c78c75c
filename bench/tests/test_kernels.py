"""What the bench of kernels says of what it found, and its plot: made-up figures go in, tables, verdicts and bars come out."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import kernels_plot
import kernels_report
from words import chosen, millions


def kernel_case(title: str, kind: str, speeds: dict[str, float], trees: int = 100, ms: float = 20.0, peak: float = 1.5) -> dict:
    load = {"bytes": 2_500_000, "ms": ms, "peak_of_file": peak, "kept_of_file": 0.5, "trees": trees}
    return {"name": title, "title": title, "kind": kind, "rows_per_second": speeds, "load": load, "lleaves_compile_seconds": None}


def kernels(*models: dict) -> dict:
    return {"machine": "2 cores, a processor", "rows": 400_000, "windows": 6, "models": list(models), "left_out": []}


FAST = {"ONNX Runtime": 300_000.0, "portable": 1_500_000.0, "avx2": 6_000_000.0, "avx512": 9_000_000.0}


def verdicts(report: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith("- ")]


@pytest.mark.parametrize(("speed", "words"), [(87_000.0, "0.087"), (6_374_000.0, "6.37"), (1_234_567_890.0, "1230"), (999_960_000.0, "1000")])
def test_speeds_have_three_digits(speed: float, words: str) -> None:
    assert millions(speed) == words


def test_a_model_that_there_is_not_ends_the_bench() -> None:
    assert chosen(["a", "b"], []) == ["a", "b"]
    assert chosen(["a", "b"], ["b"]) == ["b"]
    with pytest.raises(SystemExit, match="'c' is none of a, b"):
        chosen(["a", "b"], ["c"])


def test_kernels_are_set_beside_onnx_runtime() -> None:
    report = kernels_report.report(kernels(kernel_case("some trees", "trees", FAST)))
    assert "| model | ONNX Runtime | portable | AVX2 | AVX-512 |" in report
    assert "| some trees | 0.3 | 1.5 (5.0x) | 6 (20x) | 9 (30x) |" in report
    assert verdicts(report) == [
        "- met: some trees, portable: 5.0 times ONNX Runtime (at least 5)",
        "- met: some trees, AVX2: 20.0 times ONNX Runtime (at least 15)",
    ]


def test_a_column_stands_only_for_what_was_measured() -> None:
    older = {"ONNX Runtime": 300_000.0, "LightGBM": 150_000.0, "portable": 1_400_000.0}
    found = kernels(kernel_case("some trees", "trees", older), kernel_case("a forest", "forest", {"ONNX Runtime": 1e5, "portable": 3e5}))
    found["left_out"] = ["avx2, which this processor lacks"]
    report = kernels_report.report(found)
    assert "| model | ONNX Runtime | LightGBM | portable |" in report
    assert "| a forest | 0.1 |  | 0.3 (3.0x) |" in report
    assert "Left out: avx2, which this processor lacks." in report
    assert verdicts(report) == [
        "- MISSED: some trees, portable: 4.7 times ONNX Runtime (at least 5)",
        "- MISSED: a forest, portable: 3.0 times ONNX Runtime (at least 4)",
    ]


def test_loading_has_a_target_from_a_thousand_trees_on() -> None:
    slow = kernel_case("large", "other", FAST, trees=1_000, ms=250.0, peak=2.9)
    small = kernel_case("small", "other", FAST, trees=999, ms=250.0, peak=9.0)
    assert verdicts(kernels_report.report(kernels(slow, small))) == [
        "- MISSED: large: loaded in 250 ms (under 200)",
        "- met: large: 2.90 times its file in memory (under 3)",
    ]


def bars(svg: str) -> dict[str, float]:
    """The lengths of the bars by their colours."""
    image = ElementTree.fromstring(svg)
    found = [entry for entry in image if entry.tag.endswith("rect") and entry.get("x") == str(kernels_plot.LEFT)]
    return {entry.get("fill"): float(entry.get("width")) for entry in found}


def test_a_plot_is_an_image_with_a_bar_for_each_speed() -> None:
    svg = kernels_plot.plot(kernels(kernel_case("trees & <leaves>", "trees", {**FAST, "LightGBM": 150_000.0})))
    lengths = bars(svg)
    drawn = [lengths[kernels_plot.BARS[name][1]] for name in ("LightGBM", "ONNX Runtime", "portable", "avx2", "avx512")]
    assert len(lengths) == 5 and drawn == sorted(drawn) and drawn[0] > 0
    # A tenfold speed is as much longer anywhere on the scale.
    (again,) = [bars(kernels_plot.plot(kernels(kernel_case("", "trees", {"ONNX Runtime": 1e5, "portable": 1e6, "avx2": 1e7}))))]
    steps = [again[kernels_plot.BARS[name][1]] for name in ("ONNX Runtime", "portable", "avx2")]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0], abs=0.2)
    words = [entry.text for entry in ElementTree.fromstring(svg) if entry.tag.endswith("text")]
    assert "trees & <leaves>" in words and "0.15 M" in words
    assert any("2 cores, a processor" in text for text in words)
    assert not any("XGBoost" in text for text in words)
