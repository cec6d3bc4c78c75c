//! Plans statements on threads of their own with a large stack: planning recurses with the depth of a statement, and a plan
//! that needs long must not keep the async threads from heartbeats.

use std::future::Future;
use std::sync::{Arc, Weak};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use tokio::sync::{Semaphore, oneshot};
use whimbrel_predict::sql::rewrite_statement;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Stores;

use super::classify::{Kind, kind, refuse_lossy, stays_here};
use super::ddl::effect;
use super::job_statements::Read;
use super::pinned::inputs;
use super::score::{self, understood};
use super::{Ask, Plan, Planned, bounds, explained, job_statements, links, models, parameters};
use crate::engine::Engine;
use crate::error::plan_error;
use crate::jobs::JobList;
use crate::models::Registry;
use crate::session::{Session, SessionPlanner, one_statement};

/// What a statement within the bounds can need.
const STACK: usize = 32 << 20;
/// Statements planned at once.
const AT_ONCE: usize = 8;

/// What is known of a statement before it runs.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) schema: SchemaRef,
    /// The type of each parameter; `Null` where its place does not tell.
    pub(crate) parameters: Vec<DataType>,
}

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

    /// Plans a statement for a pool that can use so many partitions.
    pub(crate) async fn plan(
        self: &Arc<Self>,
        session: Arc<Session>,
        ask: impl Into<Ask>,
        partitions: usize,
    ) -> Result<Planned, Error> {
        let ask = ask.into();
        bounds::check(&ask.sql, self.max_sql_bytes)?;
        if let Some(planned) = models::planned(&ask.sql, &self.models) {
            return match ask.values.is_empty() {
                true => planned,
                false => Err(no_parameters()),
            };
        }
        let ask = match job_statements::read(&ask.sql).transpose()? {
            None => ask,
            Some(_) if !ask.values.is_empty() => return Err(no_parameters()),
            Some(Read::Show(sql)) => sql.into(),
            Some(Read::One(statement)) => return Ok(Planned::Job(statement)),
        };
        let this = Arc::clone(self);
        self.on_own_thread(async move { this.plan_here(&session, &ask, partitions).await })
            .await
    }

    /// The columns that a statement gives and the parameters that it takes, without values for them.
    pub(crate) async fn describe(
        self: &Arc<Self>,
        session: Arc<Session>,
        sql: &str,
        partitions: usize,
    ) -> Result<Described, Error> {
        bounds::check(sql, self.max_sql_bytes)?;
        let ours =
            models::planned(sql, &self.models).is_some() || job_statements::read(sql).is_some();
        let slots = match ours {
            true => 0,
            false => {
                let mut statement = one_statement(sql)?;
                rewrite_statement(&mut statement)?;
                parameters::slots(&statement)?
            }
        };
        if slots == 0 {
            let planned = self.plan(session, sql, partitions).await?;
            return Ok(Described {
                schema: planned.schema(),
                parameters: Vec::new(),
            });
        }
        let (this, typed, sql) = (Arc::clone(self), Arc::clone(&session), sql.to_owned());
        let ask = Ask {
            sql: sql.clone(),
            values: vec![ScalarValue::Null; slots],
        };
        let typed = self
            .on_own_thread(async move { this.typed(&typed, &sql, slots).await })
            .await;
        match typed {
            Ok(described) => Ok(described),
            // The planner needs a type where none can be found; NULL fits everywhere, or the statement cannot be planned at all.
            Err(error) => match self.plan(session, ask, partitions).await {
                Ok(planned) => Ok(Described {
                    schema: planned.schema(),
                    parameters: vec![DataType::Null; slots],
                }),
                Err(_) => Err(error),
            },
        }
    }

    /// The parameters with the types that their places have.
    async fn typed(&self, session: &Session, sql: &str, slots: usize) -> Result<Described, Error> {
        let statement = one_statement(sql)?;
        let score = understood(&statement, self.planner.catalog())?;
        let (statement, schema) = match score {
            Some(score) => (one_statement(&score.spec.sql)?, Some(score::schema())),
            None => (statement, None),
        };
        let (_, logical) = self.planner.plan(session, statement, 1).await?;
        let known = logical
            .get_parameter_types()
            .map_err(|error| plan_error(&error))?;
        let kind = |number: usize| {
            let kind = known.get(&format!("${number}")).cloned().flatten();
            kind.unwrap_or(DataType::Null)
        };
        Ok(Described {
            schema: schema.unwrap_or_else(|| Arc::clone(logical.schema().inner())),
            parameters: (1..=slots).map(kind).collect(),
        })
    }

    /// The jobs exist only after what plans their statements.
    pub(crate) fn list_jobs_of(&self, jobs: Weak<dyn JobList>) {
        self.planner.list_jobs_of(jobs);
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
        ask: &Ask,
        partitions: usize,
    ) -> Result<Planned, Error> {
        let mut statement = one_statement(&ask.sql)?;
        rewrite_statement(&mut statement)?;
        parameters::bind(&mut statement, &ask.values)?;
        if let Some(score) = understood(&statement, self.planner.catalog())? {
            return Ok(Planned::Score(Box::new(score)));
        }
        let written = statement.clone();
        let (state, logical) = self.planner.plan(session, statement, partitions).await?;
        match kind(&logical)? {
            Kind::Effect if !ask.values.is_empty() => Err(no_parameters()),
            Kind::Effect => effect(&ask.sql, written, logical).map(Planned::Effect),
            Kind::Rows => Box::pin(self.lower(state, &logical))
                .await
                .map_err(|error| plan_error(&error)),
        }
    }

    async fn lower(
        &self,
        mut state: SessionState,
        logical: &LogicalPlan,
    ) -> Result<Planned, DataFusionError> {
        let asked = match logical {
            LogicalPlan::Explain(explain) => Some(&explain.plan),
            LogicalPlan::Analyze(analyze) => Some(&analyze.input),
            _ => None,
        };
        if let Some(asked) = asked {
            // The engine explains a failure as if it were a plan.
            let plan = state.create_physical_plan(asked).await?;
            state = Box::pin(explained::showing_trees(state, &plan, &self.models)).await;
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

fn no_parameters() -> Error {
    Error::new(ErrorCode::Invalid, "this statement takes no parameters")
        .with_hint("queries, COPY and INSERT do; write the values into this one")
}
