//! Bad input: one line that says what is wrong, where, and what to do. The lines are golden files.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::command::{Outcome, run};
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::golden;

/// Commands on a furnished pool, each with the name of its golden file.
const CASES: &[(&str, &[&str])] = &[
    (
        "unknown_alias",
        &["sql", "SELECT PREDICT('fair', *) FROM trips"],
    ),
    (
        "alias_is_a_column",
        &["sql", "SELECT PREDICT(borough, *) FROM trips"],
    ),
    (
        "unknown_table",
        &["sql", "SELECT PREDICT('fare', *) FROM trip"],
    ),
    ("unknown_column", &["sql", "SELECT trip_distnce FROM trips"]),
    ("syntax", &["sql", "SELEC 1"]),
    (
        "missing_columns",
        &["sql", "SELECT PREDICT('fare', *) FROM zones"],
    ),
    (
        "missing_in_list",
        &[
            "sql",
            "SELECT PREDICT('fare', vendor_id, passenger_count) FROM trips",
        ],
    ),
    (
        "surplus_in_list",
        &[
            "sql",
            "SELECT PREDICT('fare', vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type, borough) FROM trips",
        ],
    ),
    (
        "permuted_names",
        &[
            "sql",
            "SELECT PREDICT('fare', passenger_count, vendor_id, trip_distance, pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type) FROM trips",
        ],
    ),
    (
        "text_into_number",
        &[
            "sql",
            "SELECT PREDICT('fare', vendor_id, passenger_count, borough, pickup_hour, pickup_weekday, pu_location, do_location, duration_min, payment_type) FROM trips",
        ],
    ),
    (
        "alias_in_where",
        &[
            "sql",
            "SELECT PREDICT('fare', *) AS p FROM trips WHERE p > 3",
        ],
    ),
    (
        "text_file_as_model",
        &["model", "bind", "m", "--uri", "notes.txt"],
    ),
    (
        "missing_model_file",
        &["model", "bind", "m", "--uri", "nowhere.onnx"],
    ),
    (
        "model_scheme",
        &["model", "bind", "m", "--uri", "ftp://host/m.onnx"],
    ),
    ("bad_alias", &["model", "bind", "a/b", "--uri", "notes.txt"]),
    (
        "bad_returns",
        &[
            "model",
            "bind",
            "m",
            "--uri",
            "fare.onnx",
            "--returns",
            "flaot",
        ],
    ),
    (
        "bad_map",
        &[
            "model",
            "bind",
            "m",
            "--uri",
            "fare.onnx",
            "--map",
            "distance=trip_distance",
        ],
    ),
    ("unbind_unknown", &["model", "unbind", "fair"]),
    ("show_unknown", &["model", "show", "fair"]),
    (
        "table_of_nothing",
        &["table", "add", "t", "--uri", "nowhere"],
    ),
    (
        "table_of_unknown_format",
        &["table", "add", "t", "--uri", "notes.txt"],
    ),
    (
        "table_twice",
        &["table", "add", "trips", "--uri", "zones.parquet"],
    ),
    (
        "table_of_a_broken_file",
        &["table", "add", "t", "--uri", "broken_from_the_start.csv"],
    ),
    ("drop_unknown", &["table", "drop", "trip"]),
    (
        "broken_csv_row",
        &["sql", "SELECT sum(PREDICT('fare', *)) FROM broken"],
    ),
    (
        "vanished_file",
        &["sql", "SELECT count(PREDICT('fare', *)) FROM vanishing"],
    ),
    (
        "unknown_operator",
        &["model", "bind", "odd", "--uri", "unknown_operator.onnx"],
    ),
    (
        "wrong_shape",
        &["sql", "SELECT sum(PREDICT('one_value', *)) FROM trips"],
    ),
    (
        "model_fails_on_a_row",
        &[
            "sql",
            "SELECT sum(PREDICT('fails', *)) FROM trips WHERE passenger_count = 4",
        ],
    ),
    ("unknown_command", &["modle", "list"]),
    ("unknown_flag", &["sql", "SELECT 1", "--fromat", "csv"]),
    ("json_error", &["--json", "model", "show", "fair"]),
];

/// A CSV of good rows with one broken row far inside.
fn write_broken(path: &Path, good: &Path) -> Result<()> {
    let text = std::fs::read_to_string(good)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(3000, "17,1,2");
    std::fs::write(path, lines.join("\n") + "\n").context("write the broken file")
}

