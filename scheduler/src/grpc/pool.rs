//! `PoolService`: what the pool is and does now, and the end of a query by its id.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status};
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::pool_service_server::PoolService;
use whimbrel_proto::v1::{
    CancelQueryRequest, CancelQueryResponse, ExecutorStatus, GetPoolStatusRequest,
    GetPoolStatusResponse, QueryProgress, QueryStatus, WatchQueryRequest,
};

use crate::executors::Member;
use crate::flight::caller;
use crate::pool::Pool;
use crate::query::{Cancelled, Query, Snapshot};

/// How often progress is sent.
const STEP: Duration = Duration::from_millis(200);

/// Serves the pool's state on the client port.
#[derive(Clone, Debug)]
pub(crate) struct PoolState {
    pool: Arc<Pool>,
}

impl PoolState {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

fn executor_status(executor_id: String, member: Member, running: u32) -> ExecutorStatus {
    let state = if member.draining {
        "draining"
    } else {
        "active"
    };
    ExecutorStatus {
        executor_id,
        address: member.client_address,
        slots: member.slots,
        free_slots: member.slots.saturating_sub(running),
        state: state.to_owned(),
        last_seen_ms: member.seen_unix_ms,
        models: member.models,
        served_bytes: member.served.bytes,
        open_streams: member.served.open_streams,
    }
}

fn query_status(query: &Query) -> QueryStatus {
    let state = query.snapshot();
    QueryStatus {
        query_id: query.id().to_string(),
        state: state.phase.name().to_owned(),
        sql: query.sql().to_owned(),
        tasks_total: state.progress.tasks_total,
        tasks_done: state.progress.tasks_done,
    }
}

fn query_progress(state: &Snapshot) -> QueryProgress {
    QueryProgress {
        state: state.phase.name().to_owned(),
        tasks_total: state.progress.tasks_total,
        tasks_done: state.progress.tasks_done,
        rows_done: state.rows,
    }
}

#[tonic::async_trait]
impl PoolService for PoolState {
    type WatchQueryStream = BoxStream<'static, Result<QueryProgress, Status>>;

    async fn get_pool_status(
        &self,
        request: Request<GetPoolStatusRequest>,
    ) -> Result<Response<GetPoolStatusResponse>, Status> {
        let caller = caller(&request)?;
        let GetPoolStatusRequest {} = request.into_inner();
        let running = self.pool.engine.running_tasks().await;
        let status = |(id, member): (String, Member)| {
            let busy = running.get(&id).copied().unwrap_or_default();
            executor_status(id, member, busy)
        };
        Ok(Response::new(GetPoolStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scheduler_address: self.pool.client_address.clone(),
            started_at_ms: self.pool.started_at_ms,
            executors: self.pool.executors.all().into_iter().map(status).collect(),
            queries: self
                .pool
                .queries
                .all()
                .iter()
                .filter(|query| query.is_open_to(&caller))
                .map(|query| query_status(query))
                .collect(),
            proxied_bytes: self.pool.proxied_bytes.load(Ordering::Relaxed),
        }))
    }

    async fn watch_query(
        &self,
        request: Request<WatchQueryRequest>,
    ) -> Result<Response<Self::WatchQueryStream>, Status> {
        let caller = caller(&request)?;
        let id: QueryId = request.into_inner().query_id.parse()?;
        let Some(query) = self.pool.queries.of(&id, &caller) else {
            return Ok(Response::new(stream::empty().boxed()));
        };
        let pool = Arc::clone(&self.pool);
        let progress = stream::unfold(Some((pool, query, true)), |at| async move {
            let (pool, query, first) = at?;
            if !first {
                let mut states = query.watch();
                let over = async { states.wait_for(|state| state.phase.is_over()).await.is_ok() };
                tokio::select! {
                    _ = over => {}
                    () = pool.clock.sleep(STEP) => {}
                    () = pool.stop.cancelled() => return None,
                }
                let running = query.snapshot();
                if let Some(job_id) = running.job_id.filter(|_| !running.phase.is_over()) {
                    pool.runner.note_progress(&job_id, &query).await;
                }
            }
            let state = query.snapshot();
            let next = (!state.phase.is_over()).then_some((pool, query, false));
            Some((Ok(query_progress(&state)), next))
        });
        Ok(Response::new(progress.boxed()))
    }

    async fn cancel_query(
        &self,
        request: Request<CancelQueryRequest>,
    ) -> Result<Response<CancelQueryResponse>, Status> {
        let caller = caller(&request)?;
        let id: QueryId = request.into_inner().query_id.parse()?;
        let cancelled = match self.pool.runner.cancel_for(&id, &caller)? {
            Cancelled::Ending => true,
            Cancelled::Released(_) | Cancelled::Unknown => false,
        };
        Ok(Response::new(CancelQueryResponse { cancelled }))
    }
}
