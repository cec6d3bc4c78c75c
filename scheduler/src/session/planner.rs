//! From SQL text to a logical plan, in the eyes of one session.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::Statement as Ast;
use futures::FutureExt;
use futures::future::BoxFuture;
use whimbrel_predict::binding::BindingSource;
use whimbrel_predict::sql::{explain_failure, rewrite_statement};
use whimbrel_proto::{Error, ErrorCode};

use super::schema::StatementSchema;
use super::{Session, View, models};
use crate::engine::{CATALOG, SCHEMA, session_config};
use crate::error::{missing_table, plan_error};
use crate::models::Registry;
use crate::nearest;

/// Views within views; more is a view that names itself.
const VIEW_DEPTH: usize = 16;

/// Plans the statements of all sessions.
#[derive(Debug)]
pub(crate) struct SessionPlanner {
    base: SessionState,
    pool: Arc<dyn SchemaProvider>,
    models: Arc<Registry>,
}

impl SessionPlanner {
    /// Functions, rules and planner are built once; a statement clones them.
    pub(crate) fn new(
        max_message_bytes: usize,
        runtime: Arc<RuntimeEnv>,
        models: Arc<Registry>,
        pool: Arc<dyn SchemaProvider>,
    ) -> Result<Self, Error> {
        let builder = SessionStateBuilder::new()
            .with_config(session_config(max_message_bytes))
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(ballista_core::optimizer::ballista_default_optimizer_rules());
        let bindings: Arc<dyn BindingSource> = Arc::clone(&models) as _;
        let base = whimbrel_predict::session::install(builder, bindings)?.build();
        Ok(Self { base, pool, models })
    }

    /// The logical plan of a statement and the state that it was planned in; `partitions` is what the pool can use.
    pub(crate) async fn plan(
        &self,
        session: &Session,
        statement: Statement,
        partitions: usize,
    ) -> Result<(SessionState, LogicalPlan), Error> {
        let views = session.views();
        let base = self.state(session, partitions)?;
        let planned = self.plan_in(&base, &views, statement, 0).await;
        planned.map_err(|error| self.offer_table(error, &views))
    }

    /// Offers the nearest table for one that does not exist.
    fn offer_table(&self, error: Error, views: &BTreeMap<String, View>) -> Error {
        let Some(name) = missing_table(&error) else {
            return error;
        };
        let mut known = self.pool.table_names();
        known.extend(views.keys().cloned());
        let none = "the catalog is empty: `whimbrel table add NAME --uri PATH` adds a table";
        let hint = nearest::hint(name, known.iter().map(String::as_str), none);
        Error::new(error.code(), error.message()).with_hint(hint)
    }

    /// The state of a session's statement, without its tables.
    fn state(&self, session: &Session, partitions: usize) -> Result<SessionState, Error> {
        let mut state = self.base.clone();
        let options = state.config_mut().options_mut();
        options.execution.target_partitions = partitions;
        for (key, value) in session.settings() {
            options
                .set(&key, &value)
                .map_err(|error| plan_error(&error))?;
        }
        state.mark_start_execution();
        Ok(state)
    }

    fn plan_in<'a>(
        &'a self,
        base: &'a SessionState,
        views: &'a BTreeMap<String, View>,
        mut statement: Statement,
        depth: usize,
    ) -> BoxFuture<'a, Result<(SessionState, LogicalPlan), Error>> {
        async move {
            rewrite_statement(&mut statement)?;
            plain_view(&mut statement);
            let asks_models = models::redirect(&mut statement);
            let named = self.named_views(base, views, &statement, depth).await?;
            let schema = StatementSchema {
                views: named,
                pool: Arc::clone(&self.pool),
                models: asks_models
                    .then(|| models::schema(&self.models))
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

    /// The session's views that the statement names, planned.
    async fn named_views(
        &self,
        base: &SessionState,
        views: &BTreeMap<String, View>,
        statement: &Statement,
        depth: usize,
    ) -> Result<BTreeMap<String, Arc<dyn TableProvider>>, Error> {
        let mut named = BTreeMap::new();
        if views.is_empty() {
            return Ok(named);
        }
        let references = base
            .resolve_table_references(statement)
            .map_err(|error| plan_error(&error))?;
        let lists_all = references
            .iter()
            .any(|reference| reference.schema() == Some("information_schema"))
            || matches!(statement, Statement::Statement(ast) if matches!(ast.as_ref(), Ast::ShowTables { .. } | Ast::ShowColumns { .. }));
        let wanted: Vec<String> = if lists_all {
            views.keys().cloned().collect()
        } else {
            references
                .iter()
                .filter_map(own_name)
                .filter(|name| views.contains_key(*name))
                .map(str::to_owned)
                .collect()
        };
        for name in wanted {
            let Some(view) = views.get(&name) else {
                continue;
            };
            match self.view(base, views, &name, view, depth).await {
                Ok(table) => drop(named.insert(name, table)),
                // A view that no longer plans must not keep the others from being listed.
                Err(error) if lists_all => {
                    tracing::debug!(view = name, error = %error, "a view does not plan")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(named)
    }

    async fn view(
        &self,
        base: &SessionState,
        views: &BTreeMap<String, View>,
        name: &str,
        view: &View,
        depth: usize,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        if depth >= VIEW_DEPTH {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("view '{name}' names itself, or more than {VIEW_DEPTH} views in a row"),
            )
            .with_hint("drop it and create it anew"));
        }
        let (_, plan) = self
            .plan_in(base, views, view.statement.clone(), depth + 1)
            .await?;
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateView(create)) => {
                let plan = Arc::unwrap_or_clone(create.input);
                Ok(Arc::new(ViewTable::new(
                    plan,
                    Some(view.statement.to_string()),
                )))
            }
            _ => Err(Error::new(
                ErrorCode::Bug,
                format!("view '{name}' is kept as another statement"),
            )),
        }
    }
}

/// `CREATE TEMPORARY VIEW` is what every view of a session is; the engine's planner knows only the shorter form.
fn plain_view(statement: &mut Statement) {
    if let Statement::Statement(ast) = statement
        && let Ast::CreateView(view) = ast.as_mut()
    {
        view.temporary = false;
    }
}

/// The name of a table in the pool's own schema.
fn own_name(reference: &TableReference) -> Option<&str> {
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
