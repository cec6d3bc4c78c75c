//! One attempt at one split, from the look into the journal to the entry in it.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, poll};
use object_store::Error as StoreError;
use whimbrel_predict::error::external;
use whimbrel_predict::exec::job_id;
use whimbrel_predict::sink::{OnError, OutputMode, SinkReport, SinkSpec, SinkTask};
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Stores;
use whimbrel_stores::job::{Entry, Journal, Records, SplitKey};
use whimbrel_stores::output::{DeferredOutput, Receipt};

use super::encode::Encoder;
use super::letters::Sorter;
use super::running::{Begun, Progress};
use super::told;
use super::upload::Upload;
use crate::clock::{monotonic, new_attempt, pause};

type Rows = Box<dyn FnOnce() -> Result<SendableRecordBatchStream> + Send>;

/// See the module.
pub(super) struct Attempt {
    stores: Stores,
    executor: ExecutorId,
    spec: Arc<SinkSpec>,
    output: Arc<dyn DeferredOutput>,
    records: Records,
    key: SplitKey,
    sorter: Sorter,
    bytes_read: u64,
}

/// The objects that an attempt makes.
struct Objects {
    rows: Upload,
    letters: Option<Upload>,
}

/// What became of the rows.
#[derive(Default)]
struct Counts {
    written: u64,
    dead: u64,
}

impl Attempt {
    pub(super) fn new(
        stores: Stores,
        executor: ExecutorId,
        task: SinkTask,
    ) -> Result<(Self, Rows, Begun)> {
        let SinkTask {
            spec,
            split,
            generation,
            schema,
            columns,
            errors,
            files,
            range,
            bytes_read,
            context,
            times,
            rows,
        } = task;
        let begun = Begun {
            engine_job: job_id(&context),
            job: spec.job.clone(),
            split: split.clone(),
            generation,
            outlives: spec.run.is_none(),
            times,
        };
        let alone = (spec.mode == OutputMode::Error).then_some(&spec.job);
        let output = stores.output(&spec.output, alone).map_err(external)?;
        let max = match &spec.on_error {
            OnError::DeadLetter { max, .. } => *max,
            OnError::Fail | OnError::Null => None,
        };
        let attempt = Self {
            stores,
            executor,
            output,
            records: Records::of(&spec.job),
            key: SplitKey {
                split: split.to_string(),
                generation,
            },
            spec,
            sorter: Sorter {
                schema,
                columns,
                errors,
                split: split.to_string(),
                files,
                range,
                max,
            },
            bytes_read,
        };
        Ok((attempt, rows, begun))
    }

    pub(super) async fn run(&self, rows: Rows, progress: &Progress) -> Result<SinkReport> {
        let journal = Journal::new(self.output.as_ref(), &self.records);
        let done = journal.get(&self.key).await;
        if let Some(done) = done.map_err(|error| self.told(&error))? {
            return Ok(report(&done, true));
        }
        let name = new_attempt();
        let mut objects = self.objects(&name)?;
        match self.fill(&mut objects, rows, progress).await {
            Ok((written, output, dead_letters)) => {
                let entry = Entry {
                    key: self.key.clone(),
                    attempt: name,
                    executor: self.executor.to_string(),
                    output,
                    dead_letters,
                    rows_read: written.written + written.dead,
                    rows_written: written.written,
                    rows_dead: written.dead,
                    bytes_read: self.bytes_read,
                    times: progress.times(),
                };
                let entered = self.enter(&mut objects, journal, &entry).await;
                entered.map_err(|error| self.told(&error))
            }
            Err(error) => {
                objects.discard().await;
                Err(error)
            }
        }
    }

    fn objects(&self, name: &str) -> Result<Objects> {
        let path = |ending| self.records.object(&self.key, name, ending);
        let rows = Upload::new(
            Arc::clone(&self.output),
            self.records.intent(name),
            path(self.spec.format.ending()),
        );
        let letters = match &self.spec.on_error {
            OnError::Fail | OnError::Null => None,
            OnError::DeadLetter { uri, .. } => Some(Upload::new(
                self.stores.output(uri, None).map_err(external)?,
                self.records.intent(&format!("{name}-dead")),
                path("dead.json"),
            )),
        };
        Ok(Objects { rows, letters })
    }

    /// From here on only another's entry proves that nobody needs the objects: an entry whose answer is lost may land yet.
    async fn enter(
        &self,
        objects: &mut Objects,
        journal: Journal<'_>,
        entry: &Entry,
    ) -> object_store::Result<SinkReport> {
        objects.keep();
        match journal.enter(entry, &self.stores.trials()).await? {
            None => Ok(report(entry, false)),
            Some(first) => {
                objects.lost().await;
                Ok(report(&first, true))
            }
        }
    }

