//! Score jobs: durable work that reads an input, scores it and writes the rows to an output, each row once, whatever dies
//! meanwhile. A job's record says where it is in its life ([`state`]); one task drives each job from there, and a scheduler that
//! starts takes up every job that has not ended.
//!
//! What must not be lost is beside the output: plan and splits as they were pinned, the journal of finished splits that executors
//! write, the decision, the manifest ([`whimbrel_stores::job`]). The engine's word that tasks have ended is only a reason to look
//! into the journal.

mod cancel;
mod commit;
mod failpoint;
mod held;
mod history;
mod job;
mod journal;
mod listing;
mod output;
mod own;
mod pin;
mod priority;
mod progress;
mod queue;
mod record;
mod resume;
mod run;
mod spec;
mod state;
mod status;
mod submit;
mod sweep;
mod tripwire;
mod watchdog;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whimbrel_proto::ids::{JobId, ScoreJobId};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Stores;

use crate::catalog::Catalog;
use crate::clock::{Clock, Ids};
use crate::config::Config;
use crate::engine::Engine;
use crate::executors::Executors;
use crate::failures::Failures;
use crate::nearest;
use crate::query::{Planning, Runner};
use crate::store::StateStore;

use self::failpoint::pass;
use self::output::Output;
use self::queue::Queue;
use self::record::{Book, Record};
use self::state::Event;

pub(crate) use self::failpoint::Failpoint;
pub(crate) use self::job::Job;
pub(crate) use self::listing::{JobList, as_table};
pub(crate) use self::queue::Turns;
pub(crate) use self::submit::{Signed, Submission};

/// What jobs are told of the pool's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) lease: Duration,
    pub(crate) history: Duration,
    pub(crate) stall: Duration,
    pub(crate) turns: Turns,
}

impl Limits {
    /// What the settings say.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            lease: config.job_lease.get(),
            history: config.job_history.get(),
            stall: config.job_stall.get(),
            turns: Turns {
                all: config.jobs_running,
                per_user: config.jobs_per_user,
            },
        }
    }
}

/// The parts that a job passes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) engine: Engine,
    pub(crate) executors: Arc<Executors>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) planning: Arc<Planning>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) stores: Stores,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) limits: Limits,
    /// The pool tells its users apart.
    pub(crate) knows_users: bool,
}

/// See the module.
pub(crate) struct Jobs {
    parts: Parts,
    book: Book,
    jobs: Mutex<BTreeMap<ScoreJobId, Arc<Job>>>,
    /// One job at a time finds out whose an output is.
    owning: tokio::sync::Mutex<()>,
    queue: Arc<Queue>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl Jobs {
    /// The jobs that `store` keeps. Nothing of them runs yet.
    pub(crate) async fn open(parts: Parts, store: Arc<dyn StateStore>) -> Result<Arc<Self>, Error> {
        let book = Book::new(store);
        let mut jobs = BTreeMap::new();
        for (record, revision) in book.all().await? {
            jobs.insert(record.id.clone(), Arc::new(Job::new(record, revision)));
        }
        Ok(Arc::new(Self {
            queue: Queue::new(parts.limits.turns),
            parts,
            book,
            jobs: Mutex::new(jobs),
            owning: tokio::sync::Mutex::new(()),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ScoreJobId, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs that are remembered, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Job>> {
        let mut jobs: Vec<Arc<Job>> = self.lock().values().cloned().collect();
        jobs.sort_by_key(|job| job.record().submitted_at_ms);
        jobs
    }

    /// The job of that id.
    pub(crate) fn get(&self, id: &ScoreJobId) -> Result<Arc<Job>, Error> {
        let jobs = self.lock();
        jobs.get(id).cloned().ok_or_else(|| {
            let known = jobs.keys().map(ScoreJobId::as_str);
            Error::new(ErrorCode::NotFound, format!("there is no job '{id}'")).with_hint(
                nearest::hint(
                    id.as_str(),
                    known,
                    "the pool remembers no job: `whimbrel score` submits one",
                ),
            )
        })
    }

    fn find(&self, id: &ScoreJobId) -> Option<Arc<Job>> {
        self.lock().get(id).cloned()
    }

    /// The engine's jobs that score jobs are now.
    pub(crate) fn engine_jobs(&self) -> Vec<JobId> {
        let jobs: Vec<Arc<Job>> = self.lock().values().cloned().collect();
        jobs.iter()
            .filter_map(|job| job.live().engine_job)
            .collect()
    }

    /// A job's output.
    fn output(&self, record: &Record) -> Result<Output, Error> {
        let spec = &record.spec;
        let stores = &self.parts.stores;
        Output::open(stores, &record.id, &spec.output, spec.mode)?
            .with_dead_letters(stores, &spec.on_error)
    }

    /// Writes that `event` has happened; false where it cannot happen now, and the job is to be looked at again.
    async fn step(&self, job: &Job, event: Event) -> Result<bool, Error> {
        self.step_with(job, event, |_| {}).await
    }

    /// The same, with what else there is to write.
    async fn step_with(
        &self,
        job: &Job,
        event: Event,
        change: impl FnOnce(&mut Record),
    ) -> Result<bool, Error> {
        let _writing = job.writing.lock().await;
        let before = job.state();
        let Some(mut record) = job.after(event, self.parts.clock.unix_ms()) else {
            return Ok(false);
        };
        change(&mut record);
        if record != job.record() {
            self.write(job, record).await?;
        }
        let after = job.state();
        if after != before {
            tracing::info!(score_job = %job.id(), from = before.name(), to = after.name(), "score job");
        }
        Ok(true)
    }

    /// Writes what is no event.
    async fn amend(&self, job: &Job, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let _writing = job.writing.lock().await;
        let mut record = job.record();
        change(&mut record);
        self.write(job, record).await
    }

    async fn write(&self, job: &Job, record: Record) -> Result<(), Error> {
        let revision = self.book.change(&record, job.revision()).await?;
        job.wrote(record, revision);
        Ok(())
    }

    /// Forgets a job.
    async fn forget(&self, job: &Job) -> Result<(), Error> {
        let _writing = job.writing.lock().await;
        self.book.forget(&job.record(), job.revision()).await?;
        self.lock().remove(job.id());
        // Whoever waits for it looks again.
        job.note(|_| {});
        Ok(())
    }

    /// Drives the job once nobody else does.
    fn drive_alone(self: Arc<Self>, job: Arc<Job>) -> BoxFuture<'static, ()> {
        async move {
            let _driving = job.driving.lock().await;
            self.live(&job).await;
        }
        .boxed()
    }

    /// Has the job go on, on a task of its own.
    fn drive(self: &Arc<Self>, job: &Arc<Job>) {
        let (this, job) = (Arc::clone(self), Arc::clone(job));
        self.parts.tasks.spawn(async move {
            let stop = this.parts.stop.clone();
            stop.run_until_cancelled(this.drive_alone(job)).await;
        });
    }
}
