//! Has a job scored: hands what is not done to the engine, follows it, and looks into the journal for what came of it. Only a
//! complete journal ends this; the engine's own word does not, and neither does its silence.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use whimbrel_predict::sink::{OnError, SinkSpec};
use whimbrel_proto::ids::{JobId, SplitId};
use whimbrel_proto::{Error, ErrorCode, Retry};
use whimbrel_stores::job::{Records, Times};

use super::journal::{self, Cut, Read};
use super::output::Output;
use super::pin::Work;
use super::progress::{Meter, rows_done, times_of};
use super::queue::Turn;
use super::state::State;
use super::watchdog::{Motion, Watchdog};
use super::{Event, Failpoint, Job, Jobs, pass};
use crate::engine::{Following, News, Phase};

/// Between two looks at a running job.
pub(super) const STEP: Duration = Duration::from_millis(500);
/// Between two looks into the journal of one, and how soon after tasks have ended there is one.
const LOOK: Duration = Duration::from_secs(30);
const LOOK_SOON: Duration = Duration::from_secs(5);
/// Before what was given up for no reason of its own is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// Rounds that bring nothing before the job ends.
const FRUITLESS: u32 = 4;

/// How one round of a job went.
#[derive(Debug)]
pub(super) enum Round {
    /// Every split is in the journal.
    Complete,
    /// What is left is to be handed out again.
    Again(Setback),
    /// It makes no sense to go on.
    Broke(Error),
    /// Somebody has told the job to stop.
    Stopped,
}

/// What came of waiting for executors.
enum Waited {
    /// There are some.
    Here,
    /// There are none, for so long that something else may have come to pass.
    Look,
    /// The job shall stop.
    Stopped,
}

/// Why a round ended before the job did.
#[derive(Debug)]
pub(super) enum Setback {
    /// The executors went away.
    Deserted,
    /// The engine has ended, or given up; the cause where there is one.
    Ended(Option<Error>),
    /// Nothing moved on these executors.
    Stalled(Vec<String>),
}

/// What rounds have come to so far.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    fruitless: u32,
    done_before: u64,
    avoided: Vec<String>,
    /// Splits that executors had before this scheduler came.
    held: HashSet<SplitId>,
}

/// What a setback leads to; a pure decision.
fn judge(rounds: &mut Rounds, setback: Setback, done: u64) -> Option<Error> {
    if done > rounds.done_before {
        rounds.fruitless = 0;
        rounds.avoided.clear();
    }
    rounds.done_before = done;
    let last = match setback {
        Setback::Deserted => return None,
        Setback::Ended(Some(cause)) => cause,
        Setback::Ended(None) => Error::new(
            ErrorCode::Bug,
            "the engine gave the job's tasks up, and no executor said why",
        )
        .with_hint("the logs of scheduler and executors say more"),
        Setback::Stalled(executors) => {
            let text = format!("no row was scored for too long on {}", executors.join(", "));
            rounds.avoided.extend(executors);
            Error::new(ErrorCode::Exhausted, text).with_hint(
                "look at what these executors do; `job_stall` of the scheduler says how long they may take",
            )
        }
    };
    rounds.fruitless += 1;
    (rounds.fruitless >= FRUITLESS).then_some(last)
}

/// The reason to end a job where more rows of its splits could not be scored than it may have.
fn too_many(sink: &SinkSpec, dead: u64) -> Option<Error> {
    let OnError::DeadLetter { max: Some(max), .. } = sink.on_error else {
        return None;
    };
    let text = format!("{dead} rows cannot be scored, and {max} may be put aside");
    (dead > max).then(|| {
        Error::new(ErrorCode::Invalid, text).with_hint(
            "look at a few of them with --on-error null, or submit the job with a higher --max-errors",
        )
    })
}

/// Notes what the journal says of a job; none where there is something left to do.
fn tally(job: &Job, work: &Work, cut: &Cut, read: &Read) -> Option<Round> {
    let done = cut.done(read, &work.sizes);
    job.note(|live| live.journal = done);
    if let Some(error) = too_many(&work.sink, done.rows_dead) {
        return Some(Round::Broke(error));
    }
    cut.complete(read).map(|_| Round::Complete)
}

