//! Places in a job's life where a test ends the scheduler as a kill would: at once, with nothing flushed and nobody told. They exist
//! in builds with debug assertions only, and are named by `WHIMBREL_FAILPOINT`; `name:3` strikes at the third time.

use std::fmt;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

macro_rules! failpoints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// See the module. In the order in which a job passes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Failpoint {
            $($(#[$doc])* $variant),+
        }

        impl Failpoint {
            /// What a test calls it.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}

failpoints! {
    /// The record is there, the output is not owned yet.
    Recorded = "recorded",
    /// The output is owned.
    Owned = "owned",
    /// Plan and splits are beside the output, and the job is not submitted.
    Written = "written",
    /// The job is submitted, and its submitter has no answer.
    Submitted = "submitted",
    /// The engine has the job's tasks.
    Started = "started",
    /// Every split is in the journal.
    Complete = "complete",
    /// Before and after the decision is written.
    BeforeDecision = "before-decision",
    AfterDecision = "after-decision",
    /// An older `_SUCCESS` is gone.
    AfterTakeDown = "after-take-down",
    /// Before and after an object becomes visible.
    BeforePublish = "before-publish",
    AfterPublish = "after-publish",
    BeforeManifest = "before-manifest",
    AfterManifest = "after-manifest",
    /// Before and after an object of the old output goes.
    BeforeReplace = "before-replace",
    AfterReplace = "after-replace",
    BeforeSuccess = "before-success",
    AfterSuccess = "after-success",
    /// Before and after a local output gets its name.
    BeforeReveal = "before-reveal",
    AfterReveal = "after-reveal",
    /// The output is real, and the record does not say so.
    Published = "published",
    /// The wish to cancel is durable, and nothing is decided.
    CancelWished = "cancel-wished",
    /// The decision says cancel, and the record does not.
    CancelDecided = "cancel-decided",
    /// What attempts left behind is gone, and the record does not say so.
    Swept = "swept",
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ends the process where a test wants it ended here.
#[cfg(debug_assertions)]
pub(crate) fn pass(point: Failpoint) {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(
        clippy::disallowed_methods,
        reason = "the one variable of tests, in builds that nobody ships"
    )]
    let Ok(wanted) = std::env::var("WHIMBREL_FAILPOINT") else {
        return;
    };
    let (name, at) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if name != point.name() {
        return;
    }
    let passed = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if at.parse() == Ok(passed) {
        tracing::error!(failpoint = %point, "ending here, as a test wants it");
        std::process::abort();
    }
}

/// Nothing in what is shipped.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_point: Failpoint) {}
