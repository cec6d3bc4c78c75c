"""A pool of this process's own: started when no pool is named, shared, and gone when nobody uses it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import whimbrel
from processes import until
from whimbrel import _embedded

HOLD = """
import whimbrel, sys
pool = whimbrel.connect()
print(pool.address, whimbrel._embedded._pools.popitem()[1]._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with nothing said of a pool."""
    monkeypatch.setenv("WHIMBREL_BINARY", binary)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_scores_and_remembers(here: Path, models: Path, trips: Path) -> None:
    with whimbrel.connect() as pool:
        assert pool.embedded
        pool.bind_model("fare", str(models / "fare.onnx"))
        scored = pool.sql(f"SELECT PREDICT('fare', *) AS fare FROM '{trips}/parquet/' LIMIT 5").to_arrow()
        assert scored.num_rows == 5
    assert (here / ".whimbrel").is_dir() and not _embedded._pools
    with whimbrel.connect() as pool:
        assert [model["alias"] for model in pool.models()] == ["fare"]


def test_two_connections_share_it_and_the_last_ends_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_STATE", str(here / "elsewhere"))
    first, second = whimbrel.connect(), whimbrel.connect()
    assert first.address == second.address and len(_embedded._pools) == 1
    (pool,) = _embedded._pools.values()
    first.close()
    assert second.sql("SELECT 1 AS a").to_rows() == [{"a": 1}]
    second.close()
    assert pool._process.poll() is not None
    assert (here / "elsewhere").is_dir() and not (here / ".whimbrel").exists()


def test_another_process_in_the_folder_uses_it_too(here: Path) -> None:
    source = str(Path(whimbrel.__file__).parents[1])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], env={**os.environ, "PYTHONPATH": source}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        address, pid = holder.stdout.readline().split()
        with whimbrel.connect() as pool:
            assert pool.address == address
            assert pool.sql("SELECT 1 AS a").to_rows() == [{"a": 1}]
        # However the process ends, its pool does too.
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        until(
            "the pool has ended",
            lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0],
        )
    finally:
        holder.kill()
        holder.wait(10)
        holder.stdin.close()
        holder.stdout.close()


def test_a_binary_that_is_not_there_or_is_none(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_BINARY", str(here / "nowhere"))
    with pytest.raises(
        whimbrel.Error, match="cannot start .*nowhere.*: No such file or directory; WHIMBREL_BINARY names the whimbrel binary"
    ):
        whimbrel.connect()
    other = here / "other"
    monkeypatch.setenv("WHIMBREL_BINARY", str(other))
    for line, code, message in [
        ("error: it is broken", "unavailable", "it is broken; connect(uri) names a pool that runs already"),
        ('{"error": {"code": "denied", "message": "not yours", "hint": "ask"}}', "denied", "not yours; ask"),
    ]:
        other.write_text(f"#!/bin/sh\necho '{line}' >&2\nexit 1\n")
        other.chmod(other.stat().st_mode | stat.S_IXUSR)
        with pytest.raises(whimbrel.Error) as caught:
            whimbrel.connect()
        assert (caught.value.code, str(caught.value)) == (code, f"the embedded pool did not start: {message}")


def test_a_state_that_cannot_be_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = here / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("WHIMBREL_STATE", str(file))
    with pytest.raises(whimbrel.Error) as caught:
        whimbrel.connect()
    assert caught.value.code == "unavailable" and str(file) in str(caught.value) and "WHIMBREL_STATE" in str(caught.value)


def test_no_binary(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHIMBREL_BINARY")
    monkeypatch.setenv("PATH", str(here / "empty"))
    with pytest.raises(whimbrel.Error, match="the whimbrel binary is not found"):
        whimbrel.connect()
