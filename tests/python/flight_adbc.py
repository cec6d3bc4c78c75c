"""Scenarios of the ADBC driver for Flight SQL, as it is published: what there is, statements, parameters, changes, sessions.

The pool has the tables and models of the suite that runs this: `trips` with `--set rows=N` rows, the model `fare`, the view
`long_trips`.
"""

import datetime
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager as adbc
import pyarrow as pa
import pyarrow.parquet as parquet
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions
from scenarios import Pool, expect, main, same
from scenarios import refusal as any_refusal

SESSION = "adbc.flight.sql.session.option."


def connect(pool: Pool, **conn_kwargs: str) -> flightsql.Connection:
    options = {}
    if pool.token:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {pool.token}"
    if pool.ca:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = pool.ca.read_text()
    return flightsql.connect(pool.uri, db_kwargs=options, conn_kwargs=conn_kwargs or None, autocommit=True)


def refusal(act: Callable[[], object], *words: str, kinds=(adbc.ProgrammingError, adbc.NotSupportedError)) -> str:
    """The pool's own words, in the class of error that ADBC has for what the caller did wrong."""
    said = any_refusal(adbc.Error, act, *words, only=kinds)
    expect("details-bin" not in said, f"the driver does not understand the error: {said}")
    return said


def rows(connection: flightsql.Connection, sql: str, parameters=None) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def objects(connection: flightsql.Connection, **how) -> dict[str, dict[str, list[dict]]]:
    """Catalog, schema, tables."""
    found: dict[str, dict[str, list[dict]]] = {}
    for catalog in connection.adbc_get_objects(**how).read_all().to_pylist():
        schemas = catalog["catalog_db_schemas"] or []
        found[catalog["catalog_name"]] = {schema["db_schema_name"]: schema["db_schema_tables"] or [] for schema in schemas}
    return found


def names(tables: list[dict]) -> set[str]:
    return {table["table_name"] for table in tables}


def catalog(pool: Pool) -> dict:
    """Every call about what there is."""
    with connect(pool) as connection:
        info = connection.adbc_get_info()
        same(info["vendor_name"], "Whimbrel", "the vendor")
        expect(info["vendor_version"], f"no version in {info}")
        kinds = connection.adbc_get_table_types()
        same(sorted(kinds), ["TABLE", "VIEW"], "kinds of tables")
        found = objects(connection, depth="all")
        same(len(found), 1, f"catalogs in {list(found)}")
        [(home, schemas)] = found.items()
        [(schema, tables)] = [(name, tables) for name, tables in schemas.items() if "trips" in names(tables)]
        by_name = {table["table_name"]: table for table in tables}
        same(by_name["trips"]["table_type"], "TABLE", "the kind of trips")
        same(by_name["long_trips"]["table_type"], "VIEW", "the kind of long_trips")
        columns = [column["column_name"] for column in by_name["trips"]["table_columns"]]
        wanted = connection.adbc_get_table_schema("trips")
        same(columns, wanted.names, "columns of trips")
        places = [column["ordinal_position"] for column in by_name["trips"]["table_columns"]]
        same(places, list(range(1, len(columns) + 1)), "places of the columns")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM trips LIMIT 0")
            same(cursor.fetch_arrow_table().schema.types, wanted.types, "types of trips")
        same(connection.adbc_get_table_schema("trips", db_schema_filter=schema).names, wanted.names, "with a schema's name")
        filters(connection, home, schema)
        refusal(lambda: connection.adbc_get_table_schema("no_such_table"))
        return {"tables": len(tables), "schemas": len(schemas)}


