//! Rows to feeds and back: batches are cut into segments that fit the model's bounds, small segments are put together into
//! one feed, and the feed's answer is laid beside the segments' rows again. Only arguments are ever copied, and only to put
//! them together; the rows themselves pass through as they came.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use datafusion::error::Result;

use crate::exec::catch::{self, Failed, RowErrors};
use crate::exec::inputs::original;
use crate::exec::job::Job;

/// How many rows a feed may hold back in segments of which nothing is scored, in multiples of the model's batch.
const HELD_BATCHES: usize = 8;

/// What one feed may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub rows: usize,
    pub bytes: usize,
}

/// Rows that stay together, with the arguments of those that are scored.
#[derive(Debug)]
pub(super) struct Segment {
    batch: RecordBatch,
    chosen: Option<BooleanArray>,
    args: Vec<ArrayRef>,
    /// Rows that have no arguments, in order.
    failed: Vec<Failed>,
    /// The place of the first row among those that came.
    first: usize,
    scored: usize,
    bytes: usize,
}

impl Segment {
    /// `args` are those of the rows that `chosen` picks, of all rows where it is none.
    pub(super) fn new(
        batch: RecordBatch,
        chosen: Option<BooleanArray>,
        args: Vec<ArrayRef>,
    ) -> Self {
        let scored = chosen
            .as_ref()
            .map_or_else(|| batch.num_rows(), BooleanArray::true_count);
        let bytes = args.iter().map(slice_bytes).sum();
        Self {
            batch,
            chosen,
            args,
            failed: Vec::new(),
            first: 0,
            scored,
            bytes,
        }
    }

    /// The same, whose first row is the one after `first` others.
    pub(super) fn after(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The same, some of whose rows are known not to be scored.
    pub(super) fn with_failed(self, failed: Vec<Failed>) -> Self {
        Self { failed, ..self }
    }

    /// The rows pass by the model.
    pub(super) fn unscored(batch: RecordBatch) -> Self {
        let chosen = Some(BooleanArray::from(vec![false; batch.num_rows()]));
        Self {
            batch,
            chosen,
            args: Vec::new(),
            failed: Vec::new(),
            first: 0,
            scored: 0,
            bytes: 0,
        }
    }

    /// Halves it until every part is within the bounds; a single row is as small as it gets.
    pub(super) fn cut(self, bounds: Bounds) -> Vec<Self> {
        let mut parts = Vec::with_capacity(1);
        let mut open = vec![self];
        while let Some(segment) = open.pop() {
            let rows = segment.batch.num_rows();
            let fits = segment.scored <= bounds.rows && segment.bytes <= bounds.bytes;
            if fits || rows < 2 {
                parts.push(segment);
            } else {
                let at = rows / 2;
                open.push(segment.slice(at, rows - at));
                open.push(segment.slice(0, at));
            }
        }
        parts
    }

    fn slice(&self, offset: usize, rows: usize) -> Self {
        let (first, scored, chosen) = match &self.chosen {
            None => (offset, rows, None),
            Some(chosen) => {
                let part = chosen.slice(offset, rows);
                (
                    chosen.slice(0, offset).true_count(),
                    part.true_count(),
                    Some(part),
                )
            }
        };
        let args = self
            .args
            .iter()
            .map(|arg| arg.slice(first, scored))
            .collect();
        let failed = self
            .failed
            .iter()
            .filter(|(row, _)| (offset..offset + rows).contains(row))
            .map(|(row, error)| (row - offset, error.clone()));
        Self::new(self.batch.slice(offset, rows), chosen, args)
            .with_failed(failed.collect())
            .after(self.first + offset)
    }

    /// The rows with the model's values beside them; `failed` are those among the scored ones that have none.
    fn attach(mut self, values: &ArrayRef, failed: Vec<Failed>, job: &Job) -> Result<RecordBatch> {
        let column = match &self.chosen {
            None => Arc::clone(values),
            Some(chosen) => scatter(values, chosen)?,
        };
        let mut columns = self.batch.columns().to_vec();
        columns.push(column);
        if matches!(job.errors, RowErrors::Told(_)) {
            let place = |(scored, error)| (original(scored, self.chosen.as_ref()), error);
            self.failed.extend(failed.into_iter().map(place));
            columns.push(catch::told(
                &self.batch,
                self.first,
                &self.failed,
                &job.binding,
            ));
        }
        Ok(RecordBatch::try_new(Arc::clone(&job.schema), columns)?)
    }
}

fn slice_bytes(array: &ArrayRef) -> usize {
    let data = array.to_data();
    data.get_slice_memory_size()
        .unwrap_or_else(|_| array.get_array_memory_size())
}

/// The n-th value goes to the n-th chosen row; the other rows get NULL.
fn scatter(values: &ArrayRef, chosen: &BooleanArray) -> Result<ArrayRef, ArrowError> {
    if values.is_empty() {
        return Ok(new_null_array(values.data_type(), chosen.len()));
    }
    let mut next = 0;
    let places: UInt32Array = chosen
        .values()
        .iter()
        .map(|is_chosen| {
            let place = is_chosen.then_some(next);
            next += u32::from(is_chosen);
            place
        })
        .collect();
    take(values, &places, None)
}

/// Segments that go to the model together.
#[derive(Debug, Default)]
pub(super) struct Group {
    segments: Vec<Segment>,
    scored: usize,
    bytes: usize,
    held: usize,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many rows the model gets.
    pub(super) fn scored(&self) -> usize {
        self.scored
    }

