//! Ends a job on somebody's wish. The wish is durable first; then it is decided beside the output, so that no scheduler can
//! commit any more; then it is answered.

use std::sync::Arc;
use std::time::Duration;

use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode, v1};

use super::state::State;
use super::{Event, Job, Jobs};

/// How long the answer is waited for. The job ends all the same.
const ANSWER: Duration = Duration::from_secs(60);

impl Jobs {
    /// Ends a job; returns once it has, or soon will.
    pub(crate) async fn cancel(self: &Arc<Self>, id: &ScoreJobId) -> Result<Arc<Job>, Error> {
        let job = self.get(id)?;
        loop {
            let state = job.state();
            let refused = |what: &str| {
                let text = format!("job {id} {what}");
                Err(Error::new(ErrorCode::Invalid, text).with_hint(
                    "its objects are there, or soon will be; remove them if nobody wants them",
                ))
            };
            match state {
                State::Succeeded => return refused("has succeeded"),
                State::Committing => {
                    return refused("is being committed and cannot be cancelled any more");
                }
                State::Cancelled | State::Failed { resumable: false } => return Ok(job),
                State::Cancelling => return Ok(self.cancelled(job).await),
                State::Preparing => {
                    let text = format!("job {id} is just being submitted");
                    return Err(Error::new(ErrorCode::Unavailable, text).with_hint("try again"));
                }
                State::Submitted
                | State::Running
                | State::Waiting { .. }
                | State::Failed { resumable: true } => {
                    if !self.step(&job, Event::CancelWished).await? {
                        continue;
                    }
                    job.stop();
                    // Whoever drove it may have seen it end a moment ago.
                    self.drive(&job);
                }
            }
        }
    }

    /// Waits for the job's end; that it failed is an error.
    pub(crate) async fn ended(&self, job: &Arc<Job>) -> Result<v1::JobStatus, Error> {
        let mut changes = job.watch();
        while !job.state().is_over() {
            if changes.changed().await.is_err() {
                break;
            }
        }
        let id = job.id();
        match job.state() {
            State::Succeeded => Ok(v1::JobStatus::from(job.as_ref())),
            State::Cancelled => Err(Error::new(
                ErrorCode::Cancelled,
                format!("job {id} was cancelled"),
            )),
            _ => {
                let error = job.record().error.as_ref().map(Error::from);
                Err(error.unwrap_or_else(|| {
                    Error::new(
                        ErrorCode::Bug,
                        format!("job {id} failed, and nobody said why"),
                    )
                }))
            }
        }
    }

    /// Waits for the decision.
    async fn cancelled(&self, job: Arc<Job>) -> Arc<Job> {
        let mut changes = job.watch();
        let decided = async {
            while job.state() == State::Cancelling {
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = decided => {}
            () = self.parts.clock.sleep(ANSWER) => {}
        }
        job
    }
}
