//! Brings what became of the tasks to the scheduler, in order and until it is heard: a status that is lost leaves a stage
//! waiting for ever. The structured error goes before Ballista's status, which carries text only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ballista_core::serde::protobuf::{TaskStatus, UpdateTaskStatusParams};
use tokio::sync::{Notify, mpsc};
use tonic::{Code, Status};
use tracing::{error, warn};
use whimbrel_proto::Error;
use whimbrel_proto::v1::{ErrorDetail, ReportTaskErrorRequest, TaskKey};

use super::Shared;
use super::link::Backoff;
use super::table::Accepted;
use crate::clock::pause;

/// How often a status is sent again that the scheduler got and refused: it would refuse it for ever.
const REFUSALS: u32 = 5;

/// What became of one task.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: TaskStatus,
    /// The reason, where it failed.
    pub(super) error: Option<(TaskKey, Error)>,
    /// The membership in which the task came.
    pub(super) membership: u64,
    /// Held until the status is sent: a task counts as running until then.
    pub(super) accepted: Accepted,
}

/// Where outcomes are put.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Outcome>,
    unsent: Arc<Unsent>,
}

#[derive(Debug, Default)]
struct Unsent {
    count: AtomicUsize,
    none: Notify,
}

impl Outbox {
    pub(super) fn new(places: usize) -> (Self, mpsc::Receiver<Outcome>) {
        let (sender, receiver) = mpsc::channel(places);
        (
            Self {
                sender,
                unsent: Arc::default(),
            },
            receiver,
        )
    }

    pub(super) async fn put(&self, outcome: Outcome) {
        self.unsent.count.fetch_add(1, Ordering::AcqRel);
        if self.sender.send(outcome).await.is_err() {
            // The executor has stopped; the scheduler was told so.
            self.sent();
        }
    }

    fn sent(&self) {
        if self.unsent.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.unsent.none.notify_waiters();
        }
    }

    /// Returns once everything put so far is sent.
    pub(super) async fn flushed(&self) {
        loop {
            let none = self.unsent.none.notified();
            if self.unsent.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Sends outcomes until the executor stops.
pub(super) async fn deliver(shared: Arc<Shared>, mut outcomes: mpsc::Receiver<Outcome>) {
    let delivering = async {
        while let Some(outcome) = outcomes.recv().await {
            send(&shared, outcome).await;
            shared.outbox.sent();
        }
    };
    shared.stop.run_until_cancelled(delivering).await;
}

async fn send(shared: &Shared, outcome: Outcome) {
    let Outcome {
        status,
        error,
        membership,
        accepted,
    } = outcome;
    if let Some((task, error)) = error {
        let request = ReportTaskErrorRequest {
            executor_id: shared.id.to_string(),
            task: Some(task),
            error: Some(ErrorDetail::from(&error)),
        };
        let call = || {
            let (mut scheduler, request) = (shared.link.cluster(), request.clone());
            async move { scheduler.report_task_error(request).await.map(drop) }
        };
        persist(shared, membership, "a task's error", call).await;
    }
    let params = UpdateTaskStatusParams {
        executor_id: shared.id.to_string(),
        task_status: vec![status],
    };
    let call = || {
        let (mut scheduler, params) = (shared.link.engine(), params.clone());
        async move { scheduler.update_task_status(params).await.map(drop) }
    };
    persist(shared, membership, "a task's status", call).await;
    drop(accepted);
}

/// Calls until it is accepted, nobody waits for it any more, or it is refused for good.
async fn persist<F>(shared: &Shared, membership: u64, what: &str, call: impl Fn() -> F)
where
    F: Future<Output = Result<(), Status>>,
{
    let mut backoff = Backoff::new();
    let mut refusals = 0;
    while shared.standing.membership() == membership {
        let Err(status) = call().await else { return };
        let lost = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown
        );
        let first = backoff.is_fresh();
        let error = Error::from(status);
        if !lost {
            refusals += 1;
        }
        if refusals == REFUSALS {
            error!(executor_id = %shared.id, %error, "the scheduler refuses {what}, giving it up");
            return;
        }
        if first {
            warn!(executor_id = %shared.id, %error, "cannot send {what}, trying on");
        }
        pause(backoff.step()).await;
    }
}
