//! `information_schema.models` and `information_schema.jobs`: the engine's information schema takes no tables of others, so a
//! statement that names one of these is planned with another in its place.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::common::Result;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, VisitMut, VisitorMut};

use crate::engine::{CATALOG, LISTS_SCHEMA};

/// What can be listed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Models,
    Jobs,
}

impl List {
    const ALL: [Self; 2] = [Self::Models, Self::Jobs];

    fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Jobs => "jobs",
        }
    }
}

/// Puts our tables in the place of those that the statement names, and says which.
pub(super) fn redirect(statement: &mut Statement) -> Vec<List> {
    let mut names = Names::default();
    let _: ControlFlow<()> = match statement {
        Statement::Statement(ast) => ast.visit(&mut names),
        Statement::CopyTo(CopyToStatement {
            source: CopyToSource::Query(query),
            ..
        }) => query.visit(&mut names),
        Statement::Explain(ExplainStatement { statement, .. }) => return redirect(statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {
            ControlFlow::Continue(())
        }
    };
    names.found
}

#[derive(Default)]
struct Names {
    found: Vec<List>,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let parts: Option<Vec<&Ident>> = relation.0.iter().map(ObjectNamePart::as_ident).collect();
        let is = |ident: &Ident, name: &str| ident.value.eq_ignore_ascii_case(name);
        let asked = match parts.as_deref() {
            Some([schema, table]) if is(schema, "information_schema") => Some(*table),
            Some([catalog, schema, table])
                if is(catalog, CATALOG) && is(schema, "information_schema") =>
            {
                Some(*table)
            }
            _ => None,
        };
        let list =
            asked.and_then(|table| List::ALL.into_iter().find(|list| is(table, list.name())));
        if let Some(list) = list {
            self.found.push(list);
            let names = [LISTS_SCHEMA, list.name()].map(Ident::new);
            *relation = ObjectName::from(names.to_vec());
        }
        ControlFlow::Continue(())
    }
}

/// The schema with these lists as they are now.
pub(super) fn schema(lists: Vec<(List, RecordBatch)>) -> Result<Arc<dyn SchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    for (list, batch) in lists {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        schema.register_table(list.name().to_owned(), Arc::new(table))?;
    }
    Ok(Arc::new(schema))
}
