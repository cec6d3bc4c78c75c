//! The node under every shuffle writer that makes a cancel stop the work. The writer drives its input from detached tasks
//! that survive the task's own future; this node ends their stream and drops the plan below it as soon as the token fires.
//! A panic below is caught here too, while it still is one: further up it is only text.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ballista_core::error::BallistaError;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use futures::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use whimbrel_predict::error::{external, panic_text};
use whimbrel_proto::{Error, ErrorCode};

use crate::pass::Pass;

/// Passes rows on until the token fires.
#[derive(Clone, Debug)]
pub(super) struct CancelGuard(pub(super) CancellationToken);

impl Pass for CancelGuard {
    const NAME: &'static str = "CancelGuardExec";

    fn rows(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(Guarded {
            schema: input.schema(),
            cancelled: Box::pin(self.0.clone().cancelled_owned()),
            input: Some(input.execute(partition, context)?),
        }))
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
    let text = panic_text(panic).unwrap_or("no text");
    Error::new(ErrorCode::Bug, format!("a task panicked: {text}")).with_hint(
        "this is a defect of Whimbrel or of a library in it; the executor's log has the place",
    )
}
