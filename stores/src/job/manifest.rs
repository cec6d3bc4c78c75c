//! What was decided about a job, and what its output consists of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::output::Listed;

/// Whether a job's output becomes real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Commit,
    Cancel,
}

/// The first of these that is written binds everyone, a scheduler that was thought dead included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub job: String,
    pub verdict: Verdict,
    /// Nobody else's: it tells a scheduler's own decision from another's.
    pub decided_by: String,
    /// What the output consists of, by split.
    pub entries: BTreeMap<String, Entry>,
    /// What the output takes the place of: exactly these are removed.
    pub replaced: Vec<Listed>,
}

/// Rows and objects, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub splits: u64,
    pub objects: u64,
    pub bytes: u64,
    pub rows_read: u64,
    pub rows_written: u64,
    pub rows_dead: u64,
}

/// The list of a job's output objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub job: String,
    /// What the job was asked, as its submitter wrote it: model, digest, input.
    pub job_spec: serde_json::Value,
    pub counts: Counts,
    /// Sorted by path.
    pub objects: Vec<Object>,
    pub dead_letters: Vec<Object>,
}

/// One object of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    pub etag: Option<String>,
    pub sha256: Option<String>,
    pub split: String,
}

/// The content of `_SUCCESS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    pub job: String,
    pub manifest: String,
    pub rows: u64,
}