    pub(super) fn fits(&self, segment: &Segment, bounds: Bounds) -> bool {
        self.scored + segment.scored <= bounds.rows && self.bytes + segment.bytes <= bounds.bytes
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.scored += segment.scored;
        self.bytes += segment.bytes;
        self.held += segment.batch.num_rows();
        self.segments.push(segment);
    }

    /// More than half full counts: another like it would not fit, and by then a call's own cost is small.
    pub(super) fn is_full(&self, bounds: Bounds) -> bool {
        self.scored > bounds.rows / 2
            || self.bytes > bounds.bytes / 2
            || self.held >= bounds.rows.saturating_mul(HELD_BATCHES)
    }

    /// The arguments of all scored rows, one array per input of the model.
    pub(super) fn columns(&self) -> Result<Vec<ArrayRef>, ArrowError> {
        let parts: Vec<&Segment> = self
            .segments
            .iter()
            .filter(|segment| segment.scored > 0)
            .collect();
        match parts.as_slice() {
            [] => Ok(Vec::new()),
            [only] => Ok(only.args.clone()),
            [first, ..] => (0..first.args.len())
                .map(|place| {
                    let arrays: Vec<&dyn Array> =
                        parts.iter().map(|part| part.args[place].as_ref()).collect();
                    concat(&arrays)
                })
                .collect(),
        }
    }

    /// The segments' rows with their values, in order; `values` is none where nothing was scored. `failed` are the places of the
    /// values that are missing.
    pub(super) fn attach(
        self,
        values: Option<&ArrayRef>,
        failed: Vec<Failed>,
        job: &Job,
    ) -> Result<Vec<RecordBatch>> {
        let mut failed = failed.into_iter().peekable();
        let mut offset = 0;
        self.segments
            .into_iter()
            .map(|segment| {
                let scored = segment.scored;
                let part = match values {
                    Some(values) => values.slice(offset, scored),
                    None => new_null_array(&job.binding.returns, 0),
                };
                let mut own = Vec::new();
                while let Some((place, error)) =
                    failed.next_if(|(place, _)| *place < offset + scored)
                {
                    own.push((place - offset, error));
                }
                offset += scored;
                segment.attach(&part, own, job)
            })
            .collect()
    }
}
