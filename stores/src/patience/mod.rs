//! Staying up while a store does not: reads, and writes that may be made twice, that fail in a way that may pass are made again in place, from the byte they had
//! reached, until the store's budget is spent. Neither a task nor a query notices.

mod outage;
mod passing;
mod store;
#[cfg(test)]
mod tests;
mod writes;

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use whimbrel_proto::Error;

pub(crate) use self::store::PatientStore;

/// How long a store may fail before whoever reads it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    budget: Duration,
    stranger: Duration,
}

impl Patience {
    /// Up to `budget` since the store's last good answer.
    pub fn new(budget: Duration) -> Self {
        Self {
            budget,
            stranger: budget,
        }
    }

    /// The same, but a store that has never answered is given up after `span`: its name or address may be wrong, and somebody
    /// is waiting to hear that.
    #[must_use]
    pub fn with_strangers(self, span: Duration) -> Self {
        Self {
            stranger: span.min(self.budget),
            ..self
        }
    }

    pub(crate) fn budget(self) -> Duration {
        self.budget
    }

    fn limit(self, answered: bool) -> Duration {
        if answered { self.budget } else { self.stranger }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::from_secs(600))
    }
}

/// The last word on a store that failed for longer than its budget: trying again, here or elsewhere, is over.
#[derive(Debug)]
pub struct Spent(Error);

impl Spent {
    /// `error` names the place and what the store said.
    pub fn new(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Spent {}

/// The error of a store whose budget is spent, wherever in the chain of causes it is.
pub fn spent<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(Spent(error)) = error.downcast_ref::<Spent>() {
            return Some(error);
        }
        // The source of an input/output error is that of the error in it.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match inside {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}
