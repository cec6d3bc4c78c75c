//! What `*` means inside PREDICT: the columns of the block's FROM, wherever in the block the call stands.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::logical_expr::utils::{expand_qualified_wildcard, expand_wildcard, merge_schema};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection};
use whimbrel_proto::{Error, ErrorCode};

use super::HIDDEN_PREFIX;
use crate::error::external;

/// One column that `*` stands for.
#[derive(Clone, Debug)]
pub(super) struct StarColumn {
    /// As FROM knows it.
    pub column: Column,
    pub data_type: DataType,
    /// As the call's own node can refer to it.
    pub expr: Expr,
}

/// The node whose expressions are bound.
#[derive(Debug)]
pub(super) enum Scope<'a> {
    /// It reads what its inputs give.
    Inputs(Vec<&'a LogicalPlan>),
    /// A Sort over the select list, which may have dropped columns of FROM.
    Ordering(&'a Projection),
}

impl<'a> Scope<'a> {
    pub(super) fn of(plan: &'a LogicalPlan) -> Self {
        match plan {
            LogicalPlan::Sort(sort) => match sort.input.as_ref() {
                LogicalPlan::Projection(projection) => Self::Ordering(projection),
                _ => Self::Inputs(plan.inputs()),
            },
            _ => Self::Inputs(plan.inputs()),
        }
    }

    /// Resolves the types of what the call's arguments name.
    pub(super) fn schema(&self) -> DFSchema {
        match self {
            Self::Inputs(inputs) => merge_schema(inputs),
            Self::Ordering(projection) => projection.schema.as_ref().clone(),
        }
    }

    /// What `*`, or `qualifier.*`, stands for.
    pub(super) fn star(&self, qualifier: Option<&TableReference>) -> Result<Vec<StarColumn>> {
        match self {
            Self::Inputs(inputs) => match inputs.as_slice() {
                [] => {
                    let error = Error::new(
                        ErrorCode::Invalid,
                        "PREDICT(..., *) has no FROM to take columns from",
                    );
                    Err(external(error.with_hint("name the inputs, or add a FROM")))
                }
                [only] => from_columns(only, qualifier),
                several => {
                    let schema = merge_schema(several);
                    let columns = schema.columns();
                    let wanted = columns.into_iter().filter(|column| {
                        qualifier.is_none_or(|q| column.relation.as_ref() == Some(q))
                    });
                    typed(wanted.map(Expr::Column).collect(), &schema)
                }
            },
            Self::Ordering(projection) => {
                let columns = from_columns(&projection.input, qualifier)?;
                Ok(columns
                    .into_iter()
                    .map(|column| visible(column, projection))
                    .collect())
            }
        }
    }
}

/// Refers to the column through the select list: as it is where it is selected, else by a name that [`carry`] adds.
fn visible(column: StarColumn, projection: &Projection) -> StarColumn {
    if selects(projection, &column.column) {
        return column;
    }
    StarColumn {
        expr: Expr::Column(carried(&column.column)),
        ..column
    }
}

fn selects(projection: &Projection, column: &Column) -> bool {
    projection
        .expr
        .iter()
        .any(|expr| matches!(expr, Expr::Column(own) if own == column))
}

fn carried(column: &Column) -> Column {
    Column::new_unqualified(format!("{HIDDEN_PREFIX}in_{}", column.flat_name()))
}

/// The select list with those columns of FROM that `used` names and it lacks; none where it lacks none.
pub(super) fn carry(
    projection: &Projection,
    used: &HashSet<&Column>,
) -> Result<Option<Projection>> {
    let columns = projection.input.schema().columns();
    let lacking: Vec<Expr> = columns
        .into_iter()
        .filter(|column| used.contains(&carried(column)))
        .map(|column| {
            let name = carried(&column).name;
            Expr::Column(column).alias(name)
        })
        .collect();
    if lacking.is_empty() {
        return Ok(None);
    }
    let exprs = projection.expr.iter().cloned().chain(lacking).collect();
    Projection::try_new(exprs, Arc::clone(&projection.input)).map(Some)
}

fn from_columns(
    input: &LogicalPlan,
    qualifier: Option<&TableReference>,
) -> Result<Vec<StarColumn>> {
    let expanded = match input {
        LogicalPlan::Filter(filter) => return from_columns(&filter.input, qualifier),
        LogicalPlan::Window(window) => return from_columns(&window.input, qualifier),
        LogicalPlan::Aggregate(aggregate) => {
            let grouped = aggregate.group_expr.iter().filter_map(Expr::try_as_col);
            let wanted = grouped
                .filter(|column| qualifier.is_none_or(|q| column.relation.as_ref() == Some(q)));
            let columns: Vec<Expr> = wanted.cloned().map(Expr::Column).collect();
            if columns.is_empty() {
                let what =
                    "PREDICT(..., *) stands in a grouped SELECT that groups by no plain column";
                let hint = "predict in a subquery and group its rows, or aggregate the prediction, such as avg(PREDICT('alias', *))";
                return Err(external(
                    Error::new(ErrorCode::Invalid, what).with_hint(hint),
                ));
            }
            columns
        }
        other => match qualifier {
            None => expand_wildcard(other.schema(), other, None)?,
            Some(qualifier) => expand_qualified_wildcard(qualifier, other.schema(), None)?,
        },
    };
    typed(expanded, input.schema())
}

fn typed(exprs: Vec<Expr>, schema: &DFSchema) -> Result<Vec<StarColumn>> {
    exprs
        .into_iter()
        .filter_map(|expr| match expr {
            Expr::Column(column) if !column.name.starts_with(HIDDEN_PREFIX) => Some(column),
            _ => None,
        })
        .map(|column| {
            let expr = Expr::Column(column.clone());
            Ok(StarColumn {
                data_type: expr.get_type(schema)?,
                column,
                expr,
            })
        })
        .collect()
}
