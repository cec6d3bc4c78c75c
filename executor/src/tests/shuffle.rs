//! One executor's stage read by another's, over the cluster port, and what happens once the first is gone.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use ballista_core::config::BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS;
use ballista_core::execution_plans::sort_shuffle::{SortShuffleConfig, SortShuffleWriterExec};
use ballista_core::execution_plans::{ShuffleReaderExec, ShuffleWriterExec};
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{
    FetchPartitionError, KeyValuePair, SuccessfulTask, task_status,
};
use ballista_core::serde::scheduler::{
    ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId,
    PartitionLocation, PartitionStats,
};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use super::fake::{FakeScheduler, Heard};
use super::{Folder, csv_stage, joined, launch, tasks_of};
use crate::Executor;

/// The first stage: the rows of a file in two parts by their number.
async fn by_id(file: &Path) -> Arc<dyn ExecutionPlan> {
    let copy = csv_stage("job", file).await;
    let input = Arc::clone(copy.children()[0]);
    let key = col("id", &input.schema()).expect("a column");
    let writer = SortShuffleWriterExec::try_new(
        "job".into(),
        1,
        input,
        String::new(),
        Partitioning::Hash(vec![key], 2),
        SortShuffleConfig::default(),
    );
    Arc::new(writer.expect("stage"))
}

/// The second stage: one part of what `from` wrote.
fn read(from: &Executor, written: &SuccessfulTask, part: usize) -> Arc<dyn ExecutionPlan> {
    let address = from.cluster_address();
    let executor_meta = ExecutorMetadata {
        id: from.id().to_string(),
        host: address.ip().to_string(),
        port: address.port(),
        grpc_port: address.port(),
        specification: ExecutorSpecification { vcores: 2 },
        os_info: ExecutorOperatingSystemSpecification::default(),
    };
    let mine = written
        .partitions
        .iter()
        .filter(|written| written.partition_id == part as u64);
    let locations = mine.map(|written| PartitionLocation {
        map_partition_id: 0,
        partition_id: PartitionId::new(&"job".into(), 1, part),
        executor_meta: executor_meta.clone(),
        partition_stats: PartitionStats::default(),
        file_id: written.file_id,
        is_sort_shuffle: written.is_sort_shuffle,
    });
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]));
    let locations = vec![locations.collect()];
    let reader =
        ShuffleReaderExec::try_new(1, locations, schema, Partitioning::UnknownPartitioning(1));
    let reader = Arc::new(reader.expect("reader"));
    Arc::new(ShuffleWriterExec::try_new("job".into(), 2, reader, String::new()).expect("stage"))
}

/// Runs a plan as a task of the second stage.
async fn run_second(executor: &Executor, task_id: u32, plan: Arc<dyn ExecutionPlan>) {
    let mut tasks = launch("job", task_id, plan);
    tasks.multi_tasks[0].stage_id = 2;
    // Ballista's reader asks a lost executor again and again before it gives up.
    tasks.multi_tasks[0].props = vec![KeyValuePair {
        key: BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS.to_owned(),
        value: Some("10".to_owned()),
    }];
    let mut client = tasks_of(executor).await;
    client.launch_multi_task(tasks).await.expect("launched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_cross_from_one_executor_to_another_and_a_lost_one_is_named() {
    let (scheduler, folder) = (FakeScheduler::start().await, Folder::new());
    let first = joined(&scheduler, &folder.0).await;
    let second = joined(&scheduler, &folder.0).await;
    let rows: String = (0..10_000).map(|id| format!("{id},n\n")).collect();
    let file = folder.write("a.csv", &format!("id,name\n{rows}"));

    // A second attempt of the stage: its files carry the attempt in their number.
    let mut tasks = launch("job", 5, by_id(&file).await);
    tasks.multi_tasks[0].stage_attempt_num = 1;
    let mut client = tasks_of(&first).await;
    client.launch_multi_task(tasks).await.expect("launched");
    let status = scheduler.status(5).await;
    let Some(task_status::Status::Successful(written)) = status.status else {
        panic!("{status:?}")
    };
    assert!(
        written
            .partitions
            .iter()
            .all(|part| part.file_id == Some((1 << 32) | 5)),
        "{written:?}"
    );

    let mut rows = 0;
    for part in 0..2 {
        let task_id = 10 + u32::try_from(part).expect("small");
        run_second(&second, task_id, read(&first, &written, part)).await;
        let status = scheduler.status(task_id).await;
        let Some(task_status::Status::Successful(done)) = status.status else {
            panic!("{status:?}")
        };
        rows += done.partitions[0].num_rows;
    }
    assert_eq!(rows, 10_000);

    let (plan, lost) = (read(&first, &written, 0), first.id().to_string());
    first.stop().await;
    run_second(&second, 20, plan).await;
    let status = scheduler.status(20).await;
    let Some(task_status::Status::Failed(failed)) = status.status else {
        panic!("{status:?}")
    };
    let reason = Some(FailedReason::FetchPartitionError(FetchPartitionError {
        executor_id: lost.clone(),
        map_stage_id: 1,
        map_partition_id: 0,
    }));
    assert_eq!(failed.failed_reason, reason);
    assert!(failed.error.contains(&lost), "{failed:?}");
    assert_eq!(scheduler.count(|heard| matches!(heard, Heard::Error(_))), 1);
    second.stop().await;
}
