//! How long jobs that have ended are remembered.

use std::sync::Arc;
use std::time::Duration;

use super::record::Record;
use super::{Job, Jobs};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(60);

/// What is to be done about an old job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// It failed, and nobody has resumed it: what it has done goes.
    Cancel,
    Forget,
}

fn due(record: &Record, now_ms: i64, kept: Duration) -> Due {
    let age = now_ms.saturating_sub(record.ended_at_ms);
    let old = u128::try_from(age).is_ok_and(|age| age > kept.as_millis());
    if !record.state.is_over() || !old {
        Due::Nothing
    } else if record.state.is_resumable() {
        Due::Cancel
    } else if record.tidy {
        Due::Forget
    } else {
        Due::Nothing
    }
}

impl Jobs {
    /// Forgets what is old, for as long as the scheduler runs.
    pub(super) async fn keep_history(self: &Arc<Self>) {
        loop {
            self.parts.clock.sleep(LOOK).await;
            for job in self.list() {
                self.age(&job).await;
            }
        }
    }

    async fn age(self: &Arc<Self>, job: &Arc<Job>) {
        let now_ms = self.parts.clock.unix_ms();
        let done = match due(&job.record(), now_ms, self.parts.limits.history) {
            Due::Nothing => return,
            Due::Cancel => self.cancel(job.id()).await.map(drop),
            Due::Forget => self.forget(job).await,
        };
        if let Err(error) = done {
            tracing::warn!(score_job = %job.id(), %error, "an old score job cannot be forgotten");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::record::tests::record;
    use crate::jobs::state::State;

    #[test]
    fn only_what_is_over_old_and_clean_is_forgotten() {
        let kept = Duration::from_secs(10);
        let mut job = record("a", "");
        job.ended_at_ms = 1_000;
        for (state, tidy, now_ms, expected) in [
            (State::Running, true, 99_000, Due::Nothing),
            (State::Succeeded, true, 11_000, Due::Nothing),
            (State::Succeeded, true, 11_001, Due::Forget),
            (State::Succeeded, false, 99_000, Due::Nothing),
            (
                State::Failed { resumable: true },
                false,
                99_000,
                Due::Cancel,
            ),
            (
                State::Failed { resumable: false },
                true,
                99_000,
                Due::Forget,
            ),
            (State::Cancelled, true, 0, Due::Nothing),
        ] {
            (job.state, job.tidy) = (state, tidy);
            assert_eq!(due(&job, now_ms, kept), expected, "{state:?} at {now_ms}");
        }
    }
}
