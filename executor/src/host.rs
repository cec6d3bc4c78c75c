//! What the shell needs of whatever runs the models: the host that tasks score with, and the facts it reports of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use whimbrel_predict::runtime::ModelHost;
use whimbrel_proto::v1::LoadedModel;

/// Live facts of a model host, read every second or two for the report to the scheduler.
pub trait HostStats: Send + Sync + fmt::Debug {
    /// The models in memory now.
    fn loaded(&self) -> Vec<LoadedModel>;
    /// Rows scored so far, by engine job.
    fn rows_by_job(&self) -> HashMap<String, u64>;
    /// The job is over: its counter may go.
    fn forget_job(&self, job_id: &str);
    /// No task is left: end the threads and give back the memory. Waits until they have ended.
    fn shut_down(&self);
}

/// The parts of an executor that a caller may bring: the pool brings ONNX Runtime's, tests bring their own.
#[derive(Clone, Debug)]
pub struct Parts {
    pub host: Arc<dyn ModelHost>,
    pub stats: Arc<dyn HostStats>,
}
