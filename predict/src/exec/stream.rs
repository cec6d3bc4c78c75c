//! The scoring of one partition: reads ahead of its reader by a few feeds at most, keeps the order of the rows, and stops
//! when it is dropped.
//!
//! The model is opened when the first row that needs it arrives. A feed that is not yet full is sent when the input has
//! nothing more for now and the model nothing to do; so small batches are put together while the model is busy, and never
//! wait while it is idle.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};
use futures::stream::{Stream, StreamExt};
use whimbrel_proto::{Error, ErrorCode};

use crate::error::external;
use crate::exec::catch;
use crate::exec::clock::Waiting;
use crate::exec::feeds::{Bounds, Group, Segment};
use crate::exec::inputs::{From, chosen};
use crate::exec::job::{Job, Metrics, job_id};
use crate::exec::{BATCH_BYTES, BATCH_ROWS, PredictExec};
use crate::runtime::{Model, ModelHost, ModelHostRef};

/// However many feeds a model asks for, a reader that stops after ten rows must not have scored a hundred thousand.
const MAX_FEEDS_AHEAD: usize = 8;

/// Starts the scoring of one partition.
pub(super) fn score(
    exec: &PredictExec,
    partition: usize,
    context: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let host = context
        .session_config()
        .get_extension::<ModelHostRef>()
        .ok_or_else(|| {
            let what = format!(
                "PREDICT('{}') was planned where no models are run",
                exec.binding.alias
            );
            external(Error::new(ErrorCode::Bug, what))
        })?;
    let job = Job {
        binding: Arc::clone(&exec.binding),
        inputs: Arc::clone(&exec.inputs),
        mask: exec.mask.clone(),
        schema: exec.schema(),
        errors: exec.errors.clone(),
        known: exec.known.clone(),
        job_id: job_id(context).into(),
        partition,
        metrics: Metrics::new(&exec.metrics, partition),
    };
    Ok(Box::pin(ScoreStream {
        waiting: Waiting::new(job.metrics.read_time.clone()),
        input: exec.input.execute(partition, Arc::clone(context))?,
        host: Arc::clone(&host.0),
        job: Arc::new(job),
        baseline: BaselineMetrics::new(&exec.metrics, partition),
        model: ModelState::Closed,
        allowed: 1,
        rest: None,
        cut_rows: 0,
        segments: VecDeque::new(),
        group: Group::default(),
        under_way: VecDeque::new(),
        ready: VecDeque::new(),
        stage: Stage::Reading,
    }))
}

