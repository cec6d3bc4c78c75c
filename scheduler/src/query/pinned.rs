//! Plans that outlive their statement: a score job's is written down when the job is submitted, and run from there as often as
//! it takes, by this process or a later one.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as EngineResult};
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;
use whimbrel_proto::{Error, ErrorCode};

use super::{Plan, Planning, links};
use crate::catalog::Dataset;
use crate::engine::Engine;
use crate::error::plan_error;

/// Where the tables of a plan have their files, each place once.
pub(super) fn inputs(plan: &LogicalPlan) -> EngineResult<Vec<String>> {
    let mut inputs = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(files) = (provider.as_ref() as &dyn Any).downcast_ref::<Dataset>()
            && !inputs.contains(&files.table().uri)
        {
            inputs.push(files.table().uri.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(inputs)
}

impl Planning {
    /// The plan as it is kept.
    pub(crate) async fn write_down(
        self: &Arc<Self>,
        plan: Arc<dyn ExecutionPlan>,
        ctx: Arc<SessionContext>,
    ) -> Result<Bytes, Error> {
        let this = Arc::clone(self);
        self.on_own_thread(async move {
            let checked = Engine::check(&plan, &ctx, this.codec.as_ref());
            checked.map_err(|error| plan_error(&error))?;
            let node = PhysicalPlanNode::try_from_physical_plan(plan, this.codec.as_ref());
            let node = node.map_err(|error| plan_error(&error))?;
            Ok(node.encode_to_vec().into())
        })
        .await
    }

    /// The plan that was kept, to be run under these settings; its tasks know the links that they need, those to `output` too.
    pub(crate) async fn take_up(
        self: &Arc<Self>,
        kept: Bytes,
        settings: BTreeMap<String, String>,
        output: String,
    ) -> Result<Plan, Error> {
        let this = Arc::clone(self);
        self.on_own_thread(async move {
            let mut state = this.planner.settled(&settings, None)?;
            let physical = this
                .read_back(&kept, &state)
                .map_err(|error| plan_error(&error))?;
            links::pack_with(&this.stores, &physical, Some(&output), state.config_mut());
            Ok(Plan {
                ctx: Arc::new(SessionContext::new_with_state(state)),
                physical,
                inputs: Vec::new(),
            })
        })
        .await
    }

    fn read_back(
        &self,
        kept: &Bytes,
        state: &SessionState,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let node = PhysicalPlanNode::decode(kept.clone()).map_err(|error| {
            let text = format!("a job's plan cannot be read: {error}");
            let told = Error::new(ErrorCode::Bug, text)
                .with_hint("it was written by another version of Whimbrel; submit the job again");
            DataFusionError::External(Box::new(told))
        })?;
        node.try_into_physical_plan(&state.task_ctx(), self.codec.as_ref())
    }
}
