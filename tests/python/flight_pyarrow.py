"""Scenarios of pyarrow.flight, as it is published: endpoints pulled by hand, straight from executors or through the scheduler.

The settings name the query and its rows: `--set sql=... --set rows=N`; its first column is `trip_id`, which has each number below N once.
"""

import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import urlparse

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
from google.protobuf.any_pb2 import Any
from scenarios import Pool, Wrong, expect, main, refusal, same

SQL = "type.googleapis.com/arrow.flight.protocol.sql."
# Of each endpoint at once; more would only wait for each other.
READERS = 4


def field(number: int, value: bytes) -> bytes:
    """A field of bytes or text as protobuf has it."""
    size, length = len(value), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def command(name: str, body: bytes = b"") -> flight.FlightDescriptor:
    return flight.FlightDescriptor.for_command(Any(type_url=SQL + name, value=body).SerializeToString())


def statement(sql: str) -> flight.FlightDescriptor:
    return command("CommandStatementQuery", field(1, sql.encode()))


def connect(pool: Pool, uri: str | None = None, ahead: bool = True) -> flight.FlightClient:
    """Without `ahead`, little comes that is not asked for: gRPC's window, which it guesses and widens, may hold whole results."""
    roots = {"tls_root_certs": pool.ca.read_bytes()} if pool.ca else {}
    window = {} if ahead else {"generic_options": [("grpc.http2.bdp_probe", 0)]}
    return flight.FlightClient(uri or pool.uri, **roots, **window)


def options(pool: Pool, seconds: float = 300.0) -> flight.FlightCallOptions:
    headers = [(b"authorization", f"Bearer {pool.token}".encode())] if pool.token else []
    return flight.FlightCallOptions(headers=headers, timeout=seconds)


def here(uri: str) -> tuple:
    where = urlparse(uri)
    return where.hostname, where.port


def locations(endpoint: flight.FlightEndpoint) -> list[str]:
    return [location.uri.decode() for location in endpoint.locations]


