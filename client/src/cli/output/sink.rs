//! The thread that encodes, and the bounded channel to it.

use std::thread::JoinHandle;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;
use whimbrel_proto::{Error, ErrorCode};

use super::destination::Destination;
use super::encode::Encoder;
use super::{Place, Target};
use crate::cli::failure::Failure;

/// Batches between the reader and the encoder.
const QUEUE: usize = 16;

pub(super) enum Message {
    Batch(RecordBatch),
    /// All rows have been given. A channel that closes without it means that they have not.
    Finish,
}

/// Takes the rows of one result.
pub(crate) struct RowSink {
    pub(super) sender: mpsc::Sender<Message>,
    pub(super) thread: JoinHandle<Result<(), Failure>>,
}

impl RowSink {
    /// Opens the target and starts its thread.
    pub(crate) fn start(target: &Target, schema: SchemaRef) -> Result<Self, Failure> {
        let (destination, bytes) = Destination::open(&target.place)?;
        let encoder = Encoder::start(target.format, &target.place, &schema, bytes);
        let encoder = encoder.map_err(|error| destination.failure(&error))?;
        let (sender, messages) = mpsc::channel(QUEUE);
        let discards = target.place == Place::Nowhere;
        let run = move || encode_all(destination, encoder, messages, discards);
        let thread = std::thread::Builder::new()
            .name("whimbrel-writer".to_owned())
            .spawn(run)
            .map_err(|error| {
                Error::new(
                    ErrorCode::Exhausted,
                    format!("cannot start the thread that writes rows: {error}"),
                )
            })?;
        Ok(Self { sender, thread })
    }

    /// Hands rows on; false where the thread has ended early, which [`RowSink::finish`] explains.
    pub(crate) async fn write(&self, batch: RecordBatch) -> bool {
        self.sender.send(Message::Batch(batch)).await.is_ok()
    }

    /// Waits until everything is written and has its name.
    pub(crate) async fn finish(self) -> Result<(), Failure> {
        // A thread that has ended early says why below.
        self.sender.send(Message::Finish).await.ok();
        drop(self.sender);
        let thread = self.thread;
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => {
                Err(Error::new(ErrorCode::Bug, "the thread that writes rows broke").into())
            }
        }
    }
}

fn encode_all(
    destination: Destination,
    mut encoder: Encoder,
    mut messages: mpsc::Receiver<Message>,
    discards: bool,
) -> Result<(), Failure> {
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Batch(_) if discards => {}
            Message::Batch(batch) => encoder
                .write(&batch)
                .map_err(|error| destination.failure(&error))?,
            Message::Finish => {
                encoder
                    .finish()
                    .map_err(|error| destination.failure(&error))?;
                return destination.publish();
            }
        }
    }
    Ok(())
}
