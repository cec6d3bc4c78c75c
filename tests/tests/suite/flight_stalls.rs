//! Clients that stop reading, leave or lose their executor: the others go on, what is held is bounded and given back, and rows are
//! never missing without an error.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arrow_flight::Ticket;
use arrow_flight::decode::FlightRecordBatchStream;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use tokio::time::Instant;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::flight::{Visitor, count, first_way};
use whimbrel_tests::furnished::{big, open_pool};
use whimbrel_tests::jobs::say;
use whimbrel_tests::scripts::Scenario;
use whimbrel_tests::wait;

const CLIENTS: usize = 100;
const STALLED: usize = 20;
const BIG: usize = 200_000;
/// Columns beside the table's that fill results: more of each part than the buffers on the way to a stalled client hold, ...
const WIDE: usize = 40;
/// ... and more than a client that reads takes ahead, so that some is lost with its executor.
const WIDER: usize = 240;
/// One task, so that a crowd can ask it.
const SMALL: &str = "SELECT trip_id, borough FROM trips_csv";
const SMALL_ROWS: usize = 4_000;
/// What a client that left has to be forgotten in, and what this machine may need beside it.
const FORGOTTEN: Duration = Duration::from_secs(5 + 5);
/// What one stalled stream may hold: the batch that is on its way, which is copied once to be sent, and the next one; one of these
/// rows is 4 MiB.
const STREAM_HOLDS: u64 = 12 << 20;

/// All rows, with so many columns of chance: result files are packed, and chance does not pack.
fn wide(columns: usize) -> String {
    let columns: Vec<String> = (0..columns).map(|n| format!("random() AS r{n}")).collect();
    format!("SELECT *, {} FROM big", columns.join(", "))
}

/// One that took the first batch of every endpoint and takes no more.
struct Stalled {
    rows: usize,
    streams: Vec<FlightRecordBatchStream>,
}

async fn stall(cluster: &Cluster) -> Result<Stalled> {
    let scheduler = cluster.visitor().await?;
    let info = scheduler.info(&wide(WIDE)).await?;
    let mut stalled = Stalled {
        rows: 0,
        streams: Vec::new(),
    };
    for (place, endpoint) in info.endpoint.iter().enumerate() {
        let executor = Visitor::plain(&first_way(&info, place)?, None).await?;
        let Ticket { ticket } = endpoint.ticket.clone().context("a ticket")?;
        let mut stream = executor.client().do_get(Ticket::new(ticket)).await?;
        let first = stream.next().await.context("no first batch")??;
        stalled.rows += first.num_rows();
        stalled.streams.push(stream);
    }
    Ok(stalled)
}

/// One that has its rows computed and gives them up.
async fn computed(cluster: &Cluster) -> Result<()> {
    let visitor = cluster.visitor().await?;
    let info = visitor.info(&wide(WIDE)).await?;
    let request = arrow_flight::CancelFlightInfoRequest::new(info);
    visitor.client().cancel_flight_info(request).await?;
    Ok(())
}

/// One that reads a small result to its end, on connections of its own.
async fn read(cluster: &Cluster) -> Result<()> {
    let rows = count(&cluster.visitor().await?.rows(SMALL).await?);
    ensure!(rows == SMALL_ROWS, "{rows} rows");
    Ok(())
}

/// What all the living take together.
async fn all_read(cluster: &Cluster) -> Result<Duration> {
    let begun = Instant::now();
    try_join_all((STALLED..CLIENTS).map(|_| read(cluster))).await?;
    Ok(begun.elapsed())
}

fn descriptors(cluster: &Cluster) -> Result<usize> {
    let mut open = cluster.scheduler.descriptors()?;
    for executor in &cluster.executors {
        open += executor.descriptors()?;
    }
    Ok(open)
}

/// What executors say of the streams that clients read.
async fn open_streams(cluster: &Cluster) -> Option<u32> {
    let status = cluster.status().await.ok()?;
    Some(status.executors.iter().map(|one| one.open_streams).sum())
}

/// Descriptors when those who left are forgotten: the same number for half a second.
async fn settled(cluster: &Cluster) -> Result<usize> {
    const TIMES: usize = 25;
    let (mut last, mut times) = (0, 0);
    wait::until_within(wait::DEADLINE, "descriptors settle", async || {
        let open = descriptors(cluster).ok()?;
        times = if open == last { times + 1 } else { 0 };
        last = open;
        (times == TIMES).then_some(open)
    })
    .await
}

