//! `information_schema.models`: the engine's information schema takes no tables of others, so a statement that names this one
//! is planned with another in its place.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::common::Result;
use datafusion::sql::parser::{ExplainStatement, Statement};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, VisitMut, VisitorMut};

use crate::engine::{CATALOG, MODELS_SCHEMA};
use crate::models::{Registry, as_table};

const TABLE: &str = "models";

/// Puts our table in the place of `information_schema.models`; true where the statement names it.
pub(super) fn redirect(statement: &mut Statement) -> bool {
    let mut names = Names::default();
    match statement {
        Statement::Statement(ast) => {
            let _: ControlFlow<()> = ast.visit(&mut names);
        }
        Statement::Explain(ExplainStatement { statement, .. }) => return redirect(statement),
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
    names.found
}

#[derive(Default)]
struct Names {
    found: bool,
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let parts: Option<Vec<&Ident>> = relation.0.iter().map(ObjectNamePart::as_ident).collect();
        let is = |ident: &Ident, name: &str| ident.value.eq_ignore_ascii_case(name);
        let own = match parts.as_deref() {
            Some([schema, table]) => is(schema, "information_schema") && is(table, TABLE),
            Some([catalog, schema, table]) => {
                is(catalog, CATALOG) && is(schema, "information_schema") && is(table, TABLE)
            }
            _ => false,
        };
        if own {
            self.found = true;
            let names = [MODELS_SCHEMA, TABLE].map(Ident::new);
            *relation = ObjectName::from(names.to_vec());
        }
        ControlFlow::Continue(())
    }
}

/// The schema with the bindings of now.
pub(super) fn schema(models: &Registry) -> Result<Arc<dyn SchemaProvider>> {
    let batch = as_table(&models.list()).map_err(whimbrel_predict::error::external)?;
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    let schema = MemorySchemaProvider::new();
    schema.register_table(TABLE.to_owned(), Arc::new(table))?;
    Ok(Arc::new(schema))
}
