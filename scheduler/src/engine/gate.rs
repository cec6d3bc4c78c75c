//! The engine's RPCs as far as executors use them; everything else that Ballista's service offers is refused, for who can
//! submit a plan can run anything. It also tells waiting queries that tasks have ended.

use std::pin::Pin;
use std::sync::Arc;

use ballista_core::JobId as EngineJobId;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult,
    CreateUpdateSessionParams, CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult,
    ExecutorRegistration, ExecutorStatus, ExecutorStoppedParams, ExecutorStoppedResult,
    GetJobMetricsParams, GetJobMetricsResult, GetJobStatusParams, GetJobStatusResult,
    HeartBeatParams, HeartBeatResult, PollWorkParams, PollWorkResult, RegisterExecutorParams,
    RegisterExecutorResult, RemoveSessionParams, RemoveSessionResult, TaskStatus,
    UpdateTaskStatusParams, UpdateTaskStatusResult, executor_status,
};
use futures::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{Phase, Server, state_of};
use crate::executors::Executors;

/// What executors may call.
#[derive(Clone)]
pub(crate) struct Gate {
    server: Server,
    executors: Arc<Executors>,
    ticks: watch::Sender<u64>,
}

impl Gate {
    pub(super) fn new(
        server: Server,
        executors: Arc<Executors>,
        ticks: watch::Sender<u64>,
    ) -> Self {
        Self {
            server,
            executors,
            ticks,
        }
    }

    /// The statuses that the engine should see, without what it should not.
    async fn heeded(&self, statuses: Vec<TaskStatus>) -> Vec<TaskStatus> {
        let mut heeded = Vec::with_capacity(statuses.len());
        for mut status in statuses {
            // Tasks of one stage may have different operators (a UNION's do), and Ballista drops a status whose metrics do
            // not match the others': the stage would wait for ever. Nobody reads them.
            status.metrics = Vec::new();
            let job_id = EngineJobId::new(status.job_id.as_str());
            let job = self.server.state.task_manager.get_job_status(&job_id).await;
            match job.ok().flatten().as_ref().map(state_of) {
                Some(Phase::Waiting | Phase::Running) => heeded.push(status),
                // A task that ended after its job: the job's end has counted it.
                Some(Phase::Succeeded | Phase::Failed) | None => {}
            }
        }
        heeded
    }

    fn tick(&self) {
        self.ticks
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn refused<T>() -> Result<T, Status> {
    Err(Status::permission_denied("this port serves executors only"))
}

/// Ballista unwraps these fields.
fn complete(metadata: Option<&ExecutorRegistration>) -> Result<(), Status> {
    let whole = metadata.is_some_and(|metadata| {
        metadata.host.is_some() && metadata.specification.is_some() && metadata.os_info.is_some()
    });
    if whole {
        Ok(())
    } else {
        Err(Status::invalid_argument(
            "the executor's registration is incomplete",
        ))
    }
}

#[tonic::async_trait]
impl SchedulerGrpc for Gate {
    type ExecuteQueryPushStream =
        Pin<Box<dyn Stream<Item = Result<GetJobStatusResult, Status>> + Send>>;

    async fn register_executor(
        &self,
        request: Request<RegisterExecutorParams>,
    ) -> Result<Response<RegisterExecutorResult>, Status> {
        complete(request.get_ref().metadata.as_ref())?;
        let id = request
            .get_ref()
            .metadata
            .as_ref()
            .map(|metadata| metadata.id.clone())
            .unwrap_or_default();
        // It takes tasks from the moment it is registered; the pool must not think otherwise while they are bound.
        self.executors.set_registered(&id, true);
        let answer = SchedulerGrpc::register_executor(&self.server, request).await;
        let again = answer
            .as_ref()
            .is_err_and(|status| status.code() == tonic::Code::AlreadyExists);
        self.executors.set_registered(&id, answer.is_ok() || again);
        if again {
            super::nudge(&self.server, &id).await;
        }
        answer
    }

    async fn heart_beat_from_executor(
        &self,
        mut request: Request<HeartBeatParams>,
    ) -> Result<Response<HeartBeatResult>, Status> {
        complete(request.get_ref().metadata.as_ref())?;
        let id = request.get_ref().executor_id.clone();
        let status = &mut request.get_mut().status;
        let terminating = matches!(
            status,
            Some(ExecutorStatus {
                status: Some(executor_status::Status::Terminating(_))
            })
        );
        if terminating {
            // Ballista would take it for gone, with the tasks it is finishing.
            self.executors.set_draining(&id);
            *status = Some(ExecutorStatus {
                status: Some(executor_status::Status::Active(String::new())),
            });
        }
        let answer = SchedulerGrpc::heart_beat_from_executor(&self.server, request).await;
        if answer.is_ok() && self.executors.set_registered(&id, true) {
            super::nudge(&self.server, &id).await;
        }
        answer
    }

    async fn update_task_status(
        &self,
        mut request: Request<UpdateTaskStatusParams>,
    ) -> Result<Response<UpdateTaskStatusResult>, Status> {
        let statuses = std::mem::take(&mut request.get_mut().task_status);
        request.get_mut().task_status = self.heeded(statuses).await;
        let answer = SchedulerGrpc::update_task_status(&self.server, request).await;
        self.tick();
        answer
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Result<Response<ExecutorStoppedResult>, Status> {
        self.executors.remove(&request.get_ref().executor_id);
        let answer = SchedulerGrpc::executor_stopped(&self.server, request).await;
        self.tick();
        answer
    }

    async fn poll_work(
        &self,
        _: Request<PollWorkParams>,
    ) -> Result<Response<PollWorkResult>, Status> {
        refused()
    }

    async fn create_update_session(
        &self,
        _: Request<CreateUpdateSessionParams>,
    ) -> Result<Response<CreateUpdateSessionResult>, Status> {
        refused()
    }

    async fn remove_session(
        &self,
        _: Request<RemoveSessionParams>,
    ) -> Result<Response<RemoveSessionResult>, Status> {
        refused()
    }

    async fn execute_query_push(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<Self::ExecuteQueryPushStream>, Status> {
        refused()
    }

    async fn execute_query(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Result<Response<ExecuteQueryResult>, Status> {
        refused()
    }

    async fn get_job_status(
        &self,
        _: Request<GetJobStatusParams>,
    ) -> Result<Response<GetJobStatusResult>, Status> {
        refused()
    }

    async fn get_job_metrics(
        &self,
        _: Request<GetJobMetricsParams>,
    ) -> Result<Response<GetJobMetricsResult>, Status> {
        refused()
    }

    async fn cancel_job(
        &self,
        _: Request<CancelJobParams>,
    ) -> Result<Response<CancelJobResult>, Status> {
        refused()
    }

    async fn clean_job_data(
        &self,
        _: Request<CleanJobDataParams>,
    ) -> Result<Response<CleanJobDataResult>, Status> {
        refused()
    }
}
