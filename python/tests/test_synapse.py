"""`whimbrel.synapse`, call by call; that a whole notebook runs is in test_notebook.py."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

import whimbrel
import whimbrel.synapse as pcontext
from conftest import ROWS
from processes import Cluster
from whimbrel.synapse import DataFrame, ServicePrincipalAuthentication, Workspace, spark
from whimbrel.synapse.functions import col, expr, lit, udf


@pytest.fixture(autouse=True)
def session(cluster: Cluster) -> Iterator[whimbrel.Connection]:
    yield pcontext.connect(cluster.url)
    spark.stop()


@pytest.fixture
def df(trips: Path) -> DataFrame:
    return spark.read.parquet(f"{trips}/parquet/")


@pytest.fixture
def model(models: Path) -> pcontext.PredictModel:
    return pcontext.bind_model("float", "onnx", "fare", str(models / "fare.onnx")).register()


def values(frame: DataFrame) -> list[list[object]]:
    return [list(row) for row in frame.collect()]


def test_all_three_calls_give_the_same(df: DataFrame, model: pcontext.PredictModel) -> None:
    import trips as maker

    df.createOrReplaceTempView("Trips")
    by_sql = {row.trip_id: row.p for row in spark.sql("SELECT trip_id, PREDICT('fare', *) AS p FROM Trips").collect()}
    assert len(by_sql) == ROWS
    features = maker.FEATURES
    for frame in (
        df.withColumn("p", model.udf(lit("fare"), *df.columns)),
        df.withColumn("p", model.udf("fare", *reversed(df.columns))),
        df.withColumn("p", model.udf(lit("fare"), *features)),
        df.withColumn("p", model.udf(lit("fare"), *[col(name) * 1 for name in features])),
        model.create_transformer().setOutputCol("p").transform(df),
        model.create_transformer().setInputCols(features).setOutputCol("p").transform(df),
    ):
        assert {row.trip_id: row.p for row in frame.collect()} == by_sql
    with pytest.raises(whimbrel.Error, match="udf\\(\\) takes the alias first"):
        model.udf(col("a"), "b")


def test_registering_again_replaces(models: Path, model: pcontext.PredictModel) -> None:
    before = spark.connection.model("fare").info["generation"]
    model.register()
    assert spark.connection.model("fare").info["generation"] == before + 1


def test_frames(df: DataFrame, trips: Path) -> None:
    three = df.filter("trip_id < 3").select("TRIP_ID", (col("trip_id") + 1).alias("next"), df.borough)
    assert three.columns == ["TRIP_ID", "next", "borough"]
    assert sorted(row["next"] for row in three.collect()) == [1, 2, 3]
    assert df.limit(7).count() == 7 and df.count() == ROWS
    assert df[["trip_id", "borough"]].columns == ["trip_id", "borough"]
    assert df.drop("trip_id").columns == df.columns[1:]
    assert df.withColumnRenamed("trip_id", "id").columns == ["id", *df.columns[1:]]
    assert df.withColumn("Trip_ID", lit(5)).columns == ["Trip_ID", *df.columns[1:]]
    assert df.withColumn("Trip_ID", lit("it's")).first().trip_id == "it's"  # type: ignore[union-attr]
    assert df.where((col("trip_id") >= 10) & ~(col("trip_id") > 12) & df["borough"].isNotNull()).count() == 3
    assert df.where(col("trip_id").isin(1, 2) | (col("trip_id") == 5)).count() == 3
    assert df.where(col("borough") == "Queens").count() == df.filter("borough = 'Queens'").count() > 0
    assert values(
        df.where(col("trip_id") == 3).select(col("trip_id") / 2, -col("trip_id"), 1 - col("trip_id"), col("trip_id").cast("string"))
    ) == [[1.5, -3, -2, "3"]]
    assert df.selectExpr("max(trip_id) AS m -- the last one").first().m == ROWS - 1  # type: ignore[union-attr]
    assert df.select(expr("trip_id % 2").alias("odd")).take(1)[0].asDict().keys() == {"odd"}
    assert df.toPandas().shape == (ROWS, len(df.columns)) and df.toArrow().num_rows == ROWS
    assert df.head() is not None and len(df.head(4)) == 4 and df.filter("trip_id < 0").first() is None
    both = spark.read.csv([f"{trips}/csv/part-0.csv", f"{trips}/csv/part-1.csv"], header=True, inferSchema=True)
    assert both.count() == 2 * ROWS // 5


def test_show(df: DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    frame = spark.sql("SELECT * FROM (VALUES (1, 'a text that is longer than twenty letters'), (2, NULL)) AS t(id, words) ORDER BY id DESC")
    frame.show()
    frame.show(1, truncate=False)
    assert capsys.readouterr().out.splitlines() == [
        "+----+----------------------+",
        "| id | words                |",
        "+----+----------------------+",
        "|  2 | NULL                 |",
        "|  1 | a text that is lo... |",
        "+----+----------------------+",
        "+----+-------+",
        "| id | words |",
        "+----+-------+",
        "|  2 | NULL  |",
        "+----+-------+",
        "only showing top 1 rows",
    ]
    df.printSchema()
    assert " |-- trip_id: int64" in capsys.readouterr().out
    assert repr(frame).startswith("DataFrame[id: int64, words: ")


def test_an_order_survives_limits(df: DataFrame) -> None:
    df.createOrReplaceTempView("data")
    ordered = spark.sql("SELECT trip_id, row_number() OVER (ORDER BY trip_id) AS n FROM data ORDER BY trip_id DESC")
    top = [ROWS - 1, ROWS - 2, ROWS - 3]
    assert [row.trip_id for row in ordered.take(3)] == [row.trip_id for row in ordered.limit(3).collect()] == top
    assert [row.trip_id for row in spark.sql("SELECT trip_id FROM data ORDER BY trip_id DESC LIMIT 10 -- ten").take(3)] == top
    assert [row.trip_id for row in ordered.collect()] == list(reversed(range(ROWS)))


def test_csv_as_spark_reads_it(tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_text("code,n\n007,1\n008,NA\n")
    texts = spark.read.option("header", "true").csv(str(plain))
    assert values(texts) == [["007", "1"], ["008", "NA"]]
    inferred = spark.read.csv(str(plain), header=True, inferSchema=True, nullValue="NA")
    assert values(inferred) == [[7, 1], [8, None]]
    typed = spark.read.schema("code STRING, n INT").option("header", True).option("nullValue", "NA").csv(str(plain))
    assert values(typed) == [["007", 1], ["008", None]]
    bare = tmp_path / "bare.csv"
    bare.write_text("1;'a;b'\n2;c\n")
    read = spark.read.options(sep=";", quote="'", inferSchema="true").csv(str(bare))
    assert read.columns == ["_c0", "_c1"] and values(read) == [[1, "a;b"], [2, "c"]]
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert spark.read.format("csv").options(header=True, inferSchema=True).load(str(packed)).columns == ["code", "n"]
    # The tables that options need are the session's, and are gone with it.
    assert any(name.startswith("_files_") for name in spark.connection.tables())
    address = spark.connection.address
    spark.stop()
    with whimbrel.connect(address) as other:
        assert not any(name.startswith("_files_") for name in other.tables())


def test_json(tmp_path: Path) -> None:
    lines = tmp_path / "rows.json"
    lines.write_text('{"a": 1, "b": "x"}\n{"a": 2}\n')
    assert values(spark.read.json(str(lines))) == [[1, "x"], [2, None]]


def test_what_reading_refuses(tmp_path: Path) -> None:
    for read, said in [
        (lambda: spark.read.parquet(str(tmp_path / "none.parquet")), "does not exist"),
        (lambda: spark.read.format("orc").load("x"), "'orc' is no format; there are"),
        (lambda: spark.read.option("badRecordsPath", "x").csv("x"), "option 'badrecordspath' of csv files is not supported; there are"),
        (lambda: spark.read.option("header", "perhaps").csv("x"), "write true or false"),
        (lambda: spark.read.parquet(), "no files are named"),
        (lambda: spark.read.schema("a INT, b").csv("x"), "is not a column of a schema"),
    ]:
        with pytest.raises(whimbrel.Error, match=said):
            read()


def test_views(df: DataFrame) -> None:
    df.createOrReplaceTempView("steps")
    spark.sql("SELECT trip_id FROM steps WHERE trip_id < 10").createOrReplaceTempView("steps")
    spark.sql("SELECT trip_id * 2 AS twice FROM Steps").createOrReplaceTempView("steps")
    assert sorted(row.twice for row in spark.table("STEPS").collect()) == [2 * each for each in range(10)]


def test_a_session_that_the_pool_forgot_is_made_anew(df: DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    spark.conf.set("datafusion.execution.batch_size", 99)
    df.createOrReplaceTempView("first")
    spark.sql("SELECT trip_id FROM first WHERE trip_id < 2").createOrReplaceTempView("second")
    spark.connection.execute("DROP VIEW first")
    spark.connection.execute("DROP VIEW second")
    spark.connection.execute("RESET datafusion.execution.batch_size")
    with pytest.raises(whimbrel.Error, match="does not exist"):
        spark.table("second").count()
    monkeypatch.setattr("whimbrel.synapse._session.IDLE_SECONDS", -1.0)
    assert spark.table("second").count() == 2
    assert spark.sql("SHOW datafusion.execution.batch_size").collect()[0]["value"] == "99"
    spark.conf.unset("datafusion.execution.batch_size")


def test_statements_run_at_once(df: DataFrame, trips: Path) -> None:
    spark.sql(f"CREATE EXTERNAL TABLE at_once STORED AS PARQUET LOCATION '{trips}/parquet/'")
    assert "at_once" in [row["table_name"] for row in spark.sql("SHOW TABLES").collect()]
    shown = spark.sql("DESCRIBE at_once")
    assert shown.count() == len(df.columns) and "column_name" in shown.columns
    with pytest.raises(whimbrel.Error, match="gives rows that no query can be made of"):
        shown.filter("1 = 1")
    spark.sql("DROP TABLE at_once;")
    assert "at_once" not in spark.connection.tables()


def test_conf() -> None:
    spark.conf.set("spark.synapse.ml.predict.enabled", "true")
    spark.conf.set("spark.sql.shuffle.partitions", 7)
    assert spark.conf.get("spark.sql.shuffle.partitions") == "7" and spark.conf.get("other", "x") == "x"
    spark.conf.set("datafusion.execution.batch_size", 99)
    assert spark.sql("SHOW datafusion.execution.batch_size").collect()[0]["value"] == "99"
    spark.conf.unset("datafusion.execution.batch_size")
    assert spark.sql("SHOW datafusion.execution.batch_size").collect()[0]["value"] != "99"
    with pytest.raises(whimbrel.Error, match="was not set"):
        spark.conf.get("other")


def test_workspaces_are_links_and_secrets_stay(caplog: pytest.LogCaptureFixture) -> None:
    word = "p4ssw0rd-of-nobody"
    auth = ServicePrincipalAuthentication(tenant_id="T", service_principal_id="C", service_principal_password=word)
    ws = Workspace(workspace_name="no-such-ws", subscription_id="S", resource_group="G", auth=auth)
    with pytest.raises(whimbrel.Error) as caught:
        pcontext.bind_model("float", "mlflow", "fare", "aml://fare:1", ws).register()
    assert caught.value.code == "not_found"
    assert str(caught.value) == (
        "the pool has no link 'no-such-ws' to workspace 'no-such-ws'; `whimbrel link add no-such-ws --kind azureml --workspace no-such-ws "
        "--resource-group G --subscription S --tenant T --client-id C --secret-env VARIABLE`"
    )
    assert word not in f"{auth!r} {ws!r} {caught.value!r} {caplog.text}"


def test_what_does_not_run_says_so(df: DataFrame) -> None:
    for call, said in [
        (lambda: udf(len), "Python functions do not run on a pool"),
        (lambda: bool(col("a")), "combine conditions with"),
        (lambda: df["nope"], "column 'nope' does not exist; there are 'trip_id'"),
        (lambda: df.select(), "names no column"),
        (lambda: df.withColumn("a", "b"), "lit\\(value\\) is one"),  # type: ignore[arg-type]
        (lambda: df.write.partitionBy("a"), "partitionBy is not supported"),
        (lambda: df.write.mode("ignore"), "'ignore' is no mode"),
        (lambda: df.write.option("maxRecords", 1), "option 'maxRecords' is not supported"),
        (lambda: df.write.saveAsTable("t"), "saveAsTable is not supported"),
    ]:
        with pytest.raises(whimbrel.Error, match=said):
            call()
    with pytest.raises(AttributeError):
        _ = df.nope


def test_writing_is_a_score_job(df: DataFrame, model: pcontext.PredictModel, tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    job = df.withColumn("p", model.udf(lit("fare"), *df.columns)).select("trip_id", "p").write.parquet(output)
    assert job.status.state == "succeeded" and spark.read.parquet(output).count() == ROWS
    df.limit(5).write.mode("overwrite").format("csv").option("header", True).save(output)
    assert spark.read.csv(output, header=True, inferSchema=True).count() == 5