    /// Reads, scores and writes all rows of the split.
    async fn fill(
        &self,
        objects: &mut Objects,
        rows: Rows,
        progress: &Progress,
    ) -> Result<(Counts, Option<Receipt>, Option<Receipt>)> {
        let mut stream = rows()?;
        let mut encoder: Option<Encoder> = None;
        let mut counts = Counts::default();
        while let Some(batch) = self.next(&mut stream, progress).await? {
            let begun = monotonic();
            let sorted = self.sorter.sort(&batch)?;
            counts.dead += sorted.dead;
            progress.add_rows(sorted.rows.num_rows() as u64 + sorted.dead);
            self.sorter.check(counts.dead).map_err(external)?;
            if let Some(letters) = &mut objects.letters {
                let mut lines = sorted.letters;
                let pushed = letters.push(&mut lines).await;
                pushed.map_err(|error| self.told_of_letters(&error))?;
            }
            let count = sorted.rows.num_rows() as u64;
            if count > 0 {
                let encoder = match &mut encoder {
                    Some(encoder) => encoder,
                    none => none
                        .insert(Encoder::new(&self.spec, &self.sorter.schema).map_err(external)?),
                };
                encoder.write(&sorted.rows).await.map_err(external)?;
                counts.written += count;
                self.pass_on(encoder, objects, progress).await?;
            }
            progress.wrote(begun);
            // A cancel is seen after a few batches, however ready the next ones are.
            tokio::task::consume_budget().await;
        }
        drop(stream);
        let begun = monotonic();
        if let Some(encoder) = &mut encoder {
            encoder.finish().await.map_err(external)?;
            self.pass_on(encoder, objects, progress).await?;
        }
        let output = objects.rows.seal().await;
        let output = output.map_err(|error| self.told(&error))?;
        let letters = match &mut objects.letters {
            Some(letters) => letters.seal().await,
            None => Ok(None),
        };
        let letters = letters.map_err(|error| self.told_of_letters(&error))?;
        progress.wrote(begun);
        Ok((counts, output, letters))
    }

    /// The next rows, if they come in time.
    async fn next(
        &self,
        stream: &mut SendableRecordBatchStream,
        progress: &Progress,
    ) -> Result<Option<RecordBatch>> {
        let begun = monotonic();
        let batch = match poll!(stream.next()) {
            Poll::Ready(batch) => batch.transpose(),
            Poll::Pending => self.awaited(stream, progress).await,
        };
        progress.waited(begun);
        batch
    }

    /// Whatever holds a split up must not hold it for ever.
    async fn awaited(
        &self,
        stream: &mut SendableRecordBatchStream,
        progress: &Progress,
    ) -> Result<Option<RecordBatch>> {
        let patience = Duration::from_millis(self.spec.stall_ms);
        let mut before = progress.scored();
        loop {
            tokio::select! {
                batch = stream.next() => return batch.transpose(),
                () = pause(patience) => {}
            }
            // Where few rows pass a condition, much is scored before one comes.
            let now = progress.scored();
            if now == before {
                return Err(self.stalled(patience));
            }
            before = now;
        }
    }

    fn stalled(&self, patience: Duration) -> DataFusionError {
        let text = format!(
            "split {} brought no row for {} s on executor {}",
            self.key.split,
            patience.as_secs(),
            self.executor
        );
        external(Error::new(ErrorCode::Exhausted, text).with_hint(
            "look at what this executor and the input's store do; `job_stall` of the scheduler says how long a split may take",
        ))
    }

    async fn pass_on(
        &self,
        encoder: &mut Encoder,
        objects: &mut Objects,
        progress: &Progress,
    ) -> Result<()> {
        let mut bytes = encoder.take();
        progress.add_bytes(bytes.len() as u64);
        let pushed = objects.rows.push(&mut bytes).await;
        pushed.map_err(|error| self.told(&error))
    }

    fn told(&self, error: &StoreError) -> DataFusionError {
        told(&self.spec.output, error)
    }

    fn told_of_letters(&self, error: &StoreError) -> DataFusionError {
        match &self.spec.on_error {
            OnError::DeadLetter { uri, .. } => told(uri, error),
            OnError::Fail | OnError::Null => self.told(error),
        }
    }
}

impl Objects {
    fn each(&mut self) -> impl Iterator<Item = &mut Upload> {
        [&mut self.rows].into_iter().chain(&mut self.letters)
    }

    fn keep(&mut self) {
        self.each().for_each(Upload::keep);
    }

    async fn lost(&mut self) {
        for upload in self.each() {
            upload.lost().await;
        }
    }

    async fn discard(&mut self) {
        for upload in self.each() {
            upload.discard().await;
        }
    }
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
