//! From the scoring node of the logical plan to the operator that scores.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, internal_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::expressions::{case, cast, lit};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::exec::PredictExec;
use crate::node::PredictNode;

/// DataFusion's planner, which also knows [`PredictNode`].
#[derive(Debug, Default)]
pub struct PredictQueryPlanner;

#[async_trait]
impl QueryPlanner for PredictQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PredictPlanner)])
            .create_physical_plan(plan, session)
            .await
    }
}

/// Plans [`PredictNode`] as [`PredictExec`].
#[derive(Debug, Default)]
pub struct PredictPlanner;

#[async_trait]
impl ExtensionPlanner for PredictPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<PredictNode>() else {
            return Ok(None);
        };
        let [input] = physical_inputs else {
            return internal_err!("Predict has one input");
        };
        let schema = node.input.schema();
        let physical = |expr| planner.create_physical_expr(expr, schema, session, planning);
        let binding = &node.call.binding.0;
        let args = node
            .args
            .iter()
            .zip(&binding.elements)
            .map(|(arg, element)| {
                let arg = physical(arg)?;
                match element.takes(&arg.data_type(&input.schema())?) {
                    true => Ok(arg),
                    false => cast(arg, &input.schema(), element.element.arrow()),
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let mask = node.mask.iter().map(physical).collect::<Result<Vec<_>>>()?;
        let exec = PredictExec::try_new(
            Arc::clone(input),
            Arc::clone(binding),
            args,
            all_of(mask)?,
            node.output.clone(),
        )?;
        Ok(Some(Arc::new(exec)))
    }
}

/// True where every condition is, each tried only where those before it are: a later one may not be computable elsewhere,
/// which AND does not promise.
fn all_of(mask: Vec<Arc<dyn PhysicalExpr>>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let mut conditions = mask.into_iter().rev();
    let Some(last) = conditions.next() else {
        return Ok(None);
    };
    conditions
        .try_fold(last, |rest, condition| {
            case(None, vec![(condition, rest)], Some(lit(false)))
        })
        .map(Some)
}
