//! Tickets open what they were made for, to whom and as long as they were made for, and nothing else: whatever is altered, forged
//! or foreign is refused by executors and scheduler alike.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow_flight::{FlightInfo, RenewFlightEndpointRequest, Ticket};
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;
use whimbrel_access::TicketSigner;
use whimbrel_proto::v1::{ResultTicket, SignedTicket};
use whimbrel_tests::data::TRIPS;
use whimbrel_tests::flight::{Visitor, code, count, first_way, refused, ticket};
use whimbrel_tests::furnished::{People, at, open_pool};
use whimbrel_tests::wait;

const SQL: &str = "SELECT trip_id, PREDICT('fare', *) AS p FROM trips";
/// What is no ticket, and what is one of somebody else.
const NOT_OURS: [Code; 2] = [Code::InvalidArgument, Code::PermissionDenied];
const FOREIGN: [Code; 1] = [Code::PermissionDenied];
/// Its time is over; the file may be gone already.
const OVER: [Code; 2] = [Code::PermissionDenied, Code::NotFound];

/// A result, and the two doors to its first endpoint.
struct Held {
    info: FlightInfo,
    bytes: Bytes,
    signed: SignedTicket,
    inner: ResultTicket,
    executor: Visitor,
    scheduler: Visitor,
}

impl Held {
    async fn new(scheduler: Visitor, token: &str) -> Result<Self> {
        let info = scheduler.info(SQL).await?;
        let bytes = ticket(&info, 0)?;
        let signed = SignedTicket::decode(bytes.clone())?;
        let inner = ResultTicket::decode(&*signed.ticket)?;
        ensure!(!signed.signature.is_empty(), "a ticket without a signature");
        ensure!(inner.rows > 0, "an endpoint without rows proves nothing");
        let executor = Visitor::plain(&first_way(&info, 0)?, Some(token)).await?;
        Ok(Self {
            info,
            bytes,
            signed,
            inner,
            executor,
            scheduler,
        })
    }

