//! How long a model takes for a row, and so how many rows one run of it may have. A run cannot be broken off: whoever cancels a
//! query, stops an executor or watches progress waits for the runs under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What one run should take at most.
const RUN: Duration = Duration::from_millis(200);
/// Rows of the first run of a model of which nothing is known yet.
const FIRST_ROWS: usize = 256;

/// The pace of one loaded model, shared by its sessions.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// 0 until the first run.
    nanos_per_row: AtomicU64,
}

impl Pace {
    /// The most rows of the next run, of `most` that the host allows.
    pub(super) fn rows(&self, most: usize) -> usize {
        let known = match self.nanos_per_row.load(Ordering::Relaxed) {
            0 => FIRST_ROWS,
            nanos => usize::try_from(RUN.as_nanos() / u128::from(nanos)).unwrap_or(usize::MAX),
        };
        known.clamp(1, most.max(1))
    }

    /// How long a run of so many rows will take; unknown before the first.
    pub(super) fn takes(&self, rows: usize) -> Option<Duration> {
        match self.nanos_per_row.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos.saturating_mul(rows as u64))),
        }
    }

    /// Takes in one run. Recent runs count most, and no single one for all: a thread may have been put off in the middle.
    pub(super) fn note(&self, rows: usize, took: Duration) {
        if rows == 0 {
            return;
        }
        let nanos = u64::try_from(took.as_nanos() / rows as u128).unwrap_or(u64::MAX);
        let next = |old: u64| match old {
            0 => nanos,
            old => old / 4 * 3 + nanos / 4,
        };
        let old = self.nanos_per_row.load(Ordering::Relaxed);
        // Of two notes at once one may be lost: there will be others.
        self.nanos_per_row
            .store(next(old).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_model_gets_short_runs_and_a_fast_one_full_ones() {
        let pace = Pace::default();
        assert_eq!((pace.rows(4096), pace.rows(10)), (FIRST_ROWS, 10));
        assert_eq!(pace.takes(10), None);
        pace.note(256, Duration::from_micros(256));
        assert_eq!(pace.takes(10), Some(Duration::from_micros(10)));
        assert_eq!(pace.rows(4096), 4096);
        for _ in 0..40 {
            pace.note(100, Duration::from_millis(100));
        }
        assert!((190..=210).contains(&pace.rows(4096)), "{pace:?}");
        for _ in 0..40 {
            pace.note(1, Duration::from_secs(30));
        }
        assert_eq!(pace.rows(4096), 1);
        pace.note(0, Duration::ZERO);
        assert_eq!(pace.rows(4096), 1);
    }
}
