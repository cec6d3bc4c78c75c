//! Where a score job is in its life, and every step that it may take. What is not written here cannot happen: a step that is
//! not legal is refused, and whoever wanted it looks again at what the job has become.
//!
//! ```text
//! preparing ─► submitted ─► running ◄─► waiting          (for executors)
//!                  │           │           │
//!                  ├───────────┴───────────┤
//!                  ▼           ▼           ▼
//!              committing   failed     cancelling ─► cancelled
//!                  │           │           ▲
//!                  ▼           └───────────┤             (resume leads back to submitted)
//!              succeeded                   └── a failed one that may be resumed
//! ```

use serde::{Deserialize, Serialize};

/// A place in a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its output is being taken; its submitter has no answer yet.
    Preparing,
    /// It goes on by itself from here.
    Submitted,
    Running,
    /// Nobody takes tasks since then.
    Waiting {
        since_ms: i64,
    },
    /// Its rows are there, and its output becomes real.
    Committing,
    /// It shall end without a trace.
    Cancelling,
    Succeeded,
    /// Nothing of it is visible. A resumable one has decided nothing and keeps what it has done.
    Failed {
        resumable: bool,
    },
    Cancelled,
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Output and plan are its own, and durable.
    Prepared,
    /// The engine has what is left of it.
    Started,
    /// Nobody takes tasks.
    Stranded { now_ms: i64 },
    /// Every split is in the journal.
    Complete,
    /// Somebody wants it gone.
    CancelWished,
    /// The decision says commit, whatever this scheduler wanted.
    FoundCommit,
    /// The decision says cancel, whatever this scheduler wanted.
    FoundCancel,
    /// The output is real.
    Published,
    /// It cannot go on.
    Broke { resumable: bool },
    /// Somebody wants a failed one to go on.
    Resumed,
}

impl State {
    /// The state after `event`; `None` where it cannot happen in this one.
    pub(crate) fn after(self, event: Event) -> Option<Self> {
        use State::*;
        match (self, event) {
            (Preparing, Event::Prepared) => Some(Submitted),
            (Submitted | Waiting { .. } | Running, Event::Started) => Some(Running),
            (Waiting { since_ms }, Event::Stranded { .. }) => Some(Waiting { since_ms }),
            (Submitted | Running, Event::Stranded { now_ms }) => Some(Waiting { since_ms: now_ms }),
            (Submitted | Running | Waiting { .. } | Committing, Event::Complete) => {
                Some(Committing)
            }
            (
                Submitted | Running | Waiting { .. } | Cancelling | Failed { resumable: true },
                Event::CancelWished,
            ) => Some(Cancelling),
            (
                Submitted | Running | Waiting { .. } | Committing | Cancelling,
                Event::FoundCommit,
            ) => Some(Committing),
            (
                Submitted | Running | Waiting { .. } | Committing | Cancelling,
                Event::FoundCancel,
            ) => Some(Cancelled),
            (Committing, Event::Published) => Some(Succeeded),
            (Submitted | Running | Waiting { .. } | Committing, Event::Broke { resumable }) => {
                Some(Failed { resumable })
            }
            (Failed { resumable: true }, Event::Resumed) => Some(Submitted),
            (
                Preparing
                | Submitted
                | Running
                | Waiting { .. }
                | Committing
                | Cancelling
                | Succeeded
                | Failed { .. }
                | Cancelled,
                _,
            ) => None,
        }
    }

    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Preparing | Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Waiting { .. } => "waiting",
            Self::Committing => "committing",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has ended, for all who watch it.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed { .. } | Self::Cancelled => true,
            Self::Preparing
            | Self::Submitted
            | Self::Running
            | Self::Waiting { .. }
            | Self::Committing
            | Self::Cancelling => false,
        }
    }

    /// Whether what it has done is kept although it has ended.
    pub(crate) fn is_resumable(self) -> bool {
        self == Self::Failed { resumable: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 10] = [
        State::Preparing,
        State::Submitted,
        State::Running,
        State::Waiting { since_ms: 5 },
        State::Committing,
        State::Cancelling,
        State::Succeeded,
        State::Failed { resumable: true },
        State::Failed { resumable: false },
        State::Cancelled,
    ];

    const EVENTS: [Event; 11] = [
        Event::Prepared,
        Event::Started,
        Event::Stranded { now_ms: 9 },
        Event::Complete,
        Event::CancelWished,
        Event::FoundCommit,
        Event::FoundCancel,
        Event::Published,
        Event::Broke { resumable: true },
        Event::Broke { resumable: false },
        Event::Resumed,
    ];

    #[test]
    fn what_has_ended_for_good_stays_as_it_is() {
        for state in [
            State::Succeeded,
            State::Failed { resumable: false },
            State::Cancelled,
        ] {
            assert!(state.is_over());
            for event in EVENTS {
                assert_eq!(state.after(event), None, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn only_a_commit_makes_a_job_succeed_and_a_commit_cannot_be_wished_away() {
        for state in ALL {
            let published = state.after(Event::Published);
            assert_eq!(published.is_some(), state == State::Committing, "{state:?}");
        }
        assert_eq!(State::Committing.after(Event::CancelWished), None);
        // Another scheduler may have decided before this one could.
        assert_eq!(
            State::Cancelling.after(Event::FoundCommit),
            Some(State::Committing)
        );
        assert_eq!(
            State::Committing.after(Event::FoundCancel),
            Some(State::Cancelled)
        );
    }

    #[test]
    fn a_wait_begins_once() {
        let waiting = State::Running.after(Event::Stranded { now_ms: 3 }).unwrap();
        assert_eq!(waiting, State::Waiting { since_ms: 3 });
        assert_eq!(waiting.after(Event::Stranded { now_ms: 8 }), Some(waiting));
        assert_eq!(waiting.after(Event::Started), Some(State::Running));
    }

    #[test]
    fn every_state_but_the_last_ones_has_a_way_on() {
        for state in ALL {
            let ways = EVENTS.iter().filter(|event| state.after(**event).is_some());
            let ends = state.is_over() && !state.is_resumable();
            assert_eq!(ways.count() == 0, ends, "{state:?}");
        }
    }
}
