//! The records of a score job that lie beside its output, in `_whimbrel/<job>/`: which splits are done, what was decided, and what
//! the output consists of. Executors write the journal, schedulers all the rest; each record is written once or always alike, so
//! that whoever comes after a crash reads them and goes on.

mod commit;
mod journal;
mod manifest;
#[cfg(test)]
mod tests;

use std::fmt;

use object_store::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use commit::{Commit, Ended, Proposal};
pub use journal::{Entry, Journal, SplitKey, Times};
pub use manifest::{Counts, Decision, Manifest, Success, Verdict};

/// The folder of records in an output. Readers skip names that begin with `_`.
pub const RECORDS: &str = "_whimbrel";
/// What tells readers that an output is whole.
pub const SUCCESS: &str = "_SUCCESS";

/// Where the records of one job are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    job: String,
}

impl Records {
    /// The records of the job with this id.
    pub fn of(job: impl fmt::Display) -> Self {
        Self {
            job: job.to_string(),
        }
    }

    fn job(&self) -> &str {
        &self.job
    }

    fn at(&self, name: &str) -> String {
        format!("{RECORDS}/{}/{name}", self.job)
    }

    /// The folder of all of them.
    pub fn folder(&self) -> String {
        format!("{RECORDS}/{}", self.job)
    }

    /// What is run.
    pub fn plan(&self) -> String {
        self.at("plan")
    }

    /// The list of splits.
    pub fn splits(&self) -> String {
        self.at("splits")
    }

    /// The intent of an attempt: what it may leave behind.
    pub fn intent(&self, attempt: &str) -> String {
        self.at(&format!("intents/{attempt}"))
    }

    /// The folder of all intents.
    pub fn intents(&self) -> String {
        self.at("intents")
    }

    /// The name of what an attempt makes of a split, with the ending of its format. `attempt` is nobody else's.
    pub fn object(&self, key: &SplitKey, attempt: &str, ending: &str) -> String {
        format!("part-{}-{key}-{attempt}.{ending}", self.job)
    }

    /// Whether an attempt of this job began the object.
    fn owns(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let rest = name.strip_prefix("part-").unwrap_or_default();
        rest.strip_prefix(self.job.as_str())
            .is_some_and(|rest| rest.starts_with('-'))
    }

    fn journal(&self) -> String {
        self.at("journal")
    }

    fn void(&self) -> String {
        self.at("void")
    }

    /// What was decided.
    pub fn decision(&self) -> String {
        self.at("decision.json")
    }

    /// The list of the output's objects.
    pub fn manifest(&self) -> String {
        self.at("manifest.json")
    }
}

fn to_json<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| broken("a record", &error))
}

fn from_json<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| broken(path, &error))
}

fn broken(path: &str, error: &serde_json::Error) -> Error {
    Error::Generic {
        store: "records",
        source: format!("'{path}' is no record of this program: {error}").into(),
    }
}
