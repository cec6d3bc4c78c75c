//! The pool's small durable facts behind one trait, so that the same logic runs on memory, on one file, or on a cluster's
//! coordination store.
//!
//! What is kept here and who writes it is listed in [`keys`]. Every home keeps these promises, and `conformance` checks them:
//! a commit is all or nothing; of commits that race on one key exactly one wins; what a durable home has answered
//! `Committed` survives a kill; a watcher sees every commit in order, or is told that it lags; keys of a lease vanish with it.

#[cfg(test)]
mod conformance;
mod hub;
pub mod keys;
mod memory;
mod mirror;
mod redb;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use whimbrel_proto::{Error, ErrorCode};

pub use memory::MemoryStore;
pub(crate) use mirror::race;
pub use mirror::{Mirror, Record};
pub use redb::RedbStore;

/// The largest value a home takes: facts, never files.
pub const MAX_VALUE_BYTES: usize = 512 * 1024 - 1;
/// The longest key a home takes.
pub const MAX_KEY_BYTES: usize = 512;

/// Counts the commits of a store. An entry's revision is that of the commit that wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A lease of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A value and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: Bytes,
    pub revision: Revision,
}

/// What must hold for a transaction to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key has no value.
    Absent,
    /// The key's value was written by this commit and not since.
    At(Revision),
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// With a lease, the value lasts as long as the lease does and never outlives the store's process.
    Put {
        value: Bytes,
        lease: Option<LeaseId>,
    },
    Delete,
}

/// Conditions and writes that happen together or not at all; a key may be written once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    conditions: Vec<(String, Expect)>,
    writes: Vec<(String, Write)>,
}

impl Transaction {
    /// No conditions, no writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only commit if `key` is as expected.
    #[must_use]
    pub fn expect(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.conditions.push((key.into(), expect));
        self
    }

    /// Write a durable value.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let value = value.into();
        self.writes
            .push((key.into(), Write::Put { value, lease: None }));
        self
    }

    /// Write a value that vanishes with its lease.
    #[must_use]
    pub fn put_leased(
        mut self,
        key: impl Into<String>,
        value: impl Into<Bytes>,
        lease: LeaseId,
    ) -> Self {
        let (value, lease) = (value.into(), Some(lease));
        self.writes.push((key.into(), Write::Put { value, lease }));
        self
    }

    /// Remove a value; nothing happens where there is none.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push((key.into(), Write::Delete));
        self
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// All writes are made, under this revision.
    Committed(Revision),
    /// A condition did not hold; nothing is written.
    Conflict,
}

/// All entries under a prefix, by key, as of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub revision: Revision,
    pub entries: Vec<(String, Entry)>,
}

/// What one commit did under a watched prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub revision: Revision,
    pub changes: Vec<Change>,
}

/// A key's new value, or none where it was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub entry: Option<Entry>,
}

/// The commits a watcher asked for are no longer kept: list again, and watch from the listing's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// The last revision the watcher has seen.
    pub seen: Revision,
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the commits after revision {} are no longer kept",
            self.seen.0
        )
    }
}

impl std::error::Error for Lagged {}

/// Commits under a prefix, in order. It ends after a `Lagged`, and when the store is closed.
pub type ChangeStream = BoxStream<'static, Result<Changes, Lagged>>;

/// Small facts with atomic commits, watches and leases.
#[async_trait]
pub trait StateStore: Send + Sync + fmt::Debug {
    /// The entry of `key` now.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Makes the transaction's writes if its conditions hold. Once it answers `Committed` the writes are as durable as the
    /// home can make them. Dropping the future does not undo a commit that has begun.
    async fn commit(&self, transaction: Transaction) -> Result<Outcome, Error>;

    /// Everything under `prefix`.
    async fn list(&self, prefix: &str) -> Result<Listing, Error>;

    /// Every commit under `prefix` after `seen`, from the past as far as it is kept and then as it happens.
    async fn watch(&self, prefix: &str, seen: Revision) -> Result<ChangeStream, Error>;

    /// A lease that ends `ttl` after now, or after its last keep-alive.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error>;

    /// Starts the lease's time anew; `NotFound` once it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error>;

    /// Ends the lease and removes its keys; nothing happens where it has ended.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Ends watches, gives back files and locks, and waits until they are given back. Every later call fails.
    async fn close(&self);

    /// Writes one durable value whatever was there.
    async fn put(&self, key: &str, value: Bytes) -> Result<Revision, Error> {
        match self.commit(Transaction::new().put(key, value)).await? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::Conflict => Err(Error::new(
                ErrorCode::Bug,
                format!("a put of '{key}' without conditions was refused as a conflict"),
            )),
        }
    }
}
