//! Models that cannot be bound, and columns that cannot feed them: one line that says what is wrong and where, one that says
//! what to do. The lines are golden files.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use whimbrel_tests::azureml::{self, AzureMl};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::command::run;
use whimbrel_tests::golden;
use whimbrel_tests::objects::{Azure, S3};
use whimbrel_tests::registry::{self, Registry};
use whimbrel_tests::zoo;

type Case = (&'static str, &'static [&'static str]);

/// `model bind m --uri URI`, refused.
const BINDS: &[(&str, &str)] = &[
    ("no_such_version", "models:/fare/9?link=open"),
    ("no_such_alias", "models:/fare@champoin?link=open"),
    ("no_such_model", "models:/fair?link=open"),
    ("no_version_at_all", "models:/fare-nothing?link=open"),
    ("version_without_a_model", "models:/fare-notes/1?link=open"),
    ("only_python_can_run_it", "models:/fare-python?link=open"),
    (
        "signature_and_graph_disagree",
        "models:/fare-disagrees?link=open",
    ),
    ("no_such_stage", "models:/fare/Production?link=open"),
    ("no_name", "models:/"),
    ("no_such_link", "models:/fare?link=guardd"),
    ("wrong_password", "models:/fare?link=wrong-password"),
    ("user_without_rights", "models:/fare?link=stranger"),
    ("password_not_set", "models:/fare?link=no-password"),
    ("server_that_is_not_there", "models:/fare?link=nobody"),
    ("azure_wrong_secret", "aml://fare:2?link=aml-wrong"),
    ("azure_expired_secret", "aml://fare:2?link=aml-expired"),
    ("azure_without_rights", "aml://fare:2?link=aml-norights"),
    ("azure_unknown_client", "aml://fare:2?link=aml-nobody"),
    ("azure_unknown_tenant", "aml://fare:2?link=aml-tenant"),
    ("azure_wrong_workspace", "aml://fare:2?link=aml-workspace"),
    ("azure_no_such_version", "aml://fare:9?link=aml"),
    ("aml_over_an_mlflow_link", "aml://fare:2?link=guarded"),
    ("several_links", "aml://fare:2"),
    ("s3_no_such_file", "s3://lake/models/fair.onnx"),
    ("s3_no_such_bucket", "s3://lakes/models/fare.onnx"),
    (
        "azure_no_such_file",
        "abfss://lake@devstoreaccount1.dfs.core.windows.net/models/fair.onnx",
    ),
    (
        "azure_no_such_container",
        "abfss://lakes@devstoreaccount1.dfs.core.windows.net/fare.onnx",
    ),
    (
        "uri_with_a_signature",
        "https://devstoreaccount1.blob.core.windows.net/lake/fare.onnx?sv=1&sig=abc",
    ),
    ("folder_without_mlmodel", "notes"),
    ("odd_hex", "odd.hex"),
    ("broken_hex", "broken.hex"),
    ("query_of_two_rows", "sql:SELECT payment FROM trips LIMIT 2"),
    ("query_of_a_number", "sql:SELECT 1"),
    ("query_of_null", "sql:SELECT CAST(NULL AS VARCHAR)"),
];

/// The same with other credentials of the stores.
const REFUSED: &[(&str, &str)] = &[
    ("s3_without_rights", "s3://lake/models/fare.onnx"),
    (
        "azure_expired_signature",
        "abfss://lake@devstoreaccount1.dfs.core.windows.net/models/fare.onnx",
    ),
];

/// Commands on models that are bound.
const CASES: &[Case] = &[
    (
        "unknown_output",
        &[
            "model",
            "bind",
            "m",
            "--uri",
            "mlp.onnx",
            "--option",
            "output=probabilites",
        ],
    ),
    (
        "unknown_option",
        &[
            "model",
            "bind",
            "m",
            "--uri",
            "mlp.onnx",
            "--option",
            "outptu=label",
        ],
    ),
    (
        "unknown_output_in_sql",
        &[
            "sql",
            "SELECT PREDICT('pipeline', *)['probability'] FROM trips",
        ],
    ),
    (
        "unknown_return_type",
        &[
            "model",
            "bind",
            "m",
            "--uri",
            "mlp.onnx",
            "--returns",
            "struct<label:strnig>",
        ],
    ),
    (
        "missing_column_of_a_signature",
        &[
            "sql",
            "SELECT PREDICT('pipeline', *) FROM (SELECT trip_distance, borough FROM trips)",
        ],
    ),
    (
        "text_into_a_float",
        &[
            "sql",
            "SELECT PREDICT('pipeline', trip_distance, duration_min, upper(borough), borough, payment) FROM trips",
        ],
    ),
    (
        "permuted_inputs",
        &[
            "sql",
            "SELECT PREDICT('pipeline', duration_min, trip_distance, tip_amount, borough, payment) FROM trips",
        ],
    ),
    (
        "null_into_an_integer",
        &[
            "sql",
            "SELECT sum(PREDICT('integer', CASE WHEN passenger_count > 5 THEN NULL ELSE passenger_count + 1 END)) FROM trips",
        ],
    ),
    (
        "null_into_a_text",
        &[
            "sql",
            "SELECT count(PREDICT('pipeline', trip_distance, duration_min, tip_amount, nullif(borough, 'EWR'), payment)) FROM trips",
        ],
    ),
    (
        "number_into_an_image",
        &["sql", "SELECT PREDICT('cnn', row_id) FROM digits"],
    ),
    (
        "image_of_another_size",
        &[
            "sql",
            "SELECT PREDICT('cnn', make_array(CAST(1 AS FLOAT), CAST(2 AS FLOAT))) FROM digits",
        ],
    ),
    (
        "link_without_a_server",
        &["link", "add", "l", "--kind", "mlflow"],
    ),
    (
        "link_with_a_password_in_it",
        &[
            "link",
            "add",
            "l",
            "--kind",
            "mlflow",
            "--uri",
            "http://me:secret@mlflow:5000",
        ],
    ),
    (
        "link_test_without_rights",
        &["link", "test", "aml-norights"],
    ),
    ("link_test_expired_secret", &["link", "test", "aml-expired"]),
];

/// A link that can be added whatever comes of it.
fn links(open: &str, guarded: &str, azure: &AzureMl) -> Result<Vec<Vec<String>>> {
    let mlflow = |name: &str, uri: &str, user: &str, variable: &str| {
        [
            "link",
            "add",
            name,
            "--kind",
            "mlflow",
            "--uri",
            uri,
            "--user",
            user,
            "--password-env",
            variable,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let address = azure.address();
    let tenant = azure.tenant()?;
    let azureml = |name: &str, tenant: &str, client: &str, variable: &str, workspace: &str| {
        let mut args = vec![
            "link",
            "add",
            name,
            "--kind",
            "azureml",
            "--workspace",
            workspace,
        ];
        args.extend([
            "--resource-group",
            "group-1",
            "--subscription",
            "sub-1",
            "--tenant",
            tenant,
        ]);
        args.extend(["--client-id", client, "--secret-env", variable]);
        args.extend(["--authority", &address, "--management", &address]);
        args.into_iter().map(str::to_owned).collect()
    };
    let plain = ["link", "add", "open", "--kind", "mlflow", "--uri", open]
        .map(str::to_owned)
        .to_vec();
    Ok(vec![
        plain,
        mlflow("guarded", guarded, registry::ADMIN, "ADMIN_PASSWORD"),
        mlflow(
            "wrong-password",
            guarded,
            registry::ADMIN,
            "STRANGER_PASSWORD",
        ),
        mlflow("stranger", guarded, registry::STRANGER, "STRANGER_PASSWORD"),
        mlflow("no-password", guarded, registry::ADMIN, "NOT_SET_ANYWHERE"),
        mlflow(
            "nobody",
            "http://127.0.0.1:1",
            registry::ADMIN,
            "ADMIN_PASSWORD",
        ),
        azureml("aml", &tenant, "client-1", "RIGHT", "work-1"),
        azureml("aml-wrong", &tenant, "client-1", "ADMIN_PASSWORD", "work-1"),
        azureml("aml-expired", &tenant, "client-expired", "RIGHT", "work-1"),
        azureml(
            "aml-norights",
            &tenant,
            "client-norights",
            "RIGHT",
            "work-1",
        ),
        azureml("aml-nobody", &tenant, "client-nobody", "RIGHT", "work-1"),
        azureml("aml-tenant", "tenant-9", "client-1", "RIGHT", "work-1"),
        azureml("aml-workspace", &tenant, "client-1", "RIGHT", "work-9"),
    ])
}

/// Ids that differ from one run to the next.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() && !letter.is_ascii_uppercase() {
            run.push(letter);
            continue;
        }
        out.push_str(if run.len() >= 32 { "ID" } else { &run });
        run.clear();
        out.push(letter);
    }
    out.pop();
    out
}

/// Runs one command, which must fail cleanly and as its golden file says.
fn check(
    folder: &Path,
    pool: &str,
    name: &str,
    args: &[&str],
    replace: &[(&str, &str)],
) -> Result<()> {
    let outcome = run(folder, Some(pool), args)?;
    let text = format!(
        "$ whimbrel {}\n{}",
        args.join(" "),
        without_ids(&outcome.transcript(replace))
    );
    let unclean = ["panicked", "DataFusionError", "Error {"];
    ensure!(outcome.code != 0, "{name} went through\n{text}");
    ensure!(
        !unclean.iter().any(|word| text.contains(word)),
        "{name} is no clean refusal\n{text}"
    );
    golden::check(&format!("models/{name}.txt"), &text)
}

fn write_files(folder: &Path) -> Result<()> {
    std::fs::create_dir(folder.join("notes"))?;
    std::fs::write(folder.join("notes/notes.txt"), "no model here\n")?;
    std::fs::copy(zoo::path("mlp/model.onnx")?, folder.join("mlp.onnx"))?;
    std::fs::write(
        folder.join("odd.hex"),
        format!("0x{}", "08".repeat(40) + "1"),
    )?;
    std::fs::write(
        folder.join("broken.hex"),
        format!("0x{}", "08".repeat(40) + "xyz"),
    )
    .context("write a hex text")
}

/// What the suite's processes are called in golden files.
struct World {
    cluster: Cluster,
    replace: Vec<(String, &'static str)>,
}

impl World {
    /// Runs all commands; the failures.
    async fn refuse(&self, commands: Vec<(&'static str, Vec<String>)>) -> Result<Vec<String>> {
        let (folder, pool) = (
            self.cluster.folder().to_owned(),
            self.cluster.address().to_owned(),
        );
        let replace = self.replace.clone();
        let all = move || {
            let replace: Vec<_> = replace
                .iter()
                .map(|(from, to)| (from.as_str(), *to))
                .collect();
            commands
                .iter()
                .filter_map(|(name, args)| {
                    let args: Vec<_> = args.iter().map(String::as_str).collect();
                    let error = check(&folder, &pool, name, &args, &replace).err()?;
                    Some(format!("{name}: {error:#}"))
                })
                .collect()
        };
        Ok(tokio::task::spawn_blocking(all).await?)
    }
}

fn binds(cases: &'static [(&'static str, &'static str)]) -> Vec<(&'static str, Vec<String>)> {
    cases
        .iter()
        .map(|(name, uri)| {
            (
                *name,
                ["model", "bind", "m", "--uri", uri]
                    .map(str::to_owned)
                    .to_vec(),
            )
        })
        .collect()
}

async fn world(variables: &[(String, String)], executors: usize) -> Result<World> {
    let settings: Vec<_> = variables
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let cluster = Cluster::start_with(executors, 2, &settings).await?;
    write_files(cluster.folder())?;
    let folder = cluster.folder().canonicalize()?.display().to_string();
    let pool = cluster.address().to_owned();
    Ok(World {
        cluster,
        replace: vec![(folder, "DIR"), (pool, "POOL")],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_bind_and_mapping_gets_its_lines() -> Result<()> {
    let (open, guarded) = tokio::try_join!(Registry::open(), Registry::guarded())?;
    let workspace = AzureMl::start(&open.uri(), 3600)?;
    let linear = zoo::path("linear.onnx")?;
    let objects = [("models/fare.onnx", linear.as_path())];
    let (s3, azure) = (S3::start(&objects)?, Azure::start(&objects).await?);
    let mut variables = s3.environment("reader")?;
    variables.extend(azure.environment(None)?);
    for (name, value) in [
        ("ADMIN_PASSWORD", registry::ADMIN_PASSWORD),
        ("STRANGER_PASSWORD", registry::STRANGER_PASSWORD),
        ("RIGHT", azureml::SECRET),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    variables.push(("MLFLOW_TRACKING_URI".to_owned(), open.uri()));
    let mut first = world(&variables, 1).await?;
    first.replace.push((open.uri(), "REGISTRY"));
    first.replace.push((guarded.uri(), "GUARDED"));
    first.replace.push((workspace.address(), "AZURE"));
    furnish(
        &first.cluster,
        links(&open.uri(), &guarded.uri(), &workspace)?,
    )
    .await?;
    let mut commands = binds(BINDS);
    commands.extend(
        CASES
            .iter()
            .map(|(name, args)| (*name, args.iter().map(|arg| (*arg).to_owned()).collect())),
    );
    let mut failures = first.refuse(commands).await?;

    let mut variables = s3.environment("stranger")?;
    variables.extend(azure.environment(Some("expired"))?);
    failures.extend(world(&variables, 0).await?.refuse(binds(REFUSED)).await?);
    ensure!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

/// Tables, models and links.
async fn furnish(cluster: &Cluster, links: Vec<Vec<String>>) -> Result<()> {
    let client = cluster.client().await?;
    for table in ["trips", "digits"] {
        client
            .add_table(table, &zoo::path(&format!("{table}.parquet"))?)
            .await?;
    }
    for (alias, model) in [
        ("pipeline", "pipeline"),
        ("integer", "crash.onnx"),
        ("cnn", "cnn.onnx"),
    ] {
        client
            .bind(alias, &zoo::path(model)?.to_string_lossy())
            .await?;
    }
    let (folder, pool) = (cluster.folder().to_owned(), cluster.address().to_owned());
    tokio::task::spawn_blocking(move || {
        for args in links {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let outcome = run(&folder, Some(&pool), &args)?;
            ensure!(outcome.code == 0, "{args:?}\n{}", outcome.stderr);
        }
        Ok(())
    })
    .await?
}

#[test]
fn ids_are_taken_out_of_golden_texts_and_nothing_else_is() {
    let id = "0f".repeat(16);
    assert_eq!(
        without_ids(&format!("m-{id} b\nface 12")),
        "m-ID b\nface 12"
    );
}