enum ModelState {
    Closed,
    Opening(BoxFuture<'static, Result<Arc<dyn Model>>>),
    Open(Arc<dyn Model>),
}

/// Rows read but not yet cut into segments.
struct Rest {
    batch: RecordBatch,
    chosen: Option<BooleanArray>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    InputEnded,
    Failed,
}

/// Why no more feeds could be started.
enum Filled {
    /// As many feeds as may be are under way.
    Enough,
    /// The input, or the model's load, is awaited.
    Waiting,
    /// Everything has been fed.
    Ended,
}

type Scoring = BoxFuture<'static, Result<Vec<RecordBatch>>>;

struct ScoreStream {
    input: SendableRecordBatchStream,
    host: Arc<dyn ModelHost>,
    job: Arc<Job>,
    baseline: BaselineMetrics,
    model: ModelState,
    /// Grows from one with every answer: a reader that wants a few rows only has little scored for nothing.
    allowed: usize,
    rest: Option<Rest>,
    /// Rows that were cut into segments so far.
    cut_rows: usize,
    segments: VecDeque<Segment>,
    group: Group,
    under_way: VecDeque<MaybeDone<Scoring>>,
    ready: VecDeque<RecordBatch>,
    stage: Stage,
    /// For rows, while there is nothing else to do.
    waiting: Waiting,
}

impl ScoreStream {
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.stage == Stage::Failed {
                return Poll::Ready(None);
            }
            let filled = match self.fill(cx) {
                Ok(filled) => filled,
                Err(error) => return self.fail(error),
            };
            match (self.poll_oldest(cx), filled) {
                (Some(Poll::Ready(Ok(batches))), _) => {
                    self.allowed += 1;
                    self.ready.extend(batches);
                }
                (Some(Poll::Ready(Err(error))), _) => return self.fail(error),
                (None, Filled::Ended) => return Poll::Ready(None),
                (Some(Poll::Pending), _) | (None, Filled::Enough | Filled::Waiting) => {
                    return Poll::Pending;
                }
            }
        }
    }

    /// What the oldest feed under way has come to. All are polled, so that each has begun and wakes this task when it ends.
    fn poll_oldest(&mut self, cx: &mut Context<'_>) -> Option<Poll<Result<Vec<RecordBatch>>>> {
        for scoring in &mut self.under_way {
            let _ = scoring.poll_unpin(cx);
        }
        let oldest = self.under_way.front_mut()?;
        let Some(answer) = Pin::new(oldest).take_output() else {
            return Some(Poll::Pending);
        };
        self.under_way.pop_front();
        Some(Poll::Ready(answer))
    }

    fn fail<T>(&mut self, error: datafusion::error::DataFusionError) -> Poll<Option<Result<T>>> {
        self.stage = Stage::Failed;
        self.under_way.clear();
        Poll::Ready(Some(Err(error)))
    }

    /// Starts feeds until as many are under way as may be, or there is nothing to feed.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Filled> {
        loop {
            if self.under_way.len() >= self.ahead() {
                return Ok(Filled::Enough);
            }
            if let Some(segment) = self.segments.pop_front() {
                self.collect(segment);
            } else if let Some(rest) = self.rest.take() {
                if !self.cut(rest, cx)? {
                    return Ok(Filled::Waiting);
                }
            } else if self.stage == Stage::InputEnded {
                if self.group.is_empty() {
                    return Ok(Filled::Ended);
                }
                self.send();
            } else if !self.read(cx)? {
                return Ok(Filled::Waiting);
            }
        }
    }

    /// Asked for anew each time, as the bounds are: what a model takes at once changes as the host learns how fast it is.
    fn ahead(&self) -> usize {
        match &self.model {
            ModelState::Open(model) => {
                let ahead = model.feeds_ahead().clamp(1, MAX_FEEDS_AHEAD);
                self.allowed.min(ahead)
            }
            ModelState::Closed | ModelState::Opening(_) => 1,
        }
    }

    fn bounds(&self) -> Bounds {
        let rows = match &self.model {
            ModelState::Open(model) => model.batch_rows().clamp(1, BATCH_ROWS),
            ModelState::Closed | ModelState::Opening(_) => BATCH_ROWS,
        };
        Bounds {
            rows,
            bytes: BATCH_BYTES,
        }
    }

    /// Puts the segment into the next feed, and sends feeds that are full.
    fn collect(&mut self, segment: Segment) {
        let bounds = self.bounds();
        if !self.group.is_empty() && !self.group.fits(&segment, bounds) {
            self.segments.push_front(segment);
            return self.send();
        }
        self.group.push(segment);
        if self.group.is_full(bounds) {
            self.send();
        }
    }

    fn send(&mut self) {
        let model = match &self.model {
            ModelState::Open(model) => Some(Arc::clone(model)),
            ModelState::Closed | ModelState::Opening(_) => None,
        };
        let group = mem::take(&mut self.group);
        let scoring: Scoring = Box::pin(Arc::clone(&self.job).score(model, group));
        self.under_way.push_back(maybe_done(scoring));
    }

    /// Reads one batch; false where the input has none for now.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        self.waiting.end();
        let polled = {
            let _timer = self.job.metrics.read_time.timer();
            self.input.poll_next_unpin(cx)
        };
        match polled {
            Poll::Ready(Some(batch)) => {
                let batch = batch?;
                let _timer = self.baseline.elapsed_compute().timer();
                let chosen = chosen(self.job.mask.as_ref(), &batch)?;
                self.rest = (batch.num_rows() > 0).then_some(Rest { batch, chosen });
                Ok(true)
            }
            Poll::Ready(None) => {
                self.stage = Stage::InputEnded;
                Ok(true)
            }
            Poll::Pending => {
                if self.under_way.is_empty() && self.group.is_empty() {
                    self.waiting.begin();
                } else if self.under_way.is_empty() {
                    self.send();
                }
                Ok(false)
            }
        }
    }

    /// Makes segments of the next rows, as many as one feed takes; false while the model they need is being opened.
    fn cut(&mut self, rest: Rest, cx: &mut Context<'_>) -> Result<bool> {
        if rest
            .chosen
            .as_ref()
            .is_some_and(|chosen| chosen.true_count() == 0)
        {
            self.cut_rows += rest.batch.num_rows();
            self.segments.push_back(Segment::unscored(rest.batch));
            return Ok(true);
        }
        if self.poll_model(cx)?.is_pending() {
            self.rest = Some(rest);
            return Ok(false);
        }
        let _timer = self.baseline.elapsed_compute().timer();
        let bounds = self.bounds();
        let Rest { batch, chosen } = rest;
        let rows = batch.num_rows().min(bounds.rows);
        let left = batch.num_rows() - rows;
        self.rest = (left > 0).then(|| Rest {
            batch: batch.slice(rows, left),
            chosen: chosen.as_ref().map(|chosen| chosen.slice(rows, left)),
        });
        let from = From {
            row: self.cut_rows,
            partition: self.job.partition,
        };
        self.cut_rows += rows;
        let batch = batch.slice(0, rows);
        let chosen = chosen.map(|chosen| chosen.slice(0, rows));
        if chosen
            .as_ref()
            .is_some_and(|chosen| chosen.true_count() == 0)
        {
            self.segments.push_back(Segment::unscored(batch));
            return Ok(true);
        }
        let inputs = &self.job.inputs;
        let segment = if self.job.errors.is_caught() {
            let caught = catch::evaluate(inputs, &batch, chosen, from)?;
            Segment::new(batch, caught.chosen, caught.args)
                .with_failed(caught.failed)
                .after(from.row)
        } else {
            let args = inputs.evaluate(&batch, chosen.as_ref(), from)?;
            Segment::new(batch, chosen, args)
        };
        self.segments.extend(segment.cut(bounds));
        Ok(true)
    }

    fn poll_model(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>> {
        loop {
            match &mut self.model {
                ModelState::Open(_) => return Ok(Poll::Ready(())),
                ModelState::Closed => {
                    let opening = Arc::clone(&self.job).open(Arc::clone(&self.host));
                    self.model = ModelState::Opening(Box::pin(opening));
                }
                ModelState::Opening(opening) => match opening.as_mut().poll(cx) {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(model) => self.model = ModelState::Open(model?),
                },
            }
        }
    }
}

impl Stream for ScoreStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_batch(cx);
        self.baseline.record_poll(polled)
    }
}

impl RecordBatchStream for ScoreStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.job.schema)
    }
}
