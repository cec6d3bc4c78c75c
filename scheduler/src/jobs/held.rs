//! Splits that executors go on with although the scheduler that handed them out is gone: they count by their journal entries, so
//! they are left to those who have them.

use std::collections::HashSet;
use std::time::Duration;

use whimbrel_proto::Error;
use whimbrel_proto::ids::SplitId;

use super::journal::Cut;
use super::output::Output;
use super::pin::Work;
use super::progress::times_of;
use super::run::{Round, STEP, Setback};
use super::state::State;
use super::watchdog::{Motion, Watchdog};
use super::{Job, Jobs};

/// After a scheduler has started, its executors join again within this, and say what they are at: they ask it every second.
const SETTLE: Duration = Duration::from_secs(3);

impl Jobs {
    /// The score jobs among these that nobody works for any more.
    pub(crate) fn ended_of<'a>(&self, jobs: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut ended: Vec<String> = jobs
            .filter(|id| !self.is_wanted(id))
            .map(str::to_owned)
            .collect();
        ended.sort();
        ended.dedup();
        ended
    }

    fn is_wanted(&self, id: &str) -> bool {
        let job = id.parse().ok().and_then(|id| self.find(&id));
        job.is_some_and(|job| match job.state() {
            State::Preparing
            | State::Submitted
            | State::Running
            | State::Waiting { .. }
            | State::Committing => true,
            State::Cancelling | State::Succeeded | State::Failed { .. } | State::Cancelled => false,
        })
    }

    /// The splits that executors are at, of a job that this scheduler has found and not handed out yet.
    pub(super) async fn held(&self, job: &Job) -> HashSet<SplitId> {
        // The splits of another run are not those of the next one.
        if job.record().pinned.run.is_some() {
            return HashSet::new();
        }
        job.stopped()
            .run_until_cancelled(self.parts.clock.sleep(SETTLE))
            .await;
        let held: HashSet<SplitId> = self.at_work(job).into_iter().map(|(id, _)| id).collect();
        if !held.is_empty() {
            tracing::info!(score_job = %job.id(), splits = held.len(), "executors still have splits of a score job");
        }
        held
    }

    /// The splits of the job that executors say they are at, and the rows of each so far.
    fn at_work(&self, job: &Job) -> Vec<(SplitId, u64)> {
        let running = self.parts.executors.running_splits(job.id().as_str());
        let known = running.into_iter().filter_map(|(_, split)| {
            let id = split.split.parse().ok()?;
            Some((id, split.rows))
        });
        known.collect()
    }

    /// What those who watch the job see of it meanwhile.
    fn note_held(&self, job: &Job) {
        let splits = self.parts.executors.running_splits(job.id().as_str());
        job.note(|live| {
            live.times = times_of(&splits);
            live.running.clear();
            for (executor, _) in &splits {
                *live.running.entry(executor.clone()).or_default() += 1;
            }
        });
    }

    /// Waits as long as executors are at these splits, and rows come of them.
    pub(super) async fn outlast(
        &self,
        job: &Job,
        output: &Output,
        work: &Work,
        cut: &Cut,
        held: &HashSet<SplitId>,
    ) -> Result<Round, Error> {
        let clock = self.parts.clock.as_ref();
        let stopped = job.stopped();
        let mut watchdog = Watchdog::new(self.parts.limits.stall * 2, clock.monotonic());
        let mut left = usize::MAX;
        loop {
            let at_work = self.at_work(job);
            self.note_held(job);
            if at_work.len() < left {
                left = at_work.len();
                if let Some(over) = self.look(job, output, work, cut).await? {
                    return Ok(over);
                }
            }
            let own = at_work.iter().filter(|(id, _)| held.contains(id));
            let (splits, rows) =
                own.fold((0, 0), |(splits, sum), (_, rows)| (splits + 1, sum + rows));
            let motion = Motion {
                rows,
                splits,
                ..Motion::default()
            };
            if splits == 0 || watchdog.look(clock.monotonic(), motion, true) {
                break;
            }
            if stopped
                .run_until_cancelled(clock.sleep(STEP))
                .await
                .is_none()
            {
                return Ok(Round::Stopped);
            }
        }
        let over = self.look(job, output, work, cut).await?;
        // Whoever had them has let go of them.
        Ok(over.unwrap_or(Round::Again(Setback::Deserted)))
    }
}
