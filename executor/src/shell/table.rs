//! The tasks that this executor has accepted and not yet reported, and the ones that were cancelled before they came.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ballista_core::serde::scheduler::TaskKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a cancel waits for the task that it overtook, and how many such cancels are kept.
const TOMBSTONE_MS: u64 = 60_000;
const TOMBSTONES: usize = 10_000;

/// Accepted tasks, each with its cancel token.
#[derive(Debug)]
pub(crate) struct TaskTable {
    inner: Mutex<Inner>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    serial: u64,
    accepted: HashMap<u64, (TaskKey, CancellationToken)>,
    tombstones: VecDeque<(TaskKey, u64)>,
}

impl Default for TaskTable {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }
}

impl TaskTable {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a task. Its token has fired already where the cancel came first.
    pub(crate) fn accept(self: &Arc<Self>, key: &TaskKey, now_ms: u64) -> Accepted {
        let token = CancellationToken::new();
        let mut inner = self.lock();
        inner.tombstones.retain(|(_, until)| *until > now_ms);
        if let Some(at) = inner.tombstones.iter().position(|(dead, _)| dead == key) {
            inner.tombstones.remove(at);
            token.cancel();
        }
        inner.serial += 1;
        let serial = inner.serial;
        inner.accepted.insert(serial, (key.clone(), token.clone()));
        self.count.send_replace(inner.accepted.len());
        Accepted {
            table: Arc::clone(self),
            serial,
            token,
        }
    }

    /// Cancels a task; one that is not here yet stops as soon as it comes.
    pub(crate) fn cancel(&self, key: &TaskKey, now_ms: u64) {
        let mut inner = self.lock();
        let mut found = false;
        for (_, token) in inner
            .accepted
            .values()
            .filter(|(accepted, _)| accepted == key)
        {
            token.cancel();
            found = true;
        }
        if !found {
            if inner.tombstones.len() == TOMBSTONES {
                inner.tombstones.pop_front();
            }
            inner
                .tombstones
                .push_back((key.clone(), now_ms + TOMBSTONE_MS));
        }
    }

    /// Cancels all tasks of a job.
    pub(crate) fn cancel_job(&self, job_id: &str) {
        for (_, token) in self
            .lock()
            .accepted
            .values()
            .filter(|(key, _)| key.job_id.as_str() == job_id)
        {
            token.cancel();
        }
    }

    /// Cancels all tasks but those of these jobs.
    pub(crate) fn cancel_others(&self, kept: &HashSet<String>) {
        for (key, token) in self.lock().accepted.values() {
            if !kept.contains(key.job_id.as_str()) {
                token.cancel();
            }
        }
    }

    /// Returns once no task is left.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as the table, so there is no error to see.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Tasks accepted and not yet reported.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// True while a task of the job is here.
    pub(crate) fn has_job(&self, job_id: &str) -> bool {
        self.lock()
            .accepted
            .values()
            .any(|(key, _)| key.job_id.as_str() == job_id)
    }
}

/// One accepted task; dropping it takes the task off the table.
#[derive(Debug)]
pub(crate) struct Accepted {
    table: Arc<TaskTable>,
    serial: u64,
    token: CancellationToken,
}

impl Accepted {
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        let mut inner = self.table.lock();
        inner.accepted.remove(&self.serial);
        self.table.count.send_replace(inner.accepted.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task_id: usize) -> TaskKey {
        TaskKey {
            job_id: "job".into(),
            stage_id: 1,
            task_id,
        }
    }

    #[test]
    fn a_cancel_reaches_the_task_whether_it_comes_before_or_after_it() {
        let table = Arc::new(TaskTable::default());
        table.cancel(&key(1), 0);
        assert!(table.accept(&key(1), 1).token().is_cancelled());
        assert!(
            !table.accept(&key(1), 2).token().is_cancelled(),
            "a tombstone stops one task"
        );

        let running = table.accept(&key(2), 0);
        table.cancel(&key(2), 0);
        assert!(running.token().is_cancelled());
        drop(running);
        assert!(
            !table.accept(&key(2), 0).token().is_cancelled(),
            "a cancel that was heard leaves no tombstone"
        );
    }

    #[test]
    fn an_old_tombstone_stops_nothing() {
        let table = Arc::new(TaskTable::default());
        table.cancel(&key(1), 0);
        assert!(!table.accept(&key(1), TOMBSTONE_MS).token().is_cancelled());
    }

    #[tokio::test]
    async fn idle_waits_for_the_last_task() {
        let table = Arc::new(TaskTable::default());
        let first = table.accept(&key(1), 0);
        let waiting = tokio::spawn({
            let table = Arc::clone(&table);
            async move { table.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.expect("idle");
    }
}