def filters(connection: flightsql.Connection, home: str, schema: str) -> None:
    """What is asked for by name or pattern comes, and nothing else does."""
    same(list(objects(connection, depth="catalogs")), [home], "catalogs")
    expect(schema in objects(connection, depth="db_schemas")[home], "schemas without tables")
    only = objects(connection, depth="tables", table_name_filter="tri%", db_schema_filter=schema)
    same(list(only[home]), [schema], "schemas that fit")
    expect("trips" in names(only[home][schema]), "a pattern finds trips")
    expect("long_trips" not in names(only[home][schema]), "a pattern that does not fit finds nothing")
    one = objects(connection, depth="tables", table_name_filter="trip_", db_schema_filter=schema)
    same(names(one[home][schema]), {"trips"}, "an underscore is any character")
    views = objects(connection, depth="tables", table_types_filter=["VIEW"], db_schema_filter=schema)
    same({table["table_type"] for table in views[home][schema]}, {"VIEW"}, "views alone")
    same(objects(connection, depth="all", catalog_filter="nowhere"), {}, "another catalog")
    narrow = objects(connection, depth="all", table_name_filter="trips", column_name_filter="trip_id", db_schema_filter=schema)
    [trips] = narrow[home][schema]
    same([column["column_name"] for column in trips["table_columns"]], ["trip_id"], "columns that fit")
    same(trips["table_constraints"] or [], [], "constraints")


def statements(pool: Pool) -> dict:
    """Rows of every plain type, gaps, nothing at all, an order, and what is wrong said in one line."""
    with connect(pool) as connection:
        same(rows(connection, "SELECT 1 AS one, 'a' AS letter, NULL AS gap, true AS yes"), [(1, "a", None, True)], "literals")
        day = rows(connection, "SELECT DATE '2026-02-03', TIMESTAMP '2026-02-03T04:05:06', CAST(1.5 AS DECIMAL(5, 2))")
        same(day[0][0], datetime.date(2026, 2, 3), "a date")
        same(str(day[0][2]), "1.50", "a decimal")
        with connection.cursor() as cursor:
            cursor.execute("SELECT trip_id, borough FROM trips WHERE trip_id < 0")
            nothing = cursor.fetch_arrow_table()
        same((nothing.num_rows, nothing.column_names), (0, ["trip_id", "borough"]), "no rows")
        ordered = [row[0] for row in rows(connection, "SELECT trip_id FROM trips ORDER BY trip_id DESC")]
        same(ordered, list(range(pool.number("rows") - 1, -1, -1)), "rows in order")
        [(count, least)] = rows(connection, "SELECT count(p), min(p) FROM (SELECT PREDICT('fare', *) AS p FROM trips) x")
        same(count, pool.number("rows"), "predictions")
        expect(isinstance(least, float), f"a prediction is {least!r}")
        refusal(lambda: rows(connection, "SELEC 1"), "SELEC")
        refusal(lambda: rows(connection, "SELECT no_such_column FROM trips"), "no_such_column")
        refusal(lambda: rows(connection, "SELECT PREDICT('nobody', *) FROM trips"), "nobody")
        return {"predictions": count}


def parameters(pool: Pool) -> dict:
    """Values that are bound: both ways to write their places, types, NULL, again and again, and too many."""
    with connect(pool) as connection, connection.cursor() as cursor:
        for sql in ("SELECT trip_id FROM trips WHERE trip_id = ?", "SELECT trip_id FROM trips WHERE trip_id = $1"):
            for wanted in (3, 4711):
                cursor.execute(sql, (wanted,))
                same(cursor.fetchall(), [(wanted,)], f"{sql} with {wanted}")
        cursor.execute("SELECT count(*) FROM trips WHERE borough = ? AND trip_id < ? AND trip_distance >= ?", ("zone-1", 1000, 0.0))
        [(bound,)] = cursor.fetchall()
        written = "SELECT count(*) FROM trips WHERE borough = 'zone-1' AND trip_id < 1000 AND trip_distance >= 0"
        same([(bound,)], rows(connection, written), "as if it were written")
        expect(bound > 0, "no row fits: it proves nothing")
        cursor.execute("SELECT $2 || '-' || $1, $1", ("a", "b"))
        same(cursor.fetchall(), [("b-a", "a")], "a place that stands twice")
        cursor.execute("SELECT count(*) FROM trips WHERE trip_id = ?", (None,))
        same(cursor.fetchall(), [(0,)], "NULL equals nothing")
        hostile = "x' OR '1'='1"
        cursor.execute("SELECT count(*) FROM trips WHERE borough = ?", (hostile,))
        same(cursor.fetchall(), [(0,)], "a value is never SQL")
        cursor.execute("SELECT PREDICT('fare', *) AS p FROM trips WHERE trip_id = ?", (7,))
        same(cursor.fetchall(), rows(connection, "SELECT PREDICT('fare', *) AS p FROM trips WHERE trip_id = 7"), "a prediction")
        several = pa.record_batch({"0": pa.array([1, 2], pa.int64())})
        refusal(lambda: cursor.execute("SELECT trip_id FROM trips WHERE trip_id = ?", several), "row")
        refusal(lambda: cursor.execute("SELECT trip_id FROM trips WHERE trip_id = ?", ("seven",)))
        refusal(lambda: cursor.execute("SELECT trip_id FROM trips WHERE trip_id = ? AND vendor_id = ?", (1,)))
        refusal(lambda: cursor.execute("SELECT trip_id FROM trips WHERE trip_id = ?"))
        return {"bound": bound}


