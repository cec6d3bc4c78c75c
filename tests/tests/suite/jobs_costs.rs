//! What a score job costs on object stores: requests, counted by a proxy, for each split that it has more. Stores bill them and
//! answer each in milliseconds, so one that creeps in is noticed here.

use anyhow::{Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::jobs::{Job, say};
use whimbrel_tests::lake::{Lake, Lakes};
use whimbrel_tests::proxy::Weather;

const SEED: u64 = 20_261_121;
const FEW: usize = 4;
const MANY: usize = 44;
const ROWS_EACH: usize = 50;

/// What one split asks for. Its executor looks into the journal, begins the object, writes down what it began, sends its one part
/// and enters it into the journal; the scheduler reads the entry and completes the object. On Azure storage nothing is begun: a
/// block comes with its object's name.
fn bound(lake: &Lake) -> u64 {
    match lake.name {
        "azure" => 6,
        _ => 7,
    }
}

/// Runs a job over the table; its splits, and the requests that went to the store meanwhile.
async fn asked(cluster: &Cluster, lake: &Lake, table: &str) -> Result<(u64, u64)> {
    let output = format!("{}/{table}", lake.base);
    let options = [
        "--model", "fare", "--input", table, "--keep", "trip_id", "--output", &output,
    ];
    lake.proxy.set(Weather::default());
    let done = Job::submit(cluster, &options)?.ended().await?;
    ensure!(done.state() == "succeeded", "{output}: {}", done.json);
    let splits = done.number("/progress/splits_total");
    Ok((splits, lake.proxy.struck().requests))
}

/// The input is local, so that only the output is asked for anything, and the sweep comes long after the count.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_costs_a_few_requests_and_no_more() -> Result<()> {
    let lakes = Lakes::start(&[], SEED).await?;
    let executor: Vec<(&str, &str)> = lakes
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut scheduler = executor.clone();
    // As many partitions as there are files.
    scheduler.push(("WHIMBREL_PARTITIONS_PER_SLOT", "22"));
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 2,
        scheduler: &scheduler,
        executor: &executor,
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    client.bind_model("fare", "fare").await?;
    for (table, files) in [("few", FEW), ("many", MANY)] {
        let folder = data::write_files(cluster.folder(), table, files, ROWS_EACH)?;
        client.add_table(table, &folder).await?;
    }
    for lake in &lakes.lakes {
        let few = asked(&cluster, lake, "few").await?;
        let many = asked(&cluster, lake, "many").await?;
        let (splits, requests) = (many.0 - few.0, many.1.saturating_sub(few.1));
        ensure!(splits >= 20, "{few:?} and {many:?} are too near");
        say(&format!(
            "{}: {requests} requests for {splits} splits more, {:.2} each; {} for a job of {}",
            lake.name,
            requests as f64 / splits as f64,
            few.1,
            few.0
        ));
        // Looks into the whole journal come by time: a few of them are let pass.
        let bound = bound(lake);
        ensure!(
            requests <= bound * splits + splits / 2,
            "{}: {requests} requests for {splits} splits, and {bound} are due for each",
            lake.name
        );
        ensure!(
            requests >= splits,
            "{}: {requests} requests: they go another way",
            lake.name
        );
    }
    Ok(())
}
