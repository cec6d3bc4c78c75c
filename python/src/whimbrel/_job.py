"""Score jobs: what is asked, and what became of it."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from whimbrel import _progress
from whimbrel._error import Error
from whimbrel._quote import identifier, literal, options

if TYPE_CHECKING:
    from whimbrel._connection import Connection

ENDED = ("succeeded", "failed", "cancelled")
# Between two looks at a job: short at first, so that a small job is not waited for, then as often as a person looks.
FIRST_LOOK = 0.05
LAST_LOOK = 1.0


@dataclass(frozen=True)
class JobStatus:
    """How far a job is."""

    job_id: str
    #: `submitted`, `running`, `waiting`, `committing`, `cancelling`, `succeeded`, `failed` or `cancelled`.
    state: str
    #: Why it failed, or what holds it up; of which kind that is, and what to do.
    message: str = ""
    code: str = ""
    hint: str = ""
    output: str = ""
    splits_total: int = 0
    splits_done: int = 0
    rows_done: int = 0
    rows_written: int = 0
    rows_dead: int = 0
    rows_per_second: int = 0
    #: Until the last split is done; `None` where nobody can say.
    seconds_left: int | None = None
    objects: int = 0
    manifest: str = ""
    user: str = ""
    priority: str = ""
    submitted_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    queued_behind: int = 0

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it, unless it failed and is resumed."""
        return self.state in ENDED

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        if self.state == "succeeded":
            return 1.0
        return self.splits_done / self.splits_total if self.splits_total else 0.0

    @classmethod
    def of(cls, row: dict[str, Any]) -> JobStatus:
        """Out of a row of `information_schema.jobs`."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in row.items() if key in known and value is not None})


class Job:
    """A score job of a pool. It goes on by itself, whatever becomes of this object and its process."""

    def __init__(self, connection: Connection, job_id: str) -> None:
        self._connection = connection
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    @property
    def status(self) -> JobStatus:
        """How far it is now."""
        rows = self._connection.sql(f"SELECT * FROM information_schema.jobs WHERE job_id = {literal(self.id)}").to_rows()
        if not rows:
            raise Error("not_found", f"the pool has no job '{self.id}'", "jobs() lists those that it has")
        return JobStatus.of(rows[0])

    def wait(self, progress: bool = True, timeout: float | None = None) -> JobStatus:
        """Waits until the job has ended, and says how far it is meanwhile.

        A job that failed or was cancelled is an `Error`; so is one that still runs after `timeout` seconds, which goes on
        all the same. Ctrl-C ends the waiting, not the job.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        shown = _progress.for_here() if progress else None
        pause = FIRST_LOOK
        try:
            while True:
                status = self.status
                if shown is not None:
                    shown.update(status)
                if status.ended:
                    return self._succeeded(status)
                if deadline is not None and time.monotonic() >= deadline:
                    raise Error(
                        "unavailable", f"job {self.id} is {status.state} after {timeout} s", "it goes on; wait() again, or cancel()"
                    )
                time.sleep(pause if deadline is None else min(pause, max(deadline - time.monotonic(), 0.0)))
                pause = min(pause * 1.5, LAST_LOOK)
        finally:
            if shown is not None:
                shown.end()

    def _succeeded(self, status: JobStatus) -> JobStatus:
        if status.state == "succeeded":
            return status
        if status.state == "cancelled":
            raise Error("cancelled", f"job {self.id} was cancelled", "nothing of it is visible; submit it again")
        message = f"job {self.id} failed: {status.message or 'the pool does not say why'}"
        hint = status.hint or "resume() goes on with what it has done, once the cause is gone"
        raise Error(status.code or "failed", message, hint)

    def cancel(self) -> None:
        """Ends it, so that nothing of it is ever visible; returns once that is certain."""
        self._connection.execute(f"CANCEL JOB {literal(self.id)}")

    def resume(self) -> None:
        """Goes on with a job that failed; what it has done is not done again."""
        self._connection.execute(f"RESUME JOB {literal(self.id)}")


@dataclass(frozen=True)
class Source:
    """The rows that a job writes."""

    model: str | None
    input: str | None
    keep: Sequence[str] | None
    keep_all: bool
    prediction: str
    sql: str | None

    def select(self) -> str:
        """The SELECT that gives them."""
        if self.sql is not None:
            if self.model is not None or self.input is not None or self.keep is not None or self.keep_all:
                raise Error(
                    "invalid",
                    "the job has a query, and a model or an input beside it",
                    "the query says all that there is to say of its rows",
                )
            return self.sql.strip().rstrip(";").rstrip()
        if self.model is None or self.input is None:
            raise Error("invalid", "the job has no model or no input", "give model= and input=, or sql=")
        if (self.keep is None) != self.keep_all:
            raise Error("invalid", "keep= or keep_all=True must be said, one of the two", "keep=[] writes only the prediction")
        if isinstance(self.keep, str):
            raise Error("invalid", f"keep is the text '{self.keep}'", f"give a list: keep=['{self.keep}']")
        kept = ["*"] if self.keep is None else [identifier(name) for name in self.keep]
        predict = f"PREDICT({literal(self.model)}, *) AS {identifier(self.prediction)}"
        return f"SELECT {', '.join([*kept, predict])} FROM {identifier(self.input)}"


def copy_statement(source: Source, output: str, stored_as: str | None, wishes: dict[str, Any]) -> str:
    """The COPY that submits the job and answers at once."""
    said = {key: _word(value) for key, value in wishes.items() if value is not None}
    stored = f" STORED AS {_format(stored_as)}" if stored_as else ""
    return f"COPY ({source.select()}) TO {literal(output)}{stored}{options({'wait': 'false', **said})}"


def _format(name: str) -> str:
    # It is a word of the statement, not a value that could be quoted.
    if not name.isalnum():
        raise Error("invalid", f"'{name}' is no format", "there are parquet, csv, json and arrow")
    return name.upper()


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
