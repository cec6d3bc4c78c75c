//! What there is to hear of a running job: its own statuses, tasks that end, executors that come and go.

use ballista_core::serde::protobuf::JobStatus;
use tokio::sync::{mpsc, watch};
use whimbrel_proto::ids::JobId;

use super::{Engine, Phase, state_of};
use crate::executors::Executors;

/// Something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// How the job stands.
    Job(Phase),
    /// Tasks have ended somewhere.
    Tasks,
    /// An executor came, went, or stopped taking tasks.
    Executors,
}

/// Follows one job.
#[derive(Debug)]
pub(crate) struct Following {
    engine: Engine,
    job_id: JobId,
    statuses: mpsc::Receiver<JobStatus>,
    ticks: watch::Receiver<u64>,
    members: watch::Receiver<u64>,
}

impl Following {
    pub(super) fn new(
        engine: Engine,
        job_id: JobId,
        statuses: mpsc::Receiver<JobStatus>,
        executors: &Executors,
    ) -> Self {
        Self {
            ticks: engine.ticks(),
            members: executors.watch(),
            engine,
            job_id,
            statuses,
        }
    }

    /// The job's name in the engine.
    pub(crate) fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// Waits for the next news; nothing is lost where the future is dropped.
    pub(crate) async fn next(&mut self) -> News {
        tokio::select! {
            status = self.statuses.recv() => News::Job(match status {
                Some(status) => state_of(&status),
                // The engine has let go of the job; its last word is in its state.
                None => self.engine.state(&self.job_id).await.unwrap_or(Phase::Failed),
            }),
            _ = self.members.changed() => News::Executors,
            _ = self.ticks.changed() => News::Tasks,
        }
    }
}
