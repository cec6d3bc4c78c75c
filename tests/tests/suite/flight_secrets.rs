//! What is secret is said nowhere: not in logs however talkative, not in errors, lists and printed settings.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use tonic::{Code, Request};
use whimbrel_tests::cluster::{Cluster, Options};
use whimbrel_tests::command::{Outcome, command};
use whimbrel_tests::flight::{Visitor, first_way, refused, ticket};
use whimbrel_tests::furnished::{People, furnish};
use whimbrel_tests::http::base64;

const SQL: &str = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips";
/// Our own crates say all they can, those of others what their authors thought fit for a log.
const TALKATIVE: &str =
    "debug,whimbrel=trace,whimbrel_access=trace,whimbrel_scheduler=trace,whimbrel_executor=trace";
const EVERYBODYS: &str = "canary-of-everybody-7Hq";
const STORES: &str = "canary-of-the-store-9Zx";
const WRONG: &str = "canary-that-is-wrong-5Tr";
/// A store that is not there, asked with a secret.
const STORE: [(&str, &str); 5] = [
    ("WHIMBREL_LOG", TALKATIVE),
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ("AWS_ALLOW_HTTP", "true"),
    ("AWS_ACCESS_KEY_ID", "somebody"),
    ("AWS_SECRET_ACCESS_KEY", STORES),
];
/// How long the store is waited for; that it was asked is enough.
const ASKED: Duration = Duration::from_secs(10);

/// What must be nowhere: as it is, and in the forms that it travels in.
fn forms(secret: &str) -> [String; 3] {
    [
        secret.to_owned(),
        base64(format!("anyone:{secret}").as_bytes()),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

async fn knock(cluster: &Cluster, password: &str) -> Result<()> {
    let visitor = cluster.visitor_as(None).await?;
    let mut flight = FlightServiceClient::new(visitor.channel());
    let mut request = Request::new(futures::stream::iter([HandshakeRequest::default()]));
    let basic = format!("Basic {}", base64(format!("anyone:{password}").as_bytes()));
    request
        .metadata_mut()
        .insert("authorization", basic.parse()?);
    // Whether it opens is for others to test.
    if let Ok(answer) = flight.handshake(request).await {
        answer.into_inner().message().await.ok();
    }
    Ok(())
}

/// What is said to who shows this token: to right calls, and to a broken ticket.
async fn said_to(cluster: &Cluster, token: &str) -> Result<String> {
    knock(cluster, token).await?;
    let visitor = cluster.visitor_as(Some(token)).await?;
    let info = match visitor.info(SQL).await {
        Ok(info) => info,
        Err(error) => return Ok(format!("{error} {error:?}\n")),
    };
    let held = ticket(&info, 0)?;
    let executor = Visitor::plain(&first_way(&info, 0)?, Some(token)).await?;
    executor.get(held.clone()).await?;
    let mut broken = held.to_vec();
    broken[3] ^= 1;
    let due = [Code::PermissionDenied, Code::InvalidArgument];
    Ok(refused(executor.get(broken).await, &due)? + "\n")
}

/// What commands, errors and printed settings say.
async fn said_to_all(cluster: &Cluster, settings: &[(&str, &str)]) -> Result<String> {
    let mut said = String::new();
    for args in [
        ["pool", "status", "--json"],
        ["sql", "SELECT nothing FROM nowhere", "--json"],
    ] {
        let outcome = cluster.command(&args)?;
        said += &(outcome.stdout + &outcome.stderr);
    }
    let visitor = cluster.visitor().await?;
    let copy = visitor.update("COPY (SELECT trip_id FROM trips) TO 's3://nowhere/x'");
    if let Ok(answer) = tokio::time::timeout(ASKED, copy).await {
        said += &format!("{answer:?}\n");
    }
    let mut config = command(cluster.folder(), None, &["scheduler", "--print-config"])?;
    config.envs(settings.iter().copied());
    let config = Outcome::of(config)?;
    ensure!(config.stdout.contains("client_token"), "{}", config.stderr);
    Ok(said + &config.stdout + &config.stderr)
}

/// The most talkative pool, with secrets wherever one may be given, and every way to get them wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_said_nowhere() -> Result<()> {
    let people = People::new()?;
    let file = people.file();
    let file = file.to_string_lossy();
    let mut scheduler = vec![
        ("WHIMBREL_TOKENS_FILE", &*file),
        ("WHIMBREL_CLIENT_TOKEN", EVERYBODYS),
    ];
    scheduler.extend_from_slice(&STORE);
    let cluster = Cluster::with(Options {
        executors: 1,
        slots: 1,
        scheduler: &scheduler,
        executor: &STORE,
        token: EVERYBODYS,
        ..Options::default()
    })
    .await?;
    furnish(&cluster.client().await?, cluster.folder()).await?;
    let (right, late) = (&people.reader.token, &people.late.token);
    let mut everything = String::new();
    for token in [EVERYBODYS, WRONG, right, late] {
        everything += &said_to(&cluster, token).await?;
    }
    everything += &said_to_all(&cluster, &scheduler).await?;
    for log in [cluster.scheduler.log(), cluster.executors[0].log()] {
        ensure!(
            log.contains("DEBUG"),
            "a process is not talkative: it proves nothing"
        );
        everything += &log;
    }
    for secret in [EVERYBODYS, WRONG, STORES, right, late] {
        for form in forms(secret) {
            if let Some(line) = everything.lines().find(|line| line.contains(&form)) {
                bail!("a secret is told: {line}");
            }
        }
    }
    Ok(())
}
