//! How this executor stands with its pool: connected or not, draining or not, and in which membership.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// What the scheduler answered to the last report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// Counts the answers, so that a drain can wait for one that was given after its question.
    pub(crate) answers: u64,
    /// Jobs whose results somebody may still fetch from here.
    pub(crate) wanted_jobs: Vec<String>,
}

/// Small facts that many parts read and few write.
#[derive(Debug)]
pub(crate) struct Standing {
    connected: AtomicBool,
    draining: AtomicBool,
    membership: AtomicU64,
    reported: watch::Sender<Reported>,
    report_now: Notify,
    join_again: Notify,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            connected: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            membership: AtomicU64::new(0),
            reported: watch::Sender::new(Reported::default()),
            report_now: Notify::new(),
            join_again: Notify::new(),
        }
    }
}

impl Standing {
    /// The last heartbeat was accepted.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Sets it; true where it changes.
    pub(crate) fn set_connected(&self, connected: bool) -> bool {
        self.connected.swap(connected, Ordering::AcqRel) != connected
    }

    /// The executor wants no new tasks.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.report_now.notify_one();
    }

    /// Counts how often the executor has joined: what it did in an earlier membership, nobody waits for.
    pub(crate) fn membership(&self) -> u64 {
        self.membership.load(Ordering::Acquire)
    }

    pub(crate) fn next_membership(&self) {
        self.membership.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn answered(&self, wanted_jobs: Vec<String>) {
        self.reported.send_modify(|reported| {
            reported.answers += 1;
            reported.wanted_jobs = wanted_jobs;
        });
    }

    /// Somebody may still fetch what this job left here, as far as the scheduler has said.
    pub(crate) fn is_wanted(&self, job_id: &str) -> bool {
        self.reported
            .borrow()
            .wanted_jobs
            .iter()
            .any(|wanted| wanted == job_id)
    }

    pub(crate) fn reports(&self) -> watch::Receiver<Reported> {
        self.reported.subscribe()
    }

    /// Asks for a report ahead of its time.
    pub(crate) fn ask_report(&self) {
        self.report_now.notify_one();
    }

    pub(crate) async fn report_asked(&self) {
        self.report_now.notified().await;
    }

    /// The scheduler gave this executor up; it must join again.
    pub(crate) fn ask_join(&self) {
        self.join_again.notify_one();
    }

    pub(crate) async fn join_asked(&self) {
        self.join_again.notified().await;
    }
}
