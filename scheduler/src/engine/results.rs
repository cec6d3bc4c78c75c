//! Reads a job's stages: how far it is, and where the rows of its final stage lie.
//!
//! Ballista's own list of output locations keeps those of lost executors; the task infos of the final stage do not, for a lost
//! task there is marked as failed and runs again under a new id.

use std::collections::BTreeMap;

use ballista_core::JobId as EngineJobId;
use ballista_core::execution_plans::create_shuffle_path;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::protobuf::{ShuffleWritePartition, SuccessfulTask};
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::{ExecutionStage, TaskInfo};
use datafusion::physical_plan::ExecutionPlanProperties;
use whimbrel_proto::ids::JobId;
use whimbrel_proto::{Error, ErrorCode};

/// One finished partition of a query's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stage_id: u32,
    pub(crate) partition: u32,
    pub(crate) executor_id: String,
    /// Relative to the executor's work dir.
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// How much of a query is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) tasks_total: u32,
    pub(crate) tasks_done: u32,
}

/// The result's partitions in their order.
pub(crate) fn outputs(job_id: &JobId, graph: &dyn ExecutionGraph) -> Result<Vec<Output>, Error> {
    let last = graph
        .stages()
        .values()
        .find(|stage| stage.output_links().is_empty());
    let Some(ExecutionStage::Successful(stage)) = last else {
        return Err(lost(job_id, "its last stage has not ended"));
    };
    collect(job_id, stage.stage_id, stage.partitions, &stage.task_infos)
}

/// The partitions that a job of one stage has finished so far. A stage that reads a shuffle may have to run again from its
/// beginning, so of a job with several nothing is certain before its end.
pub(crate) fn early(job_id: &JobId, graph: &dyn ExecutionGraph) -> Result<Vec<Output>, Error> {
    let mut stages = graph.stages().values();
    match (stages.next(), stages.next()) {
        (Some(ExecutionStage::Running(stage)), None) => {
            finished(job_id, stage.stage_id, &stage.task_infos)
        }
        (Some(ExecutionStage::Successful(stage)), None) => {
            finished(job_id, stage.stage_id, &stage.task_infos)
        }
        _ => Ok(Vec::new()),
    }
}

fn finished(job_id: &JobId, stage_id: usize, tasks: &[TaskInfo]) -> Result<Vec<Output>, Error> {
    let mut outputs = Vec::new();
    for task in tasks {
        if let Status::Successful(SuccessfulTask {
            executor_id,
            partitions,
            ..
        }) = &task.task_status
        {
            for written in partitions {
                outputs.push(output(job_id, stage_id, executor_id, written)?);
            }
        }
    }
    Ok(outputs)
}

fn collect(
    job_id: &JobId,
    stage_id: usize,
    inputs: usize,
    tasks: &[TaskInfo],
) -> Result<Vec<Output>, Error> {
    let mut covered = vec![false; inputs];
    let mut outputs = BTreeMap::new();
    for task in tasks {
        let Status::Successful(SuccessfulTask {
            executor_id,
            partitions,
            ..
        }) = &task.task_status
        else {
            continue;
        };
        for input in &task.global_input_partition_ids {
            match covered.get_mut(*input) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => {
                    return Err(lost(
                        job_id,
                        &format!("partition {input} was finished twice"),
                    ));
                }
                None => {
                    return Err(lost(
                        job_id,
                        &format!("partition {input} is not one of its {inputs}"),
                    ));
                }
            }
        }
        for written in partitions {
            let output = output(job_id, stage_id, executor_id, written)?;
            if outputs.insert(output.partition, output).is_some() {
                return Err(lost(
                    job_id,
                    &format!("partition {} was written twice", written.partition_id),
                ));
            }
        }
    }
    match covered.iter().position(|seen| !seen) {
        Some(input) => Err(lost(job_id, &format!("partition {input} is missing"))),
        None => Ok(outputs.into_values().collect()),
    }
}

fn output(
    job_id: &JobId,
    stage_id: usize,
    executor_id: &str,
    written: &ShuffleWritePartition,
) -> Result<Output, Error> {
    let number =
        |value: u64| u32::try_from(value).map_err(|_| lost(job_id, "a number is out of range"));
    let partition = number(written.partition_id)?;
    let path = create_shuffle_path(
        "",
        &EngineJobId::new(job_id.as_str()),
        stage_id,
        partition as usize,
        written.file_id,
        written.is_sort_shuffle,
    );
    let path = path.map_err(|error| lost(job_id, &error.strip_backtrace()))?;
    let file = path
        .to_str()
        .ok_or_else(|| lost(job_id, "a file name is not text"))?
        .to_owned();
    Ok(Output {
        stage_id: number(stage_id as u64)?,
        partition,
        executor_id: executor_id.to_owned(),
        file,
        rows: written.num_rows,
        bytes: written.num_bytes,
    })
}

