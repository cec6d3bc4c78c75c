//! Azure storage by a service principal, by the identity of a workload or a machine, and by nobody: tokens and data over TLS with
//! certificates that no machine trusts by itself, by the variables of the environment and by links.

use anyhow::{Context, Result, ensure};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::objects::{Azure, Entra, LAKE};

use super::stores::{done, whimbrel};

/// The secret of the clients of `tests/models/entra.py`.
const SECRET: &str = "the-right-secret-of-tests";
/// What a machine's own endpoint wants to see.
const MACHINE: &str = "the-header-of-the-machine";

async fn cluster(settings: &[(&str, &str)]) -> Result<Cluster> {
    Cluster::with(Options {
        executors: 1,
        slots: 1,
        scheduler: settings,
        executor: settings,
        ..Options::default()
    })
    .await
}

async fn sum(cluster: &Cluster, uri: &str) -> Result<()> {
    let client = cluster.client().await?;
    client.add_table_at("t", uri).await?;
    let rows = client.rows("SELECT sum(n) AS n FROM t", true).await?;
    let text = rows.to_text();
    ensure!(text.contains("42"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principal_reads_over_tls_and_a_wrong_one_does_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.csv");
    std::fs::write(&file, "n\n40\n2\n")?;
    let entra = Entra::start()?;
    let azure = Azure::secured(&[("a.csv", &file)], &entra).await?;
    let (authority, tenant, ca) = (entra.authority()?, entra.tenant()?, entra.file("ca")?);
    let (account, endpoint) = (azure.account()?, azure.endpoint()?);
    let uri = format!("abfss://{LAKE}@{account}.dfs.core.windows.net/a.csv");

    let by_variables = cluster(&[
        ("AZURE_STORAGE_ENDPOINT", &endpoint),
        ("AZURE_AUTHORITY_HOST", &authority),
        ("AZURE_TENANT_ID", &tenant),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_CLIENT_SECRET", SECRET),
        ("SSL_CERT_FILE", &ca),
    ])
    .await?;
    sum(&by_variables, &uri).await?;
    drop(by_variables);

    let by_links = cluster(&[("RIGHT", SECRET), ("WRONG", "another")]).await?;
    let at = format!("abfss://{account}.dfs.core.windows.net/");
    let link = async |client: &str, secret: &str, trust: &[&str]| {
        let args = [
            "link",
            "add",
            "blobs",
            "--replace",
            "--kind",
            "azure",
            "--at",
            &at,
            "--endpoint",
            &endpoint,
        ];
        let who = [
            "--tenant",
            &tenant,
            "--client-id",
            client,
            "--secret-env",
            secret,
            "--authority",
            &authority,
        ];
        done(&by_links, &[args.as_slice(), &who, trust].concat()).await
    };
    let trusted = ["--ca-file", ca.as_str()];
    link("client-1", "RIGHT", &trusted).await?;
    sum(&by_links, &uri).await?;
    link("client-1", "RIGHT", &["--accept-invalid-certificates"]).await?;
    sum(&by_links, &uri).await?;

    for (client, secret, want) in [
        ("client-1", "WRONG", "the client secret is wrong"),
        ("client-none", "RIGHT", "no application of that client id"),
        (
            "client-late",
            "RIGHT",
            "token is wrong or has expired (403)",
        ),
    ] {
        link(client, secret, &trusted).await?;
        let outcome = whimbrel(&by_links, &["table", "add", "other", "--uri", &uri]).await?;
        let line = outcome.stderr.lines().next().context("an error")?;
        ensure!(
            outcome.code == 1 && line.contains(want),
            "{client} {secret}: {line}"
        );
    }
    Ok(())
}

/// Neither has a secret of its own: the platform vouches for the workload, and the machine is known where it asks.
#[tokio::test(flavor = "multi_thread")]
async fn workloads_machines_and_nobody_read_what_they_may() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.csv");
    std::fs::write(&file, "n\n40\n2\n")?;
    let entra = Entra::start()?;
    let azure = Azure::secured(&[("a.csv", &file)], &entra).await?;
    let (authority, tenant, ca) = (entra.authority()?, entra.tenant()?, entra.file("ca")?);
    let (account, endpoint) = (azure.account()?, azure.endpoint()?);
    let (assertion, machine) = (entra.file("assertion")?, format!("{authority}/machine"));
    let uri = format!("abfss://{LAKE}@{account}.dfs.core.windows.net/a.csv");

    let workload = cluster(&[
        ("AZURE_STORAGE_ENDPOINT", &endpoint),
        ("AZURE_AUTHORITY_HOST", &authority),
        ("AZURE_TENANT_ID", &tenant),
        ("AZURE_CLIENT_ID", "client-1"),
        ("AZURE_FEDERATED_TOKEN_FILE", &assertion),
        ("SSL_CERT_FILE", &ca),
    ])
    .await?;
    sum(&workload, &uri).await?;
    drop(workload);

    let pool = cluster(&[
        ("IDENTITY_ENDPOINT", &machine),
        ("IDENTITY_HEADER", MACHINE),
    ])
    .await?;
    let at = format!("abfss://{account}.dfs.core.windows.net/");
    let link = async |who: &[&str]| {
        let args = [
            "link",
            "add",
            "blobs",
            "--replace",
            "--kind",
            "azure",
            "--at",
            &at,
        ];
        let transport = ["--endpoint", &endpoint, "--ca-file", &ca];
        done(&pool, &[args.as_slice(), &transport, who].concat()).await
    };
    link(&["--managed-identity"]).await?;
    sum(&pool, &uri).await?;
    link(&["--managed-identity", "--client-id", "client-1"]).await?;
    sum(&pool, &uri).await?;
    link(&["--anonymous"]).await?;
    sum(
        &pool,
        &format!("abfss://{LAKE}-open@{account}.dfs.core.windows.net/open.csv"),
    )
    .await?;
    let outcome = whimbrel(&pool, &["table", "add", "closed", "--uri", &uri]).await?;
    ensure!(
        outcome.code == 1 && outcome.stderr.contains("a.csv"),
        "{}",
        outcome.stderr
    );
    Ok(())
}
