//! A running scheduler: its two ports, its parts, and its end.

mod build;
mod listen;
mod secure;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use whimbrel_proto::{Error, ErrorCode};

use crate::config::Config;
use crate::pool::Pool;
use crate::store::StateStore;

pub use listen::Listeners;

/// How long open calls may take to end once they are told to.
const PATIENCE: Duration = Duration::from_secs(4);
/// A result of the scheduler's own that is not fetched in this time does not hold up a drain.
const FETCH: Duration = Duration::from_secs(5);
/// Between two looks at what a drain waits for.
const LOOK: Duration = Duration::from_millis(50);

/// A running scheduler. [`Scheduler::stop`] waits until nothing of it is left but the engine's own loops, which end with
/// their runtime; a handle that is dropped stops it without waiting.
#[derive(Debug)]
#[must_use = "a scheduler stops when its handle is dropped"]
pub struct Scheduler {
    client_address: String,
    cluster_address: String,
    pool: Arc<Pool>,
    planning: Arc<crate::query::Planning>,
    store: Arc<dyn StateStore>,
    /// A folder for models that ends with this process.
    temporary: Option<PathBuf>,
    failed: CancellationToken,
}

impl Scheduler {
    /// Starts to serve on the listeners and returns at once.
    pub async fn start(config: Config, listeners: Listeners) -> Result<Self, Error> {
        Box::pin(build::start(config, listeners)).await
    }

    /// host:port of the client port, as clients reach it.
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// host:port of the cluster port, as executors reach it.
    pub fn cluster_address(&self) -> &str {
        &self.cluster_address
    }

    /// Takes no new statement, lets the running ones finish and be fetched for at most `grace`; call [`Scheduler::stop`]
    /// after.
    pub async fn drain(&self, grace: Duration) {
        self.pool.runner.drain();
        tracing::info!("draining: no new statements");
        if tokio::time::timeout(grace, self.quiet()).await.is_err() {
            tracing::warn!("the grace is over, and statements are still running or being fetched");
        }
    }

    async fn quiet(&self) {
        let mut running = self.pool.queries.running();
        // The sender lives in the pool, so there is no error to see.
        let _ = running.wait_for(|count| *count == 0).await;
        while self.pool.shelf.awaited(FETCH) || *self.pool.streams.borrow() > 0 {
            self.pool.clock.sleep(LOOK).await;
        }
    }

    /// Ends every task of the scheduler and gives its ports and files back.
    pub async fn stop(mut self) {
        self.pool.runner.drain();
        self.pool.stop.cancel();
        self.pool.tasks.close();
        let ended = async {
            self.pool.tasks.wait().await;
            self.planning.idle().await;
        };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            tracing::warn!("a part of the scheduler did not end in time");
        }
        self.store.close().await;
        if let Some(folder) = self.temporary.take()
            && let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), error = %error, "a temporary folder is left behind");
        }
    }

    /// Returns when the scheduler can serve no longer, which only a failing listener makes happen.
    pub async fn wait(&self) -> Result<(), Error> {
        self.failed.cancelled().await;
        Err(
            Error::new(ErrorCode::Unavailable, "a port of the scheduler broke")
                .with_hint("its log says how"),
        )
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.pool.stop.cancel();
    }
}
