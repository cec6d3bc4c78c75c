//! TLS on client ports, mTLS on cluster ports: whoever has no certificate of the right authority comes in nowhere, and certificates
//! are renewed without a restart.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tonic::Code;
use whimbrel_tests::certificates::{Authority, Pair};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::command::{command, refused_start, run};
use whimbrel_tests::data::{self, Datasets, TRIPS};
use whimbrel_tests::flight::{Papers, Visitor, count, first_way, refused, ticket};
use whimbrel_tests::scripts::{Scenario, run_all};
use whimbrel_tests::wait;

const SQL: &str = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips";

/// Files of certificates, as settings name them.
struct Papered {
    folder: TempDir,
    clients: Authority,
    cluster: Authority,
    client_port: Pair,
    cluster_port: Pair,
}

impl Papered {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = folder.path();
        let (clients, cluster) = (
            Authority::new(at, "clients")?,
            Authority::new(at, "cluster")?,
        );
        Ok(Self {
            client_port: clients.sign(at, "client-port")?,
            cluster_port: cluster.sign(at, "cluster-port")?,
            clients,
            cluster,
            folder,
        })
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("WHIMBREL_TLS_CERT", shown(&self.client_port.cert)),
            ("WHIMBREL_TLS_KEY", shown(&self.client_port.key)),
            ("WHIMBREL_CLUSTER_TLS_CERT", shown(&self.cluster_port.cert)),
            ("WHIMBREL_CLUSTER_TLS_KEY", shown(&self.cluster_port.key)),
            ("WHIMBREL_CLUSTER_TLS_CA", shown(&self.cluster.ca)),
        ]
    }

    /// A pool that speaks TLS on every port, with the table `trips` and the model `fare`.
    async fn pool(&self, executors: usize) -> Result<Cluster> {
        self.pool_of(executors, &self.settings(), None).await
    }

    async fn pool_of(
        &self,
        executors: usize,
        settings: &[(&'static str, String)],
        own: Option<&Pair>,
    ) -> Result<Cluster> {
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        let ca = self.clients.ca.to_string_lossy();
        let trusting = [settings.as_slice(), &[("WHIMBREL_TLS_CA", ca.as_ref())]].concat();
        let cluster = Cluster::with(Options {
            executors,
            slots: 1,
            scheduler: &trusting,
            executor: &settings,
            ca: Some(&self.clients.ca),
            own,
            ..Options::default()
        })
        .await?;
        let datasets = Datasets::write(cluster.folder())?;
        let trips = datasets.trips.display();
        let model = data::model("fare")?;
        let visitor = cluster.visitor().await?;
        for sql in [
            format!("CREATE EXTERNAL TABLE trips STORED AS PARQUET LOCATION '{trips}'"),
            format!("CREATE MODEL fare FROM '{}'", model.display()),
        ] {
            visitor.update(&sql).await.with_context(|| sql.clone())?;
        }
        Ok(cluster)
    }

    fn papers(&self) -> Papers<'_> {
        Papers {
            ca: Some(&self.clients.ca),
            own: None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_speaks_tls_to_every_client_port() -> Result<()> {
    let papered = Papered::new()?;
    let cluster = papered.pool(2).await?;
    let ca = &papered.clients.ca;
    let scenario = |script, name| {
        Scenario::new(script, cluster.address(), name)
            .ca(ca)
            .set("rows", TRIPS)
    };
    run_all([
        scenario("flight_adbc.py", "enters"),
        scenario("flight_adbc.py", "partitions").set("sql", SQL),
        scenario("flight_pyarrow.py", "straight")
            .set("executors", 2)
            .set("sql", SQL),
        scenario("flight_pyarrow.py", "through_the_scheduler").set("sql", SQL),
    ])
    .await?;
    let counted =
        cluster.command(&["sql", "SELECT count(*) AS n FROM trips", "--format", "csv"])?;
    ensure!(
        counted.stdout == format!("n\n{TRIPS}\n"),
        "{}{}",
        counted.stdout,
        counted.stderr
    );
    // The command without the authority, and with another.
    let other = Authority::new(papered.folder.path(), "others")?;
    let other = other.ca.to_string_lossy();
    for trust in [&["--tls-ca", &*other][..], &[]] {
        let mut args = trust.to_vec();
        args.extend(["pool", "status"]);
        let outcome = run(cluster.folder(), Some(cluster.address()), &args)?;
        ensure!(
            outcome.code == 3,
            "exit code {} with {trust:?}: {}",
            outcome.code,
            outcome.stderr
        );
        ensure!(
            outcome.stderr.to_lowercase().contains("certificate"),
            "{}",
            outcome.stderr
        );
        ensure!(outcome.stderr.lines().count() <= 2, "{}", outcome.stderr);
    }
    Ok(())
}

/// Scheduler and executors ask for it, and the command shows it to both.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_port_may_ask_for_a_certificate() -> Result<()> {
    let papered = Papered::new()?;
    let ca = papered.clients.ca.to_string_lossy().into_owned();
    let own = papered
        .clients
        .sign(papered.folder.path(), "a-data-engineer")?;
    let mut settings = papered.settings();
    settings.push(("WHIMBREL_TLS_CLIENT_CA", ca.clone()));
    let cluster = papered.pool_of(1, &settings, Some(&own)).await?;
    let sql = format!("SELECT count(*) AS n FROM ({SQL}) x WHERE p IS NOT NULL");
    let counted = cluster.command(&["sql", &sql, "--format", "csv"])?;
    ensure!(
        counted.stdout == format!("n\n{TRIPS}\n"),
        "{}{}",
        counted.stdout,
        counted.stderr
    );
    let straight = cluster.command(&["sql", SQL, "--format", "csv"])?;
    ensure!(
        straight.stdout.lines().count() == TRIPS + 1,
        "{}",
        straight.stderr
    );
    let cert = own.cert.to_string_lossy();
    let tried = |flags: &[&str]| {
        let args = [&["--tls-ca", &ca], flags, &["pool", "status"]].concat();
        run(cluster.folder(), Some(cluster.address()), &args)
    };
    for (flags, code) in [(&[][..], 3), (&["--client-cert", &*cert], 2)] {
        let outcome = tried(flags)?;
        ensure!(outcome.code == code, "{flags:?}: {}", outcome.stderr);
        ensure!(outcome.stderr.lines().count() <= 2, "{}", outcome.stderr);
    }
    Ok(())
}

/// Whoever speaks plainly, or believes another authority, has no connection: on each client port.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_port_with_tls_takes_nothing_else() -> Result<()> {
    let papered = Papered::new()?;
    let cluster = papered.pool(1).await?;
    let visitor = cluster.visitor().await?;
    let info = visitor.info(SQL).await?;
    let other = Authority::new(papered.folder.path(), "others")?;
    let strange = Papers {
        ca: Some(&other.ca),
        own: None,
    };
    for door in [cluster.address().to_owned(), first_way(&info, 0)?] {
        ensure!(
            door.starts_with("https://") || door.starts_with("grpc+tls://"),
            "{door} is no door with TLS"
        );
        let (_, authority) = door.split_once("://").context("an address")?;
        let plain = Visitor::plain(&format!("http://{authority}"), None).await;
        if let Ok(plain) = plain {
            ensure!(
                plain.info("SELECT 1").await.is_err(),
                "{door} takes what is not TLS"
            );
        }
        ensure!(
            Visitor::connect(&door, None, strange).await.is_err(),
            "{door} is believed without reason"
        );
        Visitor::connect(&door, None, papered.papers()).await?;
    }
    Ok(())
}

/// The cluster ports: only who has a certificate of the cluster's authority, and then no call that executors do not use.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_port_takes_members_only() -> Result<()> {
    let papered = Papered::new()?;
    let cluster = papered.pool(1).await?;
    let folder = papered.folder.path();
    let other = Authority::new(folder, "others")?;
    let forged = other.sign(folder, "forged")?;
    let member = Papers {
        ca: Some(&papered.cluster.ca),
        own: Some((&papered.cluster_port.cert, &papered.cluster_port.key)),
    };
    let strangers = [
        (
            "no certificate",
            Papers {
                own: None,
                ..member
            },
        ),
        (
            "another authority's",
            Papers {
                own: Some((&forged.cert, &forged.key)),
                ..member
            },
        ),
        (
            "a client port's",
            Papers {
                own: Some((&papered.client_port.cert, &papered.client_port.key)),
                ..member
            },
        ),
    ];
    let executor = cluster.executors[0].field("cluster_address")?;
    for door in [cluster.cluster_address().to_owned(), executor] {
        for (what, papers) in &strangers {
            // With TLS 1.3 the client has its connection before the server has looked at the certificate.
            if let Ok(visitor) = Visitor::connect(&format!("https://{door}"), None, *papers).await {
                let answer = visitor.get(&b"x"[..]).await;
                let refused = answer.err().with_context(|| format!("{what} at {door}"))?;
                ensure!(
                    !matches!(
                        whimbrel_tests::flight::code(&refused),
                        Code::InvalidArgument | Code::NotFound | Code::Unimplemented
                    ),
                    "{what} at {door} was heard: {refused}"
                );
            }
        }
        let plain = Visitor::plain(&format!("http://{door}"), None).await;
        if let Ok(plain) = plain {
            ensure!(
                plain.get(&b"x"[..]).await.is_err(),
                "{door} takes what is not TLS"
            );
        }
        let known = Visitor::connect(&format!("https://{door}"), None, member).await?;
        refused(
            known.get(&b"x"[..]).await,
            &[Code::InvalidArgument, Code::Unimplemented],
        )
        .with_context(|| format!("a member's nonsense at {door}"))?;
    }
    Ok(())
}

