//! From a wish to a job that goes on by itself: planned, its output taken and tried, plan and splits beside it, and then the record
//! that says so. The order is that of [`crate::store::keys`].

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use whimbrel_access::Caller;
use whimbrel_predict::sink::OutputMode;
use whimbrel_proto::ids::{Digest, ScoreJobId};
use whimbrel_proto::{Error, ErrorCode, v1};
use whimbrel_stores::job::{Records, Times};
use whimbrel_stores::output::probe;

use super::own::{Standing, disown, own};
use super::pin::Made;
use super::spec::Spec;
use super::state::State;
use super::{Event, Failpoint, Job, Jobs, Output, Record, pass};
use crate::session::Session;

/// The longest key, and the longest name of a user.
const WORD_BYTES: usize = 200;

/// How long a submission waits for another one with its key.
const PREPARING: Duration = Duration::from_secs(30);

/// What a submission is called, and whose it is; both may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) key: String,
    pub(crate) user: String,
}

/// A job that was asked for.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) job: Arc<Job>,
    /// It was there already, under its key.
    pub(crate) existed: bool,
}

impl Signed {
    /// Where the pool knows who calls, a job is the caller's, whatever its submission says.
    pub(crate) fn by(self, caller: &Caller) -> Self {
        match caller.user.is_empty() {
            true => self,
            false => Self {
                user: caller.user.clone(),
                ..self
            },
        }
    }
}

