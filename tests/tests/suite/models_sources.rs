//! One model in every place that a model can be bound from: files, object stores, registries, hex text, a table. Wherever it
//! comes from it has the same digest and gives the same rows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use whimbrel_tests::azureml::{self, AzureMl};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::command::{Outcome, run};
use whimbrel_tests::objects::{Azure, LAKE, S3};
use whimbrel_tests::pool::Asker;
use whimbrel_tests::registry::{self, Registry};
use whimbrel_tests::wait;
use whimbrel_tests::zoo::{self, Answers};

/// What the model takes, by position: most of its forms name no columns.
const COLUMNS: &str = "vendor_id, passenger_count, trip_distance, pickup_hour, pickup_weekday, \
                       pu_location, do_location, duration_min, payment_type, tip_amount";
/// As LightGBM itself; the zoo's suite says the same.
const TOLERANCE: f64 = 1e-6;

/// The model as hex text and as a table's cells, written into the pool's folder.
struct Texts {
    bare: PathBuf,
    marked: PathBuf,
    table: PathBuf,
}

impl Texts {
    fn write(folder: &Path, model: &Path) -> Result<Self> {
        let bytes = std::fs::read(model)?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let texts = Self {
            bare: folder.join("model.hex"),
            marked: folder.join("model.txt"),
            table: folder.join("models.parquet"),
        };
        std::fs::write(&texts.bare, format!("{digits}\n"))?;
        std::fs::write(&texts.marked, format!("0x{}\r\n", digits.to_lowercase()))?;
        write_table(&texts.table, &bytes)?;
        Ok(texts)
    }
}

fn write_table(path: &Path, model: &[u8]) -> Result<()> {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};

    let names: ArrayRef = Arc::new(StringArray::from(vec!["fare", "other"]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![model, b"not this one".as_slice()]));
    let batch = RecordBatch::try_from_iter(vec![("name", names), ("content", bytes)])?;
    whimbrel_tests::data::write_parquet(path, &batch)
}

/// Binds the model from `uri`; its digest, and how far its rows are from LightGBM's own.
async fn digest_and_rows(client: &Asker, uri: &str, expected: &Answers) -> Result<String> {
    let binding = client.bind("fare", uri).await?;
    let sql = format!("SELECT row_id, PREDICT('fare', {COLUMNS}) AS p FROM trips");
    let (_, batches) = client.collect(&sql).await.context("score")?;
    let apart = Answers::of(&batches)?.distance(expected)?;
    ensure!(apart <= TOLERANCE, "{apart:.2e} apart");
    Ok(binding.digest)
}

/// Every place, tried in turn; all failures in one report.
async fn same_from_all(client: &Asker, uris: &[String]) -> Result<()> {
    let expected = Answers::expected("lightgbm")?;
    let model = std::fs::read(zoo::path("lightgbm/model.onnx")?)?;
    let digest = whimbrel_tests::reference::digest(&model);
    let mut failures = Vec::new();
    for uri in uris {
        match digest_and_rows(client, uri, &expected).await {
            Ok(found) if found == digest => {}
            Ok(found) => failures.push(format!("{uri}: digest {found}, not {digest}")),
            Err(error) => failures.push(format!("{uri}: {error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!(
            "{} of {} places failed\n{}",
            failures.len(),
            uris.len(),
            failures.join("\n")
        );
    }
    Ok(())
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A pool with one executor whose scheduler has these variables.
pub(crate) async fn pool(variables: &[(String, String)]) -> Result<(Cluster, Asker)> {
    let settings: Vec<_> = variables
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 2,
        scheduler: &settings,
        ..Options::default()
    })
    .await?;
    let client = cluster.client().await?;
    client
        .add_table("trips", &zoo::path("trips.parquet")?)
        .await?;
    Ok((cluster, client))
}

/// The command as a user gives it, which must go well.
async fn whimbrel(cluster: &Cluster, args: &[&str]) -> Result<Outcome> {
    let outcome = attempt(cluster, args).await?;
    ensure!(
        outcome.code == 0,
        "whimbrel {}\n{}{}",
        args.join(" "),
        outcome.stdout,
        outcome.stderr
    );
    Ok(outcome)
}

async fn attempt(cluster: &Cluster, args: &[&str]) -> Result<Outcome> {
    let (folder, address) = (cluster.folder().to_owned(), cluster.address().to_owned());
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        run(&folder, Some(&address), &args)
    })
    .await?
}

