//! Rows that leave through the scheduler: its own, and those it passes on from executors as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::record_batch::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, Ticket};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use whimbrel_access::Caller;
use whimbrel_access::ticket::not_the_callers;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode, Retry};

use super::caller::caller;
use crate::pool::Pool;
use crate::query::lost_result;

type Rows = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// A result that the scheduler computed.
pub(super) fn shelved(
    pool: &Pool,
    handle: &[u8],
    caller: &Caller,
) -> Result<Response<Rows>, Status> {
    let unknown = || Error::new(ErrorCode::NotFound, "the ticket is not one of this pool");
    let id: QueryId = std::str::from_utf8(handle)
        .map_err(|_| unknown())?
        .parse()?;
    let kept = pool.shelf.take(&id, caller)?;
    Ok(send(pool, kept.schema, kept.batches.as_ref().clone()))
}

/// One batch that was made for the answer.
pub(super) fn batch(
    pool: &Pool,
    batch: Result<RecordBatch, Error>,
) -> Result<Response<Rows>, Status> {
    let batch = batch?;
    Ok(send(pool, batch.schema(), vec![batch]))
}

fn send(
    pool: &Pool,
    schema: arrow::datatypes::SchemaRef,
    batches: Vec<RecordBatch>,
) -> Response<Rows> {
    let batches = stream::iter(batches.into_iter().map(Ok::<_, FlightError>));
    let data = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // The promised schema is the one that is sent.
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(batches)
        .map(|data| data.map_err(Status::from));
    Response::new(counted(pool, data.boxed()))
}

/// The rows behind an executor's ticket, message by message as the executor sends them. Where that executor is gone, and the
/// query goes on, they are those of the partition's next run.
pub(super) async fn passed_on(
    pool: &Pool,
    request: Request<Ticket>,
) -> Result<Response<Rows>, Status> {
    let caller = caller(&request)?;
    let ticket = meant(pool, &request.get_ref().ticket, &caller)?;
    let rows = match open(pool, ticket.clone()).await {
        Ok(rows) => rows,
        Err(error) if may_be_elsewhere(&error) => {
            let moved = pool.runner.again(&ticket).await;
            let moved = moved.map_err(|gone| match gone.code() {
                // The first answer says more.
                ErrorCode::Unavailable => error,
                _ => gone,
            })?;
            open(pool, moved.ticket).await?
        }
        Err(error) => return Err(error.into()),
    };
    let proxied = Arc::clone(&pool.proxied_bytes);
    let rows = rows.inspect_ok(move |data| {
        let bytes = data.data_header.len() + data.data_body.len();
        proxied.fetch_add(bytes as u64, Ordering::Relaxed);
    });
    Ok(Response::new(counted(pool, rows.boxed())))
}

/// What is in a ticket that this pool has signed for this caller.
pub(super) fn meant(pool: &Pool, ticket: &[u8], caller: &Caller) -> Result<ResultTicket, Error> {
    let now = u64::try_from(pool.clock.unix_secs()).unwrap_or(0);
    let meant = pool.ticket_keys.check(ticket, now)?;
    if meant.user != caller.user || meant.own {
        return Err(not_the_callers());
    }
    Ok(meant)
}

fn may_be_elsewhere(error: &Error) -> bool {
    error.retry() == Retry::Later || error.code() == ErrorCode::NotFound
}

async fn open(pool: &Pool, ticket: ResultTicket) -> Result<Streaming<FlightData>, Error> {
    let member = pool.executors.get(&ticket.executor_id);
    let member = member.ok_or_else(|| lost_result(&ticket.executor_id))?;
    pool.reader.open(&member, ticket).await
}

/// The stream counts as one that a client reads, and fails, rather than ends, when the scheduler stops.
fn counted(pool: &Pool, rows: Rows) -> Rows {
    let reader = Reader::new(&pool.streams);
    let stop: CancellationToken = pool.stop.clone();
    let state = Some((rows, stop, reader));
    stream::unfold(state, |state| async move {
        let (mut rows, stop, reader) = state?;
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                let stopping = Error::new(ErrorCode::Unavailable, "the scheduler is stopping").with_hint("run the query again");
                Some((Err(stopping.into()), None))
            }
            next = rows.next() => next.map(|data| (data, Some((rows, stop, reader)))),
        }
    })
    .boxed()
}

/// Counts a stream for as long as it lives.
struct Reader(Arc<watch::Sender<usize>>);

impl Reader {
    fn new(streams: &Arc<watch::Sender<usize>>) -> Self {
        streams.send_modify(|count| *count += 1);
        Self(Arc::clone(streams))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
