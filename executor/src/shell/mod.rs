//! The shell round the engine: membership, tasks, outcomes, clean-up. `Shared` is what its parts have in common; each part is
//! a future that ends when `stop` fires, and all of them are tracked.

mod clean;
mod failure;
mod fetch;
mod grpc;
mod link;
mod membership;
mod outbox;
mod standing;
mod table;
mod tasks;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::ExecutorRegistration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use whimbrel_proto::Error;
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::v1::{ErrorDetail, ReportTaskErrorRequest, TaskKey};

pub(crate) use self::failure::store as store_error;
pub(crate) use self::fetch::SchedulerModels;
pub(crate) use self::grpc::TaskService;
pub(crate) use self::link::Link;
use self::outbox::{Outbox, Outcome};
pub(crate) use self::standing::Standing;
use self::table::TaskTable;
use self::tasks::PutOff;
#[cfg(test)]
pub(crate) use self::tasks::start_task;
use crate::engine::{ClientPool, Engine};
use crate::flight::ResultIndex;
use crate::flight::door::ClientDoor;
use crate::flight::served::Served;
use crate::host::HostStats;
use crate::workdir::WorkDir;
use crate::workers::Workers;

/// Outcomes that may wait per slot while the scheduler does not answer.
const OUTCOMES_PER_SLOT: usize = 50;

/// What the parts of one executor share.
pub(crate) struct Shared {
    pub(crate) id: ExecutorId,
    pub(crate) scheduler: String,
    pub(crate) client_address: String,
    pub(crate) client_tls: bool,
    pub(crate) registration: ExecutorRegistration,
    pub(crate) slots: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) result_ttl: Duration,
    pub(crate) link: Link,
    pub(crate) engine: Arc<Engine>,
    pub(crate) clients: ClientPool,
    pub(crate) workers: Workers,
    pub(crate) stats: Arc<dyn HostStats>,
    pub(crate) index: Arc<ResultIndex>,
    pub(crate) door: Arc<ClientDoor>,
    pub(crate) served: Served,
    pub(crate) standing: Arc<Standing>,
    pub(crate) tracker: TaskTracker,
    /// Fires when the executor ends.
    pub(crate) stop: CancellationToken,
    /// Fires when the scheduler asks for an orderly end.
    pub(crate) stop_asked: CancellationToken,
    tasks: Arc<TaskTable>,
    slots_free: Semaphore,
    put_off: PutOff,
    outbox: Outbox,
    /// Last: the folders go when everything else of the executor has gone.
    pub(crate) work: WorkDir,
}

/// What `Shared` is made from.
pub(crate) struct Ingredients {
    pub(crate) id: ExecutorId,
    pub(crate) scheduler: String,
    pub(crate) client_address: String,
    pub(crate) client_tls: bool,
    pub(crate) registration: ExecutorRegistration,
    pub(crate) slots: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) result_ttl: Duration,
    pub(crate) link: Link,
    pub(crate) engine: Engine,
    pub(crate) clients: ClientPool,
    pub(crate) workers: Workers,
    pub(crate) stats: Arc<dyn HostStats>,
    pub(crate) work: WorkDir,
}

/// What is left to send when the shell starts.
pub(crate) struct Outcomes(mpsc::Receiver<Outcome>);

impl Shared {
    pub(crate) fn new(from: Ingredients) -> (Arc<Self>, Outcomes) {
        let (outbox, outcomes) = Outbox::new(from.slots * OUTCOMES_PER_SLOT);
        let shared = Self {
            id: from.id,
            scheduler: from.scheduler,
            client_address: from.client_address,
            client_tls: from.client_tls,
            door: Arc::new(ClientDoor::new(from.link.clone())),
            served: Served::default(),
            registration: from.registration,
            slots: from.slots,
            heartbeat: from.heartbeat,
            result_ttl: from.result_ttl,
            link: from.link,
            engine: Arc::new(from.engine),
            clients: from.clients,
            workers: from.workers,
            stats: from.stats,
            index: Arc::new(ResultIndex::new(from.work.jobs())),
            standing: Arc::default(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_asked: CancellationToken::new(),
            tasks: Arc::default(),
            slots_free: Semaphore::new(from.slots),
            put_off: PutOff::default(),
            outbox,
            work: from.work,
        };
        (Arc::new(shared), Outcomes(outcomes))
    }

    /// Starts the parts that talk to the scheduler.
    pub(crate) fn start(self: &Arc<Self>, outcomes: Outcomes) {
        self.tracker
            .spawn(outbox::deliver(Arc::clone(self), outcomes.0));
        self.tracker.spawn(membership::stay(Arc::clone(self)));
        let (link, stop) = (self.link.clone(), self.stop.clone());
        self.tracker
            .spawn(async move { stop.run_until_cancelled(link.renew()).await });
        self.tracker.spawn(clean::sweep(Arc::clone(self)));
    }

    /// Finishes the running tasks, sends their outcomes, and serves results until nobody wants them.
    pub(crate) async fn finish(&self) {
        self.standing.start_draining();
        self.tasks.idle().await;
        self.outbox.flushed().await;
        debug!(executor_id = %self.id, "all tasks have ended, serving what is still wanted");
        let mut reports = self.standing.reports();
        let asked_at = reports.borrow().answers;
        self.standing.ask_report();
        // The answer on its way may be older than the last task; the second one is not.
        let done = reports.wait_for(|last| {
            last.answers >= asked_at + 2
                && self.none_here(&last.wanted_jobs)
                && self.tasks.count() == 0
        });
        // The sender is a part of `self`, so there is no error to see.
        let _ = done.await;
    }

    fn none_here(&self, wanted: &[String]) -> bool {
        let here = self.index.jobs();
        !wanted.iter().any(|job| here.contains(job))
    }

    /// Tells the running tasks to end.
    pub(crate) fn cancel_all(&self) {
        self.tasks.cancel_others(&HashSet::new());
    }

    /// Gives up the running tasks and waits until their threads are free, but not for ever.
    pub(crate) async fn give_up(&self, patience: Duration) -> bool {
        self.cancel_all();
        tokio::time::timeout(patience, self.tasks.idle())
            .await
            .is_ok()
    }

    /// Tells the scheduler that this executor ends.
    pub(crate) async fn leave(&self, reason: &str) {
        membership::leave(self, reason).await;
    }

    /// Tells why a task could not even start; Ballista's answer to the launch has no room for it.
    async fn report_error(&self, task: TaskKey, error: &Error) {
        let request = ReportTaskErrorRequest {
            executor_id: self.id.to_string(),
            task: Some(task),
            error: Some(ErrorDetail::from(error)),
        };
        if let Err(status) = self.link.cluster().report_task_error(request).await {
            debug!(executor_id = %self.id, error = %Error::from(status), "a task's error could not be sent");
        }
    }
}
