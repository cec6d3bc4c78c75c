"""How far a score job is, for whoever watches: one line that moves on a terminal, a bar in a notebook, plain lines elsewhere."""

from __future__ import annotations

import html
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from whimbrel._job import JobStatus

BAR = 30
# A log does not want a line for every look.
PLAIN_SECONDS = 10.0


class Progress(Protocol):
    """Shows one job."""

    def update(self, status: JobStatus) -> None:
        """The job as it is now."""

    def end(self) -> None:
        """Nothing more will come."""


def for_here() -> Progress:
    """What fits the place where this process writes to."""
    if notebook := _display():
        return Notebook(notebook)
    if sys.stderr.isatty():
        return Terminal()
    return Plain()


def _display() -> Any:
    """IPython's `display`, inside a notebook's kernel only."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display


def line(status: JobStatus) -> str:
    """One line of what there is to say."""
    parts = [
        f"job {status.job_id}",
        status.state,
        f"{status.splits_done:,} of {status.splits_total:,} splits",
        f"{status.rows_done:,} rows",
    ]
    if status.state == "running" and status.rows_per_second:
        parts.append(f"{status.rows_per_second:,} rows/s")
    if status.state == "running" and status.seconds_left is not None:
        parts.append(f"{_time(status.seconds_left)} left")
    if status.queued_behind:
        parts.append(f"{status.queued_behind} jobs before it")
    if status.rows_dead:
        parts.append(f"{status.rows_dead:,} dead letters")
    return ", ".join(parts)


def _time(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Terminal:
    """One line that is written over."""

    def __init__(self) -> None:
        self._width = 0

    def update(self, status: JobStatus) -> None:
        filled = int(BAR * status.fraction)
        text = f"[{'#' * filled}{'.' * (BAR - filled)}] {line(status)}"
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def end(self) -> None:
        if self._width:
            sys.stderr.write("\n")
            sys.stderr.flush()


class Plain:
    """A line when the state changes, and now and then."""

    def __init__(self) -> None:
        self._state = ""
        self._said = 0.0

    def update(self, status: JobStatus) -> None:
        now = time.monotonic()
        if status.state != self._state or now - self._said >= PLAIN_SECONDS:
            self._state, self._said = status.state, now
            print(line(status), file=sys.stderr, flush=True)

    def end(self) -> None:
        """The last line was written when the state changed."""


class Notebook:
    """A bar that is drawn anew in its cell."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._handle: Any = None

    def update(self, status: JobStatus) -> None:
        from IPython.display import HTML

        bar = HTML(f'<progress max="1" value="{status.fraction:.4f}"></progress> {html.escape(line(status))}')
        if self._handle is None:
            self._handle = self._display(bar, display_id=True)
        else:
            self._handle.update(bar)

    def end(self) -> None:
        """The bar stays as it is."""
