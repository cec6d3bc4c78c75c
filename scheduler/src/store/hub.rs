//! What the local homes share: the facts behind one lock, the waking of watchers, and the task that ends leases in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use whimbrel_proto::{Error, ErrorCode};

use super::tree::{Batch, Command, Planned, Tree};
use super::{ChangeStream, Entry, LeaseId, Listing, Outcome, Revision};
use crate::clock::Clock;

/// How long the lease task waits before it tries a failed clean-up again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Hub {
    tree: Mutex<Tree>,
    clock: Arc<dyn Clock>,
    /// Bumped after every commit; closed with the store.
    commits: watch::Sender<()>,
    granted: Notify,
    closed: CancellationToken,
}

impl Hub {
    pub(super) fn new(tree: Tree, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            tree: Mutex::new(tree),
            clock,
            commits: watch::Sender::new(()),
            granted: Notify::new(),
            closed: CancellationToken::new(),
        })
    }

    /// The facts; refused once the store is closed.
    fn open(&self) -> Result<MutexGuard<'_, Tree>, Error> {
        if self.closed.is_cancelled() {
            return Err(closed());
        }
        // A panic while the lock was held is a defect that has been reported; the facts change only by whole batches.
        Ok(self.tree.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.open()?.get(key))
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Listing, Error> {
        Ok(self.open()?.list(prefix))
    }

    pub(super) fn plan(&self, command: &Command) -> Result<Planned, Error> {
        self.open()?.plan(command, self.clock.monotonic())
    }

    pub(super) fn apply(&self, batch: Batch) -> Result<Outcome, Error> {
        let revision = batch.revision;
        self.open()?.apply(batch);
        self.commits.send_replace(());
        Ok(Outcome::Committed(revision))
    }

    /// Plans and applies under one lock, for a home that has nothing to write in between.
    pub(super) fn run(&self, command: &Command) -> Result<Outcome, Error> {
        let mut tree = self.open()?;
        let batch = match tree.plan(command, self.clock.monotonic())? {
            Planned::Answer(outcome) => return Ok(outcome),
            Planned::Make(batch) => batch,
        };
        let revision = batch.revision;
        tree.apply(batch);
        drop(tree);
        self.commits.send_replace(());
        Ok(Outcome::Committed(revision))
    }

    pub(super) fn watch(
        self: &Arc<Self>,
        prefix: &str,
        seen: Revision,
    ) -> Result<ChangeStream, Error> {
        drop(self.open()?);
        let cursor = Some((
            Arc::clone(self),
            self.commits.subscribe(),
            prefix.to_owned(),
            seen,
        ));
        Ok(Box::pin(stream::unfold(cursor, |cursor| async move {
            let (hub, mut commits, prefix, mut seen) = cursor?;
            loop {
                // Marked as seen before looking, so that a commit in between wakes the wait below.
                commits.mark_unchanged();
                let looked = hub.open().ok()?.next_changes(&prefix, seen);
                match looked {
                    Err(lagged) => return Some((Err(lagged), None)),
                    Ok((Some(changes), upto)) => {
                        return Some((Ok(changes), Some((hub, commits, prefix, upto))));
                    }
                    Ok((None, upto)) => seen = upto,
                }
                tokio::select! {
                    () = hub.closed.cancelled() => return None,
                    changed = commits.changed() => changed.ok()?,
                }
            }
        })))
    }

    pub(super) fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let lease = self.open()?.grant(ttl, self.clock.monotonic());
        self.granted.notify_one();
        Ok(lease)
    }

    pub(super) fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.open()?.keep_alive(lease, self.clock.monotonic())
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Ends leases as their time comes, until the store closes; `end` is the home's way to make that durable and visible.
    pub(super) async fn end_leases<F>(self: Arc<Self>, end: F)
    where
        F: Fn(Vec<LeaseId>) -> BoxFuture<'static, Result<Outcome, Error>>,
    {
        loop {
            let now = self.clock.monotonic();
            let Ok((expired, next)) = self.open().map(|tree| tree.expired(now)) else {
                return;
            };
            let mut wake = next;
            if !expired.is_empty() {
                match end(expired).await {
                    Ok(_) => continue,
                    Err(_) if self.closed.is_cancelled() => return,
                    Err(error) => {
                        tracing::error!(%error, "cannot remove the keys of ended leases");
                        wake = Some(now.saturating_add(RETRY));
                    }
                }
            }
            let passed = async {
                match wake {
                    Some(deadline) => self.clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = self.granted.notified() => {}
                () = passed => {}
            }
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Unavailable, "the state store is closed")
        .with_hint("the pool is stopping; start it again")
}
