"""The one Spark-like session of a notebook."""

from __future__ import annotations

import atexit
import time
from typing import Any

import whimbrel
from whimbrel._error import Error
from whimbrel._quote import identifier
from whimbrel.synapse import _text
from whimbrel.synapse._frame import DataFrame
from whimbrel.synapse._reader import DataFrameReader


# A pool forgets a session that is idle for half an hour, unless it is set otherwise; people who read a notebook take longer.
IDLE_SECONDS = 600.0


class RuntimeConfig:
    """`spark.conf`: settings of the engine go to the pool, all others are remembered here and mean nothing to it."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._known: dict[str, str] = {}

    def set(self, key: str, value: Any) -> None:
        """Sets it; `datafusion.*` in the pool's session."""
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if key.startswith("datafusion."):
            self._session.connection.set(key, text)
        self._known[key] = text

    def renew(self, connection: whimbrel.Connection) -> None:
        """Sets anew what a pool may have forgotten."""
        for key, text in self._known.items():
            if key.startswith("datafusion."):
                connection.set(key, text)

    def get(self, key: str, default: str | None = None) -> str | None:
        """What was set, else the default."""
        if key not in self._known and default is None:
            raise Error("not_found", f"setting '{key}' was not set in this session", "give a default: conf.get(key, default)")
        return self._known.get(key, default)

    def unset(self, key: str) -> None:
        """Forgets it."""
        if self._known.pop(key, None) is not None and key.startswith("datafusion."):
            self._session.connection.execute(f"RESET {key}")


class SparkSession:
    """The session. It connects when it is first needed, as `whimbrel.connect()` does where `connect` was not called."""

    def __init__(self) -> None:
        self._connection: whimbrel.Connection | None = None
        self._views: dict[str, str] = {}
        self._files: dict[str, DataFrame] = {}
        self._tables: list[str] = []
        self._used = 0.0
        self.conf = RuntimeConfig(self)

    @property
    def connection(self) -> whimbrel.Connection:
        """The session with the pool."""
        connection = self._connection
        if connection is None:
            connection = whimbrel.connect()
            self.use(connection)
        elif time.monotonic() - self._used > IDLE_SECONDS:
            self._renew(connection)
        self._used = time.monotonic()
        return connection

    def _renew(self, connection: whimbrel.Connection) -> None:
        """Makes settings and views anew, in their order: the pool may have forgotten this session meanwhile."""
        self.conf.renew(connection)
        for name, sql in self._views.items():
            connection.execute(f"CREATE OR REPLACE TEMPORARY VIEW {identifier(name)} AS {sql}")

    def use(self, connection: whimbrel.Connection) -> None:
        """Works with this connection from here on, and closes it at the end."""
        self.stop()
        self._connection, self._used = connection, time.monotonic()

    @property
    def read(self) -> DataFrameReader:
        """Files as frames."""
        return DataFrameReader(self)

    def sql(self, text: str) -> DataFrame:
        """A query's rows, when they are asked for; any other statement runs at once."""
        text = text.strip().rstrip(";").rstrip()
        if _text.first_word(text) in _text.QUERIES:
            return DataFrame(self, text)
        return DataFrame(self, text, answer=self.connection.sql(text).to_arrow())

    def table(self, name: str) -> DataFrame:
        """A table or view of the pool or of this session."""
        return DataFrame(self, f"SELECT * FROM {identifier(self.name(name))}")

    def name(self, name: str) -> str:
        """A name as SQL finds it where it is not quoted."""
        return name.strip("`").lower()

    def put_view(self, name: str, sql: str) -> None:
        """Makes a temporary view. One that is made of the old view of its name keeps what that was."""
        name = self.name(name)
        old = self._views.get(name)
        if old is not None and _text.mentions(sql, name):
            sql = f"WITH {identifier(name)} AS ({old}\n) SELECT * FROM ({sql}\n) AS t"
        self.connection.execute(f"CREATE OR REPLACE TEMPORARY VIEW {identifier(name)} AS {sql}")
        # At the end, behind those that it may be made of.
        self._views.pop(name, None)
        self._views[name] = sql

    def file_table(self) -> str:
        """The name of a new table for files that are read with options; it is dropped at the end."""
        name = f"_files_{self.connection.session_id[:12]}_{len(self._tables)}"
        self._tables.append(name)
        return name

    @property
    def files(self) -> dict[str, DataFrame]:
        """What was read with options already, by what was asked."""
        return self._files

    def stop(self) -> None:
        """Drops the tables that were made for files, and closes the connection. The next use connects anew."""
        connection, self._connection = self._connection, None
        tables, self._tables = self._tables, []
        self._views.clear()
        self._files.clear()
        if connection is None:
            return
        try:
            for name in tables:
                connection.execute(f"DROP TABLE IF EXISTS {identifier(name)}")
        finally:
            connection.close()


def connect(uri: str | None = None, **options: Any) -> whimbrel.Connection:
    """Says which pool `spark` works with; takes what `whimbrel.connect` takes."""
    connection = whimbrel.connect(uri, **options)
    spark.use(connection)
    return connection


spark = SparkSession()


@atexit.register
def _stop() -> None:
    try:
        spark.stop()
    except Error as error:
        # A process that ends has nobody left to tell but its log.
        import logging

        logging.getLogger("whimbrel.synapse").warning("the session did not end as it should: %s", error)
