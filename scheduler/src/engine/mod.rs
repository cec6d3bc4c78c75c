//! Ballista's scheduler, embedded: push-staged, AQE off, one partition per task, our distribution policy and codec.
//!
//! Plans go in as physical plans that are already known to plan (a failed planning leaves an entry in Ballista for ever), and
//! results are read from the task infos of the final stage, never from Ballista's own list of output locations, which keeps
//! those of lost executors. Ballista's loops have no stop: they end with the runtime.

mod following;
mod gate;
mod options;
mod policy;
mod results;
mod scoring;
mod settings;
mod shares;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId as EngineJobId;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    ExecutorStoppedParams, JobStatus, UpdateTaskStatusParams, job_status,
};
use ballista_scheduler::cluster::memory::{InMemoryClusterState, InMemoryJobState};
use ballista_scheduler::cluster::{BallistaCluster, JobState};
use ballista_scheduler::metrics::default_metrics_collector;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
use ballista_scheduler::scheduler_server::SchedulerServer;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::sync::{mpsc, watch};
use whimbrel_proto::ids::JobId;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::Clock;
use crate::executors::Executors;
use crate::failures::Failures;

pub(crate) use following::{Following, News};
pub(crate) use gate::Gate;
pub(crate) use options::KEPT;
pub(crate) use options::Options;
pub(crate) use results::{Output, Progress, early, involves, outputs, progress, running_on};
pub(crate) use scoring::scoring;
pub(crate) use settings::{CATALOG, LISTS_SCHEMA, SCHEMA, may_set, session_config};
pub(crate) use shares::{Shares, WEIGHT};

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Between two attempts to cancel, and how long they go on.
const CANCEL_STEP: Duration = Duration::from_millis(100);
const CANCEL_STEPS: usize = 600;
/// Statuses are consumed as they come; this absorbs a burst.
const STATUS_BUFFER: usize = 256;

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    Running,
    Succeeded,
    Failed,
}

