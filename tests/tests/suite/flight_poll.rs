//! PollFlightInfo: a query answers at once, tells how far it is, and gives up its parts as they are finished.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::{
    CancelFlightInfoRequest, CancelStatus, FlightDescriptor, FlightEndpoint, PollInfo,
};
use tokio::time::Instant;
use tonic::Code;
use whimbrel_tests::cluster::Cluster;
use whimbrel_tests::data;
use whimbrel_tests::flight::{Answer, Visitor, code, count, refused, statement};
use whimbrel_tests::furnished::open_pool;
use whimbrel_tests::jobs::say;
use whimbrel_tests::wait;

/// Half a second of scoring where processors are fast: there is something to watch.
const ROWS_EACH: usize = 300;
const ROWS: usize = ROWS_EACH * data::FILES;
/// Where the moment counts, whatever holds this test up must be short beside the whole.
const MANY_EACH: usize = 4 * ROWS_EACH;
const SCAN: &str = "SELECT trip_id, PREDICT('slow', *) AS p FROM watched";

/// A pool of two slots and a table of eight files that takes a while to score.
async fn watched_pool(rows_each: usize) -> Result<(Cluster, Visitor)> {
    let (cluster, _) = open_pool(2, &[]).await?;
    let client = cluster.client().await?;
    let folder = data::write_files(cluster.folder(), "watched", data::FILES, rows_each)?;
    client.add_table("watched", &folder).await?;
    let visitor = cluster.visitor().await?;
    Ok((cluster, visitor))
}

/// A query that is polled, and what each answer must keep to.
struct Polled {
    visitor: Visitor,
    next: Option<FlightDescriptor>,
    endpoints: Vec<FlightEndpoint>,
    progress: f64,
    polls: usize,
}

impl Polled {
    async fn start(visitor: &Visitor, sql: &str) -> Answer<Self> {
        let mut polled = Self {
            visitor: visitor.clone(),
            next: Some(statement(sql)),
            endpoints: Vec::new(),
            progress: 0.0,
            polls: 0,
        };
        polled.poll().await?;
        Ok(polled)
    }

    /// Asks once more; what was said before still holds.
    async fn poll(&mut self) -> Answer<PollInfo> {
        let next = self.next.clone().unwrap_or_default();
        let answer = self.visitor.client().poll_flight_info(next).await?;
        self.polls += 1;
        self.keeps_its_word(&answer)
            .map_err(|error| arrow_flight::error::FlightError::protocol(format!("{error:#}")))?;
        self.next.clone_from(&answer.flight_descriptor);
        Ok(answer)
    }

    fn keeps_its_word(&mut self, answer: &PollInfo) -> Result<()> {
        let progress = answer.progress.context("no progress is told")?;
        ensure!((0.0..=1.0).contains(&progress), "progress of {progress}");
        ensure!(
            progress >= self.progress,
            "progress went from {} to {progress}",
            self.progress
        );
        self.progress = progress;
        let over = answer.flight_descriptor.is_none();
        ensure!(
            over || answer.expiration_time.is_some(),
            "a query that goes on says not until when it may be asked"
        );
        let endpoints = answer
            .info
            .as_ref()
            .map_or(&[][..], |info| info.endpoint.as_slice());
        ensure!(
            endpoints.len() >= self.endpoints.len(),
            "endpoints were taken back"
        );
        for (now, before) in endpoints.iter().zip(&self.endpoints) {
            ensure!(
                now.ticket == before.ticket && now.location == before.location,
                "an endpoint was replaced: {before:?} by {now:?}"
            );
        }
        self.endpoints = endpoints.to_vec();
        ensure!(!over || progress >= 1.0, "over at a progress of {progress}");
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.next.is_none()
    }

    async fn reach_end(&mut self) -> Answer<()> {
        while !self.is_over() {
            self.poll().await?;
        }
        Ok(())
    }

    /// The rows of an endpoint, from where it lies.
    async fn read(&self, place: usize) -> Result<Vec<RecordBatch>> {
        let endpoint = self.endpoints.get(place).context("an endpoint")?;
        let way = endpoint.location.first().context("a location")?;
        let visitor = Visitor::plain(&way.uri, None).await?;
        let ticket = endpoint.ticket.clone().context("a ticket")?;
        Ok(visitor.get(ticket.ticket).await?)
    }
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = |batch: &RecordBatch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(ids).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_come_before_half_is_scored() -> Result<()> {
    let rows = MANY_EACH * data::FILES;
    let (_cluster, visitor) = watched_pool(MANY_EACH).await?;
    let begun = Instant::now();
    let mut polled = Polled::start(&visitor, SCAN).await?;
    let answered = begun.elapsed();
    ensure!(
        !polled.is_over(),
        "the first answer was the last: it proves nothing"
    );
    while polled.endpoints.is_empty() && !polled.is_over() {
        polled.poll().await?;
    }
    let first = polled.read(0).await?;
    let first_rows = begun.elapsed();
    ensure!(count(&first) > 0, "an endpoint without rows");
    // What is told now was so at the earliest when the rows had come.
    polled.poll().await?;
    ensure!(
        polled.progress <= 0.5 && !polled.is_over(),
        "the first rows came at a progress of {}",
        polled.progress
    );
    polled.reach_end().await?;
    let whole = begun.elapsed();
    let mut all = Vec::new();
    for place in 0..polled.endpoints.len() {
        all.extend(ids(&polled.read(place).await?));
    }
    let distinct: BTreeSet<i64> = all.iter().copied().collect();
    ensure!(
        all.len() == rows && distinct.len() == rows,
        "{} rows, {} of them once",
        all.len(),
        distinct.len()
    );
    say(&format!(
        "{rows} rows: answered after {answered:?}, first rows after {first_rows:?}, whole after {whole:?}, {} polls",
        polled.polls
    ));
    Ok(())
}

/// A query with a shuffle has nothing to give before its end, and says how far it is all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_a_shuffle_is_given_at_its_end() -> Result<()> {
    let (_cluster, visitor) = watched_pool(ROWS_EACH).await?;
    let sql = "SELECT borough, count(*) AS n, avg(PREDICT('slow', *)) AS p FROM watched GROUP BY borough ORDER BY borough";
    let mut polled = Polled::start(&visitor, sql).await?;
    let mut between = false;
    while !polled.is_over() {
        ensure!(
            polled.endpoints.is_empty(),
            "an endpoint before the end of a shuffle"
        );
        polled.poll().await?;
        between |= polled.progress > 0.0 && polled.progress < 1.0;
    }
    ensure!(
        between,
        "nothing was told between the beginning and the end"
    );
    let mut rows = 0;
    for place in 0..polled.endpoints.len() {
        rows += count(&polled.read(place).await?);
    }
    ensure!(rows == 5, "{rows} rows of five boroughs");
    Ok(())
}

