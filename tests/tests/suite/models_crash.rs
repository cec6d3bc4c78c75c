//! A model that kills the process that runs it: the scheduler lives, the executors come back, and the query's error names the
//! model.

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data::Datasets;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::rows::Rows;
use whimbrel_tests::{wait, zoo};

const FARES: &str = "SELECT count(p), sum(p) FROM (SELECT PREDICT('fare', *) AS p FROM trips) x";
/// Rows of one passenger kill; the others are scored.
const HARMLESS: &str =
    "SELECT count(PREDICT('crash', passenger_count)) FROM trips WHERE passenger_count > 1";
const DEADLY: &str = "SELECT count(PREDICT('crash', passenger_count)) FROM trips";

async fn furnish(cluster: &Cluster) -> Result<(Asker, Rows)> {
    let datasets = Datasets::write(cluster.folder())?;
    let client = cluster.client().await?;
    client.add_table("trips", &datasets.trips).await?;
    client.bind_model("fare", "fare").await?;
    let crash = zoo::path("crash.onnx")?;
    client.bind("crash", &crash.to_string_lossy()).await?;
    let fares = client.rows(FARES, false).await?;
    client
        .rows(HARMLESS, false)
        .await
        .context("rows that the model can score")?;
    Ok((client, fares))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_kills_executors_is_named_and_the_pool_comes_back() -> Result<()> {
    let mut cluster = Cluster::with(Options {
        executors: 2,
        slots: 1,
        executor_flags: &["--supervise"],
        ..Options::default()
    })
    .await?;
    let (client, fares) = furnish(&cluster).await?;
    let before = cluster.status().await?;
    let first: Vec<_> = before
        .executors
        .into_iter()
        .map(|executor| executor.executor_id)
        .collect();
    let error = client
        .rows(DEADLY, false)
        .await
        .err()
        .context("the deadly rows were scored: nothing crashed")?;
    let text = format!("{error:#}");
    ensure!(text.contains("crash"), "the model is not named: {text}");
    ensure!(
        cluster.scheduler.exited().is_none(),
        "the scheduler ended too"
    );
    ensure!(
        cluster.status().await?.started_at_ms == before.started_at_ms,
        "the scheduler was started again"
    );
    wait::until("both executors died and are back", || async {
        let status = cluster.status().await.ok()?;
        let active = status.executors.iter().filter(|one| one.state == "active");
        let fresh = active.filter(|one| !first.contains(&one.executor_id));
        (fresh.count() == 2).then_some(())
    })
    .await?;
    client
        .rows(FARES, false)
        .await?
        .must_equal(&fares, "after the crash")
}
