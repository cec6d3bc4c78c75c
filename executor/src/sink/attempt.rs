//! One attempt at one split, from the look into the journal to the entry in it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use whimbrel_predict::error::external;
use whimbrel_predict::sink::{OutputMode, SinkReport, SinkSpec, SinkTask};
use whimbrel_proto::ids::ExecutorId;
use whimbrel_stores::Stores;
use whimbrel_stores::job::{Entry, Journal, Records, SplitKey};
use whimbrel_stores::output::{DeferredOutput, Receipt, Trials};

use super::encode::Encoder;
use super::running::Progress;
use super::told;
use super::upload::Upload;
use crate::clock::new_attempt;

/// See the module.
pub(super) struct Attempt {
    output: Arc<dyn DeferredOutput>,
    records: Records,
    key: SplitKey,
    /// Nobody else's.
    name: String,
    executor: ExecutorId,
    spec: Arc<SinkSpec>,
    schema: SchemaRef,
    bytes_read: u64,
    rows: Box<dyn FnOnce() -> Result<SendableRecordBatchStream> + Send>,
    stores: Stores,
}

/// What became of the rows.
struct Written {
    object: Option<Receipt>,
    rows: u64,
}

impl Attempt {
    pub(super) fn new(stores: &Stores, executor: ExecutorId, task: SinkTask) -> Result<Self> {
        let SinkTask {
            spec,
            split,
            generation,
            schema,
            bytes_read,
            rows,
            ..
        } = task;
        let alone = (spec.mode == OutputMode::Error).then_some(&spec.job);
        let output = stores.output(&spec.output, alone).map_err(external)?;
        Ok(Self {
            output,
            records: Records::of(&spec.job),
            key: SplitKey {
                split: split.to_string(),
                generation,
            },
            name: new_attempt(),
            executor,
            spec,
            schema,
            bytes_read,
            rows,
            stores: stores.clone(),
        })
    }

    pub(super) async fn run(self, progress: Progress) -> Result<SinkReport> {
        let Self {
            output,
            records,
            key,
            name,
            executor,
            spec,
            schema,
            bytes_read,
            rows,
            stores,
        } = self;
        let told = |error: object_store::Error| told(&spec.output, &error);
        let journal = Journal::new(output.as_ref(), &records);
        if let Some(done) = journal.get(&key).await.map_err(told)? {
            return Ok(report(&done, true));
        }
        let path = records.object(&key, &name, spec.format.ending());
        let mut upload = Upload::new(Arc::clone(&output), &records, &name, path);
        let written = match fill(&mut upload, &spec, &schema, rows, &progress).await {
            Ok(written) => written,
            Err(error) => {
                upload.discard().await;
                return Err(error);
            }
        };
        let entry = Entry {
            key,
            attempt: name,
            executor: executor.to_string(),
            output: written.object,
            dead_letters: None,
            rows_read: written.rows,
            rows_written: written.rows,
            rows_dead: 0,
            bytes_read,
        };
        enter(&mut upload, journal, &entry, &stores.trials())
            .await
            .map_err(told)
    }
}

/// From here on only another's entry proves that nobody needs the object: an entry whose answer is lost may land yet.
async fn enter(
    upload: &mut Upload,
    journal: Journal<'_>,
    entry: &Entry,
    trials: &Trials,
) -> object_store::Result<SinkReport> {
    upload.keep();
    match journal.enter(entry, trials).await? {
        None => Ok(report(entry, false)),
        Some(first) => {
            upload.lost().await;
            Ok(report(&first, true))
        }
    }
}

/// Reads, scores and writes all rows of the split.
async fn fill(
    upload: &mut Upload,
    spec: &SinkSpec,
    schema: &SchemaRef,
    rows: impl FnOnce() -> Result<SendableRecordBatchStream>,
    progress: &Progress,
) -> Result<Written> {
    let failed = |error: object_store::Error| told(&spec.output, &error);
    let mut stream = rows()?;
    let mut encoder: Option<Encoder> = None;
    let mut count = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        let encoder = match &mut encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(spec, schema).map_err(external)?),
        };
        encoder.write(&batch).await.map_err(external)?;
        count += batch.num_rows() as u64;
        progress.add_rows(batch.num_rows() as u64);
        pass_on(encoder, upload, progress).await.map_err(failed)?;
        // A cancel is seen between two batches, however ready the next one is.
        tokio::task::yield_now().await;
    }
    drop(stream);
    if let Some(encoder) = &mut encoder {
        encoder.finish().await.map_err(external)?;
        pass_on(encoder, upload, progress).await.map_err(failed)?;
    }
    Ok(Written {
        object: upload.seal().await.map_err(failed)?,
        rows: count,
    })
}

async fn pass_on(
    encoder: &mut Encoder,
    upload: &mut Upload,
    progress: &Progress,
) -> object_store::Result<()> {
    let mut bytes = encoder.take();
    progress.add_bytes(bytes.len() as u64);
    upload.push(&mut bytes).await
}

fn report(entry: &Entry, already_done: bool) -> SinkReport {
    SinkReport {
        rows_read: entry.rows_read,
        rows_written: entry.rows_written,
        rows_dead: entry.rows_dead,
        bytes_written: entry.output.as_ref().map_or(0, |receipt| receipt.bytes),
        already_done,
    }
}