/// A statement that the scheduler answers itself, a change and an empty result are over at once or soon, and right.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_executor_is_polled_too() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    let visitor = cluster.visitor().await?;
    for (sql, rows) in [
        ("SHOW MODELS", 3),
        ("SELECT trip_id FROM trips WHERE trip_id < 0", 0),
        ("CREATE VIEW polled AS SELECT 1 AS one", 0),
        ("SELECT one FROM polled", 1),
    ] {
        let mut polled = Polled::start(&visitor, sql).await?;
        polled.reach_end().await?;
        let mut found = 0;
        for endpoint in &polled.endpoints {
            let ticket = endpoint.ticket.clone().context("a ticket")?;
            found += count(&visitor.get(ticket.ticket).await?);
        }
        ensure!(found == rows, "{sql}: {found} rows, not {rows}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_query_comes_by_its_poll() -> Result<()> {
    let (cluster, visitor) = watched_pool(ROWS_EACH).await?;
    let client = cluster.client().await?;
    client.bind_model("fails", "fails_above_two").await?;
    let broken = "SELECT nothing FROM watched";
    let said = match Polled::start(&visitor, broken).await {
        Err(error) => error,
        Ok(mut polled) => polled
            .reach_end()
            .await
            .err()
            .context("a column that is not there")?,
    };
    ensure!(
        code(&said) == Code::InvalidArgument && said.to_string().contains("nothing"),
        "{said}"
    );
    // The last file's rows end it, after others have been given.
    let sql = format!(
        "SELECT trip_id, PREDICT('fails', CASE WHEN trip_id < {} THEN 1 ELSE 9 END) AS f, PREDICT('slow', *) AS p FROM watched",
        ROWS - 1
    );
    let mut polled = Polled::start(&visitor, &sql).await?;
    let error = polled
        .reach_end()
        .await
        .err()
        .context("a model that fails")?;
    ensure!(error.to_string().contains("fails"), "{error}");
    ensure!(
        matches!(
            code(&error),
            Code::FailedPrecondition | Code::InvalidArgument | Code::DataLoss
        ),
        "{error:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_while_it_is_polled() -> Result<()> {
    let (cluster, visitor) = watched_pool(ROWS_EACH).await?;
    let mut polled = Polled::start(&visitor, SCAN).await?;
    let info = polled.poll().await?.info.context("the info so far")?;
    ensure!(
        !polled.is_over(),
        "the query ended before it was cancelled: it proves nothing"
    );
    let request = CancelFlightInfoRequest::new(info);
    let answer = visitor.client().cancel_flight_info(request).await?;
    let status = CancelStatus::try_from(answer.status)?;
    ensure!(
        matches!(status, CancelStatus::Cancelled | CancelStatus::Cancelling),
        "{status:?}"
    );
    match polled.reach_end().await {
        Err(error) => ensure!(
            matches!(code(&error), Code::Cancelled | Code::NotFound),
            "{error}"
        ),
        Ok(()) => bail!("a cancelled query ended as if it were whole"),
    }
    let client = cluster.client().await?;
    wait::until("every slot is free and no file is held", || async {
        let status = client.status().await.ok()?;
        let free = status
            .executors
            .iter()
            .all(|executor| executor.free_slots == executor.slots);
        (free && cluster.held_files().ok()? == 0).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_of_nobody_are_refused() -> Result<()> {
    let (cluster, _) = open_pool(1, &[]).await?;
    let visitor = cluster.visitor().await?;
    let due = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::PermissionDenied,
    ];
    for descriptor in [
        FlightDescriptor::new_cmd(b"\xff\xfe nonsense".to_vec()),
        FlightDescriptor::new_cmd(Vec::new()),
        FlightDescriptor::new_path(vec!["..".to_owned(), "etc".to_owned()]),
        FlightDescriptor::default(),
    ] {
        let shown = format!("{descriptor:?}");
        let answer = visitor.client().poll_flight_info(descriptor).await;
        refused(answer, &due).context(shown)?;
    }
    Ok(())
}
