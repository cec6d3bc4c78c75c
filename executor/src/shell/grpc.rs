//! The cluster port's RPCs: what the scheduler tells an executor to do.

use std::sync::Arc;

use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult,
    LaunchTaskParams, LaunchTaskResult, RemoveJobDataParams, RemoveJobDataResult, RunningTaskInfo,
    StopExecutorParams, StopExecutorResult,
};
use ballista_core::serde::scheduler::TaskKey;
use tonic::{Request, Response, Status};
use tracing::{debug, info, warn};
use whimbrel_proto::ids::JobId;
use whimbrel_proto::{Error, ErrorCode};

use super::{Shared, clean, tasks};
use crate::clock::now_ms;

/// Ballista's executor service over our own tasks.
#[derive(Clone)]
pub(crate) struct TaskService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl ExecutorGrpc for TaskService {
    /// Schedulers of this version launch in groups only.
    async fn launch_task(
        &self,
        _: Request<LaunchTaskParams>,
    ) -> Result<Response<LaunchTaskResult>, Status> {
        Err(Error::new(
            ErrorCode::Invalid,
            "tasks are launched by launch_multi_task",
        )
        .into())
    }

    /// An error answer would make the scheduler drop this executor, so what cannot be decoded fails its own job only. Tasks
    /// are taken while draining too: they were on their way before the scheduler knew.
    async fn launch_multi_task(
        &self,
        request: Request<LaunchMultiTaskParams>,
    ) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let mut failed_jobs = Vec::new();
        for group in request.into_inner().multi_tasks {
            let job_id = group.job_id.clone();
            if tasks::launch(&self.0, group).await.is_err() {
                failed_jobs.push(job_id);
            }
        }
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs }))
    }

    async fn cancel_tasks(
        &self,
        request: Request<CancelTasksParams>,
    ) -> Result<Response<CancelTasksResult>, Status> {
        for RunningTaskInfo {
            task_id,
            job_id,
            stage_id,
        } in request.into_inner().task_infos
        {
            debug!(executor_id = %self.0.id, job_id, stage_id, task = task_id, "cancelling a task");
            let key = TaskKey {
                job_id: job_id.into(),
                stage_id: stage_id as usize,
                task_id: task_id as usize,
            };
            self.0.tasks.cancel(&key, now_ms());
        }
        Ok(Response::new(CancelTasksResult { cancelled: true }))
    }

    /// A forced stop is what Ballista sends to an executor whose heartbeats it missed. The executor lives, so it gives up
    /// what it did for that scheduler and joins again; an orderly stop is passed to whoever holds the handle.
    async fn stop_executor(
        &self,
        request: Request<StopExecutorParams>,
    ) -> Result<Response<StopExecutorResult>, Status> {
        let StopExecutorParams {
            executor_id,
            reason,
            force,
        } = request.into_inner();
        let shared = &self.0;
        if executor_id != shared.id.as_str() {
            warn!(executor_id = %shared.id, meant = executor_id, "a stop for another executor came here");
        } else if force {
            info!(executor_id = %shared.id, reason, "the scheduler gave this executor up");
            shared.standing.ask_join();
        } else {
            info!(executor_id = %shared.id, reason, "the scheduler asks this executor to stop");
            shared.stop_asked.cancel();
        }
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Result<Response<RemoveJobDataResult>, Status> {
        let RemoveJobDataParams {
            job_id,
            remove_stage_ids,
        } = request.into_inner();
        clean::remove_job(&self.0, &job_id.parse::<JobId>()?, &remove_stage_ids).await?;
        Ok(Response::new(RemoveJobDataResult {}))
    }
}
