"""Measures how results reach their clients by Flight, in one run: `make bench-flight`.

A pool of two executors on this machine's cores. Time to the first batch and to the last of a PREDICT over all rows, asked for plainly
and polled; a plain SELECT beside Sail's Flight server, where it can be installed; rows a second of executors that serve a finished
result beside bare servers of pyarrow's C++ that hold the same batches in memory; and a crowd of clients, some of which stall. What is
compared takes turns. Wrong numbers of rows end the bench; nothing fails for being slow: targets and what was reached are printed.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

import flight_pull
import inputs
import pools
import pyarrow as pa
import pyarrow.flight as flight
from flight_pull import Clients, Part, Pulled
from flight_report import report
from words import say

SAIL = "pysail==0.7.2"
COLUMNS = "trip_id, vendor_id, trip_distance, duration_min"
# The rows of the query that a crowd asks.
CROWD_ROWS = 100_000
START_DEADLINE = 60


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.rows, self.repeats = arguments.rows, arguments.repeats
        self.dev = arguments.dev.resolve()
        self.folder = self.dev / "bench-flight" / "run"
        self.found: dict = {"rows": self.rows, "repeats": self.repeats, "predict": []}

    def run(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        data = self.folder.parent / "data"
        self.trips, self.few = inputs.some_trips(data, self.rows), inputs.some_trips(data, CROWD_ROWS)
        with ExitStack() as closing:
            self.pool = pools.Cluster(str(self.arguments.whimbrel.resolve()), self.folder / "pool", 2)
            closing.callback(self.pool.close)
            self.uri = self.pool.pool[1].replace("http://", "grpc://")
            self.clients = Clients()
            closing.callback(self.clients.close)
            self.furnish()
            for model in self.arguments.models:
                self.predict(model)
            self.select(closing)
            self.serve(closing)
            self.crowd()

    def furnish(self) -> None:
        for model in {*self.arguments.models, "linear"}:
            self.pool.whimbrel_command("model", "bind", model, "--uri", str(self.dev / "models" / f"{model}.onnx"))
        for table, uri in (("trips", self.trips), ("few", self.few)):
            self.pool.whimbrel_command("table", "add", table, "--uri", str(uri), "--format", "parquet")

    def whole(self, pulled: Pulled, rows: int | None = None) -> Pulled:
        if pulled.rows != (rows or self.rows):
            raise SystemExit(f"bench: {pulled.rows:,} rows came, not {rows or self.rows:,}")
        return pulled

    def turns(self, ways: dict) -> dict[str, list[Pulled]]:
        """Each way in turn, once without counting."""
        found: dict[str, list[Pulled]] = {name: [] for name in ways}
        for turn in range(self.repeats + 1):
            for name, way in ways.items():
                pulled = self.whole(way())
                if turn > 0:
                    found[name].append(pulled)
        return found

    def predict(self, model: str) -> None:
        sql = f"SELECT trip_id, PREDICT('{model}', *) AS predict FROM trips"
        found = self.turns(
            {
                "plain": lambda: flight_pull.plain(self.clients, self.uri, sql),
                "polled": lambda: flight_pull.polled(self.clients, self.uri, sql),
            }
        )
        case = {"model": model, **{name: [asdict(pulled) for pulled in passes] for name, passes in found.items()}}
        self.found["predict"].append(case)
        first = {name: min(pulled.first_seconds for pulled in passes) for name, passes in found.items()}
        say(f"PREDICT with {model}: first batch after {first['plain']:.2f} s plain, {first['polled']:.2f} s polled")

    def select(self, closing: ExitStack) -> None:
        """The same rows by a pool and by Sail, both from the same files."""
        ways = {"whimbrel": lambda: flight_pull.plain(self.clients, self.uri, f"SELECT {COLUMNS} FROM trips")}
        sail = self.start_sail(closing)
        if sail:
            theirs = f"SELECT {COLUMNS} FROM parquet.`{self.trips}`"
            ways["sail"] = lambda: flight_pull.plain(self.clients, sail, theirs)
        found = self.turns(ways)
        self.found["select"] = {name: [asdict(pulled) for pulled in passes] for name, passes in found.items()}
        say(f"SELECT: { {name: f'{min(pulled.seconds for pulled in passes):.2f} s' for name, passes in found.items()} }")

    def start_sail(self, closing: ExitStack) -> str | None:
        """Where Sail's server is; None where it cannot be had, which is said."""
        venv = self.folder.parent / "sail"
        program = venv / "bin/sail"
        if not program.exists():
            say(f"installing {SAIL} (once)")
            install = [venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", SAIL]
            for command in ([sys.executable, "-m", "venv", venv], install):
                if subprocess.run(command, check=False).returncode != 0:
                    say(f"left out: Sail, since {SAIL} cannot be installed here")
                    return None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (self.folder / "sail.log").open("w") as log:
            server = subprocess.Popen([program, "flight", "server", "--port", str(port)], stdout=log, stderr=log)
        closing.callback(pools.stop, server)
        uri = f"grpc://127.0.0.1:{port}"
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline and server.poll() is None:
            try:
                self.whole(flight_pull.plain(self.clients, uri, "SELECT 1 AS one"), 1)
                return uri
            except flight.FlightError:
                time.sleep(0.2)
        raise SystemExit(f"bench: Sail did not start\n{(self.folder / 'sail.log').read_text()}")

    def serve(self, closing: ExitStack) -> None:
        """A finished result, read again and again from the executors that wrote it, and from bare servers of the same batches."""
        sql = f"SELECT {COLUMNS}, PREDICT('linear', *) AS predict FROM trips"
        parts = flight_pull.ask(self.clients, self.uri, sql)
        bare = self.start_bare(closing, parts)
        held = self.read_again(sql)
        found = self.turns({"executors": held, "bare": lambda: flight_pull.again(self.clients, bare)})
        self.found["serve"] = {name: [asdict(pulled) for pulled in passes] for name, passes in found.items()}
        best = {name: max(pulled.rows_per_second for pulled in passes) for name, passes in found.items()}
        say(f"do_get: executors at {best['executors'] / best['bare']:.2f} of bare servers")

    def read_again(self, sql: str):
        """Reads a result of its own each time, asked for before the clock runs: one that was read may be gone."""

        def read() -> Pulled:
            return flight_pull.again(self.clients, flight_pull.ask(self.clients, self.uri, sql))

        return read

    def start_bare(self, closing: ExitStack, parts: list[Part]) -> list[Part]:
        """One bare server for each executor, with what that executor holds."""
        by_place: dict[str, list[str]] = {}
        for number, part in enumerate(parts):
            name = self.folder / f"part-{number}.arrows"
            reader = self.clients.at(part.uri).do_get(part.ticket).to_reader()
            with pa.OSFile(str(name), "wb") as file, pa.ipc.new_stream(file, reader.schema) as out:
                for batch in reader:
                    out.write_batch(batch)
            by_place.setdefault(part.uri, []).append(str(name))
        bare = []
        script = Path(__file__).with_name("bare_flight.py")
        for names in by_place.values():
            server = subprocess.Popen([sys.executable, script, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            closing.callback(end, server)
            port = json.loads(server.stdout.readline())["port"]
            bare += [Part(f"grpc://127.0.0.1:{port}", flight.Ticket(str(number).encode())) for number in range(len(names))]
        return bare

    def crowd(self) -> None:
        """Clients at once, first all of them living, then beside those that stall; memory and descriptors."""
        living = self.arguments.clients - self.arguments.stalled
        small, wide = "SELECT trip_id FROM few", f"SELECT {COLUMNS}, PREDICT('linear', *) AS predict FROM trips"

        def pass_by() -> float:
            return flight_pull.crowd(self.uri, small, living, CROWD_ROWS)

        pass_by()
        for pid in self.pool.processes().values():
            pools.forget_peak(pid)
        alone, beside = [pass_by()], []
        quiet = self.memory()
        for _ in range(self.repeats):
            with flight_pull.stalled(self.uri, wide, self.arguments.stalled) as streams:
                # What their queries have written is on its way to the disk, which is no part of their stalling.
                os.sync()
                beside.append(pass_by())
                loud = self.memory()
            alone.append(pass_by())
        self.found["crowd"] = {
            "clients": self.arguments.clients,
            "stalled": self.arguments.stalled,
            "streams": streams,
            "alone_seconds": alone,
            "beside_seconds": beside,
            "alone_mib": quiet,
            "beside_mib": loud,
        }
        say(f"{living} clients: {median(alone):.2f} s alone, {median(beside):.2f} s beside {self.arguments.stalled} stalled")

    def memory(self) -> dict[str, float]:
        """The peaks of the scheduler and the executors."""
        return {name: pools.peak_mib(pid) for name, pid in self.pool.processes().items()}


def end(bare: subprocess.Popen) -> None:
    """A bare server ends with its input: pyarrow has signals for itself."""
    bare.stdin.close()
    try:
        bare.wait(pools.STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        bare.kill()
        bare.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whimbrel", type=Path, required=True, help="the binary to measure")
    parser.add_argument("--dev", type=Path, required=True, help="the folder with models and data")
    parser.add_argument("--rows", type=int, default=10_000_000, help="how many trips")
    parser.add_argument("--models", type=lambda text: text.split(","), default=["linear", "lightgbm"])
    parser.add_argument("--clients", type=int, default=100, help="clients at once")
    parser.add_argument("--stalled", type=int, default=20, help="how many of them stop reading")
    parser.add_argument("--repeats", type=int, default=3)
    bench = Bench(parser.parse_args())
    bench.run()
    text = report(bench.found)
    (bench.folder / "report.md").write_text(text + "\n")
    (bench.folder / "results.json").write_text(json.dumps(bench.found, indent=1) + "\n")
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
