//! From SQL text to a logical plan, in the eyes of one session.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use arrow::array::RecordBatch;
use datafusion::catalog::SchemaProvider;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use futures::FutureExt;
use futures::future::BoxFuture;
use whimbrel_access::{Caller, Role};
use whimbrel_predict::binding::BindingSource;
use whimbrel_predict::sql::{explain_failure, rewrite_statement};
use whimbrel_proto::{Error, ErrorCode};

use super::lists::{self, List};
use super::schema::StatementSchema;
use super::views::{Place, plain_view};
use super::{Session, View};
use crate::catalog::{Catalog, PoolSchema};
use crate::engine::{CATALOG, SCHEMA, session_config};
use crate::error::{missing_table, plan_error};
use crate::jobs::JobList;
use crate::models::{Registry, as_table};
use crate::nearest;

/// Plans the statements of all sessions.
#[derive(Debug)]
pub(crate) struct SessionPlanner {
    base: SessionState,
    pub(super) catalog: Arc<Catalog>,
    pool: Arc<dyn SchemaProvider>,
    models: Arc<Registry>,
    jobs: OnceLock<Weak<dyn JobList>>,
}

impl SessionPlanner {
    /// Functions, rules and planner are built once; a statement clones them.
    pub(crate) fn new(
        max_message_bytes: usize,
        runtime: Arc<RuntimeEnv>,
        models: Arc<Registry>,
        catalog: Arc<Catalog>,
    ) -> Result<Self, Error> {
        let builder = SessionStateBuilder::new()
            .with_config(session_config(max_message_bytes))
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(ballista_core::optimizer::ballista_default_optimizer_rules());
        let bindings: Arc<dyn BindingSource> = Arc::clone(&models) as _;
        let base = whimbrel_predict::session::install(builder, bindings)?.build();
        Ok(Self {
            base,
            pool: Arc::new(PoolSchema::new(Arc::clone(&catalog))),
            catalog,
            models,
            jobs: OnceLock::new(),
        })
    }

    /// The jobs exist only after what plans their statements.
    pub(crate) fn list_jobs_of(&self, jobs: Weak<dyn JobList>) {
        // Other jobs for the same planner would be a defect of the one place that calls this.
        let _ = self.jobs.set(jobs);
    }

    fn list(&self, list: List, caller: &Caller) -> Result<RecordBatch, Error> {
        match list {
            List::Models => as_table(&self.models.list()),
            List::Jobs => match self.jobs.get().and_then(Weak::upgrade) {
                Some(jobs) => jobs.table(caller),
                None => Err(
                    Error::new(ErrorCode::Unavailable, "the scheduler is not up yet")
                        .with_hint("try again"),
                ),
            },
        }
    }

    /// The tables of the pool.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The logical plan of a statement and the state that it was planned in; `partitions` is what the pool can use.
    pub(crate) async fn plan(
        &self,
        session: &Session,
        statement: Statement,
        partitions: usize,
    ) -> Result<(SessionState, LogicalPlan), Error> {
        let temporary = session.views();
        let base = self.state(session, partitions)?;
        let place = Place::of(&statement, &temporary);
        let planned = self.plan_in(&base, &place, statement).await;
        planned.map_err(|error| self.offer_table(error, &place, &temporary))
    }

    /// Offers the nearest table for one that does not exist.
    fn offer_table(
        &self,
        error: Error,
        place: &Place,
        temporary: &BTreeMap<String, View>,
    ) -> Error {
        let Some(name) = missing_table(&error) else {
            return error;
        };
        let told = Error::new(error.code(), error.message());
        if place.is_of_pool() && temporary.contains_key(name) {
            let hint = format!("'{name}' is a view of this session: write CREATE TEMPORARY VIEW");
            return told.with_hint(hint);
        }
        let mut known = self.pool.table_names();
        known.extend(self.catalog.view_names());
        known.extend(temporary.keys().cloned());
        let none = "the catalog is empty: `whimbrel table add NAME --uri PATH` adds a table";
        told.with_hint(nearest::hint(name, known.iter().map(String::as_str), none))
    }

    /// The state of a session's statement, without its tables.
    fn state(&self, session: &Session, partitions: usize) -> Result<SessionState, Error> {
        let mut state = self.settled(&session.settings(), Some(partitions))?;
        let caller = Arc::new(session.caller().clone());
        state.config_mut().set_extension(caller);
        Ok(state)
    }

    /// A state with these settings and no tables: what a plan that is made already runs in.
    pub(crate) fn settled(
        &self,
        settings: &BTreeMap<String, String>,
        partitions: Option<usize>,
    ) -> Result<SessionState, Error> {
        let mut state = self.base.clone();
        let options = state.config_mut().options_mut();
        if let Some(partitions) = partitions {
            options.execution.target_partitions = partitions;
        }
        for (key, value) in settings {
            options
                .set(key, value)
                .map_err(|error| plan_error(&error))?;
        }
        state.mark_start_execution();
        Ok(state)
    }

    pub(super) fn plan_in<'a>(
        &'a self,
        base: &'a SessionState,
        place: &'a Place,
        mut statement: Statement,
    ) -> BoxFuture<'a, Result<(SessionState, LogicalPlan), Error>> {
        async move {
            rewrite_statement(&mut statement)?;
            plain_view(&mut statement);
            let asked_lists = lists::redirect(&mut statement).into_iter();
            let asked_lists: Vec<_> = asked_lists
                .map(|list| Ok((list, self.list(list, &caller_of(base))?)))
                .collect::<Result<_, Error>>()?;
            let schema = StatementSchema {
                views: self.named_views(base, place, &statement).await?,
                pool: Arc::clone(&self.pool),
                lists: (!asked_lists.is_empty())
                    .then(|| lists::schema(asked_lists))
                    .transpose()
                    .map_err(|error| plan_error(&error))?,
            };
            let mut state = base.clone();
            state
                .register_catalog_list(schema.into_catalogs().map_err(|error| plan_error(&error))?);
            let asked = statement.clone();
            let plan = state
                .statement_to_plan(statement)
                .await
                .map_err(|error| plan_error(&explain_failure(&asked, error)))?;
            Ok((state, plan))
        }
        .boxed()
    }
}

/// For whom a statement is planned.
fn caller_of(state: &SessionState) -> Caller {
    let caller = state.config().get_extension::<Caller>();
    caller.map_or_else(nobody, |caller| caller.as_ref().clone())
}

/// A plan that is made for no session sees nobody's jobs.
fn nobody() -> Caller {
    Caller {
        user: String::new(),
        role: Role::Reader,
        expires: None,
    }
}

/// The name of a table in the pool's own schema.
pub(super) fn own_name(reference: &TableReference) -> Option<&str> {
    let ours = reference.schema().is_none_or(|schema| schema == SCHEMA)
        && reference.catalog().is_none_or(|catalog| catalog == CATALOG);
    ours.then(|| reference.table())
}

/// Parses SQL that must be one statement.
pub(crate) fn one_statement(sql: &str) -> Result<Statement, Error> {
    let parse =
        || -> Result<_, DataFusionError> { DFParserBuilder::new(sql).build()?.parse_statements() };
    let mut statements = parse().map_err(|error| plan_error(&error))?;
    let wrong = |what: &str| {
        Err(Error::new(ErrorCode::Invalid, what).with_hint("send one statement at a time"))
    };
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (Some(_), false) => wrong("the text holds several statements"),
        (None, _) => wrong("the text holds no statement"),
    }
}
