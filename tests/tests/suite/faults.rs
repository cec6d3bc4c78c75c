//! Executors that come, leave and die, and queries that are cancelled: rows are neither lost nor doubled, and what was taken
//! is given back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::rows::Rows;
use whimbrel_tests::wait;

/// The slow model takes a tenth of a millisecond to a whole one a row: seconds in all, so that a fault can strike in the middle.
const ROWS_EACH: usize = 2_000;
const ALL: &str =
    "SELECT count(*) AS n, sum(trip_id) AS ids, sum(PREDICT('slow', *)) AS total FROM big";
const SCAN: &str = "SELECT trip_id, PREDICT('slow', *) AS p FROM big";

async fn furnish(cluster: &Cluster) -> Result<Asker> {
    furnish_with(cluster, ROWS_EACH).await
}

async fn furnish_with(cluster: &Cluster, rows_each: usize) -> Result<Asker> {
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), rows_each)?;
    client.add_table("big", &big).await?;
    client.bind_model("slow", "slow").await?;
    Ok(client)
}

async fn answer(client: &Asker, sql: &str) -> Result<Rows> {
    client.rows(sql, false).await
}

/// Rows scored so far by the executor of this id.
async fn scored(cluster: &Cluster, executor_id: &str) -> Option<u64> {
    let status = cluster.status().await.ok()?;
    let executor = status
        .executors
        .iter()
        .find(|executor| executor.executor_id == executor_id)?;
    Some(executor.models.iter().map(|model| model.rows_scored).sum())
}

