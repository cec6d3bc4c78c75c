"""Sessions, queries, models and errors, against a pool of real processes."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import whimbrel
from conftest import ROWS
from processes import Cluster, until


def test_rows_come_in_every_form(pool: whimbrel.Connection, trips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = f"SELECT trip_id, PREDICT('fare', *) AS fare FROM '{trips}/parquet/'"
    result = pool.sql(query)
    table = result.to_arrow()
    assert table.num_rows == ROWS and table.schema.field("fare").type == pyarrow.float32()
    assert result.to_pandas().shape == (ROWS, 2)
    assert result.to_reader().read_all() == table
    assert sum(batch.num_rows for batch in pool.sql(query)) == ROWS
    assert pool.sql(query).to_reader().read_all().num_rows == ROWS
    pool.sql("CREATE TEMPORARY VIEW without_columns AS SELECT 1 AS a").show()
    assert capsys.readouterr().out == "done\n"
    pool.sql(query).show(2)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == "| trip_id |               fare |" and shown[-1] == "only the first 2 rows are shown" and len(shown) == 7


def test_an_ordered_result_keeps_its_order_over_all_endpoints(pool: whimbrel.Connection, trips: Path) -> None:
    for order in ("ASC", "DESC"):
        ids = pool.sql(f"SELECT trip_id FROM '{trips}/csv/' ORDER BY trip_id {order}").to_arrow().column(0).to_pylist()
        assert ids == sorted(ids, reverse=order == "DESC") and len(ids) == ROWS


def test_a_query_runs_only_when_its_rows_are_asked_for(pool: whimbrel.Connection) -> None:
    result = pool.sql("SELECT * FROM not_yet")
    pool.execute("CREATE TEMPORARY VIEW not_yet AS SELECT 1 AS a")
    assert result.to_rows() == [{"a": 1}]


def test_a_loop_may_be_left_early(pool: whimbrel.Connection, trips: Path) -> None:
    for batch in pool.sql(f"SELECT * FROM '{trips}/csv/'"):
        assert batch.num_rows > 0
        break
    assert pool.sql("SELECT 1 AS a").to_rows() == [{"a": 1}]


def test_sessions_are_apart_and_end(cluster: Cluster, pool: whimbrel.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.execute("CREATE TEMPORARY VIEW mine AS SELECT 1 AS a")
    assert "mine" in pool.tables()
    with whimbrel.connect(cluster.url) as other:
        assert "mine" not in other.tables()
    pool.close()
    pool.close()
    # The pool has forgotten it: the same session is a new one.
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(pool.session_id))
    with whimbrel.connect(cluster.url) as again:
        assert again.session_id == pool.session_id and "mine" not in again.tables()
    with pytest.raises(whimbrel.Error, match="the connection is closed"):
        pool.sql("SELECT 1").to_arrow()


def test_settings_are_the_sessions(cluster: Cluster) -> None:
    shown = "SHOW datafusion.execution.batch_size"
    with whimbrel.connect(cluster.url, settings={"datafusion.execution.batch_size": 77}) as connection:
        assert connection.sql(shown).to_rows()[0]["value"] == "77"
        connection.set("datafusion.execution.batch_size", 78)
        assert connection.sql(shown).to_rows()[0]["value"] == "78"
    with pytest.raises(whimbrel.Error) as caught:
        whimbrel.connect(cluster.url, settings={"datafusion.no.such": 1})
    assert caught.value.code == "invalid"


def test_models(pool: whimbrel.Connection, models: Path, trips: Path) -> None:
    model = pool.bind_model("tip", str(models / "classifier.onnx"), returns="Array<float>", replace=True)
    assert model.info["returns"] == "ARRAY<FLOAT>"
    assert "tip" in [each["alias"] for each in pool.models()]
    assert {row["part"] for row in model.describe().to_rows()} >= {"input", "model"}
    pool.execute(f"CREATE EXTERNAL TABLE some_trips STORED AS PARQUET LOCATION '{trips}/parquet/'")
    assert {row["part"] for row in model.check("some_trips", sample=10).to_rows()} >= {"input", "speed"}
    pool.execute("DROP TABLE some_trips")
    with pytest.raises(whimbrel.Error) as caught:
        pool.bind_model("tip", str(models / "fare.onnx"))
    assert caught.value.code == "exists"
    pool.bind_model(
        "tip", str(models / "classifier.onnx"), options={"output": "probabilities"}, columns={"vendor_id": "vendor_id"}, replace=True
    )
    assert "output" in model.info["options"]
    model.unbind()
    with pytest.raises(whimbrel.Error, match="no model is bound to the alias 'tip'"):
        _ = model.info


def test_predict_takes_rows_of_this_process(pool: whimbrel.Connection, trips: Path) -> None:
    scored = pool.sql(f"SELECT *, PREDICT('fare', *) AS p FROM '{trips}/parquet/'").to_pandas().set_index("trip_id", drop=False)
    sent = scored.drop(columns=["p"])
    predicted = pool.model("fare").predict(sent)
    assert predicted.dtype == "float32" and (predicted.to_numpy() == scored["p"].to_numpy()).all()
    assert predicted.index.equals(scored.index)
    # Missing values are NULL, and so NaN to the model: not an error, and not another row's value.
    sent.loc[sent.index[0], "trip_distance"] = None
    holed = pool.model("fare").predict(sent)
    assert holed.iloc[0] != predicted.iloc[0] and (holed.iloc[1:] == predicted.iloc[1:]).all()
    assert len(pool.model("fare").predict(sent.iloc[:0])) == 0


def test_predict_refuses_what_belongs_into_a_file(pool: whimbrel.Connection) -> None:
    import pandas

    frame = pandas.DataFrame({"text": ["x" * 100_000] * 100})
    with pytest.raises(whimbrel.Error) as caught:
        pool.model("fare").predict(frame)
    assert caught.value.code == "exhausted" and "write them to a Parquet file" in str(caught.value)
    with pytest.raises(whimbrel.Error, match="predict\\(\\) got a list"):
        pool.model("fare").predict([1])


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("SELECT PREDICT('fair', *) FROM (SELECT 1 AS a)", "not_found", "did you mean 'fare'?"),
        ("SELECT nope FROM (SELECT 1 AS a)", "invalid", "column 'nope' does not exist; there is 'a'"),
        ("SELECT * FROM nowhere", "not_found", "table 'nowhere' does not exist"),
        ("SELEC 1", "invalid", "SQL"),
        ("SELECT CAST('x' AS INT) FROM (VALUES (1)) AS t", "invalid", "'x'"),
    ],
)
def test_errors_are_one_line_of_the_pool(pool: whimbrel.Connection, query: str, code: str, said: str) -> None:
    with pytest.raises(whimbrel.Error) as caught:
        pool.sql(query).to_arrow()
    error = caught.value
    assert error.code == code, error
    assert said in str(error)
    for foreign in ("\n", "FlightSQL", "adbc", "Adbc", "grpc", "goroutine"):
        assert foreign not in str(error)


@pytest.mark.parametrize("query", ["", "  ", None, 1, "SELECT '\0'", "SELECT '\ud800'"])
def test_what_is_no_statement_is_refused_here(pool: whimbrel.Connection, query: str) -> None:
    for call in (lambda: pool.sql(query).to_arrow(), lambda: pool.execute(query)):
        with pytest.raises(whimbrel.Error, match="^the statement "):
            call()


def test_a_row_that_fails_is_an_error_and_no_short_result(pool: whimbrel.Connection, models: Path) -> None:
    pool.bind_model("breaks", str(models / "fails_above_two.onnx"), replace=True)
    with pytest.raises(whimbrel.Error) as caught:
        pool.sql("SELECT PREDICT('breaks', x) FROM (VALUES (1), (9)) AS t(x)").to_arrow()
    assert caught.value.code in ("model", "data"), caught.value


def test_parameters(pool: whimbrel.Connection, trips: Path) -> None:
    assert pool.sql("SELECT CAST($1 AS BIGINT) + 1 AS a, $2 AS b", [41, "it's"]).to_rows() == [{"a": 42, "b": "it's"}]
    rows = pool.sql(f"SELECT trip_id FROM '{trips}/parquet/' WHERE trip_id < $1 ORDER BY trip_id", [3]).to_rows()
    assert [row["trip_id"] for row in rows] == [0, 1, 2]
    assert pool.sql("SELECT $1 IS NULL AS a", [None]).to_rows() == [{"a": True}]
    with pytest.raises(whimbrel.Error):
        pool.sql("SELECT $1 AS a, $2 AS b", [1]).to_arrow()
    with pytest.raises(whimbrel.Error, match="give a list"):
        pool.sql("SELECT $1", "text").to_arrow()


def test_addresses(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = cluster.url.removeprefix("http://")
    for uri in (f"grpc://{authority}", f"grpc+tcp://{authority}/", authority):
        with whimbrel.connect(uri) as connection:
            assert connection.address == cluster.url and not connection.embedded
    monkeypatch.setenv("WHIMBREL_POOL", cluster.url)
    with whimbrel.connect() as connection:
        assert connection.address == cluster.url
    for uri in (
        "ftp://host:1",
        "http://host",
        "http://:1",
        "http://host:99999",
        "http://user@host:1",
        "http://host:1/path",
        "http://host:x",
    ):
        with pytest.raises(whimbrel.Error) as caught:
            whimbrel.connect(uri)
        assert caught.value.code == "invalid" and "a pool is written http://host:port" in str(caught.value)
    missing = tmp_path / "no.pem"
    with pytest.raises(whimbrel.Error, match="which tls_ca names"):
        whimbrel.connect(f"https://{authority}", tls_ca=missing)
    with pytest.raises(whimbrel.Error, match="without TLS"):
        whimbrel.connect(cluster.url, insecure_skip_verify=True)
    with pytest.raises(whimbrel.Error, match="go together"):
        whimbrel.connect(f"https://{authority}", tls_key=missing)


def test_pools_that_cannot_be_reached(cluster: Cluster) -> None:
    with pytest.raises(whimbrel.Error) as caught:
        whimbrel.connect("http://127.0.0.1:1")
    assert (
        str(caught.value)
        == "cannot reach the pool at http://127.0.0.1:1: connection refused; check the address, and that 'whimbrel scheduler' runs there"
    )
    with pytest.raises(whimbrel.Error, match="cannot reach the pool at http://no-such-host.invalid:1: the host name is not known"):
        whimbrel.connect("http://no-such-host.invalid:1")
    with pytest.raises(whimbrel.Error, match="check that the pool speaks TLS there"):
        whimbrel.connect(cluster.url.replace("http", "https"))


def test_a_pool_asks_for_its_token(binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = "let-me-in"
    guarded = Cluster(binary, tmp_path, executors=1, WHIMBREL_CLIENT_TOKEN=word)
    try:
        for wrong in (None, "other"):
            with pytest.raises(whimbrel.Error) as caught:
                whimbrel.connect(guarded.url, token=wrong)
            assert caught.value.code == "unauthenticated" and "other" not in str(caught.value)
        with whimbrel.connect(guarded.url, token=word) as connection:
            # Rows come from the executor, which asks for it too.
            assert connection.sql("SELECT count(*) AS n FROM (VALUES (1), (2)) AS t").to_rows() == [{"n": 2}]
        monkeypatch.setenv("WHIMBREL_TOKEN", word)
        whimbrel.connect(guarded.url).close()
        monkeypatch.delenv("WHIMBREL_TOKEN")
        file = tmp_path / "word"
        file.write_text(word + "\n")
        monkeypatch.setenv("WHIMBREL_TOKEN_FILE", str(file))
        whimbrel.connect(guarded.url).close()
    finally:
        guarded.stop()


def test_ctrl_c_ends_the_query_and_not_the_session(cluster: Cluster, pool: whimbrel.Connection, models: Path, tmp_path: Path) -> None:
    import trips as maker

    pool.bind_model("slow", str(models / "slow.onnx"), replace=True)
    file = tmp_path / "trips.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_batches([maker.block(0)]), file)
    # As long as it takes to be seen and interrupted.
    again = ", ".join(f"({n})" for n in range(40))
    query = f"SELECT sum(PREDICT('slow', *)) AS interrupted FROM '{file}' CROSS JOIN (VALUES {again}) AS again (n)"

    def states() -> set[str]:
        return {str(each["state"]) for each in cluster.status()["queries"] if "interrupted" in each["sql"]}

    def interrupt() -> None:
        until("the query runs", lambda: "running" in states())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # What was started in the background may have been told to ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            pool.sql(query).to_arrow()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    until("the pool has ended it", lambda: states() == {"cancelled"})
    assert pool.sql("SELECT 1 AS a").to_rows() == [{"a": 1}]
