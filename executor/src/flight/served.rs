//! What has been sent to clients: bytes so far, streams that are open now, and of which results a reader has broken off: a client
//! that leaves in the middle, and does not come back, wants the rest no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whimbrel_proto::v1::ReadJob;

use crate::clock::now_ms;

/// What ended this long ago, and was read whole, tells nothing any more.
const TOLD_MS: u64 = 10_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    jobs: Mutex<HashMap<String, Reading>>,
}

/// How one job's results are read.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    open: u32,
    ended_ms: u64,
    /// A reader left in the middle, and none has come since.
    broken: bool,
}

impl Served {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Reading>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_streams(&self) -> u32 {
        self.jobs().values().map(|reading| reading.open).sum()
    }

    /// The jobs whose results are being read, or were a moment ago, or were broken off.
    pub(crate) fn read_jobs(&self) -> Vec<ReadJob> {
        let now = now_ms();
        let mut jobs = self.jobs();
        jobs.retain(|_, reading| {
            reading.open > 0 || reading.broken || now.saturating_sub(reading.ended_ms) < TOLD_MS
        });
        let told = jobs.iter().map(|(job_id, reading)| ReadJob {
            job_id: job_id.clone(),
            open: reading.open,
            idle_ms: now.saturating_sub(reading.ended_ms),
            broken: reading.broken,
        });
        told.collect()
    }

    /// The job's results are gone.
    pub(crate) fn forget(&self, job_id: &str) {
        self.jobs().remove(job_id);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts as an open stream of the job until it is dropped; broken off, unless it is said to be whole before.
    pub(super) fn open(&self, job_id: &str) -> OpenStream {
        let mut jobs = self.jobs();
        let reading = jobs.entry(job_id.to_owned()).or_default();
        reading.open += 1;
        reading.broken = false;
        drop(jobs);
        OpenStream {
            served: self.clone(),
            job_id: job_id.to_owned(),
            whole: false,
        }
    }
}

/// See [`Served::open`].
#[derive(Debug)]
pub(super) struct OpenStream {
    served: Served,
    job_id: String,
    whole: bool,
}

impl OpenStream {
    /// Its reader got all that there was.
    pub(super) fn whole(&mut self) {
        self.whole = true;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if let Some(reading) = self.served.jobs().get_mut(&self.job_id) {
            reading.open = reading.open.saturating_sub(1);
            reading.ended_ms = now_ms();
            reading.broken |= !self.whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(served: &Served) -> Vec<(u32, bool)> {
        let jobs = served.read_jobs();
        jobs.iter().map(|job| (job.open, job.broken)).collect()
    }

    #[test]
    fn a_reader_that_leaves_in_the_middle_is_told_of_until_one_comes_back() {
        let served = Served::default();
        let mut stream = served.open("j");
        served.sent(7);
        assert_eq!((served.bytes(), served.open_streams()), (7, 1));
        stream.whole();
        drop(stream);
        assert_eq!(told(&served), [(0, false)]);
        drop(served.open("j"));
        assert_eq!(told(&served), [(0, true)]);
        let _again = served.open("j");
        assert_eq!(told(&served), [(1, false)]);
        served.forget("j");
        assert!(told(&served).is_empty());
    }
}
