//! The records under one prefix, decoded and held in memory: planning is synchronous and asks often. Fed by a watch; a
//! writer refreshes it after its own commit, so that whoever was told of the commit also finds it here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use whimbrel_proto::{Error, ErrorCode};

use super::{Change, Changes, Entry, Listing, Outcome, Revision, StateStore, Transaction};
use crate::clock::Clock;

/// How long a broken watch rests before it begins anew.
const RETRY: Duration = Duration::from_millis(500);

/// How often a change is proposed again when others write the same record.
const RACES: usize = 8;

type Decode<T> = fn(&[u8]) -> Result<T, Error>;

/// A record as the mirror holds it, with the revision that a compare-and-swap on it expects.
#[derive(Debug)]
pub struct Record<T> {
    pub revision: Revision,
    /// An error where this program cannot read the record, which then can only be replaced or removed.
    pub value: Result<Arc<T>, Error>,
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self {
            revision: self.revision,
            value: self.value.clone(),
        }
    }
}

#[derive(Debug)]
struct Snapshot<T> {
    revision: Revision,
    records: BTreeMap<String, Record<T>>,
}

/// See the module. Names are keys without the prefix.
pub struct Mirror<T> {
    store: Arc<dyn StateStore>,
    prefix: &'static str,
    decode: Decode<T>,
    snapshot: RwLock<Snapshot<T>>,
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Mirror<T> {
    /// The records under `prefix` as of now; `follow` keeps them so.
    pub async fn open(
        store: Arc<dyn StateStore>,
        prefix: &'static str,
        decode: Decode<T>,
    ) -> Result<Self, Error> {
        let snapshot = Snapshot {
            revision: Revision(0),
            records: BTreeMap::new(),
        };
        let mirror = Self {
            store,
            prefix,
            decode,
            snapshot: RwLock::new(snapshot),
        };
        let listing = mirror.store.list(prefix).await?;
        mirror.replace(listing);
        Ok(mirror)
    }

    /// The record of `name`.
    pub fn get(&self, name: &str) -> Option<Record<T>> {
        self.read(|snapshot| snapshot.records.get(name).cloned())
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.read(|snapshot| snapshot.records.keys().cloned().collect())
    }

    /// All readable records, by name.
    pub fn values(&self) -> Vec<Arc<T>> {
        self.read(|snapshot| {
            snapshot
                .records
                .values()
                .filter_map(|record| record.value.clone().ok())
                .collect()
        })
    }

    /// Catches up with the store, so that a commit made before this call is seen.
    pub async fn refresh(&self) -> Result<(), Error> {
        let listing = self.store.list(self.prefix).await?;
        self.replace(listing);
        Ok(())
    }

    /// Commits a change of one record, see [`race`].
    pub async fn change(
        &self,
        what: &str,
        propose: impl FnMut() -> Result<Transaction, Error> + Send,
    ) -> Result<(), Error> {
        race(self.store.as_ref(), what, || self.refresh(), propose).await
    }

    /// Applies what others commit, until `stop` or until the store closes.
    pub async fn follow(&self, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let mut pause = false;
        loop {
            let step = async {
                if pause {
                    clock.sleep(RETRY).await;
                }
                self.follow_once().await
            };
            match stop.run_until_cancelled(step).await {
                None | Some(Ok(Followed::Closed)) => return,
                Some(Ok(Followed::Lagged)) => pause = false,
                Some(Err(_)) if stop.is_cancelled() => return,
                Some(Err(error)) => {
                    tracing::warn!(%error, prefix = self.prefix, "lost the watch on the state store, trying again");
                    pause = true;
                }
            }
        }
    }

    async fn follow_once(&self) -> Result<Followed, Error> {
        let seen = self.read(|snapshot| snapshot.revision);
        let mut commits = self.store.watch(self.prefix, seen).await?;
        while let Some(commit) = commits.next().await {
            match commit {
                Ok(changes) => self.apply(changes),
                Err(lagged) => {
                    tracing::debug!(%lagged, prefix = self.prefix, "listing again");
                    self.refresh().await?;
                    return Ok(Followed::Lagged);
                }
            }
        }
        Ok(Followed::Closed)
    }

    fn read<R>(&self, look: impl FnOnce(&Snapshot<T>) -> R) -> R {
        look(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A listing may have been overtaken by a later one or by the watch; then it is old news.
    fn replace(&self, listing: Listing) {
        let mut snapshot = self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if listing.revision < snapshot.revision {
            return;
        }
        let old = std::mem::take(&mut snapshot.records);
        snapshot.revision = listing.revision;
        for (key, entry) in listing.entries {
            let Some(name) = key.strip_prefix(self.prefix) else {
                continue;
            };
            let record = match old.get(name) {
                Some(known) if known.revision == entry.revision => known.clone(),
                _ => self.decode(&key, &entry),
            };
            snapshot.records.insert(name.to_owned(), record);
        }
    }

    fn apply(&self, commit: Changes) {
        let mut snapshot = self
            .snapshot
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if commit.revision <= snapshot.revision {
            return;
        }
        snapshot.revision = commit.revision;
        for Change { key, entry } in commit.changes {
            let Some(name) = key.strip_prefix(self.prefix) else {
                continue;
            };
            match entry {
                Some(entry) => snapshot
                    .records
                    .insert(name.to_owned(), self.decode(&key, &entry)),
                None => snapshot.records.remove(name),
            };
        }
    }

    fn decode(&self, key: &str, entry: &Entry) -> Record<T> {
        let value = (self.decode)(&entry.value).map(Arc::new).map_err(|error| {
            tracing::error!(%error, key, "cannot read a record of the state store");
            Error::new(
                ErrorCode::Invalid,
                format!("the record '{key}' cannot be read: {}", error.message()),
            )
            .with_hint(
                "another version of whimbrel wrote it: use that one, or drop it and add it again",
            )
        });
        Record {
            revision: entry.revision,
            value,
        }
    }
}

/// Commits what `propose` makes of the records as they are, and proposes again where others were faster: `what` they keep
/// doing, should they never stop. Once it returns, the change is durable, and seen by whatever `refresh` refreshes.
pub(crate) async fn race<F>(
    store: &dyn StateStore,
    what: &str,
    refresh: impl Fn() -> F + Send,
    mut propose: impl FnMut() -> Result<Transaction, Error> + Send,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    for _ in 0..RACES {
        let outcome = store.commit(propose()?).await?;
        refresh().await?;
        match outcome {
            Outcome::Committed(_) => return Ok(()),
            Outcome::Conflict => {}
        }
    }
    Err(Error::new(ErrorCode::Unavailable, format!("others keep {what}")).with_hint("try again"))
}

enum Followed {
    Lagged,
    Closed,
}
