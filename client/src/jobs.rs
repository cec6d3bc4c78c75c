//! Score jobs: submit, list, look at, follow, cancel, resume.

use futures::{Stream, StreamExt};
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::v1::job_service_client::JobServiceClient;
use whimbrel_proto::v1::{
    CancelJobRequest, GetJobRequest, JobStatus, ListJobsRequest, ResumeJobRequest,
    SubmitJobRequest, SubmitJobResponse, WatchJobRequest, WatchJobResponse,
};

use crate::connect::Client;
use crate::error::{Error, Result};

impl Client {
    /// Hands a job to the pool; true where the pool had it already, under the request's key. The job goes on by itself.
    pub async fn submit_job(&self, request: SubmitJobRequest) -> Result<(JobStatus, bool)> {
        let answer = JobServiceClient::new(self.service())
            .submit_job(request)
            .await;
        let SubmitJobResponse { job, existed } =
            answer.map_err(|status| self.failed(status))?.into_inner();
        Ok((opened(job)?, existed))
    }

    /// Every job that the pool remembers, oldest first.
    pub async fn list_jobs(&self) -> Result<Vec<JobStatus>> {
        let answer = JobServiceClient::new(self.service())
            .list_jobs(ListJobsRequest {})
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .jobs)
    }

    /// One job as it is now.
    pub async fn get_job(&self, job: &ScoreJobId) -> Result<JobStatus> {
        let request = GetJobRequest {
            job_id: job.to_string(),
        };
        let answer = JobServiceClient::new(self.service()).get_job(request).await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .job,
        )
    }

    /// The job now and whenever it changes; the last status is that of its end.
    pub async fn watch_job(
        &self,
        job: &ScoreJobId,
    ) -> Result<impl Stream<Item = Result<JobStatus>> + use<>> {
        let request = WatchJobRequest {
            job_id: job.to_string(),
        };
        let answer = JobServiceClient::new(self.service())
            .watch_job(request)
            .await;
        let stream = answer.map_err(|status| self.failed(status))?.into_inner();
        let client = self.clone();
        Ok(stream.map(move |status| {
            let WatchJobResponse { job } = status.map_err(|status| client.failed(status))?;
            opened(job)
        }))
    }

    /// Ends a job so that nothing of it is ever visible.
    pub async fn cancel_job(&self, job: &ScoreJobId) -> Result<JobStatus> {
        let request = CancelJobRequest {
            job_id: job.to_string(),
        };
        let answer = JobServiceClient::new(self.service())
            .cancel_job(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .job,
        )
    }

    /// Goes on with a job that failed.
    pub async fn resume_job(&self, job: &ScoreJobId) -> Result<JobStatus> {
        let request = ResumeJobRequest {
            job_id: job.to_string(),
        };
        let answer = JobServiceClient::new(self.service())
            .resume_job(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .job,
        )
    }
}

fn opened(job: Option<JobStatus>) -> Result<JobStatus> {
    job.ok_or_else(|| Error::Protocol {
        what: "an answer",
        reason: "it holds no job".to_owned(),
    })
}