impl Jobs {
    /// Runs what is left until there is nothing left; an error is the reason why there will always be.
    pub(super) async fn run(
        &self,
        job: &Arc<Job>,
        output: &Output,
        work: &Work,
    ) -> Result<Round, Error> {
        let Some(_turn) = self.turn_of(job).await else {
            return Ok(Round::Stopped);
        };
        let mut rounds = Rounds::default();
        loop {
            let round = self.round(job, output, work, &mut rounds);
            let setback = match round.boxed().await? {
                Round::Again(setback) => setback,
                over @ (Round::Complete | Round::Broke(_) | Round::Stopped) => return Ok(over),
            };
            rounds.held.clear();
            if let Setback::Ended(cause) = &setback {
                job.note(|live| live.problem.clone_from(cause));
            }
            tracing::warn!(score_job = %job.id(), setback = ?setback, "a score job is handed out again");
            let done = job.live().journal.splits;
            if let Some(error) = judge(&mut rounds, setback, done) {
                return Ok(Round::Broke(error));
            }
            let stopped = job.stopped();
            if stopped
                .run_until_cancelled(self.parts.clock.sleep(PAUSE))
                .await
                .is_none()
            {
                return Ok(Round::Stopped);
            }
        }
    }

    async fn round(
        &self,
        job: &Arc<Job>,
        output: &Output,
        work: &Work,
        rounds: &mut Rounds,
    ) -> Result<Round, Error> {
        let records = Records::of(job.id());
        let mut settled = !job.was_found();
        let (cut, read) = loop {
            let read = journal::read(output, &records, &work.known).await?;
            let (run, generations) = (job.record().pinned.run, read.generations.clone());
            let cut = journal::cut(&work.plan.physical, &work.sink, run, generations)?;
            if let Some(over) = tally(job, work, &cut, &read) {
                return Ok(over);
            }
            match self.wait_for_executors(job).await? {
                Waited::Stopped => return Ok(Round::Stopped),
                Waited::Look => {}
                Waited::Here if settled => break (cut, read),
                Waited::Here => {
                    rounds.held = self.held(job).await;
                    settled = true;
                }
            }
        };
        let cut = match self.next_run(job).await? {
            None => cut,
            run @ Some(_) => {
                let (sink, generations) = (&work.sink, read.generations.clone());
                journal::cut(&work.plan.physical, sink, run, generations)?
            }
        };
        self.step(job, Event::Started).await?;
        job.take();
        let Some(left) = cut.left(&read, &rounds.held)? else {
            return self.outlast(job, output, work, &cut, &rounds.held).await;
        };
        let round = self.hand_out(job, output, work, rounds, (&cut, &read), left);
        match round.boxed().await? {
            // What the engine had of it has ended.
            Round::Again(Setback::Ended(None)) if !rounds.held.is_empty() => {
                self.outlast(job, output, work, &cut, &rounds.held).await
            }
            round => Ok(round),
        }
    }

    /// Hands a plan to the engine, and follows what becomes of it.
    async fn hand_out(
        &self,
        job: &Arc<Job>,
        output: &Output,
        work: &Work,
        rounds: &Rounds,
        (cut, read): (&Cut, &Read),
        left: Arc<dyn ExecutionPlan>,
    ) -> Result<Round, Error> {
        let shares = self.parts.engine.shares();
        shares.weigh(job.id().as_str(), job.record().spec.priority.weight());
        let following = self
            .parts
            .engine
            .submit(
                job.id().as_str(),
                Arc::clone(&work.plan.ctx),
                left,
                &self.parts.executors,
            )
            .await?;
        let engine_job = following.job_id().clone();
        for executor_id in &rounds.avoided {
            self.parts.failures.shun(engine_job.as_str(), executor_id);
        }
        let base = cut.done(read, &work.sizes);
        job.note(|live| {
            live.engine_job = Some(engine_job.clone());
            (live.base, live.journal) = (base, base);
            (live.tasks_done, live.rows) = (0, Default::default());
        });
        tracing::info!(score_job = %job.id(), job_id = engine_job.as_str(), splits = cut.splits(), done = base.splits, "score job handed to the engine");
        pass(Failpoint::Started);
        let round = self.follow(job, output, work, cut, following).boxed().await;
        self.parts
            .engine
            .end(self.parts.clock.as_ref(), &engine_job)
            .await;
        self.parts.engine.discard(&engine_job);
        let failed = self.parts.failures.count(engine_job.as_str());
        drop(self.parts.failures.verdict(engine_job.as_str()));
        self.parts.engine.shares().forget(job.id().as_str());
        job.note(|live| {
            live.engine_job = None;
            live.failed_before += failed;
            live.tasks_failed = live.failed_before;
            live.times = Times::default();
            (live.rate_now, live.running) = (0, Default::default());
        });
        round
    }

