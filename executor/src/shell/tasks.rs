//! From a launch to an outcome: tasks are decoded and run on the task threads, each with a token that ends it, and whatever
//! happens to one, its outcome is put into the outbox.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{
    MultiTaskDefinition, OperatorMetricsSet, SuccessfulTask, TaskStatus, task_status,
};
use ballista_core::serde::scheduler::{TaskDefinition, TaskKey};
use ballista_executor::execution_engine::QueryStageExecutor;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use whimbrel_predict::locate::{broken_file, broken_row};
use whimbrel_predict::sink::ScoreSinkExec;
use whimbrel_proto::{Error, ErrorCode, Retry, v1};
use whimbrel_stores::Refusals;

use super::Shared;
use super::failure::{Again, Failure, Later, classify, unwrapped};
use super::outbox::Outcome;
use super::table::Accepted;
use crate::clock::{now_ms, pause};
use crate::engine::panicked;

/// How long a cancelled stage may take to close its files before it is let go.
const CLOSE: Duration = Duration::from_secs(5);

/// How often one executor puts a partition off, uncounted, before putting it off counts: whatever stays unreachable must end
/// the query some day. Object stores have been waited for before an error of theirs comes here.
const PUT_OFF: u32 = 3;

/// A pause before a failure is reported that may pass by itself.
const LATER: Duration = Duration::from_millis(500);

/// Names more files than this help nobody.
const FILES_NAMED: usize = 64;

/// A job, a stage of it, and the partitions of one task.
type Part = (String, usize, Vec<usize>);

/// How often each part was put off here.
#[derive(Debug, Default)]
pub(super) struct PutOff(Mutex<HashMap<Part, u32>>);

impl PutOff {
    fn count(&self, task: &TaskDefinition) -> u32 {
        let key = (
            task.job_id.to_string(),
            task.stage_id,
            task.global_output_partition_ids.clone(),
        );
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        *count += 1;
        *count
    }

    pub(super) fn forget(&self, job_id: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(job, _, _), _| job != job_id);
    }
}

/// Decodes and starts the tasks of one launch. An error means that none was started.
pub(super) async fn launch(shared: &Arc<Shared>, tasks: MultiTaskDefinition) -> Result<(), Error> {
    let job_id = tasks.job_id.clone();
    whimbrel_proto::ids::JobId::try_from(job_id.clone())?;
    let key = v1::TaskKey {
        job_id: job_id.clone(),
        stage_id: tasks.stage_id,
        stage_attempt: tasks.stage_attempt_num,
        task_id: tasks.task_ids.first().map_or(0, |task| task.task_id),
        task_attempt: tasks
            .task_ids
            .first()
            .map_or(0, |task| task.task_attempt_num),
    };
    // Tasks are accepted before they are decoded, so that a cancel finds them at any time.
    let keys = tasks.task_ids.iter().map(|task| TaskKey {
        job_id: job_id.as_str().into(),
        stage_id: tasks.stage_id as usize,
        task_id: task.task_id as usize,
    });
    let accepted: Vec<_> = keys
        .map(|key| shared.tasks.accept(&key, now_ms()))
        .collect();
    match decode(shared, tasks).await {
        Ok(tasks) => {
            for (task, accepted) in tasks.into_iter().zip(accepted) {
                begin(shared, task, accepted);
            }
            Ok(())
        }
        Err(error) => {
            warn!(executor_id = %shared.id, job_id, %error, "cannot decode a task");
            shared.report_error(key, &error).await;
            Err(error)
        }
    }
}

/// Starts a task without a launch.
#[cfg(test)]
pub(crate) fn start_task(shared: &Arc<Shared>, task: TaskDefinition) {
    let accepted = shared.tasks.accept(&key(&task), now_ms());
    begin(shared, task, accepted);
}

fn begin(shared: &Arc<Shared>, task: TaskDefinition, accepted: Accepted) {
    shared.tracker.spawn_on(
        run(Arc::clone(shared), task, accepted),
        shared.workers.handle(),
    );
}

