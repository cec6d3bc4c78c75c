//! No wait without a deadline: a job whose tasks run and whose rows do not move is taken from the executors that have it, and
//! given to others.

use std::time::Duration;

/// What moves while a job works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Motion {
    pub(super) rows: u64,
    pub(super) tasks_done: u64,
    pub(super) splits: u64,
}

/// Remembers when a job last moved.
#[derive(Clone, Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    last: Motion,
    since: Duration,
}

impl Watchdog {
    pub(super) fn new(patience: Duration, now: Duration) -> Self {
        Self {
            patience,
            last: Motion::default(),
            since: now,
        }
    }

    /// True where the job stands still for too long. A job without tasks waits for a slot, which is no standstill.
    pub(super) fn look(&mut self, now: Duration, motion: Motion, has_tasks: bool) -> bool {
        if motion != self.last || !has_tasks {
            self.last = motion;
            self.since = now;
        }
        now.saturating_sub(self.since) > self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_job_that_has_tasks_and_does_not_move_stands_still() {
        let at = Duration::from_secs;
        let mut watchdog = Watchdog::new(at(10), at(0));
        let moved = |rows| Motion {
            rows,
            ..Motion::default()
        };
        assert!(!watchdog.look(at(8), moved(1), true));
        assert!(!watchdog.look(at(18), moved(1), true));
        assert!(watchdog.look(at(19), moved(1), true));
        assert!(
            !watchdog.look(at(40), moved(1), false),
            "it waits for a slot"
        );
        assert!(!watchdog.look(at(50), moved(1), true));
        assert!(watchdog.look(at(51), moved(1), true));
        assert!(!watchdog.look(at(52), moved(2), true));
    }
}