    /// Waits for the job's turn; none where it shall stop before. What is decided waits for nobody.
    async fn turn_of(&self, job: &Job) -> Option<Turn> {
        if job.state() == State::Committing {
            return Some(self.queue.pass(&job.record()));
        }
        let stopped = job.stopped();
        let turn = self.queue.enter(&job.record());
        let mut changes = self.queue.watch();
        loop {
            let behind = turn.behind();
            if behind != job.live().behind {
                job.note(|live| live.behind = behind);
            }
            if behind == 0 {
                return Some(turn);
            }
            if stopped
                .run_until_cancelled(changes.changed())
                .await
                .is_none()
            {
                job.note(|live| live.behind = 0);
                return None;
            }
        }
    }

    /// Where splits are those of a run, each time that the engine gets the job is another run. Not while the job commits: what was
    /// decided names the splits of the run before.
    async fn next_run(&self, job: &Job) -> Result<Option<u32>, Error> {
        let record = job.record();
        let (Some(run), false) = (record.pinned.run, record.state == State::Committing) else {
            return Ok(record.pinned.run);
        };
        let next = Some(run + 1);
        self.amend(job, |record| record.pinned.run = next).await?;
        Ok(next)
    }

    /// Waits for somebody who takes tasks, however long it takes; but now and then it is worth a look whether those that take none any
    /// more have done the rest.
    async fn wait_for_executors(&self, job: &Job) -> Result<Waited, Error> {
        let stopped = job.stopped();
        let mut members = self.parts.executors.watch();
        let clock = self.parts.clock.as_ref();
        let look = clock.sleep(LOOK);
        tokio::pin!(look);
        loop {
            if stopped.is_cancelled() {
                return Ok(Waited::Stopped);
            }
            if self.parts.executors.capacity().executors > 0 {
                return Ok(Waited::Here);
            }
            let now_ms = clock.unix_ms();
            self.step(job, Event::Stranded { now_ms }).await?;
            tokio::select! {
                () = stopped.cancelled() => {}
                // The pool holds the sender, so there is no error to see.
                _ = members.changed() => {}
                () = &mut look => return Ok(Waited::Look),
            }
        }
    }

    async fn follow(
        &self,
        job: &Arc<Job>,
        output: &Output,
        work: &Work,
        cut: &Cut,
        mut following: Following,
    ) -> Result<Round, Error> {
        let clock = self.parts.clock.as_ref();
        let stopped = job.stopped();
        let engine_job = following.job_id().clone();
        let now = clock.monotonic();
        let mut meter = Meter::begin(now, rows_done(&job.live()));
        // A split that stands still is given up by its executor, which knows it best; this is for executors that do not.
        let mut watchdog = Watchdog::new(self.parts.limits.stall * 2, now);
        let mut tasks_seen = 0;
        let (mut looked, mut noted) = (now, now);
        let ended = loop {
            let news = tokio::select! {
                () = stopped.cancelled() => return Ok(Round::Stopped),
                news = following.next() => Some(news),
                () = clock.sleep(STEP) => None,
            };
            match news {
                Some(News::Job(phase @ (Phase::Succeeded | Phase::Failed))) => break phase,
                Some(News::Tasks) => {
                    if let Some(error) = self.parts.failures.deadly(engine_job.as_str()) {
                        return Ok(Round::Broke(error));
                    }
                }
                Some(News::Executors) => self.note_capacity(job).await?,
                Some(News::Job(Phase::Waiting | Phase::Running)) | None => {}
            }
            let now = clock.monotonic();
            if now.saturating_sub(noted) < STEP {
                continue;
            }
            noted = now;
            self.note_progress(job, &engine_job, &mut meter).await;
            let live = job.live();
            let since = now.saturating_sub(looked);
            if since >= LOOK || (since >= LOOK_SOON && live.tasks_done > tasks_seen) {
                (looked, tasks_seen) = (now, live.tasks_done);
                if let Some(over) = self.look(job, output, work, cut).await? {
                    return Ok(over);
                }
            }
            let live = job.live();
            let motion = Motion {
                rows: rows_done(&live) + live.rows_at_work,
                tasks_done: live.tasks_done,
                splits: live.journal.splits,
            };
            if watchdog.look(now, motion, !live.running.is_empty()) {
                let executors = live.running.into_keys().collect();
                return Ok(Round::Again(Setback::Stalled(executors)));
            }
        };
        if let Some(over) = self.look(job, output, work, cut).await? {
            return Ok(over);
        }
        if ended == Phase::Failed {
            let failed = self.parts.failures.count(engine_job.as_str());
            job.note(|live| live.failed_before += failed);
        }
        Ok(self.given_up(&engine_job, ended))
    }