fn transcripts(folder: &Path, pool: &str) -> Result<Vec<String>> {
    let canonical = folder.canonicalize()?;
    let mut failures = Vec::new();
    for (name, args) in CASES {
        let outcome = run(folder, Some(pool), args)?;
        let text = format!(
            "$ whimbrel {}\n{}",
            args.join(" "),
            outcome.transcript(&[(&canonical.to_string_lossy(), "DIR"), (pool, "POOL")])
        );
        if outcome.code == 0
            || outcome.stderr.contains("panicked")
            || outcome.stderr.contains("DataFusionError")
        {
            failures.push(format!("{name}: not a clean refusal\n{text}"));
        }
        if let Err(error) = golden::check(&format!("errors/{name}.txt"), &text) {
            failures.push(format!("{error:#}"));
        }
    }
    Ok(failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_gets_its_line() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let folder = cluster.folder().to_owned();
    let datasets = Datasets::write(&folder)?;
    std::fs::write(folder.join("notes.txt"), "these are notes, not a model\n")?;
    for model in ["fare", "unknown_operator"] {
        std::fs::copy(data::model(model)?, folder.join(format!("{model}.onnx")))?;
    }
    for table in ["broken", "vanishing"] {
        std::fs::copy(&datasets.trips_csv, folder.join(format!("{table}.csv")))?;
    }
    write_broken(
        &folder.join("broken_from_the_start.csv"),
        &datasets.trips_csv,
    )?;
    let client = cluster.client().await?;
    for (table, path) in datasets.tables() {
        client.add_table(table, path).await?;
    }
    for table in ["broken", "vanishing"] {
        client
            .add_table(table, &folder.join(format!("{table}.csv")))
            .await?;
    }
    client.bind_model("fare", "fare").await?;
    client.bind_model("one_value", "one_value").await?;
    client.bind_model("fails", "fails_above_two").await?;
    // Rows break and files vanish after the table was added.
    write_broken(&folder.join("broken.csv"), &datasets.trips_csv)?;
    std::fs::remove_file(folder.join("vanishing.csv"))?;
    let address = cluster.address().to_owned();
    let failures = tokio::task::spawn_blocking(move || transcripts(&folder, &address)).await??;
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_dataset_has_no_rows_and_the_right_schema() -> Result<()> {
    let cluster = Cluster::start(1, 1).await?;
    let datasets = Datasets::write(cluster.folder())?;
    let client = cluster.client().await?;
    client.add_table("empty", &datasets.empty).await?;
    client.bind_model("fare", "fare").await?;
    let (schema, batches) = client
        .collect("SELECT PREDICT('fare', *) AS p FROM empty")
        .await?;
    ensure!(
        schema.fields().len() == 1 && schema.field(0).name() == "p",
        "{schema:?}"
    );
    ensure!(
        schema.field(0).data_type() == &arrow::datatypes::DataType::Float32,
        "{schema:?}"
    );
    ensure!(batches.iter().all(|batch| batch.num_rows() == 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_executors_says_so() -> Result<()> {
    let cluster = Cluster::start_with(0, 0, &[("WHIMBREL_EXECUTOR_WAIT", "1s")]).await?;
    let (folder, address) = (cluster.folder().to_owned(), cluster.address().to_owned());
    let datasets = Datasets::write(&folder)?;
    let client = cluster.client().await?;
    client.add_table("trips", &datasets.trips).await?;
    let outcome = tokio::task::spawn_blocking(move || {
        run(
            &folder,
            Some(&address),
            &["sql", "SELECT sum(trip_id) FROM trips"],
        )
    })
    .await??;
    ensure!(outcome.code != 0, "it went through: {}", outcome.stdout);
    golden::check("errors/no_executor.txt", &outcome.transcript(&[]))
}

fn checked(name: &str, outcome: &Outcome, replace: &[(&str, &str)]) -> Result<()> {
    ensure!(outcome.code != 0, "{name} went through: {}", outcome.stdout);
    golden::check(&format!("errors/{name}.txt"), &outcome.transcript(replace))
}

#[test]
fn a_daemon_that_cannot_start_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let at = folder.path();
    let outcome = run(
        at,
        None,
        &[
            "scheduler",
            "--state",
            "memory",
            "--port",
            &port,
            "--cluster-port",
            "0",
        ],
    )?;
    checked("port_in_use", &outcome, &[(&port, "PORT")])?;
    let outcome = run(at, None, &["scheduler", "--config", "missing.toml"])?;
    checked("unreadable_config", &outcome, &[])?;
    std::fs::write(
        at.join("typo.toml"),
        "bind = \"127.0.0.1\"\nclutser_port = 0\n",
    )?;
    let outcome = run(at, None, &["scheduler", "--config", "typo.toml"])?;
    checked("unknown_key", &outcome, &[])?;
    std::fs::write(at.join("broken.toml"), "bind = \n")?;
    let outcome = run(at, None, &["executor", "--config", "broken.toml"])?;
    checked("broken_config", &outcome, &[])?;
    let outcome = run(at, Some("http://127.0.0.1:1"), &["pool", "status"])?;
    checked("unreachable_pool", &outcome, &[])?;
    ensure!(outcome.code == 3, "exit code {}", outcome.code);
    Ok(())
}
