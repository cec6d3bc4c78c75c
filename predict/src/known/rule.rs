//! The last rule over a physical plan: tells each scoring node what is known of its inputs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::{Known, of_inputs};
use crate::exec::PredictExec;

/// The plan with what `change` makes of each scoring node, the upper ones first; one that it makes nothing of stays.
pub fn with_scoring(
    plan: Arc<dyn ExecutionPlan>,
    mut change: impl FnMut(&PredictExec) -> Option<PredictExec>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|plan| {
        let changed = plan.downcast_ref::<PredictExec>().and_then(&mut change);
        Ok(match changed {
            Some(changed) => Transformed::yes(Arc::new(changed) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(plan),
        })
    })
    .data()
}

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
        with_scoring(plan, |predict| {
            // Of its files' own columns nobody knows anything before they are opened.
            let files = |_: &_, _: &_| Vec::new();
            let known = of_inputs(predict, None, &files);
            let tells = known.iter().any(Known::tells);
            tells.then(|| predict.clone().knowing(known))
        })
    }

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Columns stay as they are.
    fn schema_check(&self) -> bool {
        true
    }
}
