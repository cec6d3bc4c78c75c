"""A pool of this process's own: the `whimbrel` binary, started once for each folder of state and ended when nobody uses it.

The binary is told to end by closing its standard input, which happens by itself however this process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from whimbrel._error import Error, one_line

# The pool opens its state and starts an executor first; a machine that is busy takes its time.
START_SECONDS = 60.0
# For each way to ask: it finishes what runs, then it is told a second time, then it is killed.
STOP_SECONDS = 5.0

# They are for this package; the binary refuses variables that it does not know.
OWN_VARIABLES = ("WHIMBREL_BINARY", "WHIMBREL_POOL", "WHIMBREL_TOKEN", "WHIMBREL_TOKEN_FILE")

_lock = threading.Lock()
_pools: dict[tuple[str, str], Embedded] = {}


class Embedded:
    """The process, and how many connections use it."""

    def __init__(self, key: tuple[str, str], process: subprocess.Popen[str], log: IO[Any]) -> None:
        self._key = key
        self._process = process
        self._log = log
        self._users = 0
        self.address = ""
        self.token: str | None = None

    def release(self) -> None:
        """One user less; the last one ends the pool."""
        with _lock:
            self._users -= 1
            if self._users > 0 or _pools.pop(self._key, None) is None:
                return
        self._stop()

    def _stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        for end in (None, self._process.terminate, self._process.kill):
            if end is not None:
                end()
            try:
                self._process.wait(STOP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _failure(self, what: str) -> Error:
        """Why it is not there, in its own words: an error that it wrote as JSON, else the last line of its log."""
        self._log.seek(0)
        lines = [line for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        said = lines[-1] if lines else "it said nothing"
        try:
            told = json.loads(said)["error"]
            return Error(told["code"], f"{what}: {told['message']}", told.get("hint"))
        except (ValueError, KeyError, TypeError):
            return Error("unavailable", f"{what}: {one_line(said).removeprefix('error: ')}", "connect(uri) names a pool that runs already")

    def _wait_until_ready(self) -> None:
        lines: queue.Queue[str] = queue.Queue(1)

        def read() -> None:
            stdout = self._process.stdout
            lines.put(stdout.readline() if stdout is not None else "")

        threading.Thread(target=read, name="whimbrel-embedded", daemon=True).start()
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            raise self._failure(f"the embedded pool did not start within {START_SECONDS:.0f} s") from None
        try:
            ready = json.loads(line)
            self.address, self.token = str(ready["address"]), ready.get("token") or None
        except (ValueError, KeyError, TypeError):
            # Its own error, if it wrote one, is at the end of its log by the time it has ended.
            self._stop_reading()
            raise self._failure("the embedded pool did not start") from None

    def _stop_reading(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def acquire() -> Embedded:
    """The pool of this folder; starts it where none is there."""
    program = binary()
    state = str(Path(os.environ.get("WHIMBREL_STATE") or ".whimbrel").absolute())
    with _lock:
        pool = _pools.get((program, state))
        if pool is None or pool._process.poll() is not None:
            pool = _start((program, state))
            _pools[program, state] = pool
        pool._users += 1
        return pool


def _start(key: tuple[str, str]) -> Embedded:
    log = tempfile.TemporaryFile()
    environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    try:
        process = subprocess.Popen(
            [key[0], "pool", "serve", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            text=True,
            # Ctrl-C ends a statement, not the pool.
            start_new_session=True,
        )
    except OSError as error:
        log.close()
        raise Error("unavailable", f"cannot start '{key[0]}': {error.strerror}", "WHIMBREL_BINARY names the whimbrel binary") from None
    pool = Embedded(key, process, log)
    try:
        pool._wait_until_ready()
    except BaseException:
        pool._stop()
        raise
    return pool


def binary() -> str:
    """The `whimbrel` binary: `WHIMBREL_BINARY`, else what PATH has."""
    if named := os.environ.get("WHIMBREL_BINARY"):
        return str(Path(named).absolute())
    # The Python package may bring a script of the same name one day; a binary is what is looked for.
    if found := shutil.which("whimbrel"):
        return found
    raise Error(
        "unavailable",
        "no pool is named, and the whimbrel binary is not found to run one here",
        "give connect() the address of a pool, set WHIMBREL_POOL, or set WHIMBREL_BINARY to the binary",
    )


@atexit.register
def _stop_all() -> None:
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool._stop()
