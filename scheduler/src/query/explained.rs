//! What EXPLAIN shows of the models that our own kernels score: how much of their trees is left by what the query says of the
//! rows. Only a statement that is explained pays for it.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_predict::binding::{Binding, RuntimeKind};
use whimbrel_predict::exec::PredictExec;
use whimbrel_predict::known::{Trees, with_scoring};
use whimbrel_proto::ids::Digest;

use crate::models::{Kernels, Registry};

/// The state in which plans show what is left of the models of `plan`.
pub(super) async fn showing_trees(
    state: SessionState,
    plan: &Arc<dyn ExecutionPlan>,
    registry: &Registry,
) -> SessionState {
    let mut models = HashMap::new();
    for binding in scored_natively(plan) {
        // What cannot be read is told by whoever scores with it.
        if let Ok(kernels) = registry.kernels(&binding).await {
            models.insert(binding.digest.clone(), kernels);
        }
    }
    let rule = Arc::new(ShowTrees { models });
    SessionStateBuilder::new_from_existing(state)
        .with_physical_optimizer_rule(rule)
        .build()
}

fn scored_natively(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<Binding>> {
    let mut found: Vec<Arc<Binding>> = Vec::new();
    let looked = plan.apply(|node| {
        if let Some(predict) = node.downcast_ref::<PredictExec>() {
            let binding = predict.binding();
            let known = found.iter().any(|found| found.digest == binding.digest);
            if binding.runtime == RuntimeKind::Native && !known {
                found.push(Arc::clone(binding));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(looked.is_ok(), "looking cannot fail");
    found
}

/// See the module.
#[derive(Debug)]
struct ShowTrees {
    models: HashMap<Digest, Kernels>,
}

impl ShowTrees {
    fn left(&self, predict: &PredictExec) -> Option<Trees> {
        let binding = predict.binding();
        let kernels = self.models.get(&binding.digest);
        let kernels = kernels.filter(|_| binding.runtime == RuntimeKind::Native)?;
        Some(kernels.left(predict.known())).filter(|left| left.all_trees > 0)
    }
}

impl PhysicalOptimizerRule for ShowTrees {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        with_scoring(plan, |predict| {
            let left = self.left(predict)?;
            Some(predict.clone().showing(left))
        })
    }

    fn name(&self) -> &str {
        "show_trees"
    }

    /// Columns stay as they are.
    fn schema_check(&self) -> bool {
        true
    }
}
