//! Where a score job writes: objects that are staged now and seen later, and small records that are created once and never
//! change. What is staged can be published any number of times with one result, so that whoever comes after a crash goes on.

mod claim;
mod cloud;
#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod fault;
mod files;
mod local;
mod open;
mod probe;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::Result;
use serde::{Deserialize, Serialize};

pub use claim::{Claim, Patience, claim};
pub use cloud::{CloudOutput, Uploads};
pub use local::LocalOutput;
pub use open::{Trials, explain};
pub use probe::probe;

/// The most parts of an object: no store takes more.
pub const MAX_PARTS: u64 = 10_000;

/// An object that was begun: enough to throw it away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Intent {
    /// Below the output, and no other attempt's.
    pub path: String,
    /// The store's name of the upload; empty where the path is enough.
    pub upload: String,
}

/// An object that is whole and that nobody sees: enough to publish it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub intent: Intent,
    /// The store's names of the parts, in order.
    pub parts: Vec<String>,
    pub bytes: u64,
    /// Of all bytes, where the writer has taken it.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// What has become of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The object is there, whole.
    Visible { etag: Option<String> },
    /// The store has dropped what was staged: its rows must be scored again.
    Gone,
}

/// See the module. Paths are relative to the output and hold no `..`. No method has a default: whoever wraps an output would pass
/// on all but that one.
#[async_trait]
pub trait DeferredOutput: fmt::Debug + Send + Sync {
    /// Begins an object. `path` must be this attempt's alone: two that begin the same one spoil each other.
    async fn begin(&self, path: &str) -> Result<Intent>;

    /// The size of every part of an object but the last.
    fn part_bytes(&self) -> u64;

    /// Adds a part, all but the last of [`Self::part_bytes`]. Parts may be added in any order and at once.
    async fn part(&self, intent: &Intent, index: usize, bytes: Bytes) -> Result<String>;

    /// Says that all parts are there. The object outlives the process from here on, unseen.
    async fn seal(&self, intent: Intent, parts: Vec<String>, bytes: u64) -> Result<Receipt>;

    /// Makes the object visible; again does no harm.
    async fn publish(&self, receipt: &Receipt) -> Result<Published>;

    /// Throws away what was begun and not published; again does no harm, and neither does it to what is published.
    async fn discard(&self, intent: &Intent) -> Result<()>;

    /// The objects that were begun below `prefix` and neither published nor discarded, as far as the store tells.
    async fn staged(&self, prefix: &str) -> Result<Vec<Intent>>;

    /// Whether `staged` tells of everything that was begun, so that nobody needs to write it down.
    fn tells_all(&self) -> bool;

    /// Creates a record. [`object_store::Error::AlreadyExists`] or `Precondition` where there is one, or where the store
    /// cannot tell: [`claim`] finds out.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// Writes a small object that everybody may see, in place of what was there.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<Option<String>>;

    /// Reads a record.
    async fn get(&self, path: &str) -> Result<Option<Bytes>>;

    /// The published objects below `prefix`, records included, sorted by path.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>>;

    /// Removes an object where it still is the one with this tag, or whatever is there where none is given. It is no error where
    /// none is there.
    async fn delete(&self, path: &str, etag: Option<&str>) -> Result<()>;

    /// Moves the whole output to where its readers look, where it was written elsewhere; again does no harm.
    async fn reveal(&self) -> Result<()>;

    /// Removes what writers that died or stood still too long have left of small objects below `prefix`; to be done once none can
    /// be at it any more. A store shows an object whole or not at all.
    async fn clear(&self, prefix: &str) -> Result<()>;

    /// Removes an output that was written elsewhere and will never be revealed, records included; again does no harm, and neither
    /// does it to one that was revealed: there it takes what a late writer has put elsewhere since.
    async fn abandon(&self) -> Result<()>;
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
    pub etag: Option<String>,
}
