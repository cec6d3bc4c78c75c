//! The node under every shuffle writer that makes a cancel stop the work. The writer drives its input from detached tasks
//! that survive the task's own future; this node ends their stream and drops the plan below it as soon as the token fires.
//! A panic below is caught here too, while it still is one: further up it is only text.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ballista_core::error::BallistaError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions,
};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
    StatisticsArgs,
};
use futures::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use whimbrel_predict::error::external;
use whimbrel_proto::{Error, ErrorCode};

/// Passes its input through until the token fires.
#[derive(Clone, Debug)]
pub(crate) struct CancelGuardExec {
    input: Arc<dyn ExecutionPlan>,
    token: CancellationToken,
}

impl CancelGuardExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, token: CancellationToken) -> Self {
        Self { input, token }
    }
}

impl DisplayAs for CancelGuardExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelGuardExec")
    }
}

/// `metrics` stays `None`: the scheduler's copy of the plan has no such node, and it compares the number of metric sets.
impl ExecutionPlan for CancelGuardExec {
    fn name(&self) -> &'static str {
        "CancelGuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self {
                input,
                token: self.token.clone(),
            })),
            Err(children) => internal_err!("CancelGuardExec has one input, not {}", children.len()),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Guarded {
            schema: self.input.schema(),
            cancelled: Box::pin(self.token.clone().cancelled_owned()),
            input: Some(self.input.execute(partition, context)?),
        }))
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => internal_err!("CancelGuardExec has one input, not {}", inputs.len()),
        }
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

struct Guarded {
    schema: SchemaRef,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Gone once the stream has ended, and with it the work below.
    input: Option<SendableRecordBatchStream>,
}

impl Stream for Guarded {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(input) = this.input.as_mut() else {
            return Poll::Ready(None);
        };
        if this.cancelled.as_mut().poll(cx).is_ready() {
            this.input = None;
            return Poll::Ready(Some(Err(DataFusionError::External(Box::new(
                BallistaError::Cancelled,
            )))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| input.as_mut().poll_next(cx)));
        let item = match polled {
            Ok(poll) => ready!(poll),
            Err(panic) => Some(Err(external(panicked(panic.as_ref())))),
        };
        if !matches!(item, Some(Ok(_))) {
            this.input = None;
        }
        Poll::Ready(item)
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A panic as the defect that it is.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    Error::new(ErrorCode::Bug, format!("a task panicked: {text}")).with_hint(
        "this is a defect of Whimbrel or of a library in it; the executor's log has the place",
    )
}
