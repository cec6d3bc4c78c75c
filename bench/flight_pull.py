"""Pulls results by pyarrow.flight for `flight.py`: all endpoints of a query in threads, told or polled, and clients that stall."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager as adbc
import pyarrow.flight as flight

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/python"))
from flight_pyarrow import locations, statement  # noqa: E402

# Streams that one client reads at once, of a result of that many parts or more.
READERS = 4


@dataclass
class Part:
    """One endpoint: where it is read, and by which ticket."""

    uri: str
    ticket: flight.Ticket


@dataclass
class Pulled:
    """A result that was pulled whole. Seconds are from the moment at which the query was sent."""

    rows: int
    bytes: int
    parts: int
    first_seconds: float
    seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


class Clients:
    """Connections, one for each place, that threads share."""

    def __init__(self) -> None:
        self.lock, self.by_uri = threading.Lock(), {}

    def at(self, uri: str) -> flight.FlightClient:
        with self.lock:
            if uri not in self.by_uri:
                self.by_uri[uri] = flight.FlightClient(uri)
            return self.by_uri[uri]

    def close(self) -> None:
        for client in self.by_uri.values():
            client.close()


class Pull:
    """Threads that read parts, which may still be coming."""

    def __init__(self, clients: Clients, begun: float | None = None):
        self.clients, self.begun = clients, begun or time.monotonic()
        self.state = threading.Condition()
        self.waiting: list[Part] = []
        self.parts = self.rows = self.bytes = 0
        self.first: float | None = None
        self.whole, self.failed = False, None
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(READERS)]
        for thread in self.threads:
            thread.start()

    def add(self, parts: list[Part]) -> None:
        with self.state:
            self.waiting += parts
            self.parts += len(parts)
            self.state.notify_all()

    def work(self) -> None:
        while True:
            with self.state:
                while not self.waiting and not self.whole:
                    self.state.wait()
                if not self.waiting or self.failed:
                    return
                part = self.waiting.pop(0)
            try:
                self.read(part)
            except BaseException as error:
                self.failed = error
                return

    def read(self, part: Part) -> None:
        rows = size = 0
        for chunk in self.clients.at(part.uri).do_get(part.ticket):
            self.first = self.first or time.monotonic()
            rows += chunk.data.num_rows
            size += chunk.data.nbytes
        with self.state:
            self.rows += rows
            self.bytes += size

    def end(self) -> Pulled:
        with self.state:
            self.whole = True
            self.state.notify_all()
        for thread in self.threads:
            thread.join()
        seconds = time.monotonic() - self.begun
        if self.failed:
            raise SystemExit(f"bench: a part was not read: {self.failed}")
        return Pulled(self.rows, self.bytes, self.parts, (self.first or self.begun) - self.begun, seconds)


def parts_of(info: flight.FlightInfo, home: str) -> list[Part]:
    """Each endpoint where it is first said to be; one that says nothing is where the query was asked."""
    return [Part(next(iter(locations(endpoint)), home), endpoint.ticket) for endpoint in info.endpoints]


def ask(clients: Clients, uri: str, sql: str) -> list[Part]:
    return parts_of(clients.at(uri).get_flight_info(statement(sql)), uri)


def plain(clients: Clients, uri: str, sql: str) -> Pulled:
    """Asked once; the answer comes when the query is done."""
    pull = Pull(clients)
    pull.add(ask(clients, uri, sql))
    return pull.end()


def polled(clients: Clients, uri: str, sql: str) -> Pulled:
    """Polled by ADBC; parts are read while others are still scored."""
    with flightsql.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        query = cursor.adbc_statement
        query.set_options(**{adbc.StatementOptions.INCREMENTAL.value: "true"})
        query.set_sql_query(sql)
        pull = Pull(clients)
        while True:
            fresh, _, _ = query.execute_partitions()
            if not fresh:
                return pull.end()
            pull.add([part for piece in fresh for part in parts_of(flight.FlightInfo.deserialize(piece), uri)])


def again(clients: Clients, parts: list[Part]) -> Pulled:
    """What is there already, read once more."""
    pull = Pull(clients)
    pull.add(parts)
    return pull.end()


@contextmanager
def stalled(uri: str, sql: str, count: int) -> Iterator[int]:
    """Clients that take the first batch of every part and no more; how many streams they hold open."""
    everybody, streams = [], []
    for _ in range(count):
        clients = Clients()
        everybody.append(clients)
        for part in ask(clients, uri, sql):
            stream = clients.at(part.uri).do_get(part.ticket)
            stream.read_chunk()
            streams.append(stream)
    try:
        yield len(streams)
    finally:
        for stream in streams:
            stream.cancel()
        for clients in everybody:
            clients.close()


def crowd(uri: str, sql: str, count: int, rows: int) -> float:
    """So many clients at once, each of which reads a result of so many rows to its end; the seconds until all have."""
    counts, failed = [], []

    def one() -> None:
        clients = Clients()
        try:
            counts.append(sum(clients.at(part.uri).do_get(part.ticket).read_all().num_rows for part in ask(clients, uri, sql)))
        except BaseException as error:
            failed.append(error)
        finally:
            clients.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    if failed or set(counts) != {rows}:
        raise SystemExit(f"bench: {len(failed)} of {count} clients failed ({failed[:1]}), others had {set(counts)} rows, not {rows}")
    return seconds
