//! The views that a statement names, each planned for it: first those of the session, then those of the pool. A view of the
//! pool sees nothing of any session. A temporary view may have the name of what it is made of, and hides it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{ObjectNamePart, Statement as Ast};
use whimbrel_proto::{Error, ErrorCode};

use super::planner::{SessionPlanner, one_statement, own_name};
use super::{View, ViewKind, view_kind};
use crate::error::plan_error;

/// Views within views.
const DEPTH: usize = 16;

/// A view among all there are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Temporary(String),
    Pool(String),
}

impl Key {
    fn name(&self) -> &str {
        match self {
            Self::Temporary(name) | Self::Pool(name) => name,
        }
    }
}

/// Where a statement stands: what it sees, and which views it is a part of.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// The session's views; a view of the pool sees none.
    temporary: BTreeMap<String, View>,
    /// The views that led here, the outermost first.
    within: Vec<Key>,
}

impl Place {
    /// The place of a client's statement.
    pub(super) fn of(statement: &Statement, temporary: &BTreeMap<String, View>) -> Self {
        match view_kind(statement) {
            Some(ViewKind::Pool) => Self {
                temporary: BTreeMap::new(),
                within: defined(statement).map(Key::Pool).into_iter().collect(),
            },
            Some(ViewKind::Temporary) => Self {
                temporary: temporary.clone(),
                within: defined(statement).map(Key::Temporary).into_iter().collect(),
            },
            None => Self {
                temporary: temporary.clone(),
                within: Vec::new(),
            },
        }
    }

    /// Whether it is the definition of a view of the pool.
    pub(super) fn is_of_pool(&self) -> bool {
        matches!(self.within.first(), Some(Key::Pool(_)))
    }

    /// The place of a view's own statement.
    fn inside(&self, key: Key) -> Result<Self, Error> {
        let mut within = self.within.clone();
        within.push(key);
        let names: Vec<&str> = within.iter().map(Key::name).collect();
        let (Some(first), Some(last)) = (within.first(), within.last()) else {
            return Ok(self.clone());
        };
        if within[..within.len() - 1].contains(last) {
            let text = format!(
                "view '{}' refers to itself: {}",
                first.name(),
                names.join(" → ")
            );
            return Err(Error::new(ErrorCode::Invalid, text)
                .with_hint("make one of them of something else, or drop it"));
        }
        if within.len() > DEPTH {
            let text = format!(
                "view '{}' is made of more than {DEPTH} views in a row",
                first.name()
            );
            return Err(Error::new(ErrorCode::Invalid, text).with_hint("make it of fewer"));
        }
        let temporary = match last {
            Key::Temporary(_) => self.temporary.clone(),
            Key::Pool(_) => BTreeMap::new(),
        };
        Ok(Self { temporary, within })
    }
}

/// The name that a `CREATE VIEW` gives, as the engine reads it.
fn defined(statement: &Statement) -> Option<String> {
    let Statement::Statement(ast) = statement else {
        return None;
    };
    let Ast::CreateView(view) = ast.as_ref() else {
        return None;
    };
    let ident = view.name.0.last().and_then(ObjectNamePart::as_ident)?;
    Some(match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    })
}

/// `CREATE TEMPORARY VIEW` and `IF NOT EXISTS` are ours; the engine's planner knows only the shorter form.
pub(super) fn plain_view(statement: &mut Statement) {
    if let Statement::Statement(ast) = statement
        && let Ast::CreateView(view) = ast.as_mut()
    {
        view.temporary = false;
        view.if_not_exists = false;
    }
}

impl SessionPlanner {
    /// The views that the statement names, planned; all of them where it asks what there is.
    pub(super) async fn named_views(
        &self,
        base: &SessionState,
        place: &Place,
        statement: &Statement,
    ) -> Result<BTreeMap<String, Arc<dyn TableProvider>>, Error> {
        let references = base
            .resolve_table_references(statement)
            .map_err(|error| plan_error(&error))?;
        let lists_all = references
            .iter()
            .any(|reference| reference.schema() == Some("information_schema"))
            || matches!(statement, Statement::Statement(ast) if matches!(ast.as_ref(), Ast::ShowTables { .. } | Ast::ShowColumns { .. }));
        let mut named = BTreeMap::new();
        if lists_all {
            let mut names = self.catalog.view_names();
            names.extend(place.temporary.keys().cloned());
            for name in names {
                if let Some((key, view)) = self.find(place, &name)? {
                    let table = self.listed(base, place, key, view).await?;
                    named.insert(name, table);
                }
            }
        }
        for name in references.iter().filter_map(own_name) {
            if !named.contains_key(name)
                && let Some((key, view)) = self.find(place, name)?
            {
                let table = self.view(base, place, key, view).await?;
                named.insert(name.to_owned(), table);
            }
        }
        Ok(named)
    }

    /// The view that a name means here.
    fn find(&self, place: &Place, name: &str) -> Result<Option<(Key, Statement)>, Error> {
        let own = Key::Temporary(name.to_owned());
        if place.within.last() != Some(&own)
            && let Some(view) = place.temporary.get(name)
        {
            return Ok(Some((own, view.statement.clone())));
        }
        let Some(view) = self.catalog.view(name) else {
            return Ok(None);
        };
        let view = view?;
        Ok(Some((
            Key::Pool(view.name.to_string()),
            one_statement(&view.sql)?,
        )))
    }

    /// A view in a list. One that no longer plans must not keep the others from being listed, and those that ask for lists
    /// themselves are not followed for ever.
    async fn listed(
        &self,
        base: &SessionState,
        place: &Place,
        key: Key,
        statement: Statement,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let text = statement.to_string();
        let failed = match place.within.is_empty() {
            true => match self.view(base, place, key.clone(), statement).await {
                Ok(table) => return Ok(table),
                Err(error) => error.to_string(),
            },
            false => "within another view".to_owned(),
        };
        tracing::debug!(
            view = key.name(),
            failed,
            "a view is listed without columns"
        );
        let nothing = LogicalPlanBuilder::empty(false)
            .build()
            .map_err(|error| plan_error(&error))?;
        Ok(Arc::new(ViewTable::new(nothing, Some(text))))
    }

    async fn view(
        &self,
        base: &SessionState,
        place: &Place,
        key: Key,
        statement: Statement,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        let text = statement.to_string();
        let name = key.name().to_owned();
        let place = place.inside(key)?;
        let planned = self.plan_in(base, &place, statement).await;
        let (_, plan) = planned.map_err(|error| stale(&name, error))?;
        match plan {
            LogicalPlan::Ddl(DdlStatement::CreateView(create)) => {
                let plan = Arc::unwrap_or_clone(create.input);
                Ok(Arc::new(ViewTable::new(plan, Some(text))))
            }
            _ => Err(Error::new(
                ErrorCode::Bug,
                format!("view '{name}' is kept as another statement"),
            )),
        }
    }
}

/// Says which view it is that no longer fits what it is made of.
fn stale(name: &str, error: Error) -> Error {
    let text = error.message();
    if text.starts_with("view '") {
        return error;
    }
    let told = Error::new(
        error.code(),
        format!("view '{name}' cannot be used: {text}"),
    );
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told.with_hint(format!(
            "make it anew with CREATE OR REPLACE VIEW {name} AS ..."
        )),
    }
}