/// An executor without the cluster's certificate never gets into the pool, and one that has it does.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_without_the_certificate_does_not_join() -> Result<()> {
    let papered = Papered::new()?;
    let mut cluster = papered.pool(1).await?;
    let folder = papered.folder.path();
    let forged = Authority::new(folder, "others")?.sign(folder, "forged")?;
    let mut settings = papered.settings();
    for (key, value) in &mut settings {
        match *key {
            "WHIMBREL_CLUSTER_TLS_CERT" => *value = forged.cert.to_string_lossy().into_owned(),
            "WHIMBREL_CLUSTER_TLS_KEY" => *value = forged.key.to_string_lossy().into_owned(),
            _ => {}
        }
    }
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    cluster.set_executor(&settings);
    let stranger = cluster.add_executor(1)?;
    let log = || cluster.executors[stranger].log();
    wait::until("the stranger says that it is not let in", || async {
        log().contains("WARN").then_some(())
    })
    .await?;
    ensure!(!log().contains("joined the pool"), "{}", log());
    let status = cluster.command(&["pool", "status", "--json"])?;
    let id = cluster.executors[stranger].field("executor_id")?;
    ensure!(
        status.code == 0 && !status.stdout.contains(&id),
        "{}",
        status.stdout
    );
    Ok(())
}