/// The access of a service principal whose secret is in `FARE_SECRET`.
fn principal(tenant: &str) -> [&str; 6] {
    [
        "--tenant",
        tenant,
        "--client-id",
        "client-1",
        "--secret-env",
        "FARE_SECRET",
    ]
}

/// `link add NAME --kind azureml` to the workspace of `azure`, as this client.
async fn link_azure(cluster: &Cluster, azure: &AzureMl, name: &str, access: &[&str]) -> Result<()> {
    let address = azure.address();
    let mut args = vec![
        "link",
        "add",
        name,
        "--kind",
        "azureml",
        "--workspace",
        "work-1",
    ];
    args.extend(["--resource-group", "group-1", "--subscription", "sub-1"]);
    args.extend(["--authority", &address, "--management", &address]);
    args.extend(access);
    whimbrel(cluster, &args).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_from_files_object_stores_texts_and_tables() -> Result<()> {
    let folder = zoo::path("lightgbm")?;
    let file = folder.join("model.onnx");
    let objects = [
        ("models/fare.onnx", file.as_path()),
        ("models/fare", folder.as_path()),
    ];
    let s3 = S3::start(&objects)?;
    let azure = Azure::start(&objects).await?;
    let account = azure.account()?;
    let mut variables = s3.environment("reader")?;
    variables.extend(azure.environment(None)?);
    let (cluster, client) = pool(&variables).await?;
    let texts = Texts::write(cluster.folder(), &file)?;
    client.add_table("models", &texts.table).await?;
    let mut uris: Vec<String> = [&file, &folder, &texts.bare, &texts.marked]
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    uris.push(format!("file://{}", file.display()));
    uris.push("sql:SELECT content FROM models WHERE name = 'fare'".to_owned());
    for path in ["models/fare.onnx", "models/fare", "models/fare/"] {
        uris.push(format!("s3://{LAKE}/{path}"));
        uris.push(format!(
            "abfss://{LAKE}@{account}.dfs.core.windows.net/{path}"
        ));
        uris.push(format!(
            "wasbs://{LAKE}@{account}.blob.core.windows.net/{path}"
        ));
        uris.push(format!(
            "https://{account}.dfs.core.windows.net/{LAKE}/{path}"
        ));
        uris.push(format!(
            "https://{account}.blob.core.windows.net/{LAKE}/{path}"
        ));
    }
    // A folder is no file.
    uris.retain(|uri| !uri.ends_with(".onnx/"));
    same_from_all(&client, &uris).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_from_registries_with_and_without_authentication() -> Result<()> {
    let (open, guarded) = tokio::try_join!(Registry::open(), Registry::guarded())?;
    let azure = AzureMl::start(&open.uri(), 3600)?;
    let mut variables = owned(&[
        ("FARE_PASSWORD", registry::ADMIN_PASSWORD),
        ("FARE_SECRET", azureml::SECRET),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &azure.address()),
    ]);
    variables.push(("MLFLOW_TRACKING_URI".to_owned(), open.uri()));
    let (cluster, client) = pool(&variables).await?;
    let entries = ["fare/2", "fare@champion", "fare", "fare/latest"];
    let by_variable: Vec<_> = entries
        .iter()
        .map(|entry| format!("models:/{entry}"))
        .collect();
    same_from_all(&client, &by_variable).await?;

    let add = [
        "link",
        "add",
        "guarded",
        "--kind",
        "mlflow",
        "--uri",
        &guarded.uri(),
    ];
    let access = ["--user", registry::ADMIN, "--password-env", "FARE_PASSWORD"];
    whimbrel(&cluster, &[&add[..], &access[..]].concat()).await?;
    let tenant = azure.tenant()?;
    link_azure(&cluster, &azure, "principal", &principal(&tenant)).await?;
    link_azure(&cluster, &azure, "machine", &["--managed-identity"]).await?;
    let mut uris = Vec::new();
    for entry in entries {
        uris.push(format!("models:/{entry}?link=guarded"));
    }
    for link in ["principal", "machine"] {
        for entry in ["fare:2", "fare", "fare@latest"] {
            uris.push(format!("aml://{entry}?link={link}"));
        }
    }
    same_from_all(&client, &uris).await?;
    let (tokens, machine) = (
        azure.count("tokens").await?,
        azure.count("identity_tokens").await?,
    );
    ensure!(
        tokens == 1 && machine == 1,
        "{tokens} and {machine} tokens for three binds each"
    );
    for link in ["guarded", "principal", "machine"] {
        whimbrel(&cluster, &["link", "test", link]).await?;
    }
    versions_say_all(&cluster).await?;
    external_weights_come_along(&client).await?;
    secrets_stay_where_they_are(&cluster).await?;
    tokens_are_renewed_before_they_end(&open).await
}

/// Neither the pool's files nor its log nor what it shows hold a secret.
async fn secrets_stay_where_they_are(cluster: &Cluster) -> Result<()> {
    let secrets = [registry::ADMIN_PASSWORD, azureml::SECRET];
    let mut texts = vec![("the log".to_owned(), cluster.scheduler.log())];
    for args in [
        &["--json", "link", "list"][..],
        &["link", "list"],
        &["link", "show", "principal"],
        &["pool", "status"],
    ] {
        texts.push((args.join(" "), whimbrel(cluster, args).await?.stdout));
    }
    let mut folders = vec![cluster.folder().join("state")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                texts.push((path.display().to_string(), text));
            }
        }
    }
    ensure!(texts.len() > 6, "no files of state were found");
    for (place, text) in texts {
        ensure!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{place} holds a secret"
        );
    }
    Ok(())
}

