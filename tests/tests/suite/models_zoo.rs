//! Models of scikit-learn, LightGBM, XGBoost and two small networks: PREDICT's 10,000 rows are what the library itself says.

use anyhow::{Context, Result, bail, ensure};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::pool::Asker;
use whimbrel_tests::zoo::{self, Answers};

const FEATURES: &str = "vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, \
                        pu_location, do_location, duration_min, payment_type";
const GAPPY: &str = "vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, \
                     pu_location, do_location, duration_min, payment_type, tip_amount";
const ROWS: usize = 10_000;

/// One model: what feeds it and how far from its library it may be, relative above 1 and absolute below. ONNX computes in
/// 32-bit floats, the libraries in 64 bits or in another order; a label must be the same one.
struct Kind {
    name: &'static str,
    /// A file `NAME.onnx`; else the folder that MLflow wrote.
    file: bool,
    table: &'static str,
    columns: &'static str,
    tolerance: f64,
}

const fn file(name: &'static str, columns: &'static str, tolerance: f64) -> Kind {
    Kind {
        name,
        file: true,
        table: "trips",
        columns,
        tolerance,
    }
}

/// The columns find their places by the names of MLflow's signature.
const fn folder(name: &'static str, tolerance: f64) -> Kind {
    Kind {
        name,
        file: false,
        table: "trips",
        columns: "*",
        tolerance,
    }
}

const fn image(name: &'static str, file: bool, columns: &'static str) -> Kind {
    Kind {
        name,
        file,
        table: "digits",
        columns,
        tolerance: 2e-6,
    }
}

const KINDS: &[Kind] = &[
    file("linear", FEATURES, 1e-6),
    folder("logistic", 1e-6),
    file("logistic_zipmap", FEATURES, 1e-6),
    file("logistic_zipmap_text", FEATURES, 1e-6),
    folder("pipeline", 1e-6),
    folder("forest", 1e-6),
    file("forest_classes", FEATURES, 1e-6),
    file("boosting", FEATURES, 1e-6),
    folder("histogram", 1e-6),
    folder("lightgbm", 1e-6),
    file("lightgbm_classes", GAPPY, 1e-6),
    folder("xgboost", 2e-6),
    file("xgboost_classes", GAPPY, 1e-6),
    folder("mlp", 1e-6),
    image("cnn", true, "image"),
    image("cnn", true, "image_fixed"),
    image("cnn_mlflow", false, "image"),
];

async fn check(client: &Asker, kind: &Kind) -> Result<f64> {
    let name = kind.name;
    let model = if kind.file {
        zoo::path(&format!("{name}.onnx"))?
    } else {
        zoo::path(name)?
    };
    client.bind(name, &model.to_string_lossy()).await?;
    let (table, columns) = (kind.table, kind.columns);
    let (_, batches) = client
        .collect(&format!(
            "SELECT row_id, PREDICT('{name}', {columns}) AS answer FROM {table}"
        ))
        .await
        .context("score")?;
    let answers = Answers::of(&batches)?;
    ensure!(answers.len() == ROWS, "{} rows", answers.len());
    answers.distance(&Answers::expected(name)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn predict_says_what_the_original_library_says() -> Result<()> {
    let cluster = Cluster::start(2, 1).await?;
    let client = cluster.client().await?;
    for table in ["trips", "digits"] {
        client
            .add_table(table, &zoo::path(&format!("{table}.parquet"))?)
            .await?;
    }
    let mut failures = Vec::new();
    for kind in KINDS {
        match check(&client, kind).await {
            Ok(apart) if apart <= kind.tolerance => {}
            Ok(apart) => failures.push(format!(
                "{}: {apart:.2e} apart, {:.0e} is allowed",
                kind.name, kind.tolerance
            )),
            Err(error) => failures.push(format!("{}: {error:#}", kind.name)),
        }
    }
    if !failures.is_empty() {
        bail!(
            "{} of {} models failed\n{}",
            failures.len(),
            KINDS.len(),
            failures.join("\n")
        );
    }
    Ok(())
}
