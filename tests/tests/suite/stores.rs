//! Object stores through links: rows without a variable of any cloud anywhere, and what users read where something is wrong, at
//! the scheduler and at an executor.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::command::run;
use whimbrel_tests::data::{self, Datasets};
use whimbrel_tests::golden;
use whimbrel_tests::objects::{Azure, LAKE, Object, S3};
use whimbrel_tests::reference::Reference;

use super::queries::{compare, furnish_models};

type Settings = Vec<(&'static str, String)>;

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// `whimbrel ARGS` against the pool.
pub(crate) async fn whimbrel(
    cluster: &Cluster,
    args: &[&str],
) -> Result<whimbrel_tests::command::Outcome> {
    let (folder, pool) = (cluster.folder().to_owned(), cluster.address().to_owned());
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let ran = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(&folder, Some(&pool), &args)
    });
    ran.await?
}

/// `whimbrel ARGS`, which must go through.
pub(crate) async fn done(cluster: &Cluster, args: &[&str]) -> Result<String> {
    let outcome = whimbrel(cluster, args).await?;
    ensure!(outcome.code == 0, "{args:?}\n{}", outcome.stderr);
    Ok(outcome.stdout)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

/// The golden queries, where only links say how the stores are reached. They are made after the executors have started, their
/// secrets are in variables and in a file, and a renewed file is noticed by the next query.
#[tokio::test(flavor = "multi_thread")]
async fn links_alone_answer_as_local_files_do() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let datasets = Datasets::write(folder.path())?;
    let reference = Reference::new().await?;
    let names = ["trips", "trips.csv", "zones.parquet", "empty.csv"];
    let model = data::model("fare")?;
    let mut objects: Vec<Object<'_>> = names
        .into_iter()
        .zip(datasets.tables().map(|(_, path)| path))
        .collect();
    objects.push(("models/fare.onnx", &model));
    let (s3, azure) = (S3::start(&objects)?, Azure::start(&objects).await?);
    let (key, secret) = s3.keys("reader")?;
    let settings: Settings = vec![("LAKE_KEY", key), ("LAKE_SECRET", secret)];
    let cluster = Cluster::start_in(2, 2, &settings).await?;
    let secret = folder.path().join("account-key");
    std::fs::write(&secret, azure.secret("key")?)?;
    let account = format!("abfss://{}.dfs.core.windows.net/", azure.account()?);
    let (lake, blobs) = (s3.endpoint()?, azure.endpoint()?);
    let keys = [
        "--access-key-env",
        "LAKE_KEY",
        "--secret-env",
        "LAKE_SECRET",
    ];
    let mut s3_link = vec!["link", "add", "lake", "--kind", "s3", "--at", "s3://lake/"];
    s3_link.extend([
        "--endpoint",
        &lake,
        "--allow-http",
        "--path-style",
        "--region",
        "us-east-1",
    ]);
    s3_link.extend(keys);
    done(&cluster, &s3_link).await?;
    let mut azure_link = vec!["link", "add", "blobs", "--kind", "azure", "--at", &account];
    azure_link.extend(["--endpoint", &blobs, "--allow-http"]);
    azure_link.extend(["--account-key-file", path(&secret)?]);
    done(&cluster, &azure_link).await?;
    for link in ["lake", "blobs"] {
        let steps = done(&cluster, &["link", "test", link]).await?;
        ensure!(!steps.contains("no  "), "{steps}");
    }
    let shown = done(&cluster, &["--json", "link", "show", "blobs"]).await?;
    ensure!(
        shown.contains("account-key") && !shown.contains(&azure.secret("key")?),
        "{shown}"
    );

    let client = cluster.client().await?;
    let container = format!("abfss://{LAKE}@{}.dfs.core.windows.net", azure.account()?);
    for store in [format!("s3://{LAKE}"), container] {
        for ((table, _), name) in datasets.tables().into_iter().zip(names) {
            let uri = format!("{store}/{name}");
            client.add_table_at(table, &uri).await?;
        }
        furnish_models(&client).await?;
        client
            .bind("fare", &format!("{store}/models/fare.onnx"))
            .await?;
        compare(&client, &reference, &store).await?;
    }

    let count = "SELECT count(*) FROM trips";
    std::fs::write(&secret, "d3Jvbmc=")?;
    let refused = client.rows(count, true).await;
    let refused = refused.err().context("a wrong key was taken")?;
    ensure!(
        format!("{refused:#}").contains("link 'blobs'"),
        "{refused:#}"
    );
    std::fs::write(&secret, azure.secret("key")?)?;
    client.rows(count, true).await?;
    Ok(())
}

