//! A binding outlives the scheduler that made it.

use anyhow::{Result, ensure};
use whimbrel_proto::v1::{BindModelRequest, InputColumn};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::{self, Datasets};

const SQL: &str = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_scheduler_keeps_what_was_bound() -> Result<()> {
    let mut cluster = Cluster::start(1, 1).await?;
    let datasets = Datasets::write(cluster.folder())?;
    let client = cluster.client().await?;
    client.add_table("trips", &datasets.trips).await?;
    client.bind_model("fare", "mlp").await?;
    // The model may lie where nobody finds it again: the pool has its own copy.
    let away = cluster.folder().join("away.onnx");
    std::fs::copy(data::model("fare")?, &away)?;
    let bound = client
        .0
        .bind_model(BindModelRequest {
            alias: "fare".to_owned(),
            uri: away.to_string_lossy().into_owned(),
            returns: "double".to_owned(),
            columns: vec![InputColumn {
                input: "trip_distance".to_owned(),
                column: "duration_min".to_owned(),
            }],
            ..Default::default()
        })
        .await?;
    ensure!(bound.generation == 2, "{bound:?}");
    cluster.restart_killed_scheduler()?;
    std::fs::remove_file(&away)?;
    let client = cluster.client().await?;
    let found = client.0.get_model("fare").await?;
    ensure!(found == bound, "{found:?}\nagainst\n{bound:?}");
    cluster.wait_executors(1).await?;
    let rows = client.rows(SQL, false).await?;
    ensure!(rows.len() == data::TRIPS, "{} rows", rows.len());

    // A pool that never fell says the same.
    let calm = Cluster::start(1, 1).await?;
    let other = calm.client().await?;
    other.add_table("trips", &datasets.trips).await?;
    other
        .0
        .bind_model(BindModelRequest {
            alias: "fare".to_owned(),
            uri: data::model("fare")?.to_string_lossy().into_owned(),
            returns: "double".to_owned(),
            columns: bound.columns.clone(),
            ..Default::default()
        })
        .await?;
    rows.must_equal(&other.rows(SQL, false).await?, "after the kill")?;
    let again = client.bind_model("fare", "fare").await?;
    ensure!(again.generation == 3, "{again:?}");
    Ok(())
}