def parameter_schema(pool: Pool) -> dict:
    """A prepared statement tells the types of its parameters and of its rows before it runs."""
    with connect(pool) as connection, connection.cursor() as cursor:
        schema = cursor.adbc_prepare("SELECT trip_id FROM trips WHERE trip_id = ? AND trip_distance > ? AND borough = ?")
        expect(schema is not None, "no schema of the parameters")
        same(len(schema), 3, f"parameters in {schema}")
        expect(pa.types.is_integer(schema.types[0]), f"trip_id is compared with {schema.types[0]}")
        expect(pa.types.is_floating(schema.types[1]), f"trip_distance is compared with {schema.types[1]}")
        text = schema.types[2]
        expect(pa.types.is_string(text) or pa.types.is_large_string(text) or text == pa.string_view(), f"borough with {text}")
        none = cursor.adbc_prepare("SELECT trip_id FROM trips")
        expect(none is None or len(none) == 0, f"parameters of a statement without: {none}")
        return {"types": [str(kind) for kind in schema.types]}


def many_updates(pool: Pool) -> dict:
    """Several rows of parameters run a change once for each."""
    out = Path(pool.text("out"))
    copy = f"COPY (SELECT trip_id, PREDICT('fare', *) AS p FROM trips WHERE trip_id = 0) TO '{out}' STORED AS PARQUET"
    insert = "INSERT INTO many_out SELECT trip_id, PREDICT('fare', *) AS p FROM trips WHERE trip_id = ?"
    with connect(pool) as connection, connection.cursor() as cursor:
        rows(connection, copy)
        cursor.execute(f"CREATE EXTERNAL TABLE many_out STORED AS PARQUET LOCATION '{out}/'")
        cursor.executemany(insert, [(11,), (12,), (13,)])
        found = rows(connection, "SELECT trip_id FROM many_out ORDER BY trip_id")
        same([row[0] for row in found], [0, 11, 12, 13], "one job for each row of parameters")
        cursor.execute("DROP TABLE many_out")
        return {"jobs": 3}


