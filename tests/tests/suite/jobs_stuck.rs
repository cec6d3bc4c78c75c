//! Splits that do not come through: one that no executor can score ends its job, with the cause, and one that stands still on an
//! executor is done by another.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, entries};
use whimbrel_tests::lake::before;
use whimbrel_tests::objects::{LAKE, S3};
use whimbrel_tests::proxy::Weather;
use whimbrel_tests::wait;
use whimbrel_tests::wire::{Wire, port_of};

const SEED: u64 = 20_261_121;
const ROWS_EACH: usize = 500;
/// An executor's word on an attempt that failed.
const FAILED: &str = "a task failed";
/// Attempts at one split, all in all.
const ATTEMPTS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_executor_can_score_ends_the_job_with_the_cause() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    let client = cluster.client().await?;
    client.bind_model("fails", "fails_above_two").await?;
    let rows = cluster.folder().join("rows.csv");
    std::fs::write(&rows, "id,passenger_count\n1,0\n2,1\n3,9\n4,2\n")?;
    let output = cluster.folder().join("out");
    let (input, shown) = (rows.to_string_lossy(), output.to_string_lossy());
    let options = [
        "--model", "fails", "--input", &input, "--keep", "id", "--output", &shown,
    ];
    let failed = Job::submit(&cluster, &options)?.ended().await?;
    ensure!(failed.state() == "failed", "{}", failed.json);
    let cause = failed.text("/error/message");
    ensure!(
        cause.contains("'fails'") && cause.contains("idx=9"),
        "{}",
        failed.json
    );
    let mut attempts = 0;
    for executor in &cluster.executors {
        let own = executor.log().matches(FAILED).count();
        ensure!(own > 0, "an executor never tried\n{}", executor.log_tail());
        attempts += own;
    }
    ensure!(
        attempts == ATTEMPTS,
        "{attempts} attempts at {}",
        failed.json
    );
    ensure!(!output.exists(), "a failed job shows nothing");
    Ok(())
}

/// The store takes what one executor asks and never answers it; the job does not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_stands_still_is_done_elsewhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let big = data::write_big(folder.path(), ROWS_EACH)?;
    let s3 = S3::start(&[("big", &big)])?;
    let direct = s3.environment("reader")?;
    let mut muted = direct.clone();
    let proxy = before("AWS_ENDPOINT_URL", &mut muted, SEED).await?;
    proxy.set(Weather {
        silent: true,
        ..Weather::default()
    });
    let mut scheduler = borrowed(&direct);
    scheduler.push(("WHIMBREL_JOB_STALL", "3s"));
    let mut cluster = Cluster::with(Options {
        executors: 1,
        slots: 1,
        scheduler: &scheduler,
        executor: &borrowed(&muted),
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    client
        .add_table_at("big", &format!("s3://{LAKE}/big/"))
        .await?;
    client.add_table("same", &big).await?;
    client.bind_model("fare", "fare").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy();
    let options = [
        "--model", "fare", "--input", "big", "--keep", "trip_id", "--output", &shown,
    ];
    let job = Job::submit(&cluster, &options)?;
    // It has a split in hand before anybody else could take it.
    wait::until("the executor waits for the store", || async {
        (proxy.struck().silent > 0).then_some(())
    })
    .await?;
    cluster.set_executor(&borrowed(&direct));
    cluster.add_executor(1)?;
    cluster.wait_executors(2).await?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let rows = data::FILES * ROWS_EACH;
    ensure!(
        done.number("/progress/rows_written") == rows as u64,
        "{}",
        done.json
    );
    let other = cluster.executors.last().context("the other one")?;
    let other = other.field("executor_id")?;
    let entries = entries(&output, &job.id)?;
    ensure!(!entries.is_empty());
    let by_other = entries
        .iter()
        .all(|entry| entry["executor"] == other.as_str());
    ensure!(by_other, "{entries:?}");
    let expected = "SELECT trip_id, PREDICT('fare', *) AS prediction FROM same";
    let expected = client.rows(expected, false).await?;
    let written = format!("SELECT trip_id, prediction FROM '{shown}/'");
    let written = client.rows(&written, false).await?;
    written.must_equal(&expected, "a job with a silent store")
}

/// Statuses are lost on their way, or their answers are, and what was heard comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_breaks_all_the_time_costs_no_row_and_doubles_none() -> Result<()> {
    let mut cluster = Cluster::start(0, 1).await?;
    let wire = Wire::to(port_of(cluster.cluster_address())?).await?;
    cluster.reach_by(format!("127.0.0.1:{}", wire.port()));
    cluster.add_executor(2)?;
    cluster.wait_executors(1).await?;
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), 2 * ROWS_EACH)?;
    client.add_table("big", &big).await?;
    client.bind_model("m", "slow").await?;
    let output = cluster.folder().join("out");
    let shown = output.to_string_lossy();
    let options = [
        "--model", "m", "--input", "big", "--keep", "trip_id", "--output", &shown,
    ];
    let job = Job::submit(&cluster, &options)?;
    let cut = AtomicUsize::new(0);
    let done = job
        .until("the job ends", |status| {
            if !status.is_over() && wire.cut() > 0 {
                cut.fetch_add(1, Ordering::Relaxed);
            }
            status.is_over()
        })
        .await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let cut = cut.into_inner();
    ensure!(cut > 5, "the wire was cut {cut} times: that proves little");
    let expected = "SELECT trip_id, PREDICT('m', *) AS prediction FROM big";
    let expected = client.rows(expected, false).await?;
    let written = format!("SELECT trip_id, prediction FROM '{shown}/'");
    let written = client.rows(&written, false).await?;
    written.must_equal(&expected, "a job whose wire breaks")
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