/// Certificates of all ports are replaced, by another authority on the client ports: new connections see the new ones, and what is
/// connected goes on.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_while_the_pool_serves() -> Result<()> {
    let papered = Papered::new()?;
    let cluster = papered.pool(2).await?;
    let connected = cluster.visitor().await?;
    let info = connected.info(SQL).await?;
    let next = Authority::new(papered.folder.path(), "next")?;
    next.renew(&papered.client_port)?;
    papered.cluster.renew(&papered.cluster_port)?;
    // Whom the scheduler trusts for the executors' client ports.
    std::fs::copy(&next.ca, &papered.clients.ca)?;
    let fresh = Papers {
        ca: Some(&next.ca),
        own: None,
    };
    for door in [cluster.address().to_owned(), first_way(&info, 0)?] {
        wait::until_within(
            Duration::from_secs(90),
            &format!("{door} shows its new certificate"),
            async || Visitor::connect(&door, None, fresh).await.ok(),
        )
        .await?;
    }
    connected
        .info("SELECT 1")
        .await
        .context("the connection of before")?;
    let visitor = Visitor::connect(cluster.address(), None, fresh).await?;
    // Straight, through the scheduler, and with a shuffle between the executors.
    let info = visitor.info(SQL).await?;
    let executor = Visitor::connect(&first_way(&info, 0)?, None, fresh).await?;
    ensure!(count(&executor.get(ticket(&info, 0)?).await?) > 0);
    ensure!(count(&visitor.rows(SQL).await?) == TRIPS);
    let shuffled = visitor
        .rows("SELECT borough, count(*) FROM trips GROUP BY borough")
        .await?;
    ensure!(count(&shuffled) == 5, "{} boroughs", count(&shuffled));
    Ok(())
}

/// What is wrong with a certificate is said when the daemon starts: in one line, with the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_serve_is_named_at_the_start() -> Result<()> {
    let papered = Papered::new()?;
    let folder = papered.folder.path();
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let (cert, key) = (
        shown(&papered.client_port.cert),
        shown(&papered.client_port.key),
    );
    let other_key = shown(&papered.cluster_port.key);
    let no_pem = folder.join("no.pem");
    std::fs::write(&no_pem, "this is no certificate")?;
    for (what, cert, key) in [
        (
            "nowhere.pem",
            shown(&folder.join("nowhere.pem")),
            key.clone(),
        ),
        ("no.pem", shown(&no_pem), key.clone()),
        ("cluster-port.key", cert.clone(), other_key),
        ("tls_key", cert.clone(), String::new()),
    ] {
        let mut args = vec![
            "scheduler",
            "--port",
            "0",
            "--cluster-port",
            "0",
            "--state",
            "memory",
            "--tls-cert",
            &cert,
        ];
        if !key.is_empty() {
            args.extend(["--tls-key", &key]);
        }
        let outcome = refused_start(command(folder, None, &args)?).await?;
        ensure!(outcome.code != 0, "{what}: the scheduler started");
        ensure!(outcome.stderr.contains(what), "{what}: {}", outcome.stderr);
        ensure!(
            !outcome.stderr.contains("Error {") && outcome.stderr.lines().count() <= 2,
            "{what}: {}",
            outcome.stderr
        );
    }
    Ok(())
}
