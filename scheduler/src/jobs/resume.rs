//! A job goes on from wherever its record says it is: right after it was submitted, after a scheduler has died, or when somebody
//! resumes one that had failed. Each turn does what the state asks for, and the state says what comes next.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode, Retry};
use whimbrel_stores::job::Verdict;

use super::commit::Committed;
use super::output::Output;
use super::own::disown;
use super::pin::Work;
use super::record::Told;
use super::run::Round;
use super::state::State;
use super::{Event, Failpoint, Job, Jobs, pass};

/// Between two attempts at what a store does not let happen now.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Jobs {
    /// Takes up every job that has not ended, or has left something behind. To be called once, when executors can be reached.
    pub(crate) fn start(self: &Arc<Self>) {
        for job in self.list() {
            let record = job.record();
            let over = record.state.is_over() && (record.tidy || record.state.is_resumable());
            if !over {
                tracing::info!(score_job = %job.id(), state = record.state.name(), "taking up a score job");
                job.find();
                self.drive(&job);
            }
        }
        let (this, stop) = (Arc::clone(self), self.parts.stop.clone());
        self.parts.tasks.spawn(async move {
            stop.run_until_cancelled(this.keep_history()).await;
        });
    }

    /// Has a job that failed go on; what it has done is not done again.
    pub(crate) async fn resume(self: &Arc<Self>, id: &ScoreJobId) -> Result<Arc<Job>, Error> {
        let job = self.get(id)?;
        let state = job.state();
        let refused = |why: &str, hint: String| {
            let text = format!("job {id} cannot be resumed: {why}");
            Err(Error::new(ErrorCode::Invalid, text).with_hint(hint))
        };
        match state {
            State::Failed { resumable: true } => {}
            State::Failed { resumable: false } => {
                return refused(
                    "what it failed of does not change, so nothing of it was kept",
                    "submit it again".to_owned(),
                );
            }
            State::Cancelled | State::Cancelling => {
                return refused(
                    "it was cancelled, and nothing of it was kept",
                    "submit it again".to_owned(),
                );
            }
            State::Succeeded => {
                return refused(
                    "it has succeeded",
                    format!("`whimbrel job show {id}` says what it wrote"),
                );
            }
            // It goes on by itself.
            State::Preparing
            | State::Submitted
            | State::Running
            | State::Waiting { .. }
            | State::Committing => return Ok(job),
        }
        job.unstop();
        if self.step(&job, Event::Resumed).await? {
            self.drive(&job);
        }
        Ok(job)
    }

    /// The life of a job, to its end and beyond until nothing is left to be cleaned up.
    pub(super) async fn live(self: &Arc<Self>, job: &Arc<Job>) {
        let mut work = None;
        let mut pause = FIRST_PAUSE;
        while !job.state().is_over() && self.find(job.id()).is_some() {
            match self.turn(job, &mut work).boxed().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    job.note(|live| live.problem = None);
                }
                Err(error) => {
                    tracing::warn!(score_job = %job.id(), %error, "a score job is held up");
                    job.note(|live| live.problem = Some(error));
                    self.parts.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        if job.state().is_over() && !job.state().is_resumable() {
            self.tidy(job).boxed().await;
        }
    }

    /// One turn; an error is something to be tried again.
    async fn turn(self: &Arc<Self>, job: &Arc<Job>, work: &mut Option<Work>) -> Result<(), Error> {
        let output = match self.output(&job.record()) {
            Ok(output) => output,
            Err(error) => return self.or_fail(job, error).await,
        };
        match job.state() {
            State::Preparing => self.take_back(job, &output).boxed().await,
            State::Submitted | State::Running | State::Waiting { .. } => {
                let turned = self.score(job, &output, work).boxed().await;
                match turned {
                    Err(error) => self.or_fail(job, error).await,
                    Ok(()) => Ok(()),
                }
            }
            State::Committing => self.publish(job, &output, work).boxed().await,
            State::Cancelling => {
                pass(Failpoint::CancelWished);
                let verdict = self.decide_cancel(job, &output).boxed().await?;
                self.obey(job, &output, verdict).await
            }
            State::Succeeded | State::Failed { .. } | State::Cancelled => Ok(()),
        }
    }

    /// What was decided is what happens.
    async fn obey(&self, job: &Job, output: &Output, verdict: Verdict) -> Result<(), Error> {
        match verdict {
            Verdict::Commit => {
                // Splits that got lost may have to be scored again, whoever wanted the job to stop.
                job.unstop();
                self.step(job, Event::FoundCommit).await.map(drop)
            }
            Verdict::Cancel => {
                disown(output, job.id()).await?;
                self.step(job, Event::FoundCancel).await.map(drop)
            }
        }
    }

    async fn score(
        self: &Arc<Self>,
        job: &Arc<Job>,
        output: &Output,
        work: &mut Option<Work>,
    ) -> Result<(), Error> {
        if let Some(verdict) = self.decided(job, output).boxed().await? {
            return self.obey(job, output, verdict).await;
        }
        let work = self.loaded(job, output, work).await?;
        match self.run(job, output, work).boxed().await? {
            Round::Complete => {
                pass(Failpoint::Complete);
                self.step(job, Event::Complete).await.map(drop)
            }
            Round::Broke(error) => self.fail(job, output, &error).boxed().await,
            // The state says why.
            Round::Stopped | Round::Again(_) => Ok(()),
        }
    }

    async fn publish(
        self: &Arc<Self>,
        job: &Arc<Job>,
        output: &Output,
        work: &mut Option<Work>,
    ) -> Result<(), Error> {
        let work = self.loaded(job, output, work).await?;
        let began = self.parts.clock.monotonic();
        match self.commit(job, output, work).boxed().await {
            Ok(Committed::Real(manifest)) => {
                let took = self.parts.clock.monotonic().saturating_sub(began);
                let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                self.note_success(job, output, &manifest, took)
                    .boxed()
                    .await
            }
            Ok(Committed::Cancelled) => self.obey(job, output, Verdict::Cancel).await,
            Ok(Committed::Missing) => match self.run(job, output, work).boxed().await? {
                Round::Complete | Round::Stopped | Round::Again(_) => Ok(()),
                // After the decision there is no way back: it is tried until it goes.
                Round::Broke(error) => Err(error),
            },
            // As long as nothing is decided, a refusal may end the job as any other.
            Err(error) => match self.decided(job, output).boxed().await {
                Ok(None) => self.or_fail(job, error).await,
                Ok(Some(_)) | Err(_) => Err(error),
            },
        }
    }

    async fn loaded<'a>(
        &self,
        job: &Job,
        output: &Output,
        work: &'a mut Option<Work>,
    ) -> Result<&'a Work, Error> {
        match work {
            Some(work) => Ok(work),
            None => Ok(work.insert(self.load(&job.record(), output).boxed().await?)),
        }
    }

    /// Ends the job where trying again cannot help; else the error, to be tried again.
    async fn or_fail(&self, job: &Job, error: Error) -> Result<(), Error> {
        if error.retry() == Retry::Later || error.code() == ErrorCode::Exhausted {
            return Err(error);
        }
        let output = self.output(&job.record());
        match output {
            Ok(output) => self.fail(job, &output, &error).boxed().await,
            // An output that this scheduler may not even open is left as it is.
            Err(_) => self.note_failure(job, &error, true).await,
        }
    }

    /// Ends a job that cannot go on. Where its cause cannot change, nothing of it is kept.
    async fn fail(&self, job: &Job, output: &Output, error: &Error) -> Result<(), Error> {
        let resumable = may_change(error.code());
        let error = &match error.code() {
            // Where it was noticed, nobody knew that it was a job's.
            ErrorCode::InputChanged => Error::new(error.code(), error.message())
                .with_hint("submit the job again, for the files as they are now"),
            _ => error.clone(),
        };
        if !resumable {
            match self.decide_cancel(job, output).boxed().await? {
                Verdict::Cancel => disown(output, job.id()).await?,
                Verdict::Commit => return self.obey(job, output, Verdict::Commit).await,
            }
        }
        self.note_failure(job, error, resumable).await
    }

    async fn note_failure(&self, job: &Job, error: &Error, resumable: bool) -> Result<(), Error> {
        tracing::warn!(score_job = %job.id(), %error, resumable, "a score job failed");
        let told = Told::from(error);
        self.step_with(job, Event::Broke { resumable }, |record| {
            record.error = Some(told);
        })
        .await
        .map(drop)
    }
}

/// Whether the same job may go better another time: with other rights, more room, mended executors. An input that is not what was
/// listed never is again.
fn may_change(code: ErrorCode) -> bool {
    match code {
        ErrorCode::InputChanged => false,
        ErrorCode::Invalid
        | ErrorCode::NotFound
        | ErrorCode::Exists
        | ErrorCode::Denied
        | ErrorCode::Unauthenticated
        | ErrorCode::Data
        | ErrorCode::Unavailable
        | ErrorCode::Exhausted
        | ErrorCode::Model
        | ErrorCode::Cancelled
        | ErrorCode::Bug => true,
    }
}
