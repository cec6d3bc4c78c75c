//! What this executor is writing at this moment, for progress bars, and so that a scheduler that has come back leaves it alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use whimbrel_proto::ids::{ScoreJobId, SplitId};
use whimbrel_proto::v1::RunningSplit;

/// The splits that are being written.
#[derive(Debug, Default)]
pub(super) struct Running {
    splits: Mutex<HashMap<u64, Arc<Split>>>,
    count: AtomicU64,
}

#[derive(Debug)]
struct Split {
    job: ScoreJobId,
    split: SplitId,
    generation: u32,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// One split's counters; it is no longer running once they are dropped.
#[derive(Debug)]
pub(super) struct Progress {
    running: Arc<Running>,
    key: u64,
    split: Arc<Split>,
}

impl Running {
    pub(super) fn begin(
        self: &Arc<Self>,
        job: &ScoreJobId,
        split: &SplitId,
        generation: u32,
    ) -> Progress {
        let split = Arc::new(Split {
            job: job.clone(),
            split: split.clone(),
            generation,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let key = self.count.fetch_add(1, Ordering::Relaxed);
        self.lock(|splits| splits.insert(key, Arc::clone(&split)));
        Progress {
            running: Arc::clone(self),
            key,
            split,
        }
    }

    pub(super) fn splits(&self) -> Vec<RunningSplit> {
        let shown = |split: &Arc<Split>| RunningSplit {
            job: split.job.to_string(),
            split: split.split.to_string(),
            generation: split.generation,
            rows: split.rows.load(Ordering::Relaxed),
            bytes: split.bytes.load(Ordering::Relaxed),
        };
        self.lock(|splits| splits.values().map(shown).collect())
    }

    fn lock<T>(&self, with: impl FnOnce(&mut HashMap<u64, Arc<Split>>) -> T) -> T {
        with(&mut self.splits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress {
    pub(super) fn add_rows(&self, rows: u64) {
        self.split.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.split.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.running.lock(|splits| splits.remove(&self.key));
    }
}
