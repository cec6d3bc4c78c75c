//! Which process speaks: an error names the one whose environment, files or rights are meant.

use std::fmt;

/// A process of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Process {
    #[default]
    Scheduler,
    /// An executor, by its name in the pool.
    Executor(String),
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduler => f.write_str("the scheduler"),
            Self::Executor(id) => write!(f, "executor {id}"),
        }
    }
}
