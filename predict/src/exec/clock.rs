//! The one place of this crate that reads a clock: for how long rows were waited for.

use std::time::Instant;

use datafusion::physical_plan::metrics::Time;

/// Adds up waits.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Option<Instant>,
    sum: Time,
}

impl Waiting {
    pub(super) fn new(sum: Time) -> Self {
        Self { since: None, sum }
    }

    /// A wait begins, if none is under way.
    #[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// The wait is over.
    pub(super) fn end(&mut self) {
        if let Some(since) = self.since.take() {
            self.sum.add_elapsed(since);
        }
    }
}
