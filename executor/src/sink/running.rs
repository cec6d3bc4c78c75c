//! What this executor is writing at this moment: for progress bars, and so that a scheduler that has come back leaves it alone, or
//! has it given up.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use whimbrel_predict::sink;
use whimbrel_proto::ids::{ScoreJobId, SplitId};
use whimbrel_proto::v1::{RunningSplit, SplitTimes};
use whimbrel_stores::job::Times;

use crate::clock::monotonic;

/// The splits that are being written.
#[derive(Debug, Default)]
pub(super) struct Running {
    splits: Mutex<HashMap<u64, Arc<Split>>>,
    count: AtomicU64,
}

/// Who writes which split.
pub(super) struct Begun {
    /// The engine's name of the job, which is another each time that the engine gets it.
    pub(super) engine_job: String,
    pub(super) job: ScoreJobId,
    pub(super) split: SplitId,
    pub(super) generation: u32,
    /// It counts whichever of the engine's jobs it was handed out by.
    pub(super) outlives: bool,
    /// Where the time has gone below the sink.
    pub(super) times: Box<dyn Fn() -> sink::Times + Send + Sync>,
}

struct Split {
    begun: Begun,
    given_up: CancellationToken,
    rows: AtomicU64,
    bytes: AtomicU64,
    waited: AtomicU64,
    wrote: AtomicU64,
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split")
            .field("job", &self.begun.job)
            .field("split", &self.begun.split)
            .finish_non_exhaustive()
    }
}

/// One split's counters; it is no longer running once they are dropped.
#[derive(Debug)]
pub(super) struct Progress {
    running: Arc<Running>,
    key: u64,
    split: Arc<Split>,
}

impl Running {
    pub(super) fn begin(self: &Arc<Self>, begun: Begun) -> Progress {
        let split = Arc::new(Split {
            begun,
            given_up: CancellationToken::new(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
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
        self.lock(|splits| splits.values().map(|split| split.shown()).collect())
    }

    /// The engine's jobs whose splits count without them.
    pub(super) fn engine_jobs(&self) -> HashSet<String> {
        let own = |split: &&Arc<Split>| split.begun.outlives;
        let name = |split: &Arc<Split>| split.begun.engine_job.clone();
        self.lock(|splits| splits.values().filter(own).map(name).collect())
    }

    /// Has the splits of these score jobs end, whatever they have come to.
    pub(super) fn give_up(&self, jobs: &[String]) {
        self.lock(|splits| {
            for split in splits.values() {
                if jobs.iter().any(|job| job == split.begun.job.as_str()) {
                    split.given_up.cancel();
                }
            }
        });
    }

    fn lock<T>(&self, with: impl FnOnce(&mut HashMap<u64, Arc<Split>>) -> T) -> T {
        with(&mut self.splits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Split {
    fn shown(&self) -> RunningSplit {
        let Begun {
            job,
            split,
            generation,
            ..
        } = &self.begun;
        let Times {
            read_ms,
            tensor_ms,
            model_ms,
            write_ms,
        } = self.times();
        RunningSplit {
            job: job.to_string(),
            split: split.to_string(),
            generation: *generation,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            times: Some(SplitTimes {
                read_ms,
                tensor_ms,
                model_ms,
                write_ms,
            }),
        }
    }

    fn times(&self) -> Times {
        let sink::Times {
            read,
            tensors,
            model,
        } = (self.begun.times)();
        let scores = !(read.is_zero() && tensors.is_zero() && model.is_zero());
        let waited = Duration::from_micros(self.waited.load(Ordering::Relaxed));
        Times {
            // Where no model is, all that is waited for is rows.
            read_ms: millis(if scores { read } else { waited }),
            tensor_ms: millis(tensors),
            model_ms: millis(model),
            write_ms: self.wrote.load(Ordering::Relaxed) / 1000,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn since(begun: Instant) -> u64 {
    let span = monotonic().saturating_duration_since(begun);
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Progress {
    /// Fires when nobody wants the split any more.
    pub(super) fn given_up(&self) -> &CancellationToken {
        &self.split.given_up
    }

    pub(super) fn times(&self) -> Times {
        self.split.times()
    }

    /// For how long was scored: it grows as long as a model has something to do. To wait for rows is none of it.
    pub(super) fn scored(&self) -> Duration {
        let sink::Times {
            read: _,
            tensors,
            model,
        } = (self.split.begun.times)();
        tensors + model
    }

    /// Rows were waited for since then.
    pub(super) fn waited(&self, begun: Instant) {
        self.split.waited.fetch_add(since(begun), Ordering::Relaxed);
    }

    /// Rows were written since then.
    pub(super) fn wrote(&self, begun: Instant) {
        self.split.wrote.fetch_add(since(begun), Ordering::Relaxed);
    }

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
