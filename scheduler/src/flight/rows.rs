//! Rows that leave through the scheduler: its own, and those it passes on from executors as they come.

use std::pin::Pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, Ticket};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use crate::pool::Pool;
use crate::query::lost_result;

type Rows = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// A result that the scheduler computed.
pub(super) fn shelved(pool: &Pool, handle: &[u8]) -> Result<Response<Rows>, Status> {
    let unknown = || Error::new(ErrorCode::NotFound, "the ticket is not one of this pool");
    let id: QueryId = std::str::from_utf8(handle)
        .map_err(|_| unknown())?
        .parse()?;
    let kept = pool.shelf.take(&id)?;
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

/// The rows behind an executor's ticket, message by message as the executor sends them.
pub(super) async fn passed_on(
    pool: &Pool,
    ticket: Ticket,
    meant: &ResultTicket,
) -> Result<Response<Rows>, Status> {
    let member = pool
        .executors
        .get(&meant.executor_id)
        .ok_or_else(|| lost_result(&meant.executor_id))?;
    let rows = crate::reading::open(
        &meant.executor_id,
        &member.client_address,
        pool.token.as_deref(),
        ticket,
    )
    .await?;
    Ok(Response::new(counted(pool, rows.boxed())))
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
