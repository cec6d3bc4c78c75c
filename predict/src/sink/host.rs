//! The door between the end of a plan and whatever writes on this machine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::future::BoxFuture;
use whimbrel_proto::ids::SplitId;

use super::SinkSpec;

/// One split to be written.
pub struct SinkTask {
    pub spec: Arc<SinkSpec>,
    pub split: SplitId,
    pub generation: u32,
    /// The columns that are written.
    pub schema: SchemaRef,
    /// Where they are in the rows.
    pub columns: Vec<usize>,
    /// The columns of texts that tell, in JSON, why a row could not be scored.
    pub errors: Vec<usize>,
    /// The files that the rows come from, where that is known.
    pub files: Vec<String>,
    /// The bytes that they are of the only file, where they are not all of it.
    pub range: Option<(i64, i64)>,
    /// The bytes of input files that the split is.
    pub bytes_read: u64,
    pub context: Arc<TaskContext>,
    /// Where the time has gone so far, below the sink.
    pub times: Box<dyn Fn() -> Times + Send + Sync>,
    /// Begins to read and score; a split that is done already never does.
    pub rows: Box<dyn FnOnce() -> Result<SendableRecordBatchStream> + Send>,
}

impl fmt::Debug for SinkTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkTask")
            .field("job", &self.spec.job)
            .field("split", &self.split)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Where the time of a split goes. Several threads may score for it at once, and more time go than passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Rows were read, or waited for while nothing else could be done.
    pub read: Duration,
    /// Columns became tensors, and tensors columns.
    pub tensors: Duration,
    /// In the models.
    pub model: Duration,
}

/// What a split has come to, by this attempt or by one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_dead: u64,
    pub bytes_written: u64,
    /// Another attempt did it, and nothing of this one is left.
    pub already_done: bool,
}

/// Writes splits, each exactly once. Dropping the future gives the work up and throws away what it has staged.
pub trait SinkHost: Send + Sync + fmt::Debug {
    /// Returns when the split is entered as done.
    fn write(&self, task: SinkTask) -> BoxFuture<'static, Result<SinkReport>>;
}

/// The host as an extension of a task's `SessionConfig` (extensions are looked up by a sized type).
#[derive(Clone, Debug)]
pub struct SinkHostRef(pub Arc<dyn SinkHost>);
