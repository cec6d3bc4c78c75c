//! `ORDER BY x LIMIT 10` scores ten rows: where the order does not need the prediction, rows are sorted and cut first.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::{Expr, FetchType, Limit, LogicalPlan, Projection, SkipType, Sort};

use super::has_call;

/// What is left after the cut is scored in one partition, so it must not be much.
const MOST_ROWS: usize = 10_000;

/// The same rows with the select list moved above the limit; none where that is not possible or does not pay.
pub(super) fn score_after(limit: &Limit) -> Result<Option<LogicalPlan>> {
    let (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) =
        (limit.get_skip_type()?, limit.get_fetch_type()?)
    else {
        return Ok(None);
    };
    if skip.saturating_add(fetch) > MOST_ROWS {
        return Ok(None);
    }
    // A sort by what is not selected leaves a select list of plain columns above it.
    let (outer, sorted) = match limit.input.as_ref() {
        LogicalPlan::Projection(outer)
            if outer
                .expr
                .iter()
                .all(|expr| matches!(expr, Expr::Column(_))) =>
        {
            (Some(outer), outer.input.as_ref())
        }
        other => (None, other),
    };
    let LogicalPlan::Sort(sort) = sorted else {
        return Ok(None);
    };
    let LogicalPlan::Projection(selected) = sort.input.as_ref() else {
        return Ok(None);
    };
    if !any_call(&selected.expr)? {
        return Ok(None);
    }
    let Some(keys) = keys_below(sort, selected)? else {
        return Ok(None);
    };
    let sorted = Sort {
        expr: keys,
        input: Arc::clone(&selected.input),
        fetch: sort.fetch,
    };
    let cut = Limit {
        input: Arc::new(LogicalPlan::Sort(sorted)),
        ..limit.clone()
    };
    let mut plan = LogicalPlan::Projection(Projection::try_new(
        selected.expr.clone(),
        Arc::new(LogicalPlan::Limit(cut)),
    )?);
    if let Some(outer) = outer {
        plan = LogicalPlan::Projection(Projection::try_new(outer.expr.clone(), Arc::new(plan))?);
    }
    Ok(Some(plan))
}

fn any_call(exprs: &[Expr]) -> Result<bool> {
    for expr in exprs {
        if has_call(expr)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The sort's keys in terms of what is below the select list; none where they predict, or would be computed twice to another
/// value.
fn keys_below(
    sort: &Sort,
    selected: &Projection,
) -> Result<Option<Vec<datafusion::logical_expr::SortExpr>>> {
    let columns = selected.schema.columns();
    let mut keys = Vec::with_capacity(sort.expr.len());
    for key in &sort.expr {
        let below = key.expr.clone().transform_up(|expr| {
            Ok(match &expr {
                Expr::Column(column) => match columns.iter().position(|own| own == column) {
                    Some(place) => {
                        Transformed::yes(selected.expr[place].clone().unalias_nested().data)
                    }
                    None => Transformed::no(expr),
                },
                _ => Transformed::no(expr),
            })
        });
        let below = below.data()?;
        if has_call(&below)? || below.is_volatile() {
            return Ok(None);
        }
        keys.push(key.with_expr(below));
    }
    Ok(Some(keys))
}
