//! One score job in this process: its record, what is known of it beyond that, and who waits for news of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whimbrel_proto::Error;
use whimbrel_proto::ids::{JobId, ScoreJobId};
use whimbrel_stores::job::Times;

use super::progress::Done;
use super::record::Record;
use super::state::{Event, State};
use crate::store::Revision;

/// What is known of a job that no record keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The engine's job that it is now.
    pub(crate) engine_job: Option<JobId>,
    /// What the journal says.
    pub(crate) journal: Done,
    /// What the journal said when the engine got the job.
    pub(crate) base: Done,
    /// Of the engine's job: finished tasks, rows and running tasks by executor.
    pub(crate) tasks_done: u64,
    pub(crate) tasks_failed: u64,
    /// Of the engine's jobs that it was before.
    pub(crate) failed_before: u64,
    pub(crate) rows: BTreeMap<String, u64>,
    pub(crate) running: BTreeMap<String, u64>,
    /// Of the splits that are being written.
    pub(crate) times: Times,
    /// Of the splits that are being written, whoever handed them out.
    pub(crate) rows_at_work: u64,
    /// How many jobs have their turn before it.
    pub(crate) behind: usize,
    /// Rows a second, over the last seconds and in all.
    pub(crate) rate_now: u64,
    pub(crate) rate_overall: u64,
    /// What holds it up.
    pub(crate) problem: Option<Error>,
    /// Counts changes of the record, so that whoever waits sees them.
    pub(super) changes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Job {
    id: ScoreJobId,
    written: Mutex<(Record, Revision)>,
    /// Held while the record is being written: one change at a time.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Held by the task that drives the job.
    pub(super) driving: tokio::sync::Mutex<()>,
    live: watch::Sender<Live>,
    stop: Mutex<CancellationToken>,
    /// Another scheduler had it, and this one has not handed it out yet.
    found: AtomicBool,
}

impl Job {
    pub(super) fn new(record: Record, revision: Revision) -> Self {
        Self {
            id: record.id.clone(),
            written: Mutex::new((record, revision)),
            writing: tokio::sync::Mutex::new(()),
            driving: tokio::sync::Mutex::new(()),
            live: watch::Sender::new(Live::default()),
            stop: Mutex::new(CancellationToken::new()),
            found: AtomicBool::new(false),
        }
    }

    /// It was another scheduler's.
    pub(super) fn find(&self) {
        self.found.store(true, Ordering::Relaxed);
    }

    /// Whether another scheduler had it, and this one has handed nothing of it out yet.
    pub(super) fn was_found(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }

    /// From here on its splits are this scheduler's.
    pub(super) fn take(&self) {
        self.found.store(false, Ordering::Relaxed);
    }

    pub(crate) fn id(&self) -> &ScoreJobId {
        &self.id
    }

    fn written(&self) -> MutexGuard<'_, (Record, Revision)> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as it was last written.
    pub(crate) fn record(&self) -> Record {
        self.written().0.clone()
    }

    pub(crate) fn state(&self) -> State {
        self.written().0.state
    }

    pub(super) fn revision(&self) -> Revision {
        self.written().1
    }

    /// The record is in the store now.
    pub(super) fn wrote(&self, record: Record, revision: Revision) {
        *self.written() = (record, revision);
        self.live.send_modify(|live| live.changes += 1);
    }

    pub(crate) fn live(&self) -> Live {
        self.live.borrow().clone()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Live)) {
        self.live.send_modify(change);
    }

    /// Changes whenever the job does.
    pub(crate) fn watch(&self) -> watch::Receiver<Live> {
        self.live.subscribe()
    }

    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fires when the job shall do nothing more of what it does.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.token().clone()
    }

    pub(super) fn stop(&self) {
        self.token().cancel();
    }

    /// It may go on.
    pub(super) fn unstop(&self) {
        *self.token() = CancellationToken::new();
    }

    /// The record after this event; `None` where it cannot happen now.
    pub(super) fn after(&self, event: Event, now_ms: i64) -> Option<Record> {
        let mut record = self.record();
        record.state = record.state.after(event)?;
        record.ended_at_ms = match (record.state.is_over(), record.ended_at_ms) {
            (false, _) => 0,
            (true, 0) => now_ms,
            (true, ended) => ended,
        };
        if !record.state.is_over() {
            record.error = None;
        }
        Some(record)
    }
}