def changes(pool: Pool) -> dict:
    """Models, tables and views come and go; temporary ones are seen by their session alone."""
    model, table = pool.text("model"), pool.text("table")
    with connect(pool) as connection, connect(pool) as other, connection.cursor() as cursor:
        for sql in (
            f"CREATE MODEL from_adbc FROM '{model}'",
            f"CREATE EXTERNAL TABLE adbc_trips STORED AS PARQUET LOCATION '{table}'",
            "CREATE VIEW adbc_view AS SELECT trip_id, PREDICT('from_adbc', *) AS p FROM adbc_trips",
            "CREATE TEMPORARY VIEW mine AS SELECT trip_id FROM adbc_view LIMIT 3",
        ):
            cursor.execute(sql)
        same(rows(other, "SELECT count(p) FROM adbc_view"), [(pool.number("rows"),)], "another connection sees the view")
        expect("from_adbc" in {row[0] for row in rows(connection, "SHOW MODELS")}, "SHOW MODELS lacks the model")
        expect(rows(connection, "DESCRIBE MODEL from_adbc"), "DESCRIBE MODEL says nothing")
        expect(rows(connection, "CHECK MODEL from_adbc ON adbc_trips"), "CHECK MODEL says nothing")
        expect(rows(connection, "EXPLAIN SELECT PREDICT('from_adbc', *) FROM adbc_trips"), "EXPLAIN says nothing")
        same(len(rows(connection, "SELECT * FROM mine")), 3, "the session's own view")
        refusal(lambda: rows(other, "SELECT * FROM mine"), "mine")
        refusal(lambda: cursor.execute(f"CREATE MODEL from_adbc FROM '{model}'"), "from_adbc")
        for sql in ("DROP VIEW mine", "DROP VIEW adbc_view", "DROP TABLE adbc_trips", "DROP MODEL from_adbc"):
            cursor.execute(sql)
        refusal(lambda: rows(connection, "SELECT * FROM adbc_view"), "adbc_view")
        return {}


def copy(pool: Pool) -> dict:
    """A score job, asked for as a query and as a change: its id and counts, and every row written once."""
    out, count = Path(pool.text("out")), pool.number("rows")
    with connect(pool) as connection, connection.cursor() as cursor:
        statement = f"COPY (SELECT trip_id, PREDICT('fare', *) AS p FROM trips) TO '{out}' STORED AS PARQUET"
        cursor.execute(statement)
        answer = cursor.fetch_arrow_table()
        same(answer.num_rows, 1, "rows of the answer")
        facts = answer.to_pylist()[0]
        expect(count in facts.values(), f"{count} rows are not in {facts}")
        expect(any(isinstance(value, str) and value for value in facts.values()), f"no job id in {facts}")
        written = parquet.read_table(out, columns=["trip_id", "p"])
        same(sorted(written["trip_id"].to_pylist()), list(range(count)), "rows written")
        same(written["p"].null_count, 0, "gaps among the predictions")
        refusal(lambda: cursor.execute(statement), "empty")
        cursor.execute(f"COPY (SELECT trip_id FROM trips WHERE trip_id < 10) TO '{out}-update' STORED AS PARQUET")
        same(parquet.read_table(f"{out}-update").num_rows, 10, "rows without a model")
        return {key: str(value) for key, value in facts.items()}


def cancel(pool: Pool) -> dict:
    """Another thread ends a query that runs: its reader gets an error soon, not rows."""
    with connect(pool) as connection, connection.cursor() as cursor:
        ended: list[BaseException | int] = []

        def read() -> None:
            try:
                cursor.execute(pool.text("sql"))
                ended.append(len(cursor.fetchall()))
            except adbc.Error as error:
                ended.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(pool.number("after_ms") / 1000)
        expect(reader.is_alive(), "the query ended before it was cancelled: it proves nothing")
        asked = time.monotonic()
        cursor.adbc_cancel()
        reader.join(30)
        expect(not reader.is_alive(), "the query goes on after it was cancelled")
        seconds = time.monotonic() - asked
        expect(isinstance(ended[0], adbc.Error), f"the cancelled query gave {ended[0]!r} rows")
        same(rows(connection, "SELECT 1"), [(1,)], "the connection afterwards")
        return {"seconds": seconds}


def sessions(pool: Pool) -> dict:
    """Options are the session's own, are read back, and are refused where they mean nothing."""
    with connect(pool) as connection, connect(pool) as other:
        mine, theirs = connection.adbc_connection, other.adbc_connection
        before = theirs.get_option(SESSION + "datafusion.execution.time_zone")
        mine.set_options(**{SESSION + "datafusion.execution.time_zone": "+02:00"})
        same(mine.get_option(SESSION + "datafusion.execution.time_zone"), "+02:00", "the option set")
        same(theirs.get_option(SESSION + "datafusion.execution.time_zone"), before, "another session's option")
        shown = rows(connection, "SHOW datafusion.execution.time_zone")
        expect("+02:00" in shown[0], f"SHOW says {shown}")
        same(mine.get_option("adbc.connection.catalog"), theirs.get_option("adbc.connection.catalog"), "the catalog")
        refusal(lambda: mine.set_options(**{SESSION + "no.such.option": "1"}))
        return {"time_zone_before": before}


