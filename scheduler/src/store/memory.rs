//! Facts in memory: for tests and for pools that need not remember. Everything is gone with the process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::task::JoinHandle;
use whimbrel_proto::Error;

use super::hub::Hub;
use super::tree::{Command, HistoryLimit, Tree};
use super::{ChangeStream, Entry, LeaseId, Listing, Outcome, Revision, StateStore, Transaction};
use crate::clock::Clock;

/// See the module.
#[derive(Debug)]
pub struct MemoryStore {
    hub: Arc<Hub>,
    leases: Mutex<Option<JoinHandle<()>>>,
}

impl MemoryStore {
    /// An empty store. Called within a tokio runtime: a task of it ends leases in time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_history(clock, HistoryLimit::default())
    }

    pub(super) fn with_history(clock: Arc<dyn Clock>, limit: HistoryLimit) -> Self {
        let hub = Hub::new(Tree::restore(Revision(0), Vec::new(), limit), clock);
        let ending = Arc::clone(&hub);
        let leases = tokio::spawn(Arc::clone(&hub).end_leases(move |leases| {
            let ending = Arc::clone(&ending);
            async move { ending.run(&Command::EndLeases(leases)) }.boxed()
        }));
        Self {
            hub,
            leases: Mutex::new(Some(leases)),
        }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.hub.close();
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.hub.get(key)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, Error> {
        self.hub.run(&Command::Commit(transaction))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.hub.list(prefix)
    }

    async fn watch(&self, prefix: &str, seen: Revision) -> Result<ChangeStream, Error> {
        self.hub.watch(prefix, seen)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.hub.grant(ttl)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.hub.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.hub.run(&Command::EndLeases(vec![lease])).map(|_| ())
    }

    async fn close(&self) {
        self.hub.close();
        let leases = self
            .leases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(leases) = leases
            && let Err(error) = leases.await
        {
            tracing::error!(%error, "the lease task failed");
        }
    }
}