/// A result that does not add up is never given out in part.
fn lost(job_id: &JobId, why: &str) -> Error {
    tracing::error!(
        job_id = job_id.as_str(),
        error = why,
        "the result of a finished query does not add up"
    );
    Error::new(
        ErrorCode::Bug,
        format!("the result of the query is incomplete: {why}"),
    )
    .with_hint("run the query again")
}

/// Counts tasks over all stages, those that have not begun included.
pub(crate) fn progress(graph: &dyn ExecutionGraph) -> Progress {
    let mut sum = Progress::default();
    for stage in graph.stages().values() {
        let (total, done) = match stage {
            ExecutionStage::UnResolved(stage) => {
                (stage.plan.output_partitioning().partition_count(), 0)
            }
            ExecutionStage::Resolved(stage) => (stage.partitions, 0),
            ExecutionStage::Running(stage) => (stage.partitions, done(&stage.task_infos)),
            ExecutionStage::Successful(stage) => (stage.partitions, stage.partitions),
            ExecutionStage::Failed(stage) => (stage.partitions, done(&stage.task_infos)),
        };
        sum.tasks_total += u32::try_from(total).unwrap_or(u32::MAX);
        sum.tasks_done += u32::try_from(done).unwrap_or(u32::MAX);
    }
    sum
}

fn done(tasks: &[TaskInfo]) -> usize {
    let ended = tasks
        .iter()
        .filter(|task| matches!(task.task_status, Status::Successful(_)));
    ended
        .map(|task| task.global_input_partition_ids.len())
        .sum()
}

/// Whether the executor runs something of this job.
pub(crate) fn running_on(graph: &dyn ExecutionGraph, executor_id: &str) -> bool {
    let mut running = graph.running_tasks().into_iter();
    running.any(|task| task.executor_id == executor_id)
}

/// Whether the executor runs or holds something of this job.
pub(crate) fn involves(graph: &dyn ExecutionGraph, executor_id: &str) -> bool {
    let mut tasks = graph
        .stages()
        .values()
        .filter_map(ExecutionStage::task_infos)
        .flatten();
    tasks.any(|task| match &task.task_status {
        Status::Running(running) => running.executor_id == executor_id,
        Status::Successful(successful) => successful.executor_id == executor_id,
        Status::Failed(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{FailedTask, RunningTask};

    use super::*;

    fn task(id: usize, inputs: &[usize], status: Status) -> TaskInfo {
        TaskInfo {
            task_id: id,
            scheduled_time: 0,
            launch_time: 0,
            start_exec_time: 0,
            end_exec_time: 0,
            finish_time: 0,
            task_status: status,
            global_input_partition_ids: inputs.to_vec(),
            vcores_consumed: 1,
        }
    }

    fn written(executor_id: &str, partition: u64, file_id: u64, rows: u64) -> Status {
        Status::Successful(SuccessfulTask {
            executor_id: executor_id.to_owned(),
            partitions: vec![ShuffleWritePartition {
                partition_id: partition,
                num_batches: 1,
                num_rows: rows,
                num_bytes: 10,
                file_id: Some(file_id),
                is_sort_shuffle: false,
            }],
            ..SuccessfulTask::default()
        })
    }

    fn lost_task() -> Status {
        Status::Failed(FailedTask::default())
    }

    fn collected(inputs: usize, tasks: &[TaskInfo]) -> Result<Vec<Output>, Error> {
        collect(&"job".parse().unwrap(), 3, inputs, tasks)
    }

    #[test]
    fn a_partition_that_ran_again_is_taken_from_its_last_run_and_all_come_in_order() {
        let tasks = [
            task(0, &[1], written("a", 1, 0, 5)),
            task(1, &[0], lost_task()),
            task(2, &[0], written("b", 0, 2, 7)),
        ];
        let outputs = collected(2, &tasks).unwrap();
        let seen: Vec<_> = outputs
            .iter()
            .map(|o| (o.partition, o.executor_id.as_str(), o.rows, o.file.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (0, "b", 7, "job/3/0/data-2.arrow"),
                (1, "a", 5, "job/3/1/data-0.arrow")
            ]
        );
    }

    #[test]
    fn a_missing_or_doubled_partition_is_an_error_and_never_a_short_result() {
        let missing = [
            task(0, &[0], written("a", 0, 0, 1)),
            task(1, &[1], lost_task()),
        ];
        assert_eq!(collected(2, &missing).unwrap_err().code(), ErrorCode::Bug);
        let doubled = [
            task(0, &[0], written("a", 0, 0, 1)),
            task(1, &[0], written("b", 0, 1, 1)),
        ];
        assert_eq!(collected(1, &doubled).unwrap_err().code(), ErrorCode::Bug);
        let running = [task(
            0,
            &[0],
            Status::Running(RunningTask {
                executor_id: "a".to_owned(),
            }),
        )];
        assert!(collected(1, &running).is_err());
    }
}