def transactions(pool: Pool) -> dict:
    """There are none, and the pool says so."""
    with connect(pool) as connection:
        said = refusal(lambda: connection.adbc_connection.set_autocommit(False))
        same(rows(connection, "SELECT 1"), [(1,)], "the connection afterwards")
        return {"said": said}


def ingest(pool: Pool) -> dict:
    """Rows cannot be sent into the pool, and it says so."""
    with connect(pool) as connection, connection.cursor() as cursor:
        batch = pa.record_batch({"id": pa.array([1, 2], pa.int64())})
        said = refusal(lambda: cursor.adbc_ingest("ingested", batch))
        return {"said": said}


def partitions(pool: Pool) -> dict:
    """Every partition of a result, each read by a thread of its own: all rows, each once."""
    with connect(pool) as connection, connection.cursor() as cursor:
        parts, schema = cursor.adbc_execute_partitions(pool.text("sql"))
        same(schema.names[0], "trip_id", "the first column")
        tables: list[pa.Table | BaseException] = []

        def read(part: bytes) -> None:
            try:
                with connect(pool) as own, own.cursor() as reader:
                    reader.adbc_read_partition(part)
                    tables.append(reader.fetch_arrow_table())
            except BaseException as error:
                tables.append(error)

        begun = time.monotonic()
        threads = [threading.Thread(target=read, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
    failed = [table for table in tables if not isinstance(table, pa.Table)]
    expect(not failed, f"a partition was not read: {failed[:1]}")
    ids = pa.concat_tables(tables)["trip_id"].to_numpy()
    same(len(ids), pool.number("rows"), "rows")
    expect(len(set(ids.tolist())) == len(ids), "a row came twice")
    return {"partitions": len(parts), "rows": len(ids), "seconds": seconds}


def incremental(pool: Pool) -> dict:
    """The driver polls: partitions come while the query runs, progress grows, and all rows are there in the end, each once."""
    with connect(pool) as connection, connection.cursor() as cursor:
        statement = cursor.adbc_statement
        statement.set_options(**{adbc.StatementOptions.INCREMENTAL.value: "true"})
        statement.set_sql_query(pool.text("sql"))
        parts, told, early = [], [], 0
        while True:
            fresh, _, _ = statement.execute_partitions()
            if not fresh:
                # The driver has begun anew.
                break
            told.append(statement.get_option_float(adbc.StatementOptions.PROGRESS.value))
            early += len(fresh) if told[-1] < 1 else 0
            parts += fresh
        expect(all(0 <= progress <= 1 for progress in told), f"progress {told}")
        same(told, sorted(told), "progress")
        expect(early > 0, f"nothing came before the end: {told}")
        ids = []
        for part in parts:
            with connection.cursor() as reader:
                reader.adbc_read_partition(part)
                ids += reader.fetch_arrow_table()["trip_id"].to_pylist()
        same(sorted(ids), list(range(pool.number("rows"))), "rows")
        return {"partitions": len(parts), "before the end": early}


def refused(pool: Pool) -> dict:
    """Whoever shows the wrong token, or none, gets nothing, and is told what to do in the class of error that ADBC has for it."""
    said = refusal(lambda: connect(pool).cursor().execute("SELECT 1"), "token")
    expect(pool.token is None or pool.token not in said, "the error repeats the token")
    return {"said": said}


def enters(pool: Pool) -> dict:
    """The token that is shown lets in."""
    with connect(pool) as connection:
        same(rows(connection, "SELECT 1"), [(1,)], "the first query")
    return {}


if __name__ == "__main__":
    everything = (
        catalog, statements, parameters, parameter_schema, many_updates, changes, copy,
        cancel, sessions, transactions, ingest, partitions, incremental,
        refused, enters,
    )  # fmt: skip
    sys.exit(main({scenario.__name__: scenario for scenario in everything}))