async fn scoring_began(cluster: &Cluster, executor_id: &str) -> Result<()> {
    wait::until(&format!("{executor_id} scores"), || async {
        scored(cluster, executor_id).await.filter(|rows| *rows > 0)
    })
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_joins_during_a_query_gets_work() -> Result<()> {
    let mut cluster = Cluster::start(1, 1).await?;
    // An executor takes a second to start, in which a fast machine scores many rows.
    let client = furnish_with(&cluster, 4 * ROWS_EACH).await?;
    let query = tokio::spawn(async move { answer(&client, ALL).await });
    let first = cluster.executors[0].field("executor_id")?;
    scoring_began(&cluster, &first).await?;
    let place = cluster.add_executor(1)?;
    let late = cluster.executors[place].field("executor_id")?;
    scoring_began(&cluster, &late)
        .await
        .context("the late executor")?;
    ensure!(
        !query.is_finished(),
        "the query ended before the late executor worked: it proves nothing"
    );
    let rows = query.await??;
    ensure!(rows.len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_delays_a_query_and_changes_nothing() -> Result<()> {
    let mut cluster = Cluster::start(2, 1).await?;
    let client = furnish(&cluster).await?;
    let expected = answer(&client, ALL).await?;
    let fine = answer(
        &client,
        &format!("SELECT count(*), min(p), max(p), sum(p) FROM ({SCAN}) x"),
    )
    .await?;
    let victim = cluster.executors[1].field("executor_id")?;
    let before = scored(&cluster, &victim)
        .await
        .context("the victim scored")?;
    let asking = cluster.client().await?;
    let query = tokio::spawn(async move { answer(&asking, ALL).await });
    // More than one task's rows: outputs that are finished are lost with it too.
    wait::until("the victim has finished a task of the query", || async {
        scored(&cluster, &victim)
            .await
            .filter(|rows| *rows > before + ROWS_EACH as u64)
    })
    .await?;
    ensure!(
        !query.is_finished(),
        "the query ended before the fault: it proves nothing"
    );
    cluster.executors[1].kill()?;
    query.await??.must_equal(&expected, "after the kill")?;
    cluster.wait_executors(1).await?;
    answer(
        &client,
        &format!("SELECT count(*), min(p), max(p), sum(p) FROM ({SCAN}) x"),
    )
    .await?
    .must_equal(&fine, "a clean query afterwards")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_executor_loses_nothing_its_finished_results_included() -> Result<()> {
    let mut cluster = Cluster::start(2, 1).await?;
    let client = furnish(&cluster).await?;
    let victim = cluster.executors[1].field("executor_id")?;
    let asking = cluster.client().await?;
    let query =
        tokio::spawn(async move { asking.0.sql(SCAN).await.map(|stream| (stream, asking)) });
    scoring_began(&cluster, &victim).await?;
    ensure!(
        !query.is_finished(),
        "the query ended before the signal: it proves nothing"
    );
    cluster.executors[1].signal(libc::SIGTERM)?;
    let (stream, _asking) = query.await??;
    ensure!(
        cluster.executors[1].exited().is_none(),
        "it left while its results were wanted"
    );
    let batches: Vec<_> = stream.try_collect().await?;
    let rows: usize = batches
        .iter()
        .map(arrow::array::RecordBatch::num_rows)
        .sum();
    ensure!(rows == ROWS_EACH * data::FILES, "{rows} rows");
    let status = cluster.executors[1].wait_exit(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}");
    cluster.wait_executors(1).await?;
    ensure!(
        answer(&client, "SELECT count(PREDICT('slow', *)) FROM big")
            .await?
            .len()
            == 1
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_scheduler_takes_no_query_and_ends_the_one_it_has() -> Result<()> {
    let mut cluster = Cluster::start(1, 1).await?;
    let client = furnish(&cluster).await?;
    let id = cluster.executors[0].field("executor_id")?;
    let asking = client.clone();
    let query = tokio::spawn(async move { answer(&asking, ALL).await });
    scoring_began(&cluster, &id).await?;
    cluster.scheduler.signal(libc::SIGTERM)?;
    // One that is taken before the signal arrives must not outlast the query that is watched.
    let refused = wait::until("new queries are refused", || async {
        answer(&client, "SELECT 1").await.err()
    })
    .await?;
    ensure!(
        !query.is_finished(),
        "the query ended before the signal: it proves nothing"
    );
    ensure!(
        format!("{refused:#}").contains("takes no new statements"),
        "refused with: {refused:#}"
    );
    ensure!(query.await??.len() == 1);
    let status = cluster.scheduler.wait_exit(Duration::from_secs(60))?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_stops_scoring() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    let client = furnish(&cluster).await?;
    let id = cluster.executors[0].field("executor_id")?;
    let query = tokio::spawn(async move { answer(&client, ALL).await });
    scoring_began(&cluster, &id).await?;
    query.abort();
    let cpu = || -> Option<f64> {
        cluster
            .executors
            .iter()
            .map(|executor| executor.cpu_seconds().ok())
            .sum()
    };
    wait::until("the executors' processors are idle", || async {
        let before = cpu()?;
        tokio::time::interval(Duration::from_millis(400))
            .tick()
            .await;
        let mut window = tokio::time::interval(Duration::from_millis(400));
        window.tick().await;
        window.tick().await;
        (cpu()? - before < 0.08).then_some(())
    })
    .await?;
    let mut rows = 0;
    for executor in &cluster.executors {
        rows += scored(&cluster, &executor.field("executor_id")?)
            .await
            .unwrap_or(0);
    }
    ensure!(
        rows < (ROWS_EACH * data::FILES) as u64,
        "all {rows} rows were scored: nothing was cancelled"
    );
    let status = cluster.status().await?;
    ensure!(
        status
            .executors
            .iter()
            .all(|executor| executor.free_slots == executor.slots),
        "{status:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_ten_of_ten_million_rows_scores_few() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    let client = cluster.client().await?;
    let big = data::write_big(cluster.folder(), 125_000)?;
    for copy in 1..10 {
        for file in 0..data::FILES {
            std::fs::hard_link(
                big.join(format!("part-{file}.parquet")),
                big.join(format!("copy-{copy}-{file}.parquet")),
            )?;
        }
    }
    client.add_table("big", &big).await?;
    client.bind_to_ort("tree", "lightgbm").await?;
    let all = answer(&client, "SELECT count(*) FROM big").await?;
    ensure!(all.to_text().ends_with("\n10000000\n"), "{}", all.to_text());
    let rows = answer(
        &client,
        "SELECT trip_id, PREDICT('tree', *) AS p FROM big LIMIT 10",
    )
    .await?;
    ensure!(rows.len() == 10, "{} rows", rows.len());
    let counted = wait::until("scored rows are reported", || async {
        let mut total = 0;
        for executor in &cluster.executors {
            total += scored(&cluster, &executor.field("executor_id").ok()?).await?;
        }
        (total > 0).then_some(total)
    })
    .await?;
    ensure!(counted < 100_000, "{counted} rows scored for ten");
    Ok(())
}
