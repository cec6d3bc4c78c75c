//! Takes every bound PREDICT out of the expressions of a plan and puts a [`PredictNode`](crate::node::PredictNode) below them.
//!
//! Calls of one model with the same arguments over one input make one node; a call that CASE, AND, OR, COALESCE or an
//! aggregate's FILTER guards is scored only for the rows that reach it. The columns that nodes add are hidden: they pass
//! through filters, sorts, limits, windows and joins so that later calls can use them again, and a projection takes them away
//! before anything that would let them be seen.

mod block;
mod defer;
mod guards;
mod join;
mod plan;
mod unused;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::node::PredictNode;
use crate::sql::BoundPredict;

/// The rule. It stands right after the last decorrelation, which refuses nodes that it does not know.
#[derive(Debug, Default)]
pub struct LowerPredict;

impl LowerPredict {
    /// The name in the list of rules.
    pub const NAME: &str = "lower_predict";
}

impl OptimizerRule for LowerPredict {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let found = Found::look(&plan)?;
        if found.calls {
            // What nobody selects is not scored: a view's prediction, say, that the query leaves out.
            let plan = OptimizeProjections::new().rewrite(plan, config)?.data;
            let names = config.alias_generator();
            return plan::Lowering::new(names)
                .lowered(plan)
                .map(Transformed::yes);
        }
        if found.nodes {
            return unused::drop_unused(plan);
        }
        Ok(Transformed::no(plan))
    }
}

/// What of PREDICT a plan holds, its subqueries included.
#[derive(Default)]
struct Found {
    calls: bool,
    nodes: bool,
}

impl Found {
    fn look(plan: &LogicalPlan) -> Result<Self> {
        let mut found = Self::default();
        plan.apply_with_subqueries(|node| {
            found.nodes = found.nodes || as_predict(node).is_some();
            node.apply_expressions(|expr| {
                found.calls = found.calls || has_call(expr)?;
                Ok(if found.calls {
                    TreeNodeRecursion::Stop
                } else {
                    TreeNodeRecursion::Continue
                })
            })
        })?;
        Ok(found)
    }
}

/// The scoring node that `plan` is.
fn as_predict(plan: &LogicalPlan) -> Option<&PredictNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Whether a bound call stands in the expression, its subqueries' plans not counted.
fn has_call(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarFunction(function) if BoundPredict::of(function).is_some()))
    })
}
