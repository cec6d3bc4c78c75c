//! The doors of a pool: nothing opens without a token, on either port and by any call; tokens come and go with their file; and
//! each port serves its own calls alone.

use anyhow::{Context, Result, bail, ensure};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionEndTransactionRequest, EndTransaction, ProstMessageExt,
};
use arrow_flight::{Action, Criteria, Empty, FlightData, FlightDescriptor, Ticket};
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Status};
use whimbrel_proto::v1::cluster_service_client::ClusterServiceClient;
use whimbrel_proto::v1::pool_service_client::PoolServiceClient;
use whimbrel_proto::v1::{GetPoolStatusRequest, JoinPoolRequest};
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::command::{command, refused_start};
use whimbrel_tests::flight::{Visitor, code, count, first_way, refused, statement, ticket};
use whimbrel_tests::furnished::{People, at, open_pool};
use whimbrel_tests::wait;

const SQL: &str = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips";

/// Every call of Flight; its answer.
const CALLS: [&str; 9] = [
    "do_get",
    "get_flight_info",
    "poll_flight_info",
    "get_schema",
    "do_action",
    "list_actions",
    "list_flights",
    "do_put",
    "do_exchange",
];

async fn call(
    visitor: &Visitor,
    header: Option<&str>,
    call: &str,
    held: &Bytes,
) -> Result<(), Status> {
    fn with<T>(message: T, header: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(Ok(value)) = header.map(MetadataValue::<Ascii>::try_from) {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
    let mut flight = FlightServiceClient::new(visitor.channel());
    let described = || statement("SELECT 1");
    let data = || futures::stream::iter([FlightData::new().with_descriptor(described())]);
    let descriptor: FlightDescriptor = described();
    match call {
        "do_get" => {
            let answer = flight
                .do_get(with(Ticket::new(held.clone()), header))
                .await?;
            answer.into_inner().message().await.map(drop)
        }
        "get_flight_info" => flight
            .get_flight_info(with(descriptor, header))
            .await
            .map(drop),
        "poll_flight_info" => flight
            .poll_flight_info(with(descriptor, header))
            .await
            .map(drop),
        "get_schema" => flight.get_schema(with(descriptor, header)).await.map(drop),
        "do_action" => {
            let action = Action::new("CloseSession", Vec::new());
            let answer = flight.do_action(with(action, header)).await?;
            answer.into_inner().message().await.map(drop)
        }
        "list_actions" => {
            let answer = flight.list_actions(with(Empty {}, header)).await?;
            answer.into_inner().message().await.map(drop)
        }
        "list_flights" => {
            let answer = flight
                .list_flights(with(Criteria::default(), header))
                .await?;
            answer.into_inner().message().await.map(drop)
        }
        "do_put" => {
            let answer = flight.do_put(with(data(), header)).await?;
            answer.into_inner().message().await.map(drop)
        }
        _ => {
            let answer = flight.do_exchange(with(data(), header)).await?;
            answer.into_inner().message().await.map(drop)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_served_without_a_token() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(1, &[]).await?;
    let reader = at(&cluster, &people.reader).await?;
    let info = reader.info(SQL).await?;
    let held = ticket(&info, 0)?;
    let right = format!("Bearer {}", people.reader.token);
    let wrong = [
        None,
        Some(String::new()),
        Some("Bearer ".to_owned()),
        Some("Bearer wrong".to_owned()),
        Some(people.reader.token.clone()),
        Some(format!("Bearer {}x", people.reader.token)),
        Some(right[..right.len() - 1].to_owned()),
        Some(format!("Basic {}", people.reader.token)),
        Some(format!("Bearer {}", people.late.token)),
    ];
    for door in [cluster.address().to_owned(), first_way(&info, 0)?] {
        let visitor = Visitor::plain(&door, None).await?;
        for name in CALLS {
            for header in &wrong {
                match call(&visitor, header.as_deref(), name, &held).await {
                    Err(status) if status.code() == Code::Unauthenticated => {
                        let said = status.message();
                        ensure!(
                            !said.contains("whim_"),
                            "{name} at {door} repeats a token: {said}"
                        );
                    }
                    other => bail!("{name} at {door} with {header:?}: {other:?}"),
                }
            }
        }
        call(&visitor, Some(&right), "do_get", &held)
            .await
            .with_context(|| format!("the right token at {door}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_and_go_with_their_file() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(1, &[]).await?;
    let (stranger, reader) = (
        at(&cluster, &people.stranger).await?,
        at(&cluster, &people.reader).await?,
    );
    let info = stranger.info(SQL).await?;
    let executor = Visitor::plain(&first_way(&info, 0)?, Some(&people.stranger.token)).await?;
    ensure!(count(&executor.get(ticket(&info, 0)?).await?) > 0);
    people.admit(&[&people.operator, &people.reader])?;
    wait::until("the scheduler knows the stranger no more", || async {
        let error = stranger.info("SELECT 1").await.err()?;
        (code(&error) == Code::Unauthenticated).then_some(())
    })
    .await?;
    let held = ticket(&info, 0)?;
    wait::until("the executor knows the stranger no more", || async {
        let error = executor.get(held.clone()).await.err()?;
        (code(&error) == Code::Unauthenticated).then_some(())
    })
    .await?;
    reader.info("SELECT 1").await.context("the others stay")?;
    people.admit(&[&people.operator, &people.reader, &people.stranger])?;
    wait::until("the stranger is let in again", || async {
        stranger.info("SELECT 1").await.ok()
    })
    .await?;
    std::fs::write(people.file(), "this is no file of tokens\n")?;
    wait::until("the scheduler says that the file is broken", || async {
        let log = cluster.scheduler.log();
        let warned = |line: &str| line.contains("WARN") && line.contains("token");
        log.lines().any(warned).then_some(())
    })
    .await?;
    reader
        .info("SELECT 1")
        .await
        .context("a broken file lets in whom the last whole one did")?;
    Ok(())
}

/// The port of clients serves nothing of the cluster's, and the cluster's nothing of theirs: nobody joins by the wrong door.
#[tokio::test(flavor = "multi_thread")]
async fn each_port_serves_its_own_calls() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(1, &[]).await?;
    let token = format!("Bearer {}", people.operator.token);
    let shown = |mut request: Request<JoinPoolRequest>| -> Result<Request<JoinPoolRequest>> {
        request
            .metadata_mut()
            .insert("authorization", token.parse()?);
        Ok(request)
    };
    let join = JoinPoolRequest {
        executor_id: "stranger".to_owned(),
        client_address: "127.0.0.1:1".to_owned(),
        slots: 1,
        ..Default::default()
    };
    let client_port = cluster.visitor().await?.channel();
    let joined = ClusterServiceClient::new(client_port)
        .join_pool(shown(Request::new(join))?)
        .await;
    let status = joined.err().context("joined by the clients' port")?;
    ensure!(status.code() == Code::Unimplemented, "{status:?}");
    let cluster_port = format!("http://{}", cluster.cluster_address());
    let visitor = Visitor::plain(&cluster_port, Some(&people.operator.token)).await?;
    let status = PoolServiceClient::new(visitor.channel())
        .get_pool_status(GetPoolStatusRequest {})
        .await;
    let status = status.err().context("asked by the cluster's port")?;
    ensure!(status.code() == Code::Unimplemented, "{status:?}");
    let due = [Code::Unimplemented, Code::InvalidArgument];
    refused(visitor.info(SQL).await, &due).context("a query by the cluster's port")?;
    let pool = cluster.status().await?;
    ensure!(pool.executors.len() == 1, "{:?}", pool.executors);
    Ok(())
}

/// There are no transactions: to begin one and to end one are refused in words, on a pool that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    let visitor = cluster.visitor().await?;
    let due = [Code::Unimplemented, Code::InvalidArgument];
    let begin = ActionBeginTransactionRequest {}.as_any().encode_to_vec();
    let said = refused(visitor.act("BeginTransaction", begin).await, &due)?;
    ensure!(said.contains("transaction"), "{said}");
    let end = ActionEndTransactionRequest {
        transaction_id: b"none".to_vec().into(),
        action: EndTransaction::Commit.into(),
    };
    let end = end.as_any().encode_to_vec();
    let said = refused(visitor.act("EndTransaction", end).await, &due)?;
    ensure!(said.contains("transaction"), "{said}");
    visitor.info("SELECT 1").await?;
    Ok(())
}

/// A pool that strangers could reach is not opened by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_pool_on_an_open_address_has_to_be_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for daemon in ["scheduler", "executor"] {
        let mut args = vec![
            daemon,
            "--bind",
            "0.0.0.0",
            "--port",
            "0",
            "--cluster-port",
            "0",
        ];
        if daemon == "executor" {
            args.extend(["--scheduler", "127.0.0.1:1", "--work-dir", "work"]);
        } else {
            args.extend(["--state", "memory"]);
        }
        let outcome = refused_start(command(folder.path(), None, &args)?).await?;
        ensure!(outcome.code != 0, "{daemon} opened");
        let lines: Vec<&str> = outcome
            .stderr
            .lines()
            .filter(|line| !line.contains(" INFO "))
            .collect();
        ensure!(
            lines.iter().any(|line| line.contains("insecure")),
            "{daemon}: {lines:?}"
        );
        ensure!(lines.len() <= 2, "{daemon}: {lines:?}");
    }
    let settings = [("WHIMBREL_BIND", "0.0.0.0"), ("WHIMBREL_INSECURE", "true")];
    let cluster = Cluster::start_with(0, 1, &settings)
        .await
        .context("--insecure opens it")?;
    drop(cluster);
    Ok(())
}
