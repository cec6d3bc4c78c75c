//! ADBC and pyarrow.flight, as they are published, against real processes: what there is, statements, parameters, changes, jobs,
//! sessions, and rows pulled in parallel from two executors.

use anyhow::{Result, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::furnished::{People, big, open_pool};
use whimbrel_tests::jobs::{chaos, say};
use whimbrel_tests::scripts::{Scenario, run_all};

const ADBC: &str = "flight_adbc.py";
const PYARROW: &str = "flight_pyarrow.py";
const PULLED: &str = "SELECT trip_id, PREDICT('tree', *) AS p FROM big";

fn adbc(cluster: &Cluster, name: &str) -> Scenario {
    Scenario::new(ADBC, cluster.address(), name).set("rows", data::TRIPS)
}

fn pyarrow(cluster: &Cluster, name: &str) -> Scenario {
    Scenario::new(PYARROW, cluster.address(), name)
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_sees_asks_binds_and_changes() -> Result<()> {
    let (cluster, datasets) = open_pool(2, &[]).await?;
    let folder = cluster.folder();
    run_all([
        adbc(&cluster, "catalog"),
        adbc(&cluster, "statements"),
        adbc(&cluster, "parameters"),
        adbc(&cluster, "parameter_schema"),
        adbc(&cluster, "many_updates").set("out", folder.join("many").display()),
        adbc(&cluster, "changes")
            .set("model", data::model("fare")?.display())
            .set("table", datasets.trips.display()),
        adbc(&cluster, "copy").set("out", folder.join("copied").display()),
        adbc(&cluster, "sessions"),
        adbc(&cluster, "transactions"),
        adbc(&cluster, "ingest"),
        adbc(&cluster, "partitions")
            .set("sql", "SELECT trip_id, PREDICT('fare', *) AS p FROM trips"),
    ])
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_cancels_from_another_thread() -> Result<()> {
    let (cluster, _) = open_pool(2, &[]).await?;
    let found = adbc(&cluster, "cancel")
        .set("sql", "SELECT sum(PREDICT('slow', *)) FROM trips")
        .set("after_ms", 700)
        .run()
        .await?;
    let client = cluster.client().await?;
    whimbrel_tests::wait::until("every slot is free", || async {
        let status = client.status().await.ok()?;
        let free =
            |executor: &whimbrel_proto::v1::ExecutorStatus| executor.free_slots == executor.slots;
        status.executors.iter().all(free).then_some(())
    })
    .await?;
    say(&format!("cancel: {found}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn adbc_polls() -> Result<()> {
    const ROWS_EACH: usize = 400;
    let (cluster, _) = open_pool(2, &[]).await?;
    let folder = data::write_files(cluster.folder(), "watched", data::FILES, ROWS_EACH)?;
    cluster
        .client()
        .await?
        .add_table("watched", &folder)
        .await?;
    let found = adbc(&cluster, "incremental")
        .set("rows", ROWS_EACH * data::FILES)
        .set(
            "sql",
            "SELECT trip_id, PREDICT('slow', *) AS p FROM watched",
        )
        .run()
        .await?;
    say(&format!("incremental: {found}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_sees_every_list_and_is_refused_in_words() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    run_all([
        pyarrow(&cluster, "lists"),
        pyarrow(&cluster, "foreign_words"),
    ])
    .await
    .map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_enter_by_header_and_by_handshake() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(1, &[]).await?;
    run_all([
        adbc(&cluster, "refused"),
        adbc(&cluster, "refused").token("whim_not-a-token-of-this-pool"),
        adbc(&cluster, "refused").token(&people.late.token),
        adbc(&cluster, "enters").token(&people.reader.token),
        pyarrow(&cluster, "handshake").token(&people.reader.token),
    ])
    .await
    .map(drop)
}

/// Ten million rows where `make chaos` asks for them.
fn pulled_rows() -> usize {
    if chaos() { 10_000_000 } else { 1_000_000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_straight_from_two_executors() -> Result<()> {
    let rows = pulled_rows();
    let (cluster, _) = open_pool(2, &[]).await?;
    let client = cluster.client().await?;
    big(&cluster, &client, rows).await?;
    let scenario = |name: &str| {
        pyarrow(&cluster, name)
            .set("rows", rows)
            .set("executors", 2)
            .set("sql", PULLED)
    };
    let found = scenario("straight").run().await?;
    let partitions = adbc(&cluster, "partitions").set("sql", PULLED);
    let partitions = partitions.set("rows", rows).run().await?;
    let status = client.status().await?;
    ensure!(
        status.proxied_bytes == 0,
        "{} bytes went through the scheduler",
        status.proxied_bytes
    );
    for executor in &status.executors {
        ensure!(executor.served_bytes > 0, "nothing came from {executor:?}");
    }
    say(&format!(
        "straight: {found}\nby ADBC's partitions: {partitions}"
    ));
    let through = scenario("through_the_scheduler").run().await?;
    let status = client.status().await?;
    // A number and a prediction a row.
    let due = rows as u64 * 8;
    ensure!(
        status.proxied_bytes > due,
        "{} bytes proxied of {due} and more",
        status.proxied_bytes
    );
    say(&format!("through the scheduler: {through}"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_executors_are_out_of_reach_names_none() -> Result<()> {
    let rows = pulled_rows();
    let (cluster, _) = open_pool(2, &[("WHIMBREL_FLIGHT_PROXY_ONLY", "true")]).await?;
    let client = cluster.client().await?;
    big(&cluster, &client, rows).await?;
    let scenario = pyarrow(&cluster, "proxy_only").set("rows", rows);
    let found = scenario.set("sql", PULLED).run().await?;
    let status = client.status().await?;
    ensure!(status.proxied_bytes > rows as u64 * 8, "{status:?}");
    // Our own client goes the same way.
    let (_, batches) = client.collect(PULLED).await?;
    let count: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    ensure!(count == rows, "{count} rows");
    say(&format!("proxy only: {found}"));
    Ok(())
}
