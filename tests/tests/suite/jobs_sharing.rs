//! Score jobs beside other work: what executors have in hand is left to them, slots are shared, and jobs wait for their turn.

use anyhow::{Result, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, scored};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::wait;

const ROWS_EACH: usize = 3_000;
const ROWS: u64 = (ROWS_EACH * data::FILES) as u64;

async fn furnish(cluster: &Cluster, rows_each: usize) -> Result<Asker> {
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), rows_each)?;
    client.add_table("big", &big).await?;
    client.bind_model("slow", "slow").await?;
    client.bind_model("fare", "fare").await?;
    Ok(client)
}

fn submit(cluster: &Cluster, model: &str, output: &str, options: &[&str]) -> Result<Job> {
    let output = cluster.folder().join(output).to_string_lossy().into_owned();
    let mut all = vec!["--model", model, "--input", "big", "--keep", "trip_id"];
    all.extend(["--output", output.as_str()]);
    all.extend(options);
    Job::submit(cluster, &all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_comes_back_leaves_splits_to_those_who_have_them() -> Result<()> {
    let mut cluster = Cluster::start(1, 2).await?;
    furnish(&cluster, ROWS_EACH).await?;
    let executor = cluster.executors[0].field("executor_id")?;
    let job = submit(&cluster, "slow", "out", &[])?;
    let before = job
        .until("a split is done and others run", |status| {
            let running = status.number("/progress/splits_running");
            status.is_over() || (running == 2 && status.number("/progress/splits_done") > 0)
        })
        .await?;
    ensure!(!before.is_over(), "it ended before the fault");
    cluster.restart_killed_scheduler()?;
    let done = job.ended().await?;
    ensure!(done.state() == "succeeded", "{}", done.json);
    let rows = scored(&cluster, &executor, done.number("/ended_at_ms")).await?;
    ensure!(rows == ROWS, "{rows} rows were scored of {ROWS}");
    let log = cluster.executors[0].log();
    ensure!(
        log.contains("joining again"),
        "the executor did not notice: {log}"
    );
    let times = &done.json["progress"]["times_ms"];
    ensure!(times["model"].as_u64() > Some(0), "{}", done.json);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_jobs_share_the_slots_and_a_query_gets_one() -> Result<()> {
    let cluster = Cluster::start(1, 2).await?;
    let client = furnish(&cluster, 2 * ROWS_EACH).await?;
    let one_file = cluster.folder().join("big/part-0.parquet");
    client.add_table("small", &one_file).await?;
    let jobs = [
        submit(&cluster, "slow", "one", &[])?,
        submit(&cluster, "slow", "two", &["--priority", "normal"])?,
    ];
    wait::until("each has a slot", || async {
        let running = |job: &Job| {
            let status = job.status().ok()?;
            Some(status.number("/progress/splits_running"))
        };
        let (one, two) = (running(&jobs[0])?, running(&jobs[1])?);
        (one == 1 && two == 1).then_some(())
    })
    .await?;
    let sql = "SELECT count(PREDICT('fare', *)) AS n FROM small";
    let answer = client.rows(sql, false).await?.to_text();
    ensure!(answer == format!("n\n{}\n", 2 * ROWS_EACH), "{answer}");
    for job in &jobs {
        ensure!(!job.status()?.is_over(), "it ended before the query did");
    }
    for job in &jobs {
        job.cancel()?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_their_turn_the_most_urgent_first() -> Result<()> {
    let settings = [
        ("WHIMBREL_JOBS_RUNNING", "2"),
        ("WHIMBREL_JOBS_PER_USER", "1"),
    ];
    let cluster = Cluster::start_with(1, 2, &settings).await?;
    furnish(&cluster, ROWS_EACH).await?;
    let first = submit(&cluster, "slow", "first", &["--user", "ann"])?;
    let later = submit(&cluster, "fare", "later", &["--user", "ann"])?;
    let options = ["--user", "ann", "--priority", "high"];
    let urgent = submit(&cluster, "fare", "urgent", &options)?;
    let other = submit(&cluster, "fare", "other", &["--user", "bob"])?;
    ensure!(other.ended().await?.state() == "succeeded");
    let (queued, next) = (later.status()?, urgent.status()?);
    ensure!(!first.status()?.is_over(), "it ended too early");
    ensure!(queued.state() == "submitted", "{}", queued.json);
    ensure!(
        queued.number("/queued_behind") > next.number("/queued_behind"),
        "{} {}",
        queued.json,
        next.json
    );
    first.cancel()?;
    let (later, urgent) = (later.ended().await?, urgent.ended().await?);
    ensure!(later.state() == "succeeded" && urgent.state() == "succeeded");
    ensure!(urgent.number("/ended_at_ms") <= later.number("/ended_at_ms"));
    Ok(())
}
