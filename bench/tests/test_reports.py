"""What the benches of pools and of jobs say of what they found: made-up times go in, tables and verdicts come out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jobs_report
import run_report


def verdicts(report: str) -> list[str]:
    return [line for line in report.splitlines() if line.startswith("- ")]


def passes(model: str, rows: int, **seconds: float) -> dict:
    names = {"floor": "floor", "polars": "polars", "embedded": "embedded pool", "two": "two executors"}
    return {"rows": rows, "format": "parquet", "model": model, "seconds": {names[name]: [value] * 3 for name, value in seconds.items()}}


def test_pools_are_set_beside_the_floor_and_polars() -> None:
    found = {"machine": "m", "repeats": 3, "apart": 1e-6, "starts": [], "memory": []}
    found["passes"] = [
        passes("linear", 10_000_000, floor=2.0, polars=1.0, embedded=0.8, two=1.25),
        passes("lightgbm", 10_000_000, floor=27.0, embedded=3.0, two=2.7),
    ]
    found["variants"] = [{**passes("wide", 1_000_000, floor=4.0, embedded=1.0, two=0.5), "title": "a hundred features"}]
    report = run_report.report(found)
    assert "| 10,000,000 | parquet | lightgbm | 370 k | 3.33 M | 9.00 | 3.70 M | 10.00 |" in report
    assert "| 10,000,000 | linear | 10.00 M | 12.50 M | 1.25 | 8.00 M | 0.80 |" in report
    assert "| 1,000,000 | a hundred features | 250 k | 1.00 M | 4.00 | 2.00 M | 8.00 |" in report
    assert "- met: embedded pool, 10,000,000 rows, linear: 1.25 of polars with ONNX Runtime (at least 1.0)" in verdicts(report)
    assert "- MISSED: two executors, 10,000,000 rows, linear: 0.80 of polars with ONNX Runtime (at least 1.0)" in verdicts(report)


def test_polars_has_no_target_with_few_rows() -> None:
    few = [passes("linear", 1_000_000, floor=0.2, polars=0.1, embedded=0.2, two=0.2)]
    found = {"machine": "m", "repeats": 3, "apart": 0.0, "starts": [], "memory": [], "passes": few, "variants": []}
    report = run_report.report(found)
    assert "| 1,000,000 | linear | 10.00 M |" in report
    assert not [line for line in verdicts(report) if "polars" in line]


def test_jobs_are_set_beside_the_floor_and_polars() -> None:
    def case(model: str, floor: float, job: float, beside: dict) -> dict:
        seconds = {"one executor": [job, job * 2]}
        return {
            **{"model": model, "batch_rows": 4_096, "floor_seconds": [floor, floor * 3], "seconds": seconds, "wall_seconds": seconds},
            **{"floor_bytes": 1_000_000, "job_bytes": 2_000_000, "memory": {}, "beside": beside},
        }

    polars = {"polars": {"batch_rows": 65_536, "seconds": [1.0, 2.0]}}
    found = {"agreement": [1e-7], "models": [case("linear", 1.4, 0.8, polars), case("lightgbm", 29.0, 5.0, {})]}
    report = jobs_report.report(found, 10_000_000, 3)
    assert "| linear | polars | 10.00 M | 65,536 | one executor | 12.50 M | 1.25 |" in report
    assert verdicts(report) == [
        "- met: linear, one executor: 1.75 of the floor that writes Parquet too (at least 0.9)",
        "- MISSED: lightgbm, one executor: 5.80 of the floor that writes Parquet too (at least 6.0)",
        "- met: linear, one executor: 1.25 of polars with ONNX Runtime (at least 1.0)",
    ]
