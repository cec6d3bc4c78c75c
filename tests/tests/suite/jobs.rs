//! Score jobs on pools of real processes: what they write, and how they are looked at.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, score};
use whimbrel_tests::objects::{Azure, LAKE, S3};
use whimbrel_tests::pool::Asker;

/// The prediction of every trip, by what a query says.
const EXPECTED: &str = "SELECT trip_id, PREDICT('fare', *) AS prediction FROM trips";

async fn furnish(cluster: &Cluster) -> Result<Asker> {
    let client = cluster.client().await?;
    let datasets = data::Datasets::write(cluster.folder())?;
    client.add_table("trips", &datasets.trips).await?;
    client.bind_model("fare", "fare").await?;
    Ok(client)
}

/// The options that score the trips into `output`.
fn trips(output: &str) -> Vec<&str> {
    vec![
        "--model", "fare", "--input", "trips", "--keep", "trip_id", "--output", output,
    ]
}

/// Every row of the table, once, with the prediction that a query gives.
async fn must_be_whole(client: &Asker, output: &str) -> Result<()> {
    let expected = client.rows(EXPECTED, false).await?;
    let written = format!("SELECT trip_id, prediction FROM '{output}'");
    let written = client.rows(&written, false).await?;
    written.must_equal(&expected, output)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_scored_into_a_folder_that_appears_at_once() -> Result<()> {
    let cluster = Cluster::with(Options {
        executors: 2,
        slots: 2,
        scheduler: &[("WHIMBREL_JOB_LEASE", "1s")],
        ..Options::default()
    })
    .await?;
    let client = furnish(&cluster).await?;
    let output = cluster.folder().join("scored");
    let shown = output.to_string_lossy().into_owned();
    let job = Job::submit(&cluster, &trips(&shown))?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    must_be_whole(&client, &format!("{shown}/")).await?;
    ensure!(
        done.number("/progress/rows_written") == data::TRIPS as u64,
        "{}",
        done.json
    );
    let manifest = std::fs::read(output.join(done.text("/manifest")))?;
    let manifest: Value = serde_json::from_slice(&manifest)?;
    ensure!(
        manifest["counts"]["rows_written"] == data::TRIPS,
        "{manifest}"
    );
    let success: Value = serde_json::from_slice(&std::fs::read(output.join("_SUCCESS"))?)?;
    ensure!(success["job"] == job.id.as_str(), "{success}");
    // The sweep leaves the output, its records that are worth keeping, and nothing beside it.
    job.swept(&output).await?;
    let beside: Vec<_> = files(cluster.folder())?
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("scored"))
        .collect();
    ensure!(beside == [output.clone()], "{beside:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_writes_to_object_stores_and_every_format_reads_back() -> Result<()> {
    let (s3, azure) = (S3::start(&[])?, Azure::start(&[]).await?);
    let mut settings = s3.environment("writer")?;
    settings.extend(azure.environment(None)?);
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 2,
        scheduler: &settings,
        executor: &settings,
        ..Options::default()
    })
    .await?;
    let client = furnish(&cluster).await?;
    let account = azure.account()?;
    for (place, format) in [
        (format!("s3://{LAKE}/scored"), "parquet"),
        (format!("s3://{LAKE}/lines"), "csv"),
        (
            format!("abfss://{LAKE}@{account}.dfs.core.windows.net/scored"),
            "parquet",
        ),
        (
            format!("abfss://{LAKE}@{account}.dfs.core.windows.net/lines"),
            "json",
        ),
    ] {
        let mut options = trips(&place);
        options.extend(["--format", format]);
        let done = Job::submit(&cluster, &options)?.ended().await?;
        ensure!(done.state() == "succeeded", "{place}: {}", done.json);
        must_be_whole(&client, &format!("{place}/")).await?;
        let again = score(&cluster, &options)?;
        ensure!(
            again.stderr.contains("is not empty"),
            "{place}: {}",
            again.stderr
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_grows_or_is_replaced_as_it_is_said() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster).await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy().into_owned();
    let rows = async || -> Result<String> {
        let sql = format!("SELECT count(*) AS n, count(DISTINCT trip_id) AS ids FROM '{shown}/'");
        Ok(client.rows(&sql, false).await?.to_text())
    };
    let mut expected = Vec::new();
    for (mode, times) in [
        ("append", 1),
        ("append", 2),
        ("overwrite", 1),
        ("append", 2),
    ] {
        let mut options = trips(&shown);
        options.extend(["--mode", mode]);
        let done = Job::submit(&cluster, &options)?.ended().await?;
        ensure!(done.state() == "succeeded", "{mode}: {}", done.json);
        expected.push(format!(
            "n | ids\n{} | {}\n",
            times * data::TRIPS,
            data::TRIPS
        ));
        ensure!(
            rows().await? == expected[expected.len() - 1],
            "{mode}: {}",
            rows().await?
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_joins_and_aggregates_commits_as_a_whole() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    let client = furnish(&cluster).await?;
    let sql = "SELECT borough, avg(PREDICT('fare', *)) AS fare, count(*) AS n FROM trips GROUP BY borough";
    let output = cluster
        .folder()
        .join("means")
        .to_string_lossy()
        .into_owned();
    let job = Job::submit(&cluster, &["--sql", sql, "--output", &output])?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let notes = done.json["notes"].to_string();
    ensure!(notes.contains("starts over"), "{notes}");
    let expected = client.rows(sql, false).await?;
    let written = client
        .rows(&format!("SELECT * FROM '{output}/'"), false)
        .await?;
    written.must_equal(&expected, "an aggregate")
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_and_insert_are_jobs() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster).await?;
    let output = cluster.folder().join("copied");
    let shown = output.to_string_lossy().into_owned();
    let copy =
        format!("COPY ({EXPECTED}) TO '{shown}' STORED AS CSV OPTIONS ('has_header' 'true')");
    let answer = client.rows(&copy, false).await?.to_text();
    ensure!(
        answer.starts_with("job_id | count | rows_dead | objects\n"),
        "{answer}"
    );
    ensure!(
        answer.contains(&format!(" | {} | 0 | ", data::TRIPS)),
        "{answer}"
    );
    must_be_whole(&client, &format!("{shown}/")).await?;
    // The text of a CSV file has no float32: the table's columns are those that were found.
    client.add_table_at("copied", &format!("{shown}/")).await?;
    let insert = "INSERT INTO copied (prediction, trip_id) SELECT PREDICT('fare', *), trip_id + 1000000 FROM trips";
    client.rows(insert, false).await?;
    let counted = client
        .rows("SELECT count(DISTINCT trip_id) AS n FROM copied", false)
        .await?;
    ensure!(
        counted.to_text() == format!("n\n{}\n", 2 * data::TRIPS),
        "{}",
        counted.to_text()
    );
    let error = client
        .rows("INSERT INTO copied SELECT trip_id FROM trips", false)
        .await;
    ensure!(error.is_err(), "a column is missing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_second_submission_harmless() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    furnish(&cluster).await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let mut options = trips(&output);
    options.extend(["--key", "nightly 2026-11-21"]);
    let first = Job::submit(&cluster, &options)?;
    let second = Job::submit(&cluster, &options)?;
    ensure!(first.id == second.id);
    ensure!(first.ended().await?.state() == "succeeded");
    ensure!(
        Job::submit(&cluster, &options)?.id == first.id,
        "after its end too"
    );
    options.extend(["--as", "p"]);
    let refused = score(&cluster, &options)?;
    ensure!(
        refused.code == 1 && refused.stderr.contains("was asked something else"),
        "{}",
        refused.stderr
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_jobs_that_want_one_output_one_is_refused() -> Result<()> {
    let cluster = Cluster::start(1, 1).await?;
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), 1_000)?;
    client.add_table("big", &big).await?;
    client.bind_model("slow", "slow").await?;
    let output = cluster.folder().join("out").to_string_lossy().into_owned();
    let options = [
        "--model", "slow", "--input", "big", "--keep", "trip_id", "--output", &output,
    ];
    let first = Job::submit(&cluster, &options)?;
    let refused = score(&cluster, &options)?;
    ensure!(
        !first.status()?.is_over(),
        "it ended too early: that proves nothing"
    );
    let expected = format!("job {} writes to the output '{output}'", first.id);
    ensure!(refused.stderr.contains(&expected), "{}", refused.stderr);
    first.cancel()?;
    ensure!(first.ended().await?.state() == "cancelled");
    let second = Job::submit(&cluster, &options)?;
    ensure!(second.status()?.state() != "failed");
    second.cancel()?;
    ensure!(second.ended().await?.state() == "cancelled");
    ensure!(
        !Path::new(&output).exists(),
        "a cancelled job shows nothing"
    );
    second.status()?.json["job_id"].as_str().context("its id")?;
    Ok(())
}