async fn decode(
    shared: &Arc<Shared>,
    tasks: MultiTaskDefinition,
) -> Result<Vec<TaskDefinition>, Error> {
    let engine = Arc::clone(&shared.engine);
    // A plan may be large, and a decoder deep: neither belongs on a thread that answers the network.
    let decoded = shared
        .workers
        .handle()
        .spawn(async move { engine.decode(tasks) })
        .await;
    match decoded {
        Ok(Ok(tasks)) => Ok(tasks),
        Ok(Err(error)) => Err(classify(&DataFusionError::External(Box::new(error)), &[])),
        Err(error) if error.is_panic() => Err(panicked(error.into_panic().as_ref())),
        Err(_) => Err(Error::new(
            ErrorCode::Unavailable,
            "the executor is stopping",
        )),
    }
}

async fn run(shared: Arc<Shared>, task: TaskDefinition, accepted: Accepted) {
    let membership = shared.standing.membership();
    let token = accepted.token().clone();
    let slot = token.run_until_cancelled(shared.slots_free.acquire()).await;
    let started = now_ms();
    let ended = match slot {
        Some(Ok(_slot)) => execute(&shared, &task, &accepted).await,
        Some(Err(_)) | None => Err(Failure::cancelled()),
    };
    let (status, error) = match ended {
        Ok((successful, metrics)) => {
            shared.index.add(&key(&task), &successful.partitions);
            (
                status(
                    &task,
                    started,
                    task_status::Status::Successful(successful),
                    metrics,
                ),
                None,
            )
        }
        Err(Failure {
            error,
            status: failed,
        }) => {
            let failed = status(
                &task,
                started,
                task_status::Status::Failed(failed),
                Vec::new(),
            );
            (
                failed,
                (error.code() != ErrorCode::Cancelled).then(|| (wire_key(&task), error)),
            )
        }
    };
    log(
        &shared,
        &task,
        error.as_ref().map(|(_, error)| error),
        now_ms().saturating_sub(started),
    );
    if error
        .as_ref()
        .is_some_and(|(_, error)| error.retry() == Retry::Later)
    {
        token.run_until_cancelled(pause(LATER)).await;
    }
    shared
        .outbox
        .put(Outcome {
            status,
            error,
            membership,
            accepted,
        })
        .await;
}

type Finished = (SuccessfulTask, Vec<OperatorMetricsSet>);

async fn execute(
    shared: &Shared,
    task: &TaskDefinition,
    accepted: &Accepted,
) -> Result<Finished, Failure> {
    let token = accepted.token();
    // Only failures that count get a number: this run is the one elsewhere. A person waits for a query; a night's work is not given
    // up for what two machines say.
    let once = Again {
        was_elsewhere: task.task_attempt_num > 0 && !writes(&task.plan),
        ..Again::default()
    };
    let refusals = Refusals::default();
    let failed = |error: DataFusionError| {
        if token.is_cancelled() {
            return Failure::cancelled();
        }
        let refused = refusals.behind(&error.to_string());
        let files = input_files(&task.plan);
        let retry = match &refused {
            Some(refused) => refused.error.retry(),
            None => classify(&error, &files).retry(),
        };
        let later = match retry == Retry::Later && shared.put_off.count(task) > PUT_OFF {
            true => Later::Counted,
            false => Later::Uncounted,
        };
        let again = Again { later, ..once };
        match refused {
            Some(refused) => Failure::refused(refused, again),
            None => Failure::of(error, &files, again),
        }
    };
    let runtime = shared.engine.runtime(task, &refusals).map_err(failed)?;
    let informed = shared.engine.informed(task, &runtime);
    let plan = token.run_until_cancelled(informed).await;
    let plan = plan.ok_or_else(Failure::cancelled)?.map_err(failed)?;
    let stage = shared.engine.stage(task, plan, token, &runtime);
    let stage = stage.map_err(failed)?;
    let context = shared.engine.context(task, name(task), runtime);
    let work = stage.execute_query_stage(task.task_id, Arc::clone(&context));
    let work = AssertUnwindSafe(work).catch_unwind();
    let let_go = async {
        token.cancelled().await;
        pause(CLOSE).await;
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = let_go => return Err(Failure::cancelled()),
    };
    let partitions = match ended {
        Ok(Ok(partitions)) => partitions,
        // What a store has refused is no damage to be looked for.
        Ok(Err(error)) if refusals.behind(&error.to_string()).is_some() => {
            return Err(failed(error));
        }
        Ok(Err(error)) => match located(task, &context, &error, token).await {
            Some(row) => return Err(Failure::from_error(row, once)),
            None => return Err(failed(error)),
        },
        Err(panic) => return Err(Failure::from_error(panicked(panic.as_ref()), once)),
    };
    if token.is_cancelled() {
        return Err(Failure::cancelled());
    }
    let window_state = stage.collect_window_state_reports().map_err(failed)?;
    let successful = SuccessfulTask {
        executor_id: shared.id.to_string(),
        partitions,
        runtime_stats: stage.collect_runtime_stats_reports(),
        task_column_stats: stage.collect_column_stats(),
        window_state,
    };
    Ok((successful, metrics(stage.as_ref())))
}

