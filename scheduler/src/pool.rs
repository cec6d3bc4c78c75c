//! The parts of a running scheduler that its services share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whimbrel_access::TicketKeys;
use whimbrel_proto::ids::JobId;

use crate::auth::Door;
use crate::catalog::Catalog;
use crate::clock::{Clock, Ids};
use crate::engine::Engine;
use crate::executors::Executors;
use crate::failures::Failures;
use crate::flight::Ways;
use crate::jobs::Jobs;
use crate::models::Registry;
use crate::query::{Queries, Runner, Shelf};
use crate::reading::ExecutorReader;
use crate::session::Sessions;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) engine: Engine,
    pub(crate) executors: Arc<Executors>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) models: Arc<Registry>,
    pub(crate) sessions: Sessions,
    pub(crate) queries: Arc<Queries>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) jobs: Arc<Jobs>,
    /// Streams of rows that clients read through this process.
    pub(crate) streams: Arc<watch::Sender<usize>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) door: Arc<Door>,
    pub(crate) reader: ExecutorReader,
    /// What tickets that come back are checked with.
    pub(crate) ticket_keys: TicketKeys,
    pub(crate) ways: Ways,
    /// Bytes of executors' results that went through this process.
    pub(crate) proxied_bytes: Arc<AtomicU64>,
    pub(crate) client_address: String,
    pub(crate) started_at_ms: i64,
    pub(crate) max_message_bytes: usize,
}

impl Pool {
    /// The engine's jobs that queries and score jobs are now.
    pub(crate) fn engine_jobs(&self) -> Vec<JobId> {
        let queries = self.queries.all().into_iter();
        let queries = queries.filter_map(|query| query.snapshot().job_id);
        queries.chain(self.jobs.engine_jobs()).collect()
    }
}