/// The links of the golden errors, all of kind s3: name, place, variable of the access key, of the secret.
const S3_LINKS: &[[&str; 4]] = &[
    ["lake", "s3://", "READER_KEY", "READER_SECRET"],
    ["wrong", "s3://lake/wrong/", "READER_KEY", "OTHER_SECRET"],
    ["unknown", "s3://lake/unknown/", "NO_KEY", "READER_SECRET"],
    ["fenced", "s3://lake/fenced/", "FENCED_KEY", "FENCED_SECRET"],
    ["unset", "s3://lake/unset/", "READER_KEY", "SET_NOWHERE"],
    [
        "far-unset",
        "s3://lake/far/unset/",
        "READER_KEY",
        "ONLY_SCHEDULER",
    ],
    [
        "far-wrong",
        "s3://lake/far/wrong/",
        "READER_KEY",
        "FAR_SECRET",
    ],
    [
        "far-fenced",
        "s3://lake/far/fenced/",
        "FAR_KEY",
        "FAR_KEY_SECRET",
    ],
];

/// `whimbrel table add t --uri URI`, refused by the scheduler.
const TABLES: &[(&str, &str)] = &[
    ("wrong_secret", "s3://lake/wrong/a.csv"),
    ("unknown_key", "s3://lake/unknown/a.csv"),
    ("forbidden_prefix", "s3://lake/fenced/a.csv"),
    ("variable_not_set", "s3://lake/unset/a.csv"),
    ("no_such_bucket", "s3://lakes/a.csv"),
    ("no_such_key", "s3://lake/none.csv"),
    (
        "wrong_account_key",
        "abfss://lake@devstoreaccount1.dfs.core.windows.net/wrong/a.csv",
    ),
    (
        "expired_signature",
        "abfss://lake@devstoreaccount1.dfs.core.windows.net/expired/a.csv",
    ),
    (
        "no_such_container",
        "abfss://lakes@devstoreaccount1.dfs.core.windows.net/a.csv",
    ),
    (
        "no_such_blob",
        "abfss://lake@devstoreaccount1.dfs.core.windows.net/none.csv",
    ),
    ("bucket_outside_allow", "s3://lakehouse/a.csv"),
    (
        "account_outside_allow",
        "abfss://lake@other.dfs.core.windows.net/a.csv",
    ),
    ("file_outside_allow", "/etc/hostname"),
    ("way_up", "s3://lake/a/%2e%2e/b.csv"),
];

/// Tables that the scheduler can read and the executor cannot.
const FAR: &[(&str, &str)] = &[
    ("far_variable_not_set", "s3://lake/far/unset/a.csv"),
    ("far_wrong_secret", "s3://lake/far/wrong/a.csv"),
    ("far_forbidden", "s3://lake/far/fenced/a.csv"),
    ("far_outside_allow", "s3://lake/far/shut/a.csv"),
];

/// Commands on links and models.
const COMMANDS: &[(&str, &[&str])] = &[
    (
        "link_over_http",
        &[
            "link",
            "add",
            "l",
            "--kind",
            "s3",
            "--at",
            "s3://pond/",
            "--endpoint",
            "http://minio:9000",
        ],
    ),
    (
        "link_without_a_place",
        &["link", "add", "l", "--kind", "azure", "--managed-identity"],
    ),
    (
        "link_to_another_kind",
        &["link", "add", "l", "--kind", "s3", "--at", "abfss://"],
    ),
    (
        "link_with_a_foreign_flag",
        &[
            "link",
            "add",
            "l",
            "--kind",
            "s3",
            "--at",
            "s3://pond/",
            "--account-key-env",
            "K",
        ],
    ),
    (
        "link_with_half_a_key",
        &[
            "link",
            "add",
            "l",
            "--kind",
            "s3",
            "--at",
            "s3://pond/",
            "--access-key-env",
            "K",
        ],
    ),
    (
        "link_to_a_place_twice",
        &[
            "link",
            "add",
            "l",
            "--kind",
            "s3",
            "--at",
            "s3://lake/wrong",
        ],
    ),
    ("link_test_wrong_secret", &["link", "test", "wrong"]),
    ("link_test_forbidden", &["link", "test", "fenced"]),
    (
        "registry_over_a_store",
        &["model", "bind", "m", "--uri", "models:/fare/1?link=lake"],
    ),
    (
        "model_outside_allow",
        &["model", "bind", "m", "--uri", "/etc/hostname"],
    ),
    (
        "model_wrong_secret",
        &["model", "bind", "m", "--uri", "s3://lake/wrong/m.onnx"],
    ),
];