class Puller:
    """Reads endpoints in threads, each from its first location or from the one that `choose` names."""

    def __init__(self, pool: Pool, choose: Callable[[list[str]], str]):
        self.pool, self.choose = pool, choose
        self.lock = threading.Lock()
        self.clients: dict[str, flight.FlightClient] = {}
        self.ids: list[np.ndarray] = []
        self.failed: list[BaseException] = []
        self.first: float | None = None

    def client(self, uri: str) -> flight.FlightClient:
        with self.lock:
            if uri not in self.clients:
                self.clients[uri] = connect(self.pool, uri)
            return self.clients[uri]

    def read(self, endpoint: flight.FlightEndpoint) -> None:
        reader = self.client(self.choose(locations(endpoint))).do_get(endpoint.ticket, options(self.pool))
        for chunk in reader:
            ids = chunk.data.column(0).to_numpy(zero_copy_only=False)
            with self.lock:
                self.first = self.first or time.monotonic()
                self.ids.append(ids)

    def work(self, waiting: list[flight.FlightEndpoint]) -> None:
        while True:
            with self.lock:
                if not waiting or self.failed:
                    return
                endpoint = waiting.pop(0)
            try:
                self.read(endpoint)
            except BaseException as error:
                with self.lock:
                    self.failed.append(error)

    def pull(self, info: flight.FlightInfo) -> np.ndarray:
        waiting = list(info.endpoints)
        threads = [threading.Thread(target=self.work, args=(waiting,)) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise Wrong(f"an endpoint was not read: {self.failed[0]}")
        return np.concatenate(self.ids)


def ask(pool: Pool) -> flight.FlightInfo:
    return connect(pool).get_flight_info(statement(pool.text("sql")), options(pool))


def pull(pool: Pool, info: flight.FlightInfo, choose: Callable[[list[str]], str]) -> dict:
    """All rows, each once; what it took."""
    puller = Puller(pool, choose)
    begun = time.monotonic()
    ids = puller.pull(info)
    seconds = time.monotonic() - begun
    count = pool.number("rows")
    same(len(ids), count, "rows")
    same(info.total_records, count, "rows that were promised")
    expect(np.array_equal(np.sort(ids), np.arange(count)), "a row is missing or came twice")
    return {"rows": count, "endpoints": len(info.endpoints), "seconds": seconds, "rows_per_second": count / seconds}


def straight(pool: Pool) -> dict:
    """Every endpoint names its executor first and the scheduler second, tells when it ends, and is read from the executor."""
    info = ask(pool)
    executors = set()
    for endpoint in info.endpoints:
        ways = locations(endpoint)
        same(len(ways), 2, f"ways to an endpoint in {ways}")
        expect(here(ways[0]) != here(pool.uri), f"the first way is the scheduler: {ways}")
        same(here(ways[1]), here(pool.uri), "the second way")
        scheme = "grpc+tls" if pool.ca else "grpc+tcp"
        same({urlparse(way).scheme for way in ways}, {scheme}, "schemes")
        expect(endpoint.expiration_time is not None, "an endpoint without a time of expiry")
        executors.add(here(ways[0]))
    same(len(executors), pool.number("executors"), f"executors in {executors}")
    return pull(pool, info, lambda ways: ways[0])


def through_the_scheduler(pool: Pool) -> dict:
    """The same tickets are good at the scheduler, which passes the rows on."""
    return pull(pool, ask(pool), lambda ways: ways[-1])


def proxy_only(pool: Pool) -> dict:
    """A pool whose executors cannot be reached names none of them."""
    info = ask(pool)
    for endpoint in info.endpoints:
        same(locations(endpoint), [], "ways to an endpoint")
    return pull(pool, info, lambda _: pool.uri)


def foreign_words(pool: Pool) -> dict:
    """Calls that the pool does not serve are refused, and the connection goes on."""
    client = connect(pool)
    kinds = (flight.FlightUnavailableError, flight.FlightUnauthorizedError, pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError)
    for what, call in {
        "a path": lambda: client.get_flight_info(flight.FlightDescriptor.for_path("a", "b"), options(pool)),
        "a command of nobody": lambda: client.get_flight_info(flight.FlightDescriptor.for_command(b"\xff\x00nonsense"), options(pool)),
        "a ticket of nobody": lambda: client.do_get(flight.Ticket(b"\xff\x00nonsense"), options(pool)).read_all(),
        "an empty ticket": lambda: client.do_get(flight.Ticket(b""), options(pool)).read_all(),
        "an action of nobody": lambda: list(client.do_action(flight.Action("NoSuchAction", b""), options(pool))),
        "rows without a command": lambda: put(client, pool),
    }.items():
        try:
            said = refusal(kinds, call)
        except flight.FlightInternalError as error:
            raise Wrong(f"{what}: {error}") from error
        expect("panick" not in said and " { " not in said, f"{what} is answered by a dump: {said}")
    same(rows(client, pool, "SELECT 1 AS one").to_pydict(), {"one": [1]}, "a query afterwards")
    return {}


def put(client: flight.FlightClient, pool: Pool) -> None:
    schema = pa.schema([("id", pa.int64())])
    writer, reader = client.do_put(flight.FlightDescriptor.for_path("a"), schema, options(pool))
    writer.write_batch(pa.record_batch({"id": [1]}))
    writer.done_writing()
    while reader.read() is not None:
        pass
    writer.close()


def rows(client: flight.FlightClient, pool: Pool, sql: str) -> pa.Table:
    info = client.get_flight_info(statement(sql), options(pool))
    return pa.concat_tables([client.do_get(endpoint.ticket, options(pool)).read_all() for endpoint in info.endpoints])


# Each command, its body, and the first columns that Flight SQL wants of it.
LISTS = {
    "CommandGetCatalogs": (b"", ["catalog_name"]),
    "CommandGetDbSchemas": (b"", ["catalog_name", "db_schema_name"]),
    "CommandGetTables": (b"", ["catalog_name", "db_schema_name", "table_name", "table_type"]),
    "CommandGetTableTypes": (b"", ["table_type"]),
    "CommandGetSqlInfo": (b"", ["info_name", "value"]),
    "CommandGetXdbcTypeInfo": (b"", ["type_name", "data_type", "column_size", "literal_prefix", "literal_suffix", "create_params"]),
    "CommandGetPrimaryKeys": (field(3, b"trips"), ["catalog_name", "db_schema_name", "table_name", "column_name", "key_name", "key_sequence"]),
    "CommandGetImportedKeys": (field(3, b"trips"), ["pk_catalog_name", "pk_db_schema_name", "pk_table_name", "pk_column_name"]),
    "CommandGetExportedKeys": (field(3, b"trips"), ["pk_catalog_name", "pk_db_schema_name", "pk_table_name", "pk_column_name"]),
    "CommandGetCrossReference": (field(3, b"trips") + field(6, b"zones"), ["pk_catalog_name", "pk_db_schema_name", "pk_table_name", "pk_column_name"]),
}
EMPTY = {"CommandGetPrimaryKeys", "CommandGetImportedKeys", "CommandGetExportedKeys", "CommandGetCrossReference"}


def lists(pool: Pool) -> dict:
    """Every list of Flight SQL: the columns that it is to have, told before and come, and rows where there is something."""
    client, counts = connect(pool), {}
    for name, (body, columns) in LISTS.items():
        info = client.get_flight_info(command(name, body), options(pool))
        same(info.schema.names[: len(columns)], columns, f"{name}: columns that were promised")
        [endpoint] = info.endpoints
        table = client.do_get(endpoint.ticket, options(pool)).read_all()
        same(table.schema, info.schema, f"{name}: columns that came")
        expect((table.num_rows == 0) == (name in EMPTY), f"{name}: {table.num_rows} rows")
        described = client.get_schema(command(name, body), options(pool)).schema
        same(described, info.schema, f"{name}: get_schema")
        counts[name.removeprefix("CommandGet")] = table.num_rows
    return counts


def handshake(pool: Pool) -> dict:
    """User and password earn a bearer token that lets in; a wrong password earns nothing."""
    client = connect(pool)
    header = client.authenticate_basic_token("anyone", pool.token)
    expect(header[1].startswith(b"Bearer "), "no bearer token")
    entered = flight.FlightCallOptions(headers=[header])
    info = client.get_flight_info(statement("SELECT 1 AS one"), entered)
    same(client.do_get(info.endpoints[0].ticket, entered).read_all().to_pydict(), {"one": [1]}, "with the token earned")
    refusal(flight.FlightUnauthenticatedError, lambda: connect(pool).authenticate_basic_token("anyone", "no password"))
    nobody = flight.FlightCallOptions(timeout=30)
    refusal(flight.FlightUnauthenticatedError, lambda: client.get_flight_info(statement("SELECT 1"), nobody))
    return {}


def stalled(pool: Pool) -> dict:
    """Opens every endpoint, takes one batch of each, and takes nothing more until its standard input ends."""
    info = ask(pool)
    client, held = {}, []
    for endpoint in info.endpoints:
        way = locations(endpoint)[0]
        client[way] = client.get(way) or connect(pool, way, ahead=False)
        reader = client[way].do_get(endpoint.ticket, options(pool))
        reader.read_chunk()
        held.append(reader)
    print("stalled", flush=True)
    sys.stdin.read()
    return {"endpoints": len(held)}


def dying(pool: Pool) -> dict:
    """Reads one batch of each endpoint, says so, waits for a word, and reads to the end, which must be an error: an executor died.

    What each endpoint has to give is known by the same query before.
    """
    client = connect(pool)
    wanted = [client.do_get(endpoint.ticket, options(pool)).read_all().num_rows for endpoint in ask(pool).endpoints]
    info = ask(pool)
    victim = pool.number("victim")
    readers, counts, failed = [], [], {}
    for endpoint in info.endpoints:
        way = locations(endpoint)[0]
        reader = connect(pool, way, ahead=False).do_get(endpoint.ticket, options(pool))
        readers.append((here(way)[1], reader))
        counts.append(reader.read_chunk().data.num_rows)
    print("reading", flush=True)
    sys.stdin.readline()
    for place, (port, reader) in enumerate(readers):
        try:
            for chunk in reader:
                counts[place] += chunk.data.num_rows
        except (flight.FlightError, pa.ArrowException) as error:
            failed[place] = f"{port}: {error}".splitlines()[0]
    dead = [place for place, (port, _) in enumerate(readers) if port == victim]
    expect(dead, f"nothing was read from {victim}")
    expect(any(place in failed for place in dead), f"all streams of a dead executor ended cleanly, with {sum(counts)} rows")
    expect(sum(counts) < pool.number("rows"), "every row came: nothing was killed in the middle")
    expect(set(failed) <= set(dead), f"the living one failed: {failed}")
    for place in dead:
        whole = counts[place] == wanted[place]
        expect(whole or place in failed, f"{counts[place]} of {wanted[place]} rows of an endpoint ended cleanly")
    return {"said": next(iter(failed.values())), "rows": sum(counts)}


if __name__ == "__main__":
    everything = (straight, through_the_scheduler, proxy_only, foreign_words, lists, handshake, stalled, dying)
    sys.exit(main({scenario.__name__: scenario for scenario in everything}))
