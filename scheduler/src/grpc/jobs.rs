//! `JobService`: convert, call the jobs, convert.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status};
use whimbrel_proto::v1::job_service_server::JobService;
use whimbrel_proto::v1::{
    CancelJobRequest, CancelJobResponse, GetJobRequest, GetJobResponse, JobStatus, ListJobsRequest,
    ListJobsResponse, ResumeJobRequest, ResumeJobResponse, SubmitJobRequest, SubmitJobResponse,
    WatchJobRequest, WatchJobResponse,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::flight::caller;
use crate::jobs::{Job, Signed, Submission};
use crate::pool::Pool;

/// How often progress is sent.
const STEP: Duration = Duration::from_millis(200);

/// Serves the jobs on the client port.
#[derive(Clone, Debug)]
pub(crate) struct JobDesk {
    pool: Arc<Pool>,
}

impl JobDesk {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

fn told(job: &Job) -> Option<JobStatus> {
    Some(job.into())
}

#[tonic::async_trait]
impl JobService for JobDesk {
    type WatchJobStream = BoxStream<'static, Result<WatchJobResponse, Status>>;

    async fn submit_job(
        &self,
        request: Request<SubmitJobRequest>,
    ) -> Result<Response<SubmitJobResponse>, Status> {
        let caller = caller(&request)?;
        let SubmitJobRequest { spec, key, user } = request.into_inner();
        let spec = spec.ok_or_else(|| Error::new(ErrorCode::Invalid, "the request has no spec"))?;
        let signed = Signed { key, user }.by(&caller);
        let Submission { job, existed } = self.pool.jobs.submit(None, spec, signed).await?;
        let job = told(&job);
        Ok(Response::new(SubmitJobResponse { job, existed }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let caller = caller(&request)?;
        let ListJobsRequest {} = request.into_inner();
        let jobs = self.pool.jobs.list_for(&caller);
        let jobs = jobs.iter().map(|job| job.as_ref().into()).collect();
        Ok(Response::new(ListJobsResponse { jobs }))
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let caller = caller(&request)?;
        let GetJobRequest { job_id } = request.into_inner();
        let job = self.pool.jobs.get_for(&caller, &job_id.parse()?)?;
        let job = told(&job);
        Ok(Response::new(GetJobResponse { job }))
    }

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let caller = caller(&request)?;
        let WatchJobRequest { job_id } = request.into_inner();
        let job = self.pool.jobs.get_for(&caller, &job_id.parse()?)?;
        let (pool, changes) = (Arc::clone(&self.pool), job.watch());
        let statuses = stream::unfold(Some((pool, job, changes, true)), |at| async move {
            let (pool, job, mut changes, first) = at?;
            if !first {
                let over = async {
                    let over = changes.wait_for(|_| job.state().is_over());
                    over.await.is_ok()
                };
                tokio::select! {
                    _ = over => {}
                    () = pool.clock.sleep(STEP) => {}
                    () = pool.stop.cancelled() => return None,
                }
            }
            let over = job.state().is_over();
            let response = WatchJobResponse { job: told(&job) };
            let next = (!over).then_some((pool, job, changes, false));
            Some((Ok(response), next))
        });
        Ok(Response::new(statuses.boxed()))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let caller = caller(&request)?;
        let id = request.into_inner().job_id.parse()?;
        self.pool.jobs.get_for(&caller, &id)?;
        let job = self.pool.jobs.cancel(&id).await?;
        let job = told(&job);
        Ok(Response::new(CancelJobResponse { job }))
    }

    async fn resume_job(
        &self,
        request: Request<ResumeJobRequest>,
    ) -> Result<Response<ResumeJobResponse>, Status> {
        let caller = caller(&request)?;
        let id = request.into_inner().job_id.parse()?;
        self.pool.jobs.get_for(&caller, &id)?;
        let job = self.pool.jobs.resume(&id).await?;
        let job = told(&job);
        Ok(Response::new(ResumeJobResponse { job }))
    }
}
