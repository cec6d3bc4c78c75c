"""Score jobs: submitted, followed, cancelled and resumed by SQL alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet
import pytest

import whimbrel
from conftest import ROWS
from processes import until
from whimbrel import Job


def test_a_job_writes_each_row_once(pool: whimbrel.Connection, trips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    job = pool.score(
        model="fare", input=f"{trips}/csv/", keep=["trip_id"], output=str(output), as_="fare", key="nightly", user="me", priority="high"
    )
    status = job.wait(timeout=60)
    assert status.state == "succeeded" and status.fraction == 1.0 and status.ended
    assert (status.rows_written, status.rows_dead, status.user, status.priority) == (ROWS, 0, "me", "high")
    assert status.splits_done == status.splits_total > 0 and status.objects > 0
    assert status.submitted_at.year > 2000
    manifest = json.loads((output / status.manifest).read_text())
    assert manifest
    written = pyarrow.dataset.dataset(output, format="parquet", ignore_prefixes=["_", "."]).to_table().sort_by("trip_id")
    assert written.schema.names == ["trip_id", "fare"] and written.column("trip_id").to_pylist() == list(range(ROWS))
    expected = pool.sql(f"SELECT trip_id, PREDICT('fare', *) AS fare FROM '{trips}/csv/' ORDER BY trip_id").to_arrow()
    assert written.column("fare").to_pylist() == expected.column("fare").to_pylist()
    # Under its key it is the same job.
    assert (
        pool.score(
            model="fare", input=f"{trips}/csv/", keep=["trip_id"], output=str(output), as_="fare", key="nightly", user="me", priority="high"
        ).id
        == job.id
    )
    assert job.id in [each.job_id for each in pool.jobs()]
    said = capsys.readouterr().err.splitlines()
    assert said and said[-1].startswith(f"job {job.id}, succeeded, ")


def test_formats_and_options(pool: whimbrel.Connection, trips: Path, tmp_path: Path) -> None:
    output = tmp_path / "csv"
    pool.score(
        sql=f"SELECT trip_id, fare_amount FROM '{trips}/parquet/';", output=str(output), format="csv", header=False, delimiter=";"
    ).wait(False, 60)
    lines = [line for file in sorted(output.glob("part-*")) for line in file.read_text().splitlines()]
    assert len(lines) == ROWS and all(line.count(";") == 1 for line in lines)
    pool.score(model="fare", input=f"{trips}/parquet/", keep_all=True, output=str(output), mode="overwrite").wait(False, 60)
    assert pyarrow.dataset.dataset(output, format="parquet", ignore_prefixes=["_", "."]).count_rows() == ROWS
    with pytest.raises(whimbrel.Error) as caught:
        pool.score(model="fare", input=f"{trips}/parquet/", keep_all=True, output=str(output)).wait(False, 60)
    assert caught.value.code in ("exists", "invalid")


def test_bad_rows_become_dead_letters(pool: whimbrel.Connection, models: Path, tmp_path: Path) -> None:
    pool.bind_model("breaks", str(models / "fails_above_two.onnx"), replace=True)
    rows = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"passenger_count": pyarrow.array([1, 9, 2, 8, 1], pyarrow.int64())}), rows)
    letters = f"deadletter={tmp_path / 'dead'}"
    status = pool.score(model="breaks", input=str(rows), keep_all=True, output=str(tmp_path / "good"), on_error=letters).wait(False, 60)
    assert (status.rows_written, status.rows_dead) == (3, 2)
    failing = pool.score(model="breaks", input=str(rows), keep_all=True, output=str(tmp_path / "none"))
    with pytest.raises(whimbrel.Error) as caught:
        failing.wait(False, 120)
    assert caught.value.code == "model" and failing.id in str(caught.value) and "\n" not in str(caught.value)
    assert failing.status.state == "failed"
    failing.resume()
    with pytest.raises(whimbrel.Error):
        failing.wait(False, 120)
    failing.cancel()
    assert failing.status.state == "cancelled"


def test_a_job_goes_on_until_it_is_cancelled(pool: whimbrel.Connection, models: Path, tmp_path: Path) -> None:
    import trips as maker

    pool.bind_model("slow", str(models / "slow.onnx"), replace=True)
    rows = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_batches([maker.block(0)]), rows)
    job = pool.score(model="slow", input=str(rows), keep=["trip_id"], output=str(tmp_path / "out"))
    with pytest.raises(whimbrel.Error, match="it goes on; wait\\(\\) again, or cancel\\(\\)"):
        job.wait(False, 0.2)
    until("it runs", lambda: job.status.state == "running")
    job.cancel()
    with pytest.raises(whimbrel.Error) as caught:
        job.wait(False, 60)
    assert caught.value.code == "cancelled"
    assert not list((tmp_path / "out").glob("part-*"))


class Scripted:
    """Answers with one state after another, as a pool does over time; the last one stays."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self._states = list(states)
        self.asked: list[str] = []

    def sql(self, query: str) -> Scripted:
        self.asked.append(query)
        return self

    def to_rows(self) -> list[dict[str, Any]]:
        return [self._states.pop(0) if len(self._states) > 1 else self._states[0]]


def test_waiting_ends_as_the_job_does() -> None:
    def job(*states: str, **more: Any) -> Job:
        return Job(Scripted(*({"job_id": "a'b", "state": state, "seconds_left": None, "surplus": 1, **more} for state in states)), "a'b")  # type: ignore[arg-type]

    done = job("submitted", "running", "waiting", "running", "committing", "succeeded", splits_total=4, splits_done=1)
    assert done.wait(False).fraction == 1.0
    assert set(done._connection.asked) == {"SELECT * FROM information_schema.jobs WHERE job_id = 'a''b'"}  # type: ignore[attr-defined]
    for state, code, said in [
        ("failed", "failed", "job a'b failed: it rains; resume\\(\\)"),
        ("cancelled", "cancelled", "nothing of it is visible"),
    ]:
        with pytest.raises(whimbrel.Error, match=said) as caught:
            job("running", state, message="it rains").wait(False)
        assert caught.value.code == code
    begun = time.monotonic()
    with pytest.raises(whimbrel.Error, match="job a'b is running after 0.2 s; it goes on"):
        job("running").wait(False, 0.2)
    assert 0.2 <= time.monotonic() - begun < 5


def test_what_is_asked_wrongly_is_refused_before_it_is_sent(pool: whimbrel.Connection) -> None:
    for wishes, said in [
        ({"model": "fare", "input": "t"}, "keep= or keep_all=True"),
        ({"model": "fare", "input": "t", "keep": ["a"], "keep_all": True}, "keep= or keep_all=True"),
        ({"model": "fare", "input": "t", "keep": "a"}, "keep=\\['a'\\]"),
        ({"model": "fare", "keep_all": True}, "no model or no input"),
        ({"sql": "SELECT 1", "model": "fare"}, "a query, and a model"),
    ]:
        with pytest.raises(whimbrel.Error, match=said):
            pool.score(output="out", **wishes)  # type: ignore[arg-type]


def test_a_job_that_is_not_there(pool: whimbrel.Connection) -> None:
    with pytest.raises(whimbrel.Error) as caught:
        _ = pool.job("nowhere").status
    assert caught.value.code == "not_found"
    for call in (pool.job("nowhere").cancel, pool.job("nowhere").resume):
        with pytest.raises(whimbrel.Error) as caught:
            call()
        assert caught.value.code == "not_found" and "nowhere" in str(caught.value)