/// `model versions`, newest first.
async fn versions_say_all(cluster: &Cluster) -> Result<()> {
    let outcome = whimbrel(cluster, &["model", "versions", "models:/fare?link=guarded"]).await?;
    let text = outcome.stdout;
    let newest = text.find("champion").context("no champion")?;
    let oldest = text.find("before").context("no version before")?;
    ensure!(newest < oldest, "not newest first:\n{text}");
    ensure!(
        text.contains("trip_distance double"),
        "no signature:\n{text}"
    );
    let outcome = whimbrel(
        cluster,
        &["model", "versions", "models:/fare-python?link=guarded"],
    )
    .await?;
    ensure!(
        outcome.stdout.contains("sklearn"),
        "no reason:\n{}",
        outcome.stdout
    );
    Ok(())
}

/// MLflow puts large weights into a file of their own.
async fn external_weights_come_along(client: &Asker) -> Result<()> {
    client
        .add_table("digits", &zoo::path("digits.parquet")?)
        .await?;
    let local = client
        .bind("digits", &zoo::path("cnn_mlflow")?.to_string_lossy())
        .await?;
    let logged = client
        .bind("digits", "models:/digits/1?link=guarded")
        .await?;
    ensure!(
        local.digest == logged.digest,
        "{} and {}",
        local.digest,
        logged.digest
    );
    let sql = "SELECT row_id, PREDICT('digits', image) AS p FROM digits";
    let (_, batches) = client.collect(sql).await?;
    let apart = Answers::of(&batches)?.distance(&Answers::expected("cnn_mlflow")?)?;
    ensure!(apart <= 2e-6, "{apart:.2e} apart");
    Ok(())
}

/// A token that lasts four seconds: it is used again while it is good, and renewed before it is not.
async fn tokens_are_renewed_before_they_end(registry: &Registry) -> Result<()> {
    let azure = AzureMl::start(&registry.uri(), 4)?;
    let (cluster, client) = pool(&owned(&[("FARE_SECRET", azureml::SECRET)])).await?;
    let tenant = azure.tenant()?;
    link_azure(&cluster, &azure, "principal", &principal(&tenant)).await?;
    let mut binds = 0_u64;
    let tokens = wait::until_within(wait::DEADLINE, "a fourth token is fetched", async || {
        if let Err(error) = client.bind("fare", "aml://fare:2").await {
            return Some(Err(error));
        }
        binds += 1;
        let tokens = azure.count("tokens").await.ok()?;
        (tokens >= 4).then_some(Ok(tokens))
    })
    .await??;
    ensure!(
        binds > tokens,
        "{tokens} tokens for {binds} binds: none was used again"
    );
    let refused = azure.count("expired").await? + azure.count("unauthorized").await?;
    ensure!(
        refused == 0,
        "{refused} requests with a token that held no more"
    );
    Ok(())
}
