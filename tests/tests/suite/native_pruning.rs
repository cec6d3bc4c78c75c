//! What a query says of its rows cuts the model that scores them: EXPLAIN says what is left, and no value changes by it.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::data;
use whimbrel_tests::pool::Asker;

async fn ask(client: &Asker, sql: &str) -> Result<Vec<RecordBatch>> {
    let (_, batches) = client.collect(sql).await.with_context(|| sql.to_owned())?;
    Ok(batches)
}

async fn count(client: &Asker, sql: &str) -> Result<i64> {
    let batches = ask(client, sql).await?;
    let batch = batches.first().context("no row")?;
    Ok(batch.column(0).as_primitive::<Int64Type>().value(0))
}

async fn explained(client: &Asker, sql: &str) -> Result<String> {
    let batches = ask(client, &format!("EXPLAIN {sql}")).await?;
    let mut text = String::new();
    write!(text, "{}", pretty_format_batches(&batches)?)?;
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_cuts_the_trees_and_changes_no_value() -> Result<()> {
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 2,
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    let trips = data::write_files(cluster.folder(), "pruned", 2, 250_000)?;
    client.add_table("pruned", &trips).await?;
    client.bind_model("m", "lightgbm").await?;
    client.bind_to_ort("o", "lightgbm").await?;

    let all = explained(&client, "SELECT PREDICT('m', *) FROM pruned").await?;
    ensure!(all.contains("trees=200, nodes=12200"), "{all}");
    let filter = "trip_distance < 15 AND passenger_count >= 1";
    let less = explained(
        &client,
        &format!("SELECT PREDICT('m', *) FROM pruned WHERE {filter}"),
    )
    .await?;
    ensure!(
        less.contains("passenger_count >= 1") && less.contains("of 12200"),
        "{less}"
    );

    let both =
        format!("SELECT PREDICT('m', *) AS a, PREDICT('o', *) AS b FROM pruned WHERE {filter}");
    let rows = count(&client, &format!("SELECT count(*) FROM ({both})")).await?;
    // So many that each of two tasks cuts the model on its way.
    ensure!(rows > 200_000, "{rows} rows");
    let apart = count(
        &client,
        &format!("SELECT count(*) FROM ({both}) WHERE a IS DISTINCT FROM b"),
    )
    .await?;
    ensure!(apart == 0, "{apart} of {rows} rows have another value");
    Ok(())
}
