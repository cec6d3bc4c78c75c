//! Drops scoring nodes whose value nobody reads any more, after other rules have dropped what read it, and those that have no
//! rows to score.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::as_predict;
use super::block::is_hidden;

/// The names of hidden columns that are read above; none where all may be.
type Needed = Option<HashSet<String>>;

pub(super) fn drop_unused(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    below(plan, &None)
}

fn below(plan: LogicalPlan, needed: &Needed) -> Result<Transformed<LogicalPlan>> {
    if let (Some(node), Some(needed_names)) = (as_predict(&plan), needed)
        && !needed_names.contains(&node.output)
    {
        let input = below(node.input.clone(), needed)?.data;
        return Ok(Transformed::yes(input));
    }
    if let Some(node) = as_predict(&plan)
        && matches!(&node.input, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
    {
        let schema = Arc::clone(node.schema());
        return Ok(Transformed::yes(LogicalPlan::EmptyRelation(
            EmptyRelation {
                produce_one_row: false,
                schema,
            },
        )));
    }
    let needed = match &plan {
        // These give only what their own expressions name.
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => Some(HashSet::new()),
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Extension(_) => needed.clone(),
        _ => None,
    };
    let needed = needed.map(|names| names.into_iter().chain(read_by(&plan)).collect());
    let plan = plan.map_subqueries(|subquery| below(subquery, &None))?;
    plan.transform_data(|plan| {
        let dropped = plan.map_children(|child| below(child, &needed))?;
        match dropped.transformed {
            true => Ok(Transformed::yes(dropped.data.recompute_schema()?)),
            false => Ok(dropped),
        }
    })
}

fn read_by(plan: &LogicalPlan) -> Vec<String> {
    let hidden = |expr: &Expr| -> Vec<String> {
        let columns = expr
            .column_refs()
            .into_iter()
            .filter(|column| is_hidden(column));
        columns.map(|column| column.name.clone()).collect()
    };
    plan.expressions().iter().flat_map(hidden).collect()
}