    fn doors(&self) -> [(&'static str, &Visitor); 2] {
        [("executor", &self.executor), ("scheduler", &self.scheduler)]
    }

    /// Both doors refuse these bytes; their words hold nothing of the file system.
    async fn must_refuse(&self, what: &str, bytes: Vec<u8>, due: &[Code]) -> Result<()> {
        for (door, visitor) in self.doors() {
            let said = refused(visitor.get(bytes.clone()).await, due)
                .with_context(|| format!("{what}, at the {door}"))?;
            ensure!(
                !said.contains("root:") && !said.contains("No such file"),
                "{what}, at the {door}: {said}"
            );
        }
        Ok(())
    }

    /// What it was made for still opens at both doors.
    async fn must_open(&self) -> Result<()> {
        for (door, visitor) in self.doors() {
            let rows = visitor.get(self.bytes.clone()).await;
            let rows = rows.with_context(|| format!("the true ticket at the {door}"))?;
            ensure!(
                count(&rows) as u64 == self.inner.rows,
                "{} rows",
                count(&rows)
            );
        }
        Ok(())
    }

    /// The inner ticket under the true signature, which was made for another.
    fn under_the_true_signature(&self, inner: &ResultTicket) -> Vec<u8> {
        SignedTicket {
            ticket: inner.encode_to_vec(),
            ..self.signed.clone()
        }
        .encode_to_vec()
    }
}

/// The ticket with one of its fields altered, each in turn.
fn altered(true_one: &ResultTicket) -> Vec<(&'static str, ResultTicket)> {
    let with = |change: &dyn Fn(&mut ResultTicket)| {
        let mut other = true_one.clone();
        change(&mut other);
        other
    };
    vec![
        ("query", with(&|it| it.query_id = "another".to_owned())),
        ("job", with(&|it| it.job_id = "another".to_owned())),
        (
            "a job that leaves the folder",
            with(&|it| it.job_id = "..".to_owned()),
        ),
        ("stage", with(&|it| it.stage_id += 1)),
        ("partition", with(&|it| it.partition += 1)),
        (
            "executor",
            with(&|it| it.executor_id = "another".to_owned()),
        ),
        ("rows", with(&|it| it.rows += 1)),
        ("user", with(&|it| it.user = "olga".to_owned())),
        ("end", with(&|it| it.expires_unix += 86_400)),
        ("no end", with(&|it| it.expires_unix = 0)),
        (
            "an absolute path",
            with(&|it| it.file = "/etc/passwd".to_owned()),
        ),
        (
            "a path upwards",
            with(&|it| it.file = format!("../{}", it.file)),
        ),
        (
            "a path far upwards",
            with(&|it| it.file = "../../../../../../etc/passwd".to_owned()),
        ),
        (
            "a path upwards inside",
            with(&|it| it.file = format!("x/../{}", it.file)),
        ),
        ("a folder", with(&|it| it.file = ".".to_owned())),
        ("no file", with(&|it| it.file.clear())),
        ("a zero byte", with(&|it| it.file.push('\0'))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_was_altered_opens_nothing() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(2, &[]).await?;
    let held = Held::new(at(&cluster, &people.reader).await?, &people.reader.token).await?;
    for place in 0..held.bytes.len() {
        let mut flipped = held.bytes.to_vec();
        flipped[place] ^= 1;
        held.must_refuse(&format!("byte {place}"), flipped, &NOT_OURS)
            .await?;
        let cut = held.bytes[..place].to_vec();
        held.must_refuse(&format!("the first {place} bytes"), cut, &NOT_OURS)
            .await?;
    }
    for (what, other) in altered(&held.inner) {
        let bytes = held.under_the_true_signature(&other);
        held.must_refuse(what, bytes, &FOREIGN).await?;
    }
    held.must_open().await
}

/// Who knows how tickets are made has still no key of the pool.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_another_signed_opens_nothing() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(2, &[]).await?;
    let held = Held::new(at(&cluster, &people.reader).await?, &people.reader.token).await?;
    let forger = TicketSigner::new()?;
    let mut forged = altered(&held.inner);
    forged.push(("nothing altered", held.inner.clone()));
    for (what, ticket) in forged {
        let own = forger.sign(&ticket);
        let mut named = SignedTicket::decode(&*own)?;
        held.must_refuse(&format!("{what}, a key of its own"), own, &FOREIGN)
            .await?;
        named.kid.clone_from(&held.signed.kid);
        let named = named.encode_to_vec();
        held.must_refuse(&format!("{what}, the pool's key's name"), named, &FOREIGN)
            .await?;
    }
    let bare = held.inner.encode_to_vec();
    held.must_refuse("a ticket without an envelope", bare, &NOT_OURS)
        .await?;
    let unsigned = SignedTicket {
        signature: Vec::new(),
        ..held.signed.clone()
    };
    held.must_refuse("no signature", unsigned.encode_to_vec(), &NOT_OURS)
        .await?;
    held.must_open().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_its_users_and_its_executors_own() -> Result<()> {
    let people = People::new()?;
    let (cluster, _) = people.pool(2, &[]).await?;
    let held = Held::new(at(&cluster, &people.reader).await?, &people.reader.token).await?;
    let way = first_way(&held.info, 0)?;
    for door in [way.clone(), cluster.address().to_owned()] {
        let stranger = Visitor::plain(&door, Some(&people.stranger.token)).await?;
        refused(stranger.get(held.bytes.clone()).await, &FOREIGN)
            .with_context(|| format!("a stranger at {door}"))?;
        let nobody = Visitor::plain(&door, None).await?;
        refused(
            nobody.get(held.bytes.clone()).await,
            &[Code::Unauthenticated],
        )
        .with_context(|| format!("nobody at {door}"))?;
    }
    let places = 0..held.info.endpoint.len();
    let ways = places
        .map(|place| first_way(&held.info, place))
        .collect::<Result<Vec<_>>>()?;
    let other = ways
        .iter()
        .find(|other| **other != way)
        .context("results on two executors")?;
    let other = Visitor::plain(other, Some(&people.reader.token)).await?;
    refused(other.get(held.bytes.clone()).await, &FOREIGN).context("at another executor")?;
    held.must_open().await
}

/// Large ones are refused before they are held, and cost the next caller nothing.
#[tokio::test(flavor = "multi_thread")]
async fn messages_without_measure_are_refused() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    let held = Held::new(cluster.visitor().await?, "").await?;
    let due = [
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::OutOfRange,
    ];
    let before = cluster.executors[0].peak_rss()?;
    held.must_refuse("20 KiB", vec![0xff; 20 << 10], &due)
        .await?;
    held.must_refuse("64 MiB", vec![0xff; 64 << 20], &due)
        .await?;
    let padded = SignedTicket {
        kid: "k".repeat(1 << 20),
        ..held.signed.clone()
    };
    held.must_refuse("a long name of a key", padded.encode_to_vec(), &due)
        .await?;
    let long = format!("SELECT '{}'", "x".repeat(64 << 20));
    refused(held.scheduler.info(&long).await, &due).context("a statement of 64 MiB")?;
    let grown = cluster.executors[0].peak_rss()?.saturating_sub(before);
    ensure!(
        grown < 64 << 20,
        "the executor took {grown} bytes for what it refused"
    );
    held.must_open().await
}

async fn renewed(visitor: &Visitor, info: &FlightInfo) -> Result<FlightInfo> {
    let mut info = info.clone();
    for endpoint in &mut info.endpoint {
        let request = RenewFlightEndpointRequest::new(endpoint.clone());
        let fresh = visitor.client().renew_flight_endpoint(request).await?;
        let end = |endpoint: &arrow_flight::FlightEndpoint| {
            let end = endpoint.expiration_time.as_ref();
            end.map(|end| (end.seconds, end.nanos))
        };
        ensure!(
            end(&fresh) >= end(endpoint),
            "{fresh:?} ends before {endpoint:?}"
        );
        *endpoint = fresh;
    }
    Ok(info)
}

async fn read_straight(info: &FlightInfo) -> Result<usize> {
    let mut rows = 0;
    for (place, endpoint) in info.endpoint.iter().enumerate() {
        let visitor = Visitor::plain(&first_way(info, place)?, None).await?;
        let Ticket { ticket } = endpoint.ticket.clone().context("a ticket")?;
        rows += count(&visitor.get(ticket).await?);
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_ends_at_its_time_unless_it_is_renewed() -> Result<()> {
    let (cluster, _) = open_pool(2, &[("WHIMBREL_RESULT_TTL", "4s")]).await?;
    let visitor = cluster.visitor().await?;
    let left = visitor.info(SQL).await?;
    let mut kept = visitor.info(SQL).await?;
    for endpoint in left.endpoint.iter().chain(&kept.endpoint) {
        ensure!(
            endpoint.expiration_time.is_some(),
            "{endpoint:?} says not when it ends"
        );
    }
    let executor = Visitor::plain(&first_way(&left, 0)?, None).await?;
    let end = ticket(&left, 0)?;
    let deadline = Duration::from_secs(30);
    wait::until_within(deadline, "the result that nobody renews ends", async || {
        kept = renewed(&visitor, &kept).await.ok()?;
        let error = executor.get(end.clone()).await.err()?;
        OVER.contains(&code(&error)).then_some(())
    })
    .await?;
    refused(visitor.get(end.clone()).await, &OVER).context("at the scheduler")?;
    let rows = read_straight(&kept)
        .await
        .context("the result that was renewed")?;
    ensure!(rows == TRIPS, "{rows} rows of the result that was renewed");
    wait::until_within(deadline, "the files of both are gone", async || {
        (cluster.held_files().ok()? == 0).then_some(())
    })
    .await
}
