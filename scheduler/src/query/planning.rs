//! Plans statements on threads of their own with a large stack: planning recurses with the depth of a statement, and a plan
//! that needs long must not keep the async threads from heartbeats.

use std::future::Future;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::sync::{Semaphore, oneshot};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Stores;

use super::classify::{Kind, kind, refuse_lossy, stays_here};
use super::ddl::effect;
use super::pinned::inputs;
use super::score::understood;
use super::{Plan, Planned, bounds, links, models};
use crate::engine::Engine;
use crate::error::plan_error;
use crate::models::Registry;
use crate::session::{Session, SessionPlanner, one_statement};

/// What a statement within the bounds can need.
const STACK: usize = 32 << 20;
/// Statements planned at once.
const AT_ONCE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Planning {
    pub(super) planner: SessionPlanner,
    models: Arc<Registry>,
    pub(super) stores: Stores,
    pub(super) codec: Arc<dyn PhysicalExtensionCodec>,
    permits: Arc<Semaphore>,
    max_sql_bytes: usize,
}

impl Planning {
    pub(crate) fn new(
        planner: SessionPlanner,
        models: Arc<Registry>,
        stores: Stores,
        codec: Arc<dyn PhysicalExtensionCodec>,
        max_sql_bytes: usize,
    ) -> Self {
        Self {
            planner,
            models,
            stores,
            codec,
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            max_sql_bytes,
        }
    }

    /// Plans the text for a pool that can use so many partitions.
    pub(crate) async fn plan(
        self: &Arc<Self>,
        session: Arc<Session>,
        sql: &str,
        partitions: usize,
    ) -> Result<Planned, Error> {
        bounds::check(sql, self.max_sql_bytes)?;
        if let Some(planned) = models::planned(sql, &self.models) {
            return planned;
        }
        let (this, sql) = (Arc::clone(self), sql.to_owned());
        self.on_own_thread(async move { this.plan_here(&session, &sql, partitions).await })
            .await
    }

    /// Waits until no statement is being planned.
    pub(crate) async fn idle(&self) {
        drop(self.permits.acquire_many(AT_ONCE as u32).await);
    }

    pub(super) async fn on_own_thread<F, T>(&self, work: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let stopped = |_| Error::new(ErrorCode::Unavailable, "the scheduler is stopping");
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(stopped)?;
        let (mut answer, result) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let plan = move || {
            let _permit = permit;
            let planned = runtime.block_on(async {
                tokio::select! {
                    planned = work => Some(planned),
                    // Nobody waits any more; what has no await point in it ends by itself.
                    () = answer.closed() => None,
                }
            });
            if let Some(planned) = planned {
                let _ = answer.send(planned);
            }
        };
        std::thread::Builder::new()
            .name("whimbrel-plan".to_owned())
            .stack_size(STACK)
            .spawn(plan)
            .map_err(|error| {
                Error::new(
                    ErrorCode::Exhausted,
                    format!("no thread to plan with: {error}"),
                )
            })?;
        result.await.unwrap_or_else(|_| {
            Err(
                Error::new(ErrorCode::Bug, "planning the statement broke off")
                    .with_hint("the scheduler's log says where; please report the statement"),
            )
        })
    }

    async fn plan_here(
        &self,
        session: &Session,
        sql: &str,
        partitions: usize,
    ) -> Result<Planned, Error> {
        let statement = one_statement(sql)?;
        if let Some(score) = understood(&statement, self.planner.catalog())? {
            return Ok(Planned::Score(Box::new(score)));
        }
        let written = statement.clone();
        let (state, logical) = self.planner.plan(session, statement, partitions).await?;
        match kind(&logical)? {
            Kind::Effect => effect(sql, written, logical).map(Planned::Effect),
            Kind::Rows => self
                .lower(state, &logical)
                .await
                .map_err(|error| plan_error(&error)),
        }
    }

    async fn lower(
        &self,
        state: SessionState,
        logical: &LogicalPlan,
    ) -> Result<Planned, DataFusionError> {
        if let LogicalPlan::Explain(explain) = logical {
            // The engine explains a failure as if it were a plan.
            state.create_physical_plan(&explain.plan).await?;
        }
        let optimized = state.optimize(logical)?;
        let physical = state
            .query_planner()
            .create_physical_plan(&optimized, &state)
            .await?;
        let here = stays_here(&optimized)?;
        let inputs = inputs(&optimized)?;
        let mut state = state;
        links::pack(&self.stores, &physical, state.config_mut());
        let ctx = Arc::new(SessionContext::new_with_state(state));
        if here {
            return Ok(Planned::Here(Plan {
                ctx,
                physical,
                inputs,
            }));
        }
        refuse_lossy(&optimized)?;
        Engine::check(&physical, &ctx, self.codec.as_ref())?;
        Ok(Planned::Spread(Plan {
            ctx,
            physical,
            inputs,
        }))
    }
}
