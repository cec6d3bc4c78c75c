//! Writes the splits of score jobs: each as one object that nobody sees, entered into the job's journal once it is whole. Of several
//! attempts at a split the first that enters wins; the others throw away what they made.

mod attempt;
mod encode;
mod letters;
mod running;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use whimbrel_predict::error::external;
use whimbrel_predict::sink::{SinkHost, SinkReport, SinkTask};
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::v1::RunningSplit;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::output::explain;
use whimbrel_stores::{Spent, Stores, spent};

use self::attempt::Attempt;
use self::running::Running;
use crate::engine::linked_stores;

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    stores: Stores,
    executor: ExecutorId,
    running: Arc<Running>,
}

impl Writer {
    /// Writes with these stores, in the name of this executor.
    pub(crate) fn new(stores: Stores, executor: ExecutorId) -> Self {
        Self {
            stores,
            executor,
            running: Arc::default(),
        }
    }

    /// The engine's jobs that they are of.
    pub(crate) fn engine_jobs(&self) -> HashSet<String> {
        self.running.engine_jobs()
    }

    /// Has the splits of these score jobs end.
    pub(crate) fn give_up(&self, jobs: &[String]) {
        self.running.give_up(jobs);
    }

    /// The splits that are being written now.
    pub(crate) fn running(&self) -> Vec<RunningSplit> {
        self.running.splits()
    }
}

impl SinkHost for Writer {
    fn write(&self, task: SinkTask) -> BoxFuture<'static, Result<SinkReport>> {
        let (stores, executor) = (self.stores.clone(), self.executor.clone());
        let running = Arc::clone(&self.running);
        async move {
            let stores = linked_stores(&stores, task.context.session_config())?;
            let (attempt, rows, begun) = Attempt::new(stores, executor, task)?;
            let progress = running.begin(begun);
            let run = attempt.run(rows, &progress);
            match progress.given_up().run_until_cancelled(run).await {
                Some(ended) => ended,
                None => Err(external(Error::new(
                    ErrorCode::Cancelled,
                    "the score job has ended",
                ))),
            }
        }
        .boxed()
    }
}

/// What the engine is told of an output's error. One that a store repeated until its budget was spent is final.
fn told(uri: &str, error: &object_store::Error) -> DataFusionError {
    let said = explain(uri, error);
    match spent(error) {
        Some(_) => DataFusionError::External(Box::new(Spent::new(said))),
        None => external(said),
    }
}