/// Whether the task is a split of a score job.
fn writes(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<ScoreSinkExec>() || plan.children().into_iter().any(writes)
}

/// What the task could not read, by its file and the place in it.
async fn located(
    task: &TaskDefinition,
    context: &TaskContext,
    error: &DataFusionError,
    token: &CancellationToken,
) -> Option<Error> {
    let partition = *task.global_output_partition_ids.first()?;
    let search = broken_row(&task.plan, partition, context, unwrapped(error));
    let found = token.run_until_cancelled(search).await.flatten();
    if found.is_some() || classify(error, &[]).code() != ErrorCode::Data {
        return found;
    }
    let search = broken_file(&task.plan, context);
    token.run_until_cancelled(search).await.flatten()
}

/// One set per operator, whatever is in it: the scheduler compares the number, and a stage hangs where it differs. Readers count
/// by file, and a task may have a thousand: what travels is their sum.
fn metrics(stage: &dyn QueryStageExecutor) -> Vec<OperatorMetricsSet> {
    let sets = stage.collect_plan_metrics().into_iter();
    sets.map(|set| {
        let sums = set.aggregate_by_name();
        let converted: Result<OperatorMetricsSet, BallistaError> = sums.try_into();
        converted.unwrap_or_default()
    })
    .collect()
}

fn status(
    task: &TaskDefinition,
    start_exec_time: u64,
    status: task_status::Status,
    metrics: Vec<OperatorMetricsSet>,
) -> TaskStatus {
    let key = wire_key(task);
    TaskStatus {
        task_id: key.task_id,
        job_id: key.job_id,
        stage_id: key.stage_id,
        stage_attempt_num: key.stage_attempt,
        launch_time: task.launch_time,
        start_exec_time,
        end_exec_time: now_ms(),
        metrics,
        status: Some(status),
    }
}

fn key(task: &TaskDefinition) -> TaskKey {
    TaskKey {
        job_id: task.job_id.clone(),
        stage_id: task.stage_id,
        task_id: task.task_id,
    }
}

/// These numbers came as 32 bits.
fn wire_key(task: &TaskDefinition) -> v1::TaskKey {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    v1::TaskKey {
        job_id: task.job_id.to_string(),
        stage_id: narrow(task.stage_id),
        stage_attempt: narrow(task.stage_attempt_num),
        task_id: narrow(task.task_id),
        task_attempt: narrow(task.task_attempt_num),
    }
}

/// The task's name as Ballista writes it; operators find it in their context.
fn name(task: &TaskDefinition) -> String {
    let TaskDefinition {
        job_id,
        stage_id,
        stage_attempt_num,
        task_id,
        task_attempt_num,
        ..
    } = task;
    format!("TID {job_id}/{stage_id}.{stage_attempt_num}/{task_id}.{task_attempt_num}")
}

fn log(shared: &Shared, task: &TaskDefinition, error: Option<&Error>, took_ms: u64) {
    let TaskDefinition {
        job_id,
        stage_id,
        task_id,
        task_attempt_num: attempt,
        ..
    } = task;
    match error {
        None => {
            debug!(executor_id = %shared.id, %job_id, stage_id, task = task_id, attempt, took_ms, "a task ended")
        }
        Some(error) => {
            info!(executor_id = %shared.id, %job_id, stage_id, task = task_id, attempt, took_ms, %error, "a task failed");
        }
    }
}

/// The files that a task reads, to name them where its error does not.
fn input_files(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        open.extend(node.children());
        let scan = node
            .downcast_ref::<DataSourceExec>()
            .map(DataSourceExec::data_source);
        if let Some(scan) = scan.and_then(|source| source.downcast_ref::<FileScanConfig>()) {
            let group = scan.file_groups.iter().flat_map(|group| group.iter());
            files.extend(group.map(|file| file.object_meta.location.to_string()));
        }
        if files.len() >= FILES_NAMED {
            break;
        }
    }
    files.dedup();
    files
}
