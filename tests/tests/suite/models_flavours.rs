//! What LightGBM and XGBoost wrote themselves, as MLflow logs it: PREDICT's 10,000 rows, gaps in them included, are what
//! `mlflow.pyfunc` says, wherever the model is bound from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use whimbrel_tests::objects::{LAKE, S3};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::registry::Registry;
use whimbrel_tests::service;
use whimbrel_tests::zoo::{self, Answers};

use crate::models_sources::pool;

const GAPPY: &str = "vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, \
                     pu_location, do_location, duration_min, payment_type, tip_amount";
const ROWS: usize = 10_000;
const TOLERANCE: f64 = 1e-5;
const MODELS: [&str; 8] = [
    "lgb_regression",
    "lgb_binary",
    "lgb_multiclass",
    "xgb_regression",
    "xgb_binary",
    "xgb_multiclass",
    "xgb_regressor",
    "xgb_classifier",
];

fn made(name: &str) -> Result<String> {
    Ok(zoo::path(&format!("../flavours/{name}"))?
        .display()
        .to_string())
}

/// Binds the model from `uri`; whether its rows are those of the model called `name`.
async fn same(client: &Asker, name: &str, uri: &str) -> Result<()> {
    let binding = client.bind("m", uri).await?;
    ensure!(binding.runtime == "native", "runtime {}", binding.runtime);
    let sql = format!("SELECT row_id, PREDICT('m', {GAPPY}) AS p FROM trips");
    let (_, batches) = client.collect(&sql).await.context("score")?;
    let answers = Answers::of(&batches)?;
    ensure!(answers.len() == ROWS, "{} rows", answers.len());
    let expected = Answers::expected(&format!("../flavours/{name}"))?;
    let apart = answers.distance(&expected)?;
    ensure!(apart <= TOLERANCE, "{apart:.2e} apart");
    Ok(())
}

/// Logs a model to a real server, as its users do.
fn log(server: &str, folder: &str) -> Result<()> {
    let script = "import sys, lightgbm, mlflow\n\
                  mlflow.set_tracking_uri(sys.argv[1])\n\
                  model = lightgbm.Booster(model_file=sys.argv[2] + '/model.lgb')\n\
                  mlflow.lightgbm.log_model(model, name='model', registered_model_name='light', pip_requirements=['mlflow'])\n";
    let output = Command::new(service::python()?)
        .args(["-c", script, server, folder])
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .env("GIT_PYTHON_REFRESH", "quiet")
        .output()
        .context("log a model")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{complaint}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn predict_says_what_pyfunc_says_of_the_libraries_own_files() -> Result<()> {
    let registry = Registry::open().await?;
    let folder = made("lgb_binary")?;
    let s3 = S3::start(&[("light", Path::new(&folder))])?;
    let mut variables = s3.environment("reader")?;
    variables.push(("MLFLOW_TRACKING_URI".to_owned(), registry.uri()));
    let (_cluster, client) = pool(&variables).await?;
    let (server, logged) = (registry.uri(), folder.clone());
    tokio::task::spawn_blocking(move || log(&server, &logged)).await??;

    let mut places = Vec::new();
    for name in MODELS {
        places.push((name, made(name)?));
    }
    places.push(("lgb_binary", format!("{folder}/model.lgb")));
    places.push(("xgb_binary", made("xgb_binary/model.json")?));
    places.push(("xgb_classifier", made("xgb_classifier/model.ubj")?));
    places.push(("lgb_binary", format!("s3://{LAKE}/light")));
    places.push(("lgb_binary", format!("s3://{LAKE}/light/model.lgb")));
    places.push(("lgb_binary", "models:/light/1".to_owned()));
    let mut failures = Vec::new();
    for (name, uri) in &places {
        if let Err(error) = same(&client, name, uri).await {
            failures.push(format!("{uri}: {error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    other_outputs_and_refusals(&client).await
}

async fn other_outputs_and_refusals(client: &Asker) -> Result<()> {
    client.bind("m", &made("xgb_classifier")?).await?;
    let sql = format!(
        "SELECT count(*) FROM trips WHERE PREDICT('m', {GAPPY})['probabilities'][PREDICT('m', {GAPPY}) + 1] < 0.33"
    );
    let (_, batches) = client.collect(&sql).await?;
    let batch = batches.first().context("no row")?;
    let unlikely = batch.column(0).as_primitive::<Int64Type>().value(0);
    ensure!(
        unlikely == 0,
        "{unlikely} labels are not the likeliest of three classes"
    );
    looked_at(client).await?;
    let error = match client.bind("m", &made("lgb_estimator")?).await {
        Ok(_) => bail!("an object of Python is bound"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains("log its booster"), "{error}");
    Ok(())
}

/// EXPLAIN and CHECK MODEL know a library's own file as they know a graph.
async fn looked_at(client: &Asker) -> Result<()> {
    client.bind("m", &made("lgb_binary/model.lgb")?).await?;
    let sql = format!("EXPLAIN SELECT PREDICT('m', {GAPPY}) FROM trips");
    let plan = shown(client, &sql).await?;
    ensure!(plan.contains("trees=30, nodes=1830"), "{plan}");
    let report = shown(client, "CHECK MODEL m ON trips").await?;
    ensure!(
        report.contains("native") && report.contains("rows/s"),
        "{report}"
    );
    Ok(())
}

async fn shown(client: &Asker, sql: &str) -> Result<String> {
    let (_, batches) = client.collect(sql).await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}