impl Jobs {
    /// Makes a job of what is asked; under a key that has one already, that one.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        session: Option<Arc<Session>>,
        asked: v1::JobSpec,
        signed: Signed,
    ) -> Result<Submission, Error> {
        self.parts.runner.admit()?;
        let spec = Spec::try_from(asked)?;
        signed.check()?;
        let digest = spec.digest()?;
        if let Some(submission) = self.keyed(&signed, &digest).await? {
            return Ok(submission);
        }
        let this = Arc::clone(self);
        // A caller that leaves in the middle must not leave half a job.
        let made = self
            .parts
            .tasks
            .spawn(async move { this.make(session, spec, digest, signed).await });
        made.await
            .map_err(|_| Error::new(ErrorCode::Bug, "submitting the job broke off"))?
    }

    /// The job that has the key already, if its spec is the same.
    async fn keyed(&self, signed: &Signed, digest: &Digest) -> Result<Option<Submission>, Error> {
        let Signed { key, user } = signed;
        if key.is_empty() {
            return Ok(None);
        }
        while let Some(id) = self.book.keyed(key).await? {
            let Some(job) = self.find(&id) else {
                let text = format!("the key '{key}' is just being given to another submission");
                return Err(Error::new(ErrorCode::Unavailable, text).with_hint("try again"));
            };
            let record = job.record();
            if self.parts.knows_users && record.user != *user {
                let text = format!("the key '{key}' is that of another user's job");
                return Err(Error::new(ErrorCode::Exists, text).with_hint("take another key"));
            }
            if record.spec_digest != *digest {
                let text =
                    format!("the key '{key}' is that of job {id}, which was asked something else");
                return Err(Error::new(ErrorCode::Exists, text).with_hint(format!(
                    "take another key, or look at `whimbrel job show {id}` for the difference"
                )));
            }
            if record.state != State::Preparing {
                let existed = true;
                return Ok(Some(Submission { job, existed }));
            }
            // Its submitter is not done with it; it may be gone afterwards.
            let mut changes = job.watch();
            if job.state() == State::Preparing && self.find(&id).is_some() {
                tokio::select! {
                    _ = changes.changed() => {}
                    () = self.parts.clock.sleep(PREPARING) => {
                        let text = format!("job {id} is still being submitted under the key '{key}'");
                        return Err(Error::new(ErrorCode::Unavailable, text)
                            .with_hint("its output may be away: try again"));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn make(
        self: &Arc<Self>,
        session: Option<Arc<Session>>,
        spec: Spec,
        digest: Digest,
        signed: Signed,
    ) -> Result<Submission, Error> {
        let id: ScoreJobId = self.parts.ids.id().parse()?;
        let session = session.unwrap_or_else(|| Session::alone(id.as_str()));
        let stores = &self.parts.stores;
        let output = Output::open(stores, &id, &spec.output, spec.mode)?
            .with_dead_letters(stores, &spec.on_error)?;
        let made = self.plan(&session, &spec, &id, &output).boxed().await?;
        let record = Record {
            id: id.clone(),
            key: signed.key,
            user: signed.user,
            spec,
            spec_digest: digest,
            state: State::Preparing,
            submitted_at_ms: self.parts.clock.unix_ms(),
            ended_at_ms: 0,
            pinned: made.pinned.clone(),
            notes: made.notes.clone(),
            error: None,
            counts: None,
            times: Times::default(),
            commit_ms: 0,
            tidy: false,
        };
        let Some(revision) = self.book.create(&record).await? else {
            // Another submission was faster.
            let signed = Signed {
                key: record.key.clone(),
                user: record.user.clone(),
            };
            let other = self.keyed(&signed, &record.spec_digest).await?;
            return other.ok_or_else(|| {
                let text = format!("the key '{}' was just given back", record.key);
                Error::new(ErrorCode::Unavailable, text).with_hint("try again")
            });
        };
        let job = Arc::new(Job::new(record, revision));
        self.lock().insert(id, Arc::clone(&job));
        pass(Failpoint::Recorded);
        if let Err(error) = self.prepare(&job, &output, &made).boxed().await {
            if let Err(left) = self.take_back(&job, &output).boxed().await {
                tracing::warn!(score_job = %job.id(), error = %left, "a job that could not be submitted is not all gone yet");
                self.drive(&job);
            }
            return Err(error);
        }
        if let Err(error) = self.step(&job, Event::Prepared).await {
            self.drive(&job);
            return Err(error);
        }
        pass(Failpoint::Submitted);
        self.drive(&job);
        let existed = false;
        Ok(Submission { job, existed })
    }

    /// Takes the output, tries it, and writes down what is run.
    async fn prepare(
        self: &Arc<Self>,
        job: &Job,
        output: &Output,
        made: &Made,
    ) -> Result<(), Error> {
        let records = Records::of(job.id());
        let told = |error| output.explain(&error);
        {
            let _owning = self.owning.lock().await;
            let trials = self.parts.stores.trials();
            let clock = self.parts.clock.as_ref();
            let standing = |holder| self.standing(holder).boxed();
            own(output, job.id(), clock, trials, standing)
                .boxed()
                .await?;
        }
        pass(Failpoint::Owned);
        if output.mode() == OutputMode::Error {
            output.must_be_empty().await?;
        }
        probe(output.io(), &output.place().show(), &records.folder()).await?;
        let io = output.io();
        io.put(&records.splits(), made.splits.clone())
            .await
            .map_err(told)?;
        io.put(&records.plan(), made.plan.clone())
            .await
            .map_err(told)?;
        pass(Failpoint::Written);
        Ok(())
    }

    /// What becomes of an output that is said to be another job's. A job that failed makes room: nobody waits for it.
    async fn standing(self: &Arc<Self>, holder: ScoreJobId) -> Result<Standing, Error> {
        let Some(other) = self.find(&holder) else {
            return Ok(Standing::Unknown);
        };
        match other.state() {
            State::Succeeded | State::Cancelled | State::Failed { resumable: false } => {
                Ok(Standing::Over)
            }
            State::Failed { resumable: true } => {
                self.cancel(&holder).boxed().await?;
                tracing::info!(score_job = %holder, "a failed job makes room for another at its output");
                Ok(Standing::Over)
            }
            State::Preparing
            | State::Submitted
            | State::Running
            | State::Waiting { .. }
            | State::Committing
            | State::Cancelling => Ok(Standing::Alive),
        }
    }

    /// Leaves nothing of a job that was never submitted.
    pub(super) async fn take_back(&self, job: &Job, output: &Output) -> Result<(), Error> {
        let records = Records::of(job.id());
        let told = |error| output.explain(&error);
        let removed = async {
            for path in [records.splits(), records.plan()] {
                output.io().delete(&path, None).await.map_err(told)?;
            }
            output.abandon().await?;
            disown(output, job.id()).await
        };
        // Where the output cannot be written, there is nothing of the job in it.
        match removed.await {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::Denied => {
                tracing::debug!(score_job = %job.id(), %error, "nothing to take back");
            }
            Err(error) => return Err(error),
        }
        self.forget(job).await
    }
}

impl Signed {
    fn check(&self) -> Result<(), Error> {
        for (what, word) in [("key", &self.key), ("user", &self.user)] {
            if word.len() > WORD_BYTES || word.chars().any(char::is_control) {
                let text = format!(
                    "the {what} of the job is too long, or holds characters that cannot be seen"
                );
                return Err(Error::new(ErrorCode::Invalid, text).with_hint(format!(
                    "a {what} is one line of {WORD_BYTES} bytes at most"
                )));
            }
        }
        Ok(())
    }
}
