//! The golden queries: the same rows from real processes, from the embedded pool, and from plain DataFusion.

use anyhow::{Context, Result, bail};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::golden;
use whimbrel_tests::objects::{Azure, LAKE, Object, S3};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::reference::Reference;
use whimbrel_tests::rows::Rows;

/// One entry of `golden/queries.sql`.
struct Question {
    name: String,
    ordered: bool,
    predict: String,
    plain: String,
}

fn questions() -> Result<Vec<Question>> {
    let text = golden::read("queries.sql")?;
    let questions: Vec<_> = text
        .split("\n== ")
        .skip(1)
        .map(|entry| {
            let (title, body) = entry
                .split_once('\n')
                .context("a question without a body")?;
            let (predict, plain) = body
                .split_once("\n--\n")
                .with_context(|| format!("{title} has no plain form"))?;
            let (name, ordered) = match title.split_once(' ') {
                Some((name, "ordered")) => (name, true),
                Some((_, other)) => bail!("{title}: '{other}' is not 'ordered'"),
                None => (title, false),
            };
            Ok(Question {
                name: name.to_owned(),
                ordered,
                predict: predict.to_owned(),
                plain: plain.trim().to_owned(),
            })
        })
        .collect::<Result<_>>()?;
    if questions.len() < 40 {
        bail!("{} golden queries are too few", questions.len());
    }
    Ok(questions)
}

/// Tables, models and the view that the questions name.
async fn furnish(client: &Asker, datasets: &Datasets) -> Result<()> {
    for (table, path) in datasets.tables() {
        client.add_table(table, path).await?;
    }
    furnish_models(client).await
}

pub(crate) async fn furnish_models(client: &Asker) -> Result<()> {
    for (alias, model) in Reference::MODELS {
        client.bind_model(alias, model).await?;
    }
    client
        .collect("CREATE OR REPLACE VIEW scored_view AS SELECT trip_id, PREDICT('fare', *) AS p FROM trips")
        .await?;
    Ok(())
}

/// Every question, its answer compared with the plain engine's and with the golden rows; all failures in one report.
pub(crate) async fn compare(client: &Asker, reference: &Reference, home: &str) -> Result<()> {
    let mut failures = Vec::new();
    for question in questions()? {
        let outcome = async {
            let expected = reference.ask(&question.plain, question.ordered).await?;
            let answer = client.rows(&question.predict, question.ordered).await?;
            answer.must_equal(&expected, "against plain DataFusion")?;
            let file = format!("rows/{}.txt", question.name);
            if golden::writing() {
                return golden::write(&file, &answer.to_text());
            }
            answer.must_equal(
                &Rows::parse(&golden::read(&file)?)?,
                "against the golden rows",
            )
        };
        if let Err(error) = outcome.await {
            failures.push(format!("{}: {error:#}", question.name));
        }
    }
    if !failures.is_empty() {
        bail!(
            "{home}: {} questions failed\n{}",
            failures.len(),
            failures.join("\n")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_processes_answers_like_plain_datafusion() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let cluster = Cluster::start(2, 2).await?;
    let client = cluster.client().await?;
    furnish(&client, &datasets).await?;
    compare(&client, &reference, "cluster").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_pool_answers_like_plain_datafusion() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let pool = whimbrel_tests::embedded(folder.path()).await?;
    let client = Asker(pool.client().await?);
    furnish(&client, &datasets).await?;
    let outcome = compare(&client, &reference, "embedded pool").await;
    pool.stop().await?;
    outcome
}

/// The same files on S3 and in Azure storage, read by executors with credentials of their own.
#[tokio::test(flavor = "multi_thread")]
async fn object_stores_answer_as_local_files_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let names = ["trips", "trips.csv", "zones.parquet", "empty.csv"];
    let objects: Vec<Object<'_>> = names
        .into_iter()
        .zip(datasets.tables().map(|(_, path)| path))
        .collect();
    let s3 = S3::start(&objects)?;
    let azure = Azure::start(&objects).await?;
    let mut variables = s3.environment("reader")?;
    variables.extend(azure.environment(None)?);
    let cluster = Cluster::start_in(2, 2, &variables).await?;
    let client = cluster.client().await?;
    let account = azure.account()?;
    for store in [
        format!("s3://{LAKE}"),
        format!("abfss://{LAKE}@{account}.dfs.core.windows.net"),
    ] {
        for ((table, _), name) in datasets.tables().into_iter().zip(names) {
            client
                .add_table_at(table, &format!("{store}/{name}"))
                .await?;
        }
        furnish_models(&client).await?;
        compare(&client, &reference, &store).await?;
    }
    Ok(())
}

/// Eight files are read by both executors, and each loads the model once however many tasks ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn both_executors_work_and_load_the_model_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let cluster = Cluster::start(2, 2).await?;
    let client = cluster.client().await?;
    furnish(&client, &datasets).await?;
    for _ in 0..3 {
        client
            .collect("SELECT sum(PREDICT('tree', *)) FROM trips")
            .await?;
    }
    let digest = client.0.get_model("tree").await?.digest;
    whimbrel_tests::wait::until("both executors reported their model", || async {
        let status = cluster.status().await.ok()?;
        let loads: Vec<_> = status
            .executors
            .iter()
            .filter_map(|executor| executor.models.iter().find(|model| model.digest == digest))
            .map(|model| (model.loads, model.rows_scored))
            .collect();
        (loads.len() == 2
            && loads.iter().all(|(loads, rows)| *loads == 1 && *rows > 0)
            && loads.iter().map(|(_, rows)| rows).sum::<u64>() == 3 * data::TRIPS as u64)
            .then_some(())
    })
    .await
}