    /// Looks into the journal; none where there is something left to do.
    pub(super) async fn look(
        &self,
        job: &Job,
        output: &Output,
        work: &Work,
        cut: &Cut,
    ) -> Result<Option<Round>, Error> {
        let read = journal::read(output, &Records::of(job.id()), &work.known).await?;
        Ok(tally(job, work, cut, &read))
    }

    /// What it means that the engine has ended, and the journal is not complete.
    fn given_up(&self, engine_job: &JobId, ended: Phase) -> Round {
        let verdict = match ended {
            Phase::Failed => self.parts.failures.verdict(engine_job.as_str()),
            Phase::Succeeded | Phase::Waiting | Phase::Running => None,
        };
        match verdict {
            Some(error) if error.retry() != Retry::Later => Round::Broke(error),
            None if self.parts.executors.capacity().executors == 0 => {
                Round::Again(Setback::Deserted)
            }
            cause => Round::Again(Setback::Ended(cause)),
        }
    }

    async fn note_capacity(&self, job: &Job) -> Result<(), Error> {
        let event = match self.parts.executors.capacity().executors {
            0 => Event::Stranded {
                now_ms: self.parts.clock.unix_ms(),
            },
            _ => Event::Started,
        };
        self.step(job, event).await.map(drop)
    }

    async fn note_progress(&self, job: &Job, engine_job: &JobId, meter: &mut Meter) {
        let engine = &self.parts.engine;
        let tasks = engine.inspect(engine_job, crate::engine::progress).await;
        let running = engine.running_by_executor(engine_job).await;
        let rows = self.parts.executors.rows_by_executor(engine_job.as_str());
        let failed = self.parts.failures.count(engine_job.as_str());
        let splits = self.parts.executors.running_splits(job.id().as_str());
        let now = self.parts.clock.monotonic();
        job.note(|live| {
            if let Some(tasks) = tasks {
                live.tasks_done = u64::from(tasks.tasks_done);
                if live.tasks_done > 0 {
                    live.problem = None;
                }
            }
            live.tasks_failed = live.failed_before + failed;
            live.times = times_of(&splits);
            live.running = running
                .into_iter()
                .map(|(id, tasks)| (id, u64::from(tasks)))
                .collect();
            live.rows_at_work = splits.iter().map(|(_, split)| split.rows).sum();
            for (id, count) in rows {
                // An executor that is gone has still scored what it said.
                let known = live.rows.entry(id).or_default();
                *known = count.max(*known);
            }
            (live.rate_now, live.rate_overall) = meter.note(now, rows_done(live));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled() -> Setback {
        Setback::Stalled(vec!["e1".to_owned()])
    }

    #[test]
    fn four_setbacks_in_a_row_end_a_job_and_progress_in_between_forgives() {
        let mut rounds = Rounds::default();
        for _ in 0..3 {
            assert_eq!(judge(&mut rounds, stalled(), 0), None);
        }
        assert_eq!(judge(&mut rounds, stalled(), 5), None, "five splits came");
        assert_eq!(rounds.avoided, ["e1"]);
        assert_eq!(judge(&mut rounds, Setback::Ended(None), 5), None);
        assert_eq!(judge(&mut rounds, stalled(), 5), None);
        let cause = Error::new(ErrorCode::Unavailable, "the store is away");
        let last = judge(&mut rounds, Setback::Ended(Some(cause.clone())), 5);
        assert_eq!(last, Some(cause));
    }

    #[test]
    fn a_pool_without_executors_never_ends_a_job() {
        let mut rounds = Rounds::default();
        for _ in 0..100 {
            assert_eq!(judge(&mut rounds, Setback::Deserted, 0), None);
        }
    }
}
