//! The last rule over a physical plan: tells each scoring node what is known of its inputs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::{Known, of_inputs};
use crate::exec::PredictExec;

/// See the module.
#[derive(Debug, Default)]
pub struct KnownInputs;

impl KnownInputs {
    /// The name in the list of rules.
    pub const NAME: &str = "known_inputs";
}

impl PhysicalOptimizerRule for KnownInputs {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(predict) = plan.downcast_ref::<PredictExec>() else {
                return Ok(Transformed::no(plan));
            };
            // Of its files' own columns nobody knows anything before they are opened.
            let files = |_: &_, _: &_| Vec::new();
            let known = of_inputs(predict, None, &files);
            match known.iter().any(Known::tells) {
                true => Ok(Transformed::yes(
                    Arc::new(predict.clone().knowing(known)) as _
                )),
                false => Ok(Transformed::no(plan)),
            }
        })
        .data()
    }

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Columns stay as they are.
    fn schema_check(&self) -> bool {
        true
    }
}
