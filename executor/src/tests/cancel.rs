//! A cancel ends the work itself: the plan is dropped, the slot is free and the scheduler is told, within two seconds.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::protobuf::{CancelTasksParams, RunningTaskInfo, task_status};
use ballista_core::serde::scheduler::TaskDefinition;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use datafusion::prelude::SessionConfig;
use futures::Stream;

use super::fake::{FakeScheduler, eventually};
use super::{Folder, joined, tasks_of};
use crate::shell::start_task;

/// Streams of `Endless` that live.
#[derive(Debug, Default)]
struct Alive(AtomicUsize);

/// Rows without end.
#[derive(Debug)]
struct Endless {
    alive: Arc<Alive>,
    panics: bool,
    properties: Arc<PlanProperties>,
}

impl Endless {
    fn new(alive: &Arc<Alive>, panics: bool) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            alive: Arc::clone(alive),
            panics,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for Endless {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endless")
    }
}

impl ExecutionPlan for Endless {
    fn name(&self) -> &'static str {
        "Endless"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.alive.0.fetch_add(1, Ordering::SeqCst);
        Ok(Box::pin(Rows {
            alive: Arc::clone(&self.alive),
            panics: self.panics,
            schema: self.schema(),
        }))
    }
}

struct Rows {
    alive: Arc<Alive>,
    panics: bool,
    schema: SchemaRef,
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.alive.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        assert!(!self.panics, "the model fell over");
        let rows = Arc::new(Int64Array::from_iter_values(0..8192));
        Poll::Ready(Some(Ok(RecordBatch::try_new(self.schema(), vec![rows])?)))
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn task(task_id: usize, plan: Endless) -> TaskDefinition {
    TaskDefinition {
        task_id,
        task_attempt_num: 0,
        job_id: "job".into(),
        stage_id: 1,
        stage_attempt_num: 0,
        global_output_partition_ids: vec![task_id],
        vcores_consumed: 1,
        plan: Arc::new(
            ShuffleWriterExec::try_new("job".into(), 1, Arc::new(plan), String::new())
                .expect("stage"),
        ),
        launch_time: 0,
        session_id: "session".to_owned(),
        session_config: SessionConfig::new(),
        function_registry: Arc::new(BallistaFunctionRegistry::default()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_query_frees_its_slots_and_drops_its_plans_at_once() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let alive = Arc::new(Alive::default());
    // Two run in the two slots, the third waits for one.
    for id in 0..3 {
        start_task(&executor.shared, task(id, Endless::new(&alive, false)));
    }
    eventually("two running tasks", || {
        (alive.0.load(Ordering::SeqCst) == 2).then_some(())
    })
    .await;

    let task_infos = (0..3)
        .map(|task_id| RunningTaskInfo {
            task_id,
            job_id: "job".to_owned(),
            stage_id: 1,
        })
        .collect();
    tasks_of(&executor)
        .await
        .cancel_tasks(CancelTasksParams { task_infos })
        .await
        .expect("cancelled");
    let ended = async {
        for id in 0..3 {
            let status = scheduler.status(id).await;
            let Some(task_status::Status::Failed(failed)) = status.status else {
                panic!("{status:?}")
            };
            assert!(failed.retryable && !failed.count_to_failures, "{failed:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(2), ended)
        .await
        .expect("told within two seconds");
    assert_eq!(
        alive.0.load(Ordering::SeqCst),
        0,
        "plans are dropped before the scheduler is told"
    );
    executor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_up_running_tasks() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let alive = Arc::new(Alive::default());
    start_task(&executor.shared, task(0, Endless::new(&alive, false)));
    eventually("a running task", || {
        (alive.0.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(5), executor.stop())
        .await
        .expect("stopped");
    assert_eq!(alive.0.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_handle_ends_its_tasks_and_frees_its_files() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    let alive = Arc::new(Alive::default());
    start_task(&executor.shared, task(0, Endless::new(&alive, false)));
    eventually("a running task", || {
        (alive.0.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    let own = folder.0.join("executors").join(executor.id().as_str());
    drop(executor);
    eventually("the files to go", || (!own.exists()).then_some(())).await;
    assert_eq!(alive.0.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_defect_that_runs_elsewhere_and_keeps_its_text() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let executor = joined(&scheduler, &folder.0).await;
    start_task(
        &executor.shared,
        task(0, Endless::new(&Arc::default(), true)),
    );
    let status = scheduler.status(0).await;
    let Some(task_status::Status::Failed(failed)) = status.status else {
        panic!("{status:?}")
    };
    assert!(failed.retryable && failed.count_to_failures, "{failed:?}");
    assert!(failed.error.contains("the model fell over"), "{failed:?}");
    executor.stop().await;
}