fn peaks(cluster: &Cluster) -> Result<Vec<u64>> {
    let all = std::iter::once(&cluster.scheduler).chain(&cluster.executors);
    all.map(whimbrel_tests::process::Process::peak_rss)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_clients_hold_little_and_hold_up_nobody() -> Result<()> {
    let (cluster, _) = open_pool(2, &[]).await?;
    big(&cluster, &cluster.client().await?, BIG).await?;
    all_read(&cluster).await?;
    let alone = all_read(&cluster).await?;
    // What computing the rows takes is not what holding them does.
    try_join_all((0..STALLED).map(|_| computed(&cluster))).await?;
    let (base, before) = (settled(&cluster).await?, peaks(&cluster)?);
    let stalled = try_join_all((0..STALLED).map(|_| stall(&cluster))).await?;
    let open = descriptors(&cluster)?;
    let streams: usize = stalled.iter().map(|one| one.streams.len()).sum();
    ensure!(
        open >= base + streams,
        "{streams} streams and {open} descriptors of {base}: they do not stall"
    );
    wait::until("all open streams are told", || async {
        (open_streams(&cluster).await? as usize == streams).then_some(())
    })
    .await?;
    let beside = all_read(&cluster).await?;
    let after = peaks(&cluster)?;
    say(&format!(
        "{} clients: {alone:?} alone, {beside:?} beside {STALLED} stalled ({streams} streams); peaks of scheduler and executors \
         {before:?}, then {after:?} bytes; {base} descriptors, {open} beside the stalled",
        CLIENTS - STALLED
    ));
    // How much slower is for the bench to measure, alone on its machine.
    ensure!(
        beside < alone * 3 + Duration::from_secs(5),
        "{beside:?} beside the stalled, {alone:?} alone"
    );
    for (before, after) in before.iter().zip(&after) {
        let most = STREAM_HOLDS * streams as u64 / 2;
        ensure!(
            after - before < most,
            "{before} bytes grew to {after}, more than {most}"
        );
    }
    drop(stalled);
    wait::until("descriptors are closed", || async {
        (descriptors(&cluster).ok()? <= base).then_some(())
    })
    .await?;
    read(&cluster).await
}

/// A stalled client that goes on after all gets every row.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_on_gets_every_row() -> Result<()> {
    let (cluster, _) = open_pool(2, &[]).await?;
    big(&cluster, &cluster.client().await?, BIG).await?;
    let Stalled {
        mut rows,
        mut streams,
    } = stall(&cluster).await?;
    all_read(&cluster).await?;
    for stream in &mut streams {
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
        }
    }
    ensure!(rows == BIG, "{rows} rows");
    Ok(())
}

async fn forgotten(cluster: &Cluster, how: &str) -> Result<()> {
    let begun = Instant::now();
    wait::until_within(
        FORGOTTEN,
        &format!("files are gone after {how}"),
        async || (cluster.held_files().ok()? == 0).then_some(()),
    )
    .await?;
    say(&format!(
        "after {how} files were gone in {:?}",
        begun.elapsed()
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_holds_nothing_any_more() -> Result<()> {
    let (cluster, _) = open_pool(2, &[]).await?;
    big(&cluster, &cluster.client().await?, BIG).await?;
    let stalled = stall(&cluster).await?;
    ensure!(
        cluster.held_files()? > 0,
        "nothing is held: it proves nothing"
    );
    drop(stalled);
    forgotten(&cluster, "streams that were dropped").await?;
    let visitor = cluster.visitor().await?;
    let info = visitor.info(&wide(WIDE)).await?;
    ensure!(
        cluster.held_files()? > 0,
        "nothing is held: it proves nothing"
    );
    let request = arrow_flight::CancelFlightInfoRequest::new(info);
    visitor.client().cancel_flight_info(request).await?;
    forgotten(&cluster, "a cancel").await?;
    let visitor = cluster
        .visitor()
        .await?
        .with("whimbrel-session", "one-that-closes")?;
    visitor.info(&wide(WIDE)).await?;
    ensure!(
        cluster.held_files()? > 0,
        "nothing is held: it proves nothing"
    );
    visitor.act("CloseSession", Vec::new()).await?;
    forgotten(&cluster, "a session that was closed").await?;
    // A process that is killed says nothing at all. What it was sent whole it has read, so there must be more than it buffers.
    let scenario = Scenario::new("flight_pyarrow.py", cluster.address(), "stalled");
    let mut killed = scenario.set("rows", BIG).set("sql", wide(WIDER)).start()?;
    killed.says("stalled").await?;
    wait::until("streams are told to be open", || async {
        (open_streams(&cluster).await? > 0).then_some(())
    })
    .await?;
    killed.kill().await?;
    forgotten(&cluster, "a client that was killed").await
}

/// What nobody has begun to read stays: its client may be on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_read_yet_stays() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    let visitor = cluster.visitor().await?;
    let waiting = visitor.info(SMALL).await?;
    let held = cluster.held_files()?;
    ensure!(held > 0, "nothing is held: it proves nothing");
    let other = visitor.info("SELECT trip_id FROM trips").await?;
    visitor
        .client()
        .cancel_flight_info(arrow_flight::CancelFlightInfoRequest::new(other))
        .await?;
    wait::until("the other result is gone", || async {
        (cluster.held_files().ok()? == held).then_some(())
    })
    .await?;
    let mut rows = 0;
    for endpoint in waiting.endpoint {
        rows += count(
            &visitor
                .get(endpoint.ticket.unwrap_or_default().ticket)
                .await?,
        );
    }
    ensure!(rows == SMALL_ROWS, "{rows} rows");
    Ok(())
}

/// A foreign client whose executor is killed while it reads has an error, not an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_is_an_error_to_who_reads_from_it() -> Result<()> {
    let (mut cluster, _) = open_pool(2, &[]).await?;
    big(&cluster, &cluster.client().await?, BIG).await?;
    let victim = cluster.executors[1].field("client_address")?;
    let (_, port) = victim.rsplit_once(':').context("a port")?;
    let mut reading = Scenario::new("flight_pyarrow.py", cluster.address(), "dying")
        .set("rows", BIG)
        .set("sql", wide(WIDER))
        .set("victim", port)
        .start()?;
    reading.says("reading").await?;
    cluster.executors[1].kill()?;
    reading.go_on().await?;
    let found = reading.end().await?;
    say(&format!("killed: {found}"));
    Ok(())
}