/// The embedded engine.
#[derive(Clone)]
pub(crate) struct Engine {
    server: Server,
    jobs: Arc<dyn JobState>,
    ticks: watch::Sender<u64>,
    shares: Arc<Shares>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("scheduler_id", &self.server.scheduler_id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts Ballista's loops on this runtime.
    pub(crate) async fn start(
        options: Options,
        executors: Arc<Executors>,
        failures: Arc<Failures>,
    ) -> Result<Self, Error> {
        let codec = BallistaCodec::new(
            Arc::new(BallistaLogicalExtensionCodec::default()),
            Arc::clone(&options.physical_codec),
        );
        let max_message_bytes = options.max_message_bytes;
        let jobs: Arc<dyn JobState> = Arc::new(InMemoryJobState::new(
            options.scheduler_id.clone(),
            Arc::new(|config| {
                Ok(SessionStateBuilder::new()
                    .with_config(config)
                    .with_default_features()
                    .build())
            }),
            Arc::new(move || session_config(max_message_bytes)),
        ));
        let cluster =
            BallistaCluster::new(Arc::new(InMemoryClusterState::default()), Arc::clone(&jobs));
        let shares = Arc::new(Shares::default());
        let config = Arc::new(options.into_config(executors, failures, Arc::clone(&shares)));
        let metrics =
            default_metrics_collector().map_err(|error| bug("start the engine", &error))?;
        let mut server = Server::new(config.scheduler_endpoint(), cluster, codec, config, metrics);
        server
            .init()
            .await
            .map_err(|error| bug("start the engine", &error))?;
        Ok(Self {
            server,
            jobs,
            ticks: watch::Sender::new(0),
            shares,
        })
    }

    /// The engine's RPCs for executors.
    pub(crate) fn gate(&self, executors: Arc<Executors>) -> Gate {
        Gate::new(self.server.clone(), executors, self.ticks.clone())
    }

    /// How the pool is shared.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// Changes whenever tasks have ended somewhere.
    pub(crate) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    /// Whether the plan can be cut into stages and sent to executors. Failing later leaves an entry in Ballista for ever, and
    /// a text that no user can read.
    pub(crate) fn check(
        plan: &Arc<dyn ExecutionPlan>,
        ctx: &SessionContext,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<(), DataFusionError> {
        let config = ctx.copied_config();
        let stages = DefaultDistributedPlanner::new()
            .plan_query_stages(
                &EngineJobId::new("check"),
                Arc::clone(plan),
                config.options(),
            )
            .map_err(ballista_core::error::BallistaError::into_datafusion)?;
        for stage in stages {
            PhysicalPlanNode::try_from_physical_plan(stage, codec).map_err(unsent)?;
        }
        Ok(())
    }

    /// Hands a checked plan to the engine, and follows what becomes of it.
    pub(crate) async fn submit(
        &self,
        name: &str,
        ctx: Arc<SessionContext>,
        plan: Arc<dyn ExecutionPlan>,
        executors: &Executors,
    ) -> Result<Following, Error> {
        let (subscriber, statuses) = mpsc::channel(STATUS_BUFFER);
        let job_id = self
            .server
            .submit_physical_plan(name, ctx, plan, Some(subscriber))
            .await
            .map_err(|error| bug("submit a query", &error))?;
        let job_id = job_id.as_str().parse()?;
        Ok(Following::new(self.clone(), job_id, statuses, executors))
    }

    /// Cancels until the engine has heard it: it forgets a cancel that comes while it still plans.
    pub(crate) async fn end(&self, clock: &dyn Clock, job_id: &JobId) {
        for _ in 0..CANCEL_STEPS {
            match self.state(job_id).await {
                Some(Phase::Waiting | Phase::Running) => {
                    if let Err(error) = self.cancel(job_id).await {
                        tracing::warn!(job_id = job_id.as_str(), error = %error, "a cancel did not reach the engine");
                    }
                }
                Some(Phase::Succeeded | Phase::Failed) | None => return,
            }
            clock.sleep(CANCEL_STEP).await;
        }
        tracing::error!(
            job_id = job_id.as_str(),
            "the engine does not end a cancelled job"
        );
    }

    /// Asks the engine to end a job. A job that is not active yet ignores it: repeat until the state is final.
    async fn cancel(&self, job_id: &JobId) -> Result<(), Error> {
        let job_id = EngineJobId::new(job_id.as_str());
        self.server
            .cancel_job(job_id)
            .await
            .map_err(|error| bug("cancel a query", &error))
    }

    /// Has the executors remove what a job left with them. To be called within a runtime.
    pub(crate) fn discard(&self, job_id: &JobId) {
        self.server
            .state
            .executor_manager
            .clean_up_job_data(EngineJobId::new(job_id.as_str()));
    }

    /// How a job stands; `None` where the engine has forgotten it.
    pub(crate) async fn state(&self, job_id: &JobId) -> Option<Phase> {
        let status = self
            .server
            .state
            .task_manager
            .get_job_status(&EngineJobId::new(job_id.as_str()))
            .await;
        status.ok().flatten().as_ref().map(state_of)
    }

    /// Looks at a job's stages, running or ended.
    pub(crate) async fn inspect<T>(
        &self,
        job_id: &JobId,
        look: impl FnOnce(&dyn ExecutionGraph) -> T,
    ) -> Option<T> {
        let job_id = EngineJobId::new(job_id.as_str());
        let active = self
            .server
            .state
            .task_manager
            .get_running_job_cache()
            .get(&job_id)
            .cloned();
        if let Some(job) = active {
            let graph = job.execution_graph.read().await;
            return Some(look(graph.as_ref()));
        }
        let ended = self
            .jobs
            .get_execution_graph(&job_id)
            .await
            .ok()
            .flatten()?;
        Some(look(ended.as_ref()))
    }

    /// Whether Ballista has this executor, and so gives it tasks.
    pub(crate) async fn knows(&self, executor_id: &str) -> bool {
        self.server
            .state
            .executor_manager
            .get_executor_metadata(executor_id)
            .await
            .is_ok()
    }

    /// Has the engine look for tasks to hand out; its own occasions do not know when an executor takes tasks again.
    pub(crate) async fn nudge(&self, executor_id: &str) {
        nudge(&self.server, executor_id).await;
    }

    /// Tasks of one job that run now, by executor.
    pub(crate) async fn running_by_executor(&self, job_id: &JobId) -> HashMap<String, u32> {
        let running = self.inspect(job_id, |graph| graph.running_tasks()).await;
        let mut by_executor = HashMap::new();
        for task in running.unwrap_or_default() {
            *by_executor.entry(task.executor_id).or_default() += 1;
        }
        by_executor
    }

    /// Tasks that run now, by executor.
    pub(crate) async fn running_tasks(&self) -> HashMap<String, u32> {
        let mut running = HashMap::new();
        for job in self
            .server
            .state
            .task_manager
            .get_running_job_cache()
            .values()
        {
            for task in job.execution_graph.read().await.running_tasks() {
                *running.entry(task.executor_id).or_default() += 1;
            }
        }
        running
    }

    /// The executor is gone: what it ran and what it held runs elsewhere.
    pub(crate) async fn lose(&self, executor_id: &str, reason: &str) {
        let params = ExecutorStoppedParams {
            executor_id: executor_id.to_owned(),
            reason: reason.to_owned(),
        };
        if let Err(status) =
            SchedulerGrpc::executor_stopped(&self.server, tonic::Request::new(params)).await
        {
            tracing::error!(
                executor_id,
                error = status.message(),
                "the engine could not remove an executor"
            );
        }
        self.ticks
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// A plan that cannot be encoded; our own errors stay what they are.
fn unsent(error: DataFusionError) -> DataFusionError {
    if whimbrel_predict::error::find(&error).is_some() {
        return error;
    }
    tracing::warn!(error = %error.strip_backtrace(), "a plan cannot be encoded");
    DataFusionError::NotImplemented("a part of the plan cannot be sent to executors".to_owned())
}

/// A status without tasks makes Ballista offer free slots anew.
async fn nudge(server: &Server, executor_id: &str) {
    let params = UpdateTaskStatusParams {
        executor_id: executor_id.to_owned(),
        task_status: Vec::new(),
    };
    if let Err(status) =
        SchedulerGrpc::update_task_status(server, tonic::Request::new(params)).await
    {
        tracing::warn!(
            executor_id,
            error = status.message(),
            "the engine was not reminded of an executor"
        );
    }
}

/// What a status of Ballista means.
pub(crate) fn state_of(status: &JobStatus) -> Phase {
    match &status.status {
        Some(job_status::Status::Running(_)) => Phase::Running,
        Some(job_status::Status::Successful(_)) => Phase::Succeeded,
        Some(job_status::Status::Failed(failed)) => {
            tracing::trace!(
                job_id = status.job_id,
                error = failed.error,
                "the engine gave a job up"
            );
            Phase::Failed
        }
        Some(job_status::Status::Queued(_)) | None => Phase::Waiting,
    }
}

/// The engine refused what it must be able to do. Its text is for the log.
fn bug(what: &str, error: &dyn std::fmt::Display) -> Error {
    tracing::error!(error = %error, "the engine could not {what}");
    Error::new(ErrorCode::Bug, format!("the scheduler could not {what}"))
        .with_hint("its log says why")
}
