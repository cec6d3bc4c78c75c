"""One score job as a user runs it, `whimbrel score --watch`, and what it took: by its own record, by the clock on the wall, in memory.
"""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import outputs
import pools

PREDICT = "predict"
SAMPLE_SECONDS = 0.04


@dataclass
class Memory:
    """What one executor had during a job: at most, and in the middle of the job's second half."""

    peak_mib: float
    steady_mib: float


@dataclass
class Scored:
    """A job that has succeeded."""

    seconds: float
    wall_seconds: float
    status: dict
    memory: dict[str, Memory]

    @property
    def progress(self) -> dict:
        return self.status["progress"]


class Sampler:
    """Looks at the executors' memory while a job runs."""

    def __init__(self, pids: dict[str, int]):
        self.pids = pids
        self.samples: dict[str, list[float]] = {name: [] for name in pids}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self) -> None:
        while not self.over.wait(SAMPLE_SECONDS):
            for name, pid in self.pids.items():
                self.samples[name].append(pools.resident_mib(pid))

    def __enter__(self) -> "Sampler":
        for pid in self.pids.values():
            pools.forget_peak(pid)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.over.set()
        self.thread.join()

    def memory(self) -> dict[str, Memory]:
        found = {}
        for name, pid in self.pids.items():
            samples = self.samples[name] or [pools.resident_mib(pid)]
            found[name] = Memory(pools.peak_mib(pid), median(samples[len(samples) // 2 :]))
        return found


def score(pool: pools.Cluster, model: str, data: Path, out: Path, *more: str) -> Scored:
    """Runs a job to its end; one that does not succeed ends the bench with its own words."""
    command = ["score", "--model", model, "--input", str(data), "--keep", outputs.KEY, "--as", PREDICT]
    with Sampler(pool.executor_processes()) as sampler:
        watched = pool.whimbrel_command(*command, "--output", str(out), *more, "--watch", "--json")
    shown = pool.whimbrel_command("job", "show", last_json(watched.output)["job_id"], "--json")
    status = last_json(shown.output)
    if status["state"] != "succeeded":
        raise SystemExit(f"bench: the job of {data} is {status['state']} after its watch ended well")
    seconds = (status["ended_at_ms"] - status["submitted_at_ms"]) / 1000
    return Scored(seconds, watched.seconds, status, sampler.memory())


def last_json(text: str) -> dict:
    """Notes stand around what a command answers."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"bench: a command with --json answered\n{text}")
    return json.loads(lines[-1])


def check_counts(scored: Scored, written: int, dead: int = 0) -> None:
    progress = scored.progress
    found = (progress["rows_done"], progress["rows_written"], progress["rows_dead"])
    if found != (written + dead, written, dead):
        raise SystemExit(f"bench: job {scored.status['job_id']} read, wrote and put aside {found} rows, not {written:,} and {dead}")
