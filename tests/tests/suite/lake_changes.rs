//! Files that change while a query runs, and models that are slower than the store's patience: never mixed rows, and no
//! connection that waits for a model.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use whimbrel_proto::v1::AddTableRequest;
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::lake::Lakes;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::proxy::Weather;
use whimbrel_tests::wait;

const SEED: u64 = 20_261_121;

async fn pool(lakes: &Lakes, slots: usize) -> Result<(Cluster, Asker)> {
    let mut variables: Vec<(&str, &str)> = lakes
        .variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    variables.push(("WHIMBREL_PARTITIONS_PER_SLOT", "1"));
    let executor = &variables[..variables.len() - 1];
    let cluster = Cluster::with(Options {
        executors: 1,
        slots,
        scheduler: &variables,
        executor,
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    Ok((cluster, client))
}

/// A file that was listed is another when its turn comes: as long as before, and in the same second or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_between_planning_and_reading_is_an_error_that_names_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let big = data::write_big(folder.path(), 2_000)?;
    let lakes = Lakes::start(&[("big", &big)], SEED).await?;
    let (_cluster, client) = pool(&lakes, 1).await?;
    for lake in &lakes.lakes {
        client
            .add_table_at("big", &format!("{}/big/", lake.base))
            .await?;
        lake.proxy.set(Weather {
            delay: Duration::from_millis(250),
            ..Weather::default()
        });
        let asking = client.clone();
        let query = tokio::spawn(async move {
            asking
                .rows(
                    "SELECT count(*), sum(trip_id), sum(trip_distance) FROM big",
                    false,
                )
                .await
        });
        wait::until("the first file is read", || async {
            (lake.proxy.struck().delayed > 2).then_some(())
        })
        .await?;
        let last = Path::from("big/part-7.parquet");
        let mut bytes = std::fs::read(big.join("part-7.parquet"))?;
        // Damage that no reader would notice: only the version tells.
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        lake.store.put(&last, bytes.into()).await?;
        ensure!(
            !query.is_finished(),
            "the query ended before the file was replaced"
        );
        let error = query.await?.expect_err("the file was replaced");
        let text = format!("{error:#}");
        ensure!(
            text.contains("big/part-7.parquet") && text.contains("has changed"),
            "{text}"
        );
        lake.proxy.set(Weather::default());
        lake.store
            .put(&last, std::fs::read(big.join("part-7.parquet"))?.into())
            .await?;
        client
            .rows("SELECT count(*) FROM big", false)
            .await
            .context("as it is now")?;
    }
    Ok(())
}

/// One split that the model scores for seconds, batch by batch. Whoever read on only when the model wants more would have its
/// connection cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_model_does_not_trip_a_stores_timeouts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("wide.csv");
    write_wide(&path)?;
    let lakes = Lakes::start(&[("wide.csv", &path)], SEED).await?;
    let (_cluster, client) = pool(&lakes, 1).await?;
    client.bind_model("slow", "slow").await?;
    let lake = &lakes.lakes[0];
    let request = AddTableRequest {
        name: "wide".to_owned(),
        uri: format!("{}/wide.csv", lake.base),
        multiline: Some(true),
        ..AddTableRequest::default()
    };
    client.0.add_table(request).await?;
    lake.proxy.set(Weather {
        idle: Some(Duration::from_secs(2)),
        ..Weather::default()
    });
    let sql = "SELECT count(*) AS n, sum(length(note)) AS letters, count(PREDICT('slow', *)) AS scored FROM wide";
    let rows = client.rows(sql, false).await?;
    let struck = lake.proxy.struck();
    ensure!(
        struck.cut == 0,
        "{} connections waited for the model",
        struck.cut
    );
    let letters = NARROW + WIDE * NOTE;
    let want = format!("{} | {letters} | {}", NARROW + WIDE, NARROW + WIDE);
    ensure!(
        rows.to_text().lines().nth(1) == Some(want.as_str()),
        "{}",
        rows.to_text()
    );
    // Whoever takes nothing is cut: the proxy does what it is there for.
    let idler = lake.proxied.get(&Path::from("wide.csv")).await?;
    wait::until("a connection that waits is cut", || async {
        (lake.proxy.struck().cut > 0).then_some(())
    })
    .await?;
    drop(idler);
    Ok(())
}

/// Rows that fill the reader's first batch.
const NARROW: usize = 8_192;
/// Rows after them, with more bytes than sockets hold.
const WIDE: usize = 600;
const NOTE: usize = 30_000;

fn write_wide(path: &std::path::Path) -> Result<()> {
    let trips = data::trips(0, NARROW + WIDE)?;
    let note = "x".repeat(NOTE);
    let notes = (0..NARROW + WIDE).map(|row| if row < NARROW { "x" } else { &note });
    let notes = Arc::new(StringArray::from_iter_values(notes)) as ArrayRef;
    let schema = trips.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let columns = names
        .zip(trips.columns().iter().cloned())
        .chain([("note".to_owned(), notes)]);
    data::write_csv(path, &RecordBatch::try_from_iter(columns)?)
}
