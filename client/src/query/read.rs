//! Reads one part of a result in a task of its own, decodes it there, and keeps a bounded number of bytes ready.
//!
//! A part whose stream breaks goes on at the next source from the row where it stopped: both serve the same file. A part that
//! ends early without an error is treated as broken, since a truncated file ends cleanly too.

use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tonic::Status;
use whimbrel_proto::ErrorCode;

use crate::connect::{Client, MAX_MESSAGE, Service, broke_on_the_way};
use crate::error::{Error, Result};
use crate::query::endpoint::{Part, Peers};

/// Decoded bytes that one reader holds ready.
pub(crate) const BUFFER_BYTES: usize = 8 << 20;
/// Batches that one reader holds ready.
const BUFFER_BATCHES: usize = 256;

/// What a reader gives.
pub(crate) enum Item {
    Batch(RecordBatch),
    End,
    Failed(Error),
}

enum Message {
    Batch(RecordBatch, OwnedSemaphorePermit),
    End,
    Failed(Error),
}

/// A running read of one part; ends with it when dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    messages: mpsc::Receiver<Message>,
    task: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn start(client: Client, peers: Arc<Peers>, part: Part, schema: SchemaRef) -> Self {
        let (sender, messages) = mpsc::channel(BUFFER_BATCHES);
        let work = Work {
            client,
            peers,
            part,
            schema,
            sender,
            budget: Arc::new(Semaphore::new(BUFFER_BYTES)),
            delivered: 0,
        };
        Self {
            messages,
            task: tokio::spawn(work.run()),
        }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        self.messages.poll_recv(cx).map(|message| match message {
            Some(Message::Batch(batch, permit)) => {
                drop(permit);
                Item::Batch(batch)
            }
            Some(Message::End) => Item::End,
            Some(Message::Failed(error)) => Item::Failed(error),
            None => Item::Failed(Error::Protocol {
                what: "a part of a result",
                reason: "its reader ended early".to_owned(),
            }),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a source did not give the whole part.
enum Stopped {
    /// Another source may have it.
    TryNext(Error),
    /// The answer is final.
    Final(Error),
    /// Nobody listens any more.
    Deserted,
}

struct Work {
    client: Client,
    peers: Arc<Peers>,
    part: Part,
    schema: SchemaRef,
    sender: mpsc::Sender<Message>,
    budget: Arc<Semaphore>,
    delivered: u64,
}

impl Work {
    async fn run(mut self) {
        let last = match self.read_from_any().await {
            Ok(()) => Message::End,
            Err(Stopped::TryNext(error) | Stopped::Final(error)) => Message::Failed(error),
            Err(Stopped::Deserted) => return,
        };
        // A receiver that is gone wants no ending either.
        self.sender.send(last).await.ok();
    }

    async fn read_from_any(&mut self) -> std::result::Result<(), Stopped> {
        let mut failed = None;
        for source in self.part.sources() {
            let Some(service) = self.peers.reach(&self.client, &source).await else {
                continue;
            };
            match self.read_from(service).await {
                Err(Stopped::TryNext(error)) => {
                    tracing::debug!(?source, part = self.part.number, %error, "a source lost a part of a result");
                    failed = Some(error);
                }
                done => return done,
            }
        }
        Err(Stopped::TryNext(failed.unwrap_or_else(|| self.rows_lost())))
    }

    async fn read_from(&mut self, service: Service) -> std::result::Result<(), Stopped> {
        let mut flight = FlightServiceClient::new(service).max_decoding_message_size(MAX_MESSAGE);
        let answer = flight
            .do_get(self.part.ticket.clone())
            .await
            .map_err(|status| self.judge(status))?;
        let messages = answer
            .into_inner()
            .map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
        let mut skip = self.delivered;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| self.judge_flight(error))?;
            let rows = batch.num_rows() as u64;
            if skip >= rows {
                skip -= rows;
                continue;
            }
            let fresh = batch.slice(
                usize::try_from(skip).unwrap_or(0),
                usize::try_from(rows - skip).unwrap_or(0),
            );
            skip = 0;
            self.hand_on(fresh).await?;
        }
        match self.part.rows {
            Some(expected) if expected != self.delivered => Err(Stopped::TryNext(self.rows_lost())),
            Some(_) | None => Ok(()),
        }
    }

    async fn hand_on(&mut self, batch: RecordBatch) -> std::result::Result<(), Stopped> {
        let rows = batch.num_rows() as u64;
        let batch = conform(batch, &self.schema).map_err(Stopped::Final)?;
        let bytes = u32::try_from(batch_bytes(&batch).clamp(1, BUFFER_BYTES)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.budget)
            .acquire_many_owned(bytes)
            .await
            .map_err(|_| Stopped::Deserted)?;
        self.delivered += rows;
        self.sender
            .send(Message::Batch(batch, permit))
            .await
            .map_err(|_| Stopped::Deserted)
    }

    fn rows_lost(&self) -> Error {
        Error::RowsLost {
            part: self.part.name(),
            expected: self.part.rows.unwrap_or(self.delivered),
            got: self.delivered,
        }
    }

    fn judge_flight(&self, error: FlightError) -> Stopped {
        match error {
            FlightError::Tonic(status) => self.judge(*status),
            other => Stopped::Final(Error::Protocol {
                what: "rows",
                reason: other.to_string(),
            }),
        }
    }

    /// An executor that is gone, or that no longer has the file, does not end the query while another way is open.
    fn judge(&self, status: Status) -> Stopped {
        let broken = broke_on_the_way(&status);
        let error = self.client.failed(status);
        match error.code() {
            _ if broken => Stopped::TryNext(error),
            ErrorCode::Unavailable
            | ErrorCode::Denied
            | ErrorCode::NotFound
            | ErrorCode::Data
            | ErrorCode::Exhausted => Stopped::TryNext(error),
            ErrorCode::Invalid
            | ErrorCode::Exists
            | ErrorCode::Unauthenticated
            | ErrorCode::InputChanged
            | ErrorCode::Model
            | ErrorCode::Cancelled
            | ErrorCode::Bug => Stopped::Final(error),
        }
    }
}

/// What the rows take; arrays of one message share its buffer, so their capacities cannot be added up.
fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(0))
        .sum()
}

/// A partition may promise less (no nulls, say) than the whole result; its types are the same.
fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let options =
        arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
        .map_err(|error| Error::Protocol {
            what: "rows",
            reason: error.to_string(),
        })
}
