//! Planning errors that PREDICT makes likely, in words that help.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, SelectItem, SetExpr, Visit, Visitor, visit_expressions,
};
use whimbrel_proto::{Error, ErrorCode};

use super::statement::is_predict;
use crate::error::external;

/// `error`, that planning `statement` gave; where it says that a prediction's alias is no column, what to write instead.
pub fn explain_failure(statement: &Statement, error: DataFusionError) -> DataFusionError {
    let Some(name) = lost_column(&error) else {
        return error;
    };
    let mut aliases = Aliases::default();
    visit(statement, &mut aliases);
    if !aliases.0.contains(&name.to_lowercase()) {
        return error;
    }
    let what = format!(
        "'{name}' names a prediction of the select list, and WHERE, ON and other columns cannot see it"
    );
    let hint = "repeat the PREDICT there (it is scored once all the same), or filter outside a subquery that selects it";
    external(Error::new(ErrorCode::Invalid, what).with_hint(hint))
}

fn lost_column(error: &DataFusionError) -> Option<&str> {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } => Some(&field.name),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            lost_column(inner)
        }
        DataFusionError::Shared(inner) => lost_column(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(lost_column),
        _ => None,
    }
}

fn visit(statement: &Statement, aliases: &mut Aliases) {
    let _: ControlFlow<()> = match statement {
        Statement::Statement(statement) => Visit::visit(statement.as_ref(), aliases),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => Visit::visit(query.as_ref(), aliases),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => {
            visit(&explain.statement, aliases);
            ControlFlow::Continue(())
        }
        Statement::CreateExternalTable(_) | Statement::Reset(_) => ControlFlow::Continue(()),
    };
}

/// The names given to predictions in select lists, in lower case.
#[derive(Default)]
struct Aliases(BTreeSet<String>);

impl Aliases {
    fn select(&mut self, select: &Select) {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { expr, alias } = item
                && predicts(expr)
            {
                self.0.insert(alias.value.to_lowercase());
            }
        }
    }

    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // Parenthesised queries are visited as queries of their own; the others select nothing.
            _ => {}
        }
    }
}

impl Visitor for Aliases {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.body(&query.body);
        ControlFlow::Continue(())
    }
}

fn predicts(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if is_predict(&function.name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
