"""One client's session with a pool, over the Flight SQL driver: the only file that names it besides the errors.

The driver may open a connection to each executor; all carry the same header, so that settings and temporary views are those of
one session. It reads the endpoints of a result in parallel and hands the batches on in the endpoints' order, which is the order
of the rows.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import adbc_driver_flightsql
import adbc_driver_manager
import pyarrow
from adbc_driver_flightsql import DatabaseOptions, StatementOptions

from whimbrel._address import Address
from whimbrel._error import Error, translated

T = TypeVar("T")

# As the pool's own limit of a message, and room for what gRPC adds.
MESSAGE_BYTES = 65 * 1024 * 1024
# Batches of each endpoint that wait for their reader: enough to read ahead, few enough to hold little memory.
READ_AHEAD = 4


class Wire:
    """See the module. One thread uses it at a time; several results may be read in turns."""

    def __init__(
        self,
        address: Address,
        token: str | None = None,
        *,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        insecure_skip_verify: bool = False,
    ) -> None:
        self.place = str(address)
        self.session = uuid.uuid4().hex
        settings = {
            DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(MESSAGE_BYTES),
            f"{DatabaseOptions.RPC_CALL_HEADER_PREFIX.value}whimbrel-session": self.session,
        }
        if token:
            settings[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token}"
        if tls_ca:
            settings[DatabaseOptions.TLS_ROOT_CERTS.value] = tls_ca
        if tls_cert and tls_key:
            settings[DatabaseOptions.MTLS_CERT_CHAIN.value] = tls_cert
            settings[DatabaseOptions.MTLS_PRIVATE_KEY.value] = tls_key
        if insecure_skip_verify:
            settings[DatabaseOptions.TLS_SKIP_VERIFY.value] = "true"
        try:
            self._database = adbc_driver_flightsql.connect(address.driver_uri, db_kwargs=settings)
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
        except adbc_driver_manager.Error:
            # Nothing has been sent yet, so it is what was given; certificates are all that can be wrong in it.
            raise Error("invalid", "tls_ca, tls_cert or tls_key holds no certificate or no key that fits", "give PEM files") from None
        self._open = True

    def query(self, sql: str, params: Sequence[Any] | None = None) -> Reader:
        """Runs a statement; the rows are read from what this returns."""
        statement = self._statement(sql, params)
        try:
            with translated(self.place):
                handle, _ = interruptible(statement.execute_query, statement.cancel)
                batches = pyarrow.RecordBatchReader.from_stream(handle)
        except BaseException:
            statement.close()
            raise
        return Reader(statement, batches, self.place)

    def update(self, sql: str, params: Sequence[Any] | None = None) -> int:
        """Runs a statement that changes something; how many rows its answer has."""
        statement = self._statement(sql, params)
        try:
            with translated(self.place):
                return int(interruptible(statement.execute_update, statement.cancel))
        finally:
            statement.close()

    def _statement(self, sql: str, params: Sequence[Any] | None) -> Any:
        if not self._open:
            raise Error("invalid", "the connection is closed", "connect again")
        checked(sql)
        with translated(self.place):
            statement = adbc_driver_manager.AdbcStatement(self._connection)
        try:
            with translated(self.place):
                statement.set_options(**{StatementOptions.QUEUE_SIZE.value: READ_AHEAD})
                statement.set_sql_query(sql)
                if params is not None:
                    statement.prepare()
                    statement.bind_stream(bound(params))
        except BaseException:
            statement.close()
            raise
        return statement

    def close(self) -> None:
        """Ends the session; temporary views and settings are forgotten."""
        if not self._open:
            return
        self._open = False
        with translated(self.place):
            self._connection.close()
            self._database.close()


class Reader:
    """The rows of one result, as they come."""

    def __init__(self, statement: Any, batches: Any, place: str) -> None:
        self._statement = statement
        self._batches = batches
        self._place = place
        self.schema: Any = batches.schema

    def __iter__(self) -> Iterator[Any]:
        try:
            while (batch := self._next()) is not None:
                yield batch
        finally:
            self.close()

    def _next(self) -> Any:
        def read() -> Any:
            try:
                return self._batches.read_next_batch()
            except StopIteration:
                return None

        with translated(self._place):
            return interruptible(read, self._statement.cancel)

    def close(self) -> None:
        """Frees what the pool holds of it."""
        if self._statement is not None:
            statement, self._statement = self._statement, None
            self._batches.close()
            statement.close()


def checked(sql: str) -> None:
    """Refuses what the driver would not carry to the pool as it is."""
    if not isinstance(sql, str):
        raise Error("invalid", f"the statement is {sql!r}", "write a text")
    if not sql.strip():
        raise Error("invalid", "the statement is empty", "write one, such as SELECT 1")
    if "\0" in sql or not _encodes(sql):
        raise Error("invalid", "the statement holds a letter that no text may hold (NUL, or half of a pair)", "leave it out")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def bound(params: Sequence[Any]) -> Any:
    """One row of parameters, in the order of `$1`, `$2`, ..."""
    if isinstance(params, (str, bytes)):
        raise Error("invalid", f"the parameters are {params!r}", "give a list: one value for each of $1, $2, ...")
    try:
        columns = [pyarrow.array([value]) for value in params]
    except pyarrow.ArrowException as error:
        raise Error("invalid", f"a parameter cannot be sent: {error}", "send numbers, texts, dates, bytes, lists or None") from None
    batch = pyarrow.RecordBatch.from_arrays(columns, names=[str(place + 1) for place in range(len(columns))])
    return pyarrow.RecordBatchReader.from_batches(batch.schema, [batch])


def interruptible(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Runs what blocks in the driver, so that Ctrl-C ends it: signals reach Python's main thread only between its own steps."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    outcome: list[T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="whimbrel-call", daemon=True).start()
    try:
        done.wait()
    except KeyboardInterrupt:
        cancel()
        done.wait()
        raise
    if failure:
        raise failure[0]
    return outcome[0]
