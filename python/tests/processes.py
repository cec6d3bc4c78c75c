"""Real `whimbrel` processes for the tests: on free ports, in temporary folders, stopped by their own pid, with their logs at hand."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

START_SECONDS = 60.0
STOP_SECONDS = 20.0


def until(what: str, look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Waits for a state: looks until there is something to see, or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Process:
    """A daemon that prints a line of JSON when it is ready."""

    def __init__(self, binary: str, arguments: list[str], folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = arguments[0]
        self._log = folder / f"{self.name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WHIMBREL_")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, *arguments],
                cwd=folder,
                env=environment | {"WHIMBREL_ALLOW": "s3://,abfss://,file:///"} | settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.ready = self._wait_until_ready()

    def _wait_until_ready(self) -> dict[str, Any]:
        lines: queue.Queue[str] = queue.Queue()

        def read() -> None:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, daemon=True).start()
        try:
            return dict(json.loads(lines.get(timeout=START_SECONDS)))
        except (queue.Empty, ValueError):
            self.stop()
            raise AssertionError(f"{self.name} did not say that it is ready\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return f"--- {self.name} ---\n" + "\n".join(lines[-40:])

    def stop(self) -> None:
        # The first word is to drain, the second to stop at once: nobody fetches what tests left behind.
        for ask, seconds in ((signal.SIGTERM, 1.0), (signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            if self._process.poll() is not None:
                return
            self._process.send_signal(ask)
            try:
                self._process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue


class Cluster:
    """A scheduler and its executors."""

    def __init__(self, binary: str, folder: Path, executors: int = 2, **settings: str) -> None:
        self._processes: list[Process] = []
        self._binary, self._token = binary, settings.get("WHIMBREL_CLIENT_TOKEN", "")
        try:
            scheduler = self._start(
                binary,
                ["scheduler", "--json", "--port", "0", "--cluster-port", "0", "--state", "memory", "--storage", "models"],
                folder / "s",
                settings,
            )
            self.url = f"http://{scheduler.ready['client_address']}"
            place = scheduler.ready["cluster_address"]
            for number in range(executors):
                arguments = ["executor", "--json", "--scheduler", place, "--port", "0", "--cluster-port", "0", "--slots", "1"]
                self._start(binary, arguments, folder / f"e{number}", {})
            until("all executors in the pool", lambda: len(self.status().get("executors", ())) == executors)
        except BaseException:
            self.stop()
            raise

    def _start(self, binary: str, arguments: list[str], folder: Path, settings: dict[str, str]) -> Process:
        process = Process(binary, arguments, folder, **settings)
        self._processes.append(process)
        return process

    def status(self) -> dict[str, Any]:
        """What `whimbrel pool status` says; nothing while it cannot."""
        command = [self._binary, "--pool", self.url, "--json", "pool", "status"]
        status = subprocess.run(command, env={**os.environ, "WHIMBREL_TOKEN": self._token}, capture_output=True, text=True, timeout=30)
        return dict(json.loads(status.stdout.splitlines()[0])) if status.returncode == 0 else {}

    def stop(self) -> None:
        # The scheduler last: executors say goodbye to it.
        for process in reversed(self._processes):
            process.stop()

    def log_tail(self) -> str:
        return "\n".join(process.log_tail() for process in self._processes)
