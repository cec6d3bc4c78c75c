"""A session with a pool."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from whimbrel import _address, _embedded
from whimbrel._error import Error
from whimbrel._job import Job, JobStatus, Source, copy_statement
from whimbrel._model import Model, create_statement
from whimbrel._quote import literal
from whimbrel._result import Result
from whimbrel._wire import Wire

SETTING = re.compile(r"[A-Za-z_][\w.]*")


class Connection:
    """One session: its settings and temporary views are its own. Made by `connect`; one thread uses it at a time."""

    def __init__(self, wire: Wire, embedded: _embedded.Embedded | None) -> None:
        self._wire = wire
        self._embedded = embedded
        self._closed = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Connection({self.address!r})"

    @property
    def address(self) -> str:
        """Where the pool is."""
        return self._wire.place

    @property
    def session_id(self) -> str:
        """What the pool knows this session by."""
        return self._wire.session

    @property
    def embedded(self) -> bool:
        """The pool was started for this process, on this machine."""
        return self._embedded is not None

    def sql(self, query: str, params: Sequence[Any] | None = None) -> Result:
        """The rows of a query, which runs when they are asked for. `params` are the values of `$1`, `$2`, ..."""
        return Result(lambda: self._wire.query(query, params))

    def execute(self, statement: str, params: Sequence[Any] | None = None) -> int:
        """Runs a statement that changes something, at once; how many rows its answer has."""
        return self._wire.update(statement, params)

    def set(self, key: str, value: Any) -> None:
        """Changes a setting of this session."""
        if not SETTING.fullmatch(key):
            raise Error("invalid", f"'{key}' is not the name of a setting", "write a name such as datafusion.execution.batch_size")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        self.execute(f"SET {key} = {literal(text)}")

    def bind_model(
        self,
        alias: str,
        uri: str,
        returns: str | None = None,
        runtime: str | None = None,
        columns: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> Model:
        """Binds a model to an alias, by which PREDICT calls it.

        `returns` is the type of PREDICT's value, of Spark or SQL; `columns` says which column feeds which input where the
        names differ; `options` are those of `whimbrel model bind --option`. An alias that is bound already is refused unless
        `replace` is true.
        """
        self.execute(create_statement(alias, uri, returns, runtime, columns, options, replace))
        return Model(self, alias)

    def model(self, alias: str) -> Model:
        """A model that is bound already."""
        return Model(self, alias)

    def models(self) -> list[dict[str, Any]]:
        """The models that are bound, a dictionary each."""
        return self.sql("SELECT * FROM information_schema.models ORDER BY alias").to_rows()

    def tables(self) -> list[str]:
        """The names of tables and views."""
        rows = self.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY table_name"
        ).to_rows()
        return [row["table_name"] for row in rows]

    def score(
        self,
        *,
        output: str,
        model: str | Model | None = None,
        input: str | None = None,
        keep: Sequence[str] | None = None,
        keep_all: bool = False,
        as_: str = "prediction",
        sql: str | None = None,
        mode: str | None = None,
        format: str | None = None,
        compression: str | None = None,
        row_group_rows: int | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
        on_error: str | None = None,
        max_errors: int | None = None,
        key: str | None = None,
        priority: str | None = None,
        user: str | None = None,
    ) -> Job:
        """Submits a score job: `input` (a table, or the place of files) is scored by `model`, or the rows of `sql` are taken, and
        written to the folder `output`, each once. Returns as soon as the pool has it; `Job.wait` follows it.

        `keep` names the columns of the input that the output has beside the prediction, `keep_all` takes all. `mode` is `error`,
        `append` or `overwrite`; `on_error` is `fail`, `null` or `deadletter=URI`; `key` names the submission, so that sending it twice
        is one job.
        """
        alias = model.alias if isinstance(model, Model) else model
        source = Source(alias, input, keep, keep_all, as_, sql)
        wishes = {
            "mode": mode,
            "compression": compression,
            "row_group_rows": row_group_rows,
            "header": header,
            "delimiter": delimiter,
            "on_error": on_error,
            "max_errors": max_errors,
            "key": key,
            "priority": priority,
            "user": user,
        }
        rows = self.sql(copy_statement(source, output, format, wishes)).to_rows()
        if len(rows) != 1 or not rows[0].get("job_id"):
            raise Error("bug", "the pool took a score job and did not say its id", "jobs() lists the jobs")
        return Job(self, str(rows[0]["job_id"]))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self, job_id)

    def jobs(self) -> list[JobStatus]:
        """All jobs that the pool remembers, the newest first."""
        rows = self.sql("SELECT * FROM information_schema.jobs ORDER BY submitted_at DESC").to_rows()
        return [JobStatus.of(row) for row in rows]

    def close(self) -> None:
        """Ends the session, and the embedded pool where nobody else uses it."""
        if self._closed:
            return
        self._closed = True
        try:
            self._wire.close()
        finally:
            if self._embedded is not None:
                self._embedded.release()


def connect(
    uri: str | None = None,
    *,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    insecure_skip_verify: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Connection:
    """Opens a session with a pool.

    `uri` is `http://host:port`, or `https://host:port` with TLS. Without it the variable `WHIMBREL_POOL` names the pool, and
    without that a pool is started for this process, as every `whimbrel` command does: its state is in `./.whimbrel` (or
    `WHIMBREL_STATE`), and `WHIMBREL_BINARY` names the binary where PATH has none.

    `token`, or `WHIMBREL_TOKEN`, or the file that `WHIMBREL_TOKEN_FILE` names, is what the pool asks for. `tls_ca` is a PEM file of
    authorities to trust, `tls_cert` and `tls_key` are PEM files of the client's own certificate; `insecure_skip_verify` trusts
    everybody, which is for trials. `settings` are set in the session, by their full names.
    """
    uri = uri or os.environ.get("WHIMBREL_POOL") or None
    if (tls_cert is None) != (tls_key is None):
        raise Error("invalid", "tls_cert and tls_key go together", "give both, or neither")
    embedded = None
    if uri is None:
        embedded = _embedded.acquire()
        uri, token = embedded.address, token or embedded.token
    try:
        address = _address.parse(uri)
        if not address.tls and (tls_ca or tls_cert or insecure_skip_verify):
            raise Error("invalid", f"'{uri}' is a pool without TLS, and TLS options are given", "write https://host:port")
        wire = Wire(
            address,
            token or _address.token_of_environment(),
            tls_ca=_address.read_file(tls_ca, "tls_ca") if tls_ca else None,
            tls_cert=_address.read_file(tls_cert, "tls_cert") if tls_cert else None,
            tls_key=_address.read_file(tls_key, "tls_key") if tls_key else None,
            insecure_skip_verify=insecure_skip_verify,
        )
        connection = Connection(wire, embedded)
    except BaseException:
        if embedded is not None:
            embedded.release()
        raise
    try:
        # Whoever is not there, or does not let us in, says so now rather than at the first query.
        connection.sql("SELECT 1").to_arrow()
        for key, value in (settings or {}).items():
            connection.set(key, value)
    except BaseException:
        connection.close()
        raise
    return connection
