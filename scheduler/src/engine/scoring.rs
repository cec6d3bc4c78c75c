//! What an executor scores for a job, for when it ends while it does.

use std::sync::Arc;

use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage};
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_predict::exec::PredictExec;

/// (stage, partition, models) of every running task of the executor that scores.
pub(crate) fn scoring(
    graph: &dyn ExecutionGraph,
    executor_id: &str,
) -> Vec<(usize, usize, Vec<String>)> {
    let running = graph.stages().values().filter_map(|stage| match stage {
        ExecutionStage::Running(stage) => Some(stage),
        ExecutionStage::UnResolved(_)
        | ExecutionStage::Resolved(_)
        | ExecutionStage::Successful(_)
        | ExecutionStage::Failed(_) => None,
    });
    running
        .flat_map(|stage| of_stage(stage, executor_id))
        .collect()
}

fn of_stage(stage: &RunningStage, executor_id: &str) -> Vec<(usize, usize, Vec<String>)> {
    let mut models = Vec::new();
    collect(&stage.plan, &mut models);
    if models.is_empty() {
        return Vec::new();
    }
    let running = stage.running_tasks().into_iter();
    let here = running.filter(|(_, _, executor)| executor == executor_id);
    let tasks = here.filter_map(|(task_id, _, _)| stage.task_infos.get(task_id));
    let partitions = tasks.flat_map(|task| &task.global_input_partition_ids);
    partitions
        .map(|partition| (stage.stage_id, *partition, models.clone()))
        .collect()
}

fn collect(plan: &Arc<dyn ExecutionPlan>, models: &mut Vec<String>) {
    if let Some(exec) = plan.downcast_ref::<PredictExec>() {
        let alias = exec.binding().alias.to_string();
        if !models.contains(&alias) {
            models.push(alias);
        }
    }
    for child in plan.children() {
        collect(child, models);
    }
}
