"""The pools that the bench measures, as real processes: an embedded one, and a scheduler with one executor or two.

Every process is started and ended by its own id, and ends with the bench whatever happens.
"""

import json
import os
import pty
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

START_DEADLINE = 60
QUERY_DEADLINE = 1800
STOP_DEADLINE = 30


@dataclass
class Finished:
    """A command that ended well."""

    seconds: float
    peak_mib: float
    output: str


def run(arguments: list[str], folder: Path) -> Finished:
    """Runs a command to its end and measures it; an error ends the bench with the command's own words."""
    log, figures = folder / "command.log", folder / "command.figures"
    measured = [sys.executable, "-S", str(Path(__file__).parent / "measured.py"), str(figures), *arguments]
    with log.open("w") as words:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": words, "stderr": words}
        with subprocess.Popen(measured, cwd=folder, env=environment(), start_new_session=True, **quiet) as process:
            try:
                code = process.wait(QUERY_DEADLINE)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    output = log.read_text()
    if code != 0:
        raise SystemExit(f"bench: {' '.join(arguments)} failed\n{output}")
    seconds, peak_mib = map(float, figures.read_text().split())
    return Finished(seconds, peak_mib, output)


def environment() -> dict[str, str]:
    """The caller's, without what would lead commands to another pool. Results that nobody fetches any more keep no pool up."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WHIMBREL_")}
    return {**own, "WHIMBREL_DRAIN_GRACE": "5s"}


def peak_mib(pid: int) -> float:
    """The most memory that a living process had since `forget_peak`."""
    return memory_mib(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    return memory_mib(pid, "VmRSS")


def memory_mib(pid: int, figure: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{figure}:\s+(\d+) kB", status)[1]) / 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        print(f"bench: process {process.pid} did not stop in {STOP_DEADLINE} s; killing it", flush=True)
        process.kill()
        process.wait()


class Daemon:
    """A scheduler or an executor that has said, by a line of JSON, that it is ready."""

    def __init__(self, name: str, arguments: list[str], folder: Path):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                arguments, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        lines: queue.Queue = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        deadline = time.monotonic() + START_DEADLINE
        self.ready = None
        while self.ready is None:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                stop(self.process)
                raise SystemExit(f"bench: {name} did not say that it is ready\n{self.log.read_text()}") from None
            if line.startswith("{"):
                self.ready = json.loads(line)

    @property
    def pid(self) -> int:
        return self.process.pid


class Cluster:
    """One scheduler, and executors that share the cores."""

    def __init__(self, whimbrel: str, folder: Path, executors: int = 2, options: tuple[str, ...] = ()):
        """`options` are the scheduler's."""
        self.folder, self.whimbrel, self.executors = folder, whimbrel, executors
        self.name = {1: "one executor", 2: "two executors"}.get(executors, f"{executors} executors")
        self.daemons: list[Daemon] = []
        folder.mkdir(parents=True, exist_ok=True)
        own = ["--port", "0", "--cluster-port", "0", "--allow", "file:///"]
        try:
            scheduler = self.start("scheduler", ["scheduler", "--json", *own, "--state", "memory", "--storage", "models", *options])
            self.pool = ["--pool", "http://" + scheduler.ready["client_address"]]
            slots = str(max(1, (os.cpu_count() or 1) // executors))
            for number in range(1, executors + 1):
                joined = ["--scheduler", scheduler.ready["cluster_address"], "--work-dir", f"work-{number}", "--slots", slots]
                self.start(f"executor {number}", ["executor", "--json", *own, *joined])
            self.wait_for_executors()
        except BaseException:
            self.close()
            raise

    def start(self, name: str, arguments: list[str]) -> Daemon:
        self.daemons.append(Daemon(name, [self.whimbrel, *arguments], self.folder))
        return self.daemons[-1]

    def wait_for_executors(self) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            status = run([self.whimbrel, *self.pool, "pool", "status", "--json"], self.folder).output
            if status.count('"active"') == self.executors:
                return
            time.sleep(0.1)
        raise SystemExit(f"bench: {self.name} did not join\n{status}")

    def whimbrel_command(self, *arguments: str) -> Finished:
        return run([self.whimbrel, *self.pool, *arguments], self.folder)

    def processes(self) -> dict[str, int]:
        return {daemon.name: daemon.pid for daemon in self.daemons}

    def executor_processes(self) -> dict[str, int]:
        return {name: pid for name, pid in self.processes().items() if name != "scheduler"}

    def close(self) -> None:
        for daemon in reversed(self.daemons):
            stop(daemon.process)


class Alone:
    """No pool to begin with: each command starts its own and ends it."""

    name = "a pool from nothing"

    def __init__(self, whimbrel: str, folder: Path):
        self.folder, self.whimbrel = folder, whimbrel
        folder.mkdir(parents=True, exist_ok=True)

    def whimbrel_command(self, *arguments: str) -> Finished:
        return run([self.whimbrel, *arguments], self.folder)


class Embedded:
    """A pool inside one process: an interactive `whimbrel sql` owns it, the commands in the same folder connect to it."""

    name = "embedded pool"

    def __init__(self, whimbrel: str, folder: Path):
        self.folder, self.whimbrel = folder, whimbrel
        folder.mkdir(parents=True, exist_ok=True)
        self.terminal, inner = pty.openpty()
        self.owner = subprocess.Popen([whimbrel, "sql"], cwd=folder, env=environment(), stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        threading.Thread(target=self.read_terminal, daemon=True).start()
        # Not before the owner says where its pool is: the first command of a folder would become the owner itself.
        address = folder / ".whimbrel/owner.json"
        deadline = time.monotonic() + START_DEADLINE
        while not address.exists() and self.owner.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if not address.exists():
            self.close()
            raise SystemExit("bench: the embedded pool did not start")

    def read_terminal(self) -> None:
        """What the owner prints is thrown away, or it would block."""
        try:
            while os.read(self.terminal, 65536):
                pass
        except OSError:
            return

    def whimbrel_command(self, *arguments: str) -> Finished:
        return run([self.whimbrel, *arguments], self.folder)

    def processes(self) -> dict[str, int]:
        return {"pool": self.owner.pid}

    def close(self) -> None:
        stop(self.owner)
        os.close(self.terminal)


class Floor:
    """The Python process of `floor.py`, or of another that is asked in the same way, with one model loaded."""

    def __init__(self, python: str, model: Path, folder: Path, program: str = "floor.py"):
        script = Path(__file__).with_name(program)
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [python, str(script), str(model)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("bench: the floor's process ended; its words stand above")
        return json.loads(line)

    def score(self, data: Path, format_name: str, out: Path, keep: list[str], **how) -> dict:
        """`how` is what else `floor.py` takes: the size of its batches, how its Parquet is written."""
        request = {"data": str(data), "format": format_name, "out": str(out), "keep": keep, **how}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def peak_mib(self) -> float:
        return peak_mib(self.process.pid)

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            stop(self.process)
