//! `ClusterService`: what executors tell and ask, beside Ballista's own RPCs.

use std::sync::Arc;

use ballista_scheduler::state::execution_graph::ExecutionGraph;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status};
use whimbrel_proto::ids::{Digest, ExecutorId};
use whimbrel_proto::v1::cluster_service_server::ClusterService;
use whimbrel_proto::v1::{
    FetchModelRequest, FetchModelResponse, IdentifyRequest, IdentifyResponse, JoinPoolRequest,
    JoinPoolResponse, ReportExecutorRequest, ReportExecutorResponse, ReportTaskErrorRequest,
    ReportTaskErrorResponse, TaskKey,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::engine::{involves, running_on};
use crate::executors::{Address, Report, Served};
use crate::failures::TaskFailure;
use crate::pool::Pool;
use crate::watch;

/// A model travels in pieces of this size.
const CHUNK: usize = 1 << 20;

/// Serves executors on the cluster port.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pool: Arc<Pool>,
}

impl Cluster {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// The jobs that keep a draining executor: those that run or hold something there, and those whose rows there are wanted.
    async fn wanted(&self, executor_id: &str) -> Vec<String> {
        let mut wanted = Vec::new();
        for query in self.pool.queries.all() {
            let state = query.snapshot();
            let Some(job_id) = state.job_id else { continue };
            let here = if state.phase.is_over() {
                state.holders.contains(executor_id)
            } else {
                self.pool
                    .engine
                    .inspect(&job_id, |graph| involves(graph, executor_id))
                    .await
                    .unwrap_or(true)
            };
            if here {
                wanted.push(job_id.into());
            }
        }
        for job_id in self.pool.jobs.engine_jobs() {
            // What a split came to is in its journal: nothing that lies on the executor is wanted.
            let look = |graph: &dyn ExecutionGraph| running_on(graph, executor_id);
            if self.pool.engine.inspect(&job_id, look).await == Some(true) {
                wanted.push(job_id.into());
            }
        }
        wanted
    }

    /// An executor at the address of another has taken its place: that one ended, and nobody need wait for its silence.
    async fn replace(&self, id: &ExecutorId, client_address: &str) {
        for (other, member) in self.pool.executors.all() {
            if other == id.as_str() || member.client_address != client_address {
                continue;
            }
            tracing::warn!(
                executor_id = other,
                by = %id,
                "an executor was started anew, its tasks run elsewhere"
            );
            watch::note_death(&self.pool, &other).await;
            self.pool.executors.remove(&other);
            self.pool
                .engine
                .lose(&other, "another process has its port")
                .await;
        }
    }
}

fn missing(field: &str) -> Error {
    Error::new(ErrorCode::Invalid, format!("the request has no {field}"))
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    type FetchModelStream = BoxStream<'static, Result<FetchModelResponse, Status>>;

    async fn join_pool(
        &self,
        request: Request<JoinPoolRequest>,
    ) -> Result<Response<JoinPoolResponse>, Status> {
        let JoinPoolRequest {
            executor_id,
            client_address,
            slots,
            version,
            client_tls,
        } = request.into_inner();
        let id: ExecutorId = executor_id.parse()?;
        if client_address.is_empty() {
            return Err(missing("client_address").into());
        }
        tracing::info!(executor_id = %id, client_address, slots, version, "executor joined");
        self.replace(&id, &client_address).await;
        let address = Address {
            client: client_address,
            tls: client_tls,
        };
        self.pool.executors.join(&id, address, slots);
        Ok(Response::new(JoinPoolResponse {
            ticket_key: Some(self.pool.reader.signer.public()),
            open: self.pool.door.is_open(),
        }))
    }

    async fn identify(
        &self,
        request: Request<IdentifyRequest>,
    ) -> Result<Response<IdentifyResponse>, Status> {
        let IdentifyRequest { token } = request.into_inner();
        let caller = self.pool.door.identify(Some(&token)).await?;
        let expires = caller.expires.unwrap_or(0);
        Ok(Response::new(IdentifyResponse {
            user: caller.user,
            expires_unix: i64::try_from(expires).unwrap_or(i64::MAX),
        }))
    }

    async fn report_executor(
        &self,
        request: Request<ReportExecutorRequest>,
    ) -> Result<Response<ReportExecutorResponse>, Status> {
        let ReportExecutorRequest {
            executor_id,
            draining,
            models,
            rows_by_job,
            running_splits,
            served_bytes,
            open_streams,
            read_jobs,
        } = request.into_inner();
        let score_jobs = running_splits.iter().map(|split| split.job.as_str());
        let ended_jobs = self.pool.jobs.ended_of(score_jobs);
        let report = Report {
            draining,
            models,
            rows_by_job,
            running_splits,
            served: Served {
                bytes: served_bytes,
                open_streams,
            },
            read_jobs,
        };
        // Ballista gives an executor up by itself when a launch fails; it must register again then.
        let known = self.pool.executors.report(&executor_id, report)
            && self.pool.engine.knows(&executor_id).await;
        let wanted_jobs = if known {
            self.wanted(&executor_id).await
        } else {
            Vec::new()
        };
        Ok(Response::new(ReportExecutorResponse {
            known,
            wanted_jobs,
            ended_jobs,
        }))
    }

    async fn report_task_error(
        &self,
        request: Request<ReportTaskErrorRequest>,
    ) -> Result<Response<ReportTaskErrorResponse>, Status> {
        let ReportTaskErrorRequest {
            executor_id,
            task,
            error,
        } = request.into_inner();
        let TaskKey {
            job_id,
            stage_id,
            stage_attempt,
            task_id,
            task_attempt,
        } = task.ok_or_else(|| missing("task"))?;
        let error = Error::from(error.ok_or_else(|| missing("error"))?);
        let attempt = format!("{stage_attempt}.{task_attempt}");
        tracing::warn!(job_id, stage_id, task = task_id, attempt, executor_id, error = %error, "a task failed");
        self.pool.failures.add(
            &job_id,
            TaskFailure {
                stage_id,
                executor_id,
                error,
            },
        );
        Ok(Response::new(ReportTaskErrorResponse {}))
    }

    async fn fetch_model(
        &self,
        request: Request<FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let FetchModelRequest { digest } = request.into_inner();
        let digest: Digest = digest.parse()?;
        let content = self.pool.models.content().read(&digest).await?;
        let chunks = (0..content.len())
            .step_by(CHUNK)
            .map(move |from| content.slice(from..content.len().min(from + CHUNK)));
        let answers = stream::iter(chunks).map(|chunk: Bytes| {
            Ok(FetchModelResponse {
                chunk: chunk.into(),
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}