/// What differs from run to run.
struct Masks(Vec<(String, &'static str)>);

impl Masks {
    /// Runs one command, which must fail cleanly and as its golden file says.
    async fn check(&self, cluster: &Cluster, name: &str, args: &[&str]) -> Result<()> {
        let outcome = whimbrel(cluster, args).await?;
        let replace: Vec<_> = self
            .0
            .iter()
            .map(|(from, to)| (from.as_str(), *to))
            .collect();
        let text = format!(
            "$ whimbrel {}\n{}",
            args.join(" "),
            outcome.transcript(&replace)
        );
        let unclean = ["panicked", "DataFusionError", "Error {"];
        ensure!(outcome.code != 0, "{name} went through\n{text}");
        ensure!(
            !unclean.iter().any(|word| text.contains(word)),
            "{name} is no clean refusal\n{text}"
        );
        golden::check(&format!("stores/{name}.txt"), &text)
    }
}

async fn add_links(cluster: &Cluster, s3: &S3, azure: &Azure) -> Result<()> {
    let (lake, blobs) = (s3.endpoint()?, azure.endpoint()?);
    for [name, at, key, secret] in S3_LINKS {
        let args = [
            "link",
            "add",
            name,
            "--kind",
            "s3",
            "--at",
            at,
            "--endpoint",
            &lake,
            "--allow-http",
        ];
        let keys = ["--access-key-env", key, "--secret-env", secret];
        done(cluster, &[args.as_slice(), &keys].concat()).await?;
    }
    let account = "devstoreaccount1.dfs.core.windows.net/";
    for (name, at, flag, secret) in [
        (
            "blobs",
            format!("abfss://{account}"),
            "--account-key-env",
            "ACCOUNT_KEY",
        ),
        (
            "blobs-wrong",
            format!("abfss://lake@{account}wrong/"),
            "--account-key-env",
            "OTHER_ACCOUNT_KEY",
        ),
        (
            "blobs-expired",
            format!("abfss://lake@{account}expired/"),
            "--sas-env",
            "EXPIRED",
        ),
    ] {
        let args = [
            "link",
            "add",
            name,
            "--kind",
            "azure",
            "--at",
            &at,
            "--endpoint",
            &blobs,
            "--allow-http",
        ];
        done(cluster, &[args.as_slice(), &[flag, secret]].concat()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_store_gets_its_lines() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.csv");
    std::fs::write(&file, "n\n1\n2\n")?;
    let keys = [
        "wrong",
        "unknown",
        "fenced",
        "unset",
        "far/unset",
        "far/wrong",
        "far/fenced",
        "far/shut",
    ]
    .map(|part| format!("{part}/a.csv"));
    let objects: Vec<Object<'_>> = keys
        .iter()
        .map(|key| (key.as_str(), file.as_path()))
        .collect();
    let (s3, azure) = (S3::start(&objects)?, Azure::start(&objects).await?);
    let (reader, fenced) = (s3.keys("reader")?, s3.keys("fenced")?);
    let shared: Settings = vec![
        ("READER_KEY", reader.0.clone()),
        ("READER_SECRET", reader.1.clone()),
        ("OTHER_SECRET", fenced.1.clone()),
        ("NO_KEY", "AKIAUNKNOWN".to_owned()),
        ("FENCED_KEY", fenced.0.clone()),
        ("FENCED_SECRET", fenced.1.clone()),
        ("ACCOUNT_KEY", azure.secret("key")?),
        ("OTHER_ACCOUNT_KEY", "d3Jvbmc=".to_owned()),
        ("EXPIRED", azure.secret("expired")?),
    ];
    let mut scheduler = shared.clone();
    scheduler.extend([
        ("ONLY_SCHEDULER", reader.1.clone()),
        ("FAR_SECRET", reader.1.clone()),
        ("FAR_KEY", reader.0.clone()),
        ("FAR_KEY_SECRET", reader.1.clone()),
        (
            "WHIMBREL_ALLOW",
            "s3://lake/,s3://lakes/,abfss://devstoreaccount1.dfs.core.windows.net/".to_owned(),
        ),
    ]);
    let mut executor = shared;
    executor.extend([
        ("FAR_SECRET", fenced.1.clone()),
        ("FAR_KEY", fenced.0),
        ("FAR_KEY_SECRET", fenced.1),
        (
            "WHIMBREL_ALLOW",
            "s3://lake/far/unset/,s3://lake/far/wrong/,s3://lake/far/fenced/".to_owned(),
        ),
    ]);
    let (at_scheduler, at_executor) = (borrowed(&scheduler), borrowed(&executor));
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 1,
        scheduler: &at_scheduler,
        executor: &at_executor,
        ..Options::default()
    })
    .await?;
    add_links(&cluster, &s3, &azure).await?;
    let masks = Masks(vec![
        (cluster.executors[0].field("executor_id")?, "EXECUTOR"),
        (s3.endpoint()?, "S3"),
        (azure.endpoint()?, "AZURE"),
    ]);
    let mut failures = Vec::new();
    let mut check = async |name: &str, args: &[&str]| {
        if let Err(error) = masks.check(&cluster, name, args).await {
            failures.push(format!("{name}: {error:#}"));
        }
    };
    for (name, uri) in TABLES {
        check(name, &["table", "add", "t", "--uri", uri]).await;
    }
    for (name, args) in COMMANDS {
        check(name, args).await;
    }
    for (name, uri) in FAR {
        done(&cluster, &["table", "add", name, "--uri", uri]).await?;
        check(name, &["sql", &format!("SELECT sum(n) FROM {name}")]).await;
    }
    ensure!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}
