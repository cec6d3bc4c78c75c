"""What is shown of a job, where it is shown."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from whimbrel import _progress
from whimbrel._job import JobStatus

RUNNING = JobStatus("j1", "running", splits_total=4, splits_done=1, rows_done=1234567, rows_per_second=1000, seconds_left=3700, rows_dead=2)
DONE = JobStatus("j1", "succeeded", splits_total=4, splits_done=4, rows_done=2000000)


def test_a_line_says_all() -> None:
    assert _progress.line(RUNNING) == "job j1, running, 1 of 4 splits, 1,234,567 rows, 1,000 rows/s, 1:01:40 left, 2 dead letters"
    assert _progress.line(DONE) == "job j1, succeeded, 4 of 4 splits, 2,000,000 rows"


def test_a_terminal_has_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = _progress.for_here()
    assert isinstance(shown, _progress.Terminal)
    shown.update(RUNNING)
    shown.update(DONE)
    shown.end()
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.endswith("\n") and text.count("\r") == 2
    first, second = text.rstrip("\n").split("\r")[1:]
    assert first.startswith("[#######.") and second.startswith("[" + "#" * 30 + "]")
    # What the longer line left is written over.
    assert len(second) == len(first)


def test_elsewhere_a_line_for_each_state(capsys: pytest.CaptureFixture[str]) -> None:
    shown = _progress.for_here()
    for status in (RUNNING, RUNNING, DONE):
        shown.update(status)
    shown.end()
    assert capsys.readouterr().err.splitlines() == [_progress.line(RUNNING), _progress.line(DONE)]


def test_a_notebook_draws_one_bar_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    class Handle:
        def update(self, bar: Any) -> None:
            drawn.append(("again", bar))

    def display(bar: Any, display_id: bool) -> Handle:
        assert display_id
        drawn.append(("new", bar))
        return Handle()

    ipython, shown_by = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    shown_by.display, shown_by.HTML = display, str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown_by)
    shown = _progress.for_here()
    shown.update(RUNNING)
    shown.update(DONE)
    shown.end()
    assert [how for how, _ in drawn] == ["new", "again"]
    assert 'value="0.2500"' in drawn[0][1] and 'value="1.0000"' in drawn[1][1]
