//! Why tasks failed, as the executors said it in our own words: what a user reads, and where a task is not tried again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use whimbrel_proto::{Error, ErrorCode, Retry};

/// Failures kept of one job: enough to name the first cause.
const PER_JOB: usize = 64;
/// Jobs whose failures are kept; the oldest goes first.
const JOBS: usize = 1024;

/// One task's failure.
#[derive(Clone, Debug)]
pub(crate) struct TaskFailure {
    pub(crate) stage_id: u32,
    pub(crate) executor_id: String,
    pub(crate) error: Error,
}

/// Executors that may die while they score one partition. One or two may have been told to, or have run on a machine that
/// went; more than that is the model's doing.
const DEATHS: usize = 3;

/// An executor that ended without a word while it scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) stage_id: usize,
    pub(crate) partition: usize,
    pub(crate) executor_id: String,
    /// The models of the stage, as users call them.
    pub(crate) models: Vec<String>,
}

/// Failures by engine job. An executor may report before the query knows its job, so nothing here asks for a known job.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    failures: HashMap<String, JobFailures>,
    order: VecDeque<String>,
}

#[derive(Debug, Default)]
struct JobFailures {
    tasks: Vec<TaskFailure>,
    deaths: Vec<Death>,
    /// Executors that should have none of its tasks, whatever its stage.
    shunned: HashSet<String>,
}

impl Jobs {
    /// What is kept of the job; the oldest job goes where there are too many.
    fn of(&mut self, job_id: &str) -> &mut JobFailures {
        if !self.failures.contains_key(job_id) {
            self.order.push_back(job_id.to_owned());
            if self.order.len() > JOBS
                && let Some(oldest) = self.order.pop_front()
            {
                self.failures.remove(&oldest);
            }
        }
        self.failures.entry(job_id.to_owned()).or_default()
    }
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, job_id: &str, failure: TaskFailure) {
        let mut jobs = self.lock();
        let failures = &mut jobs.of(job_id).tasks;
        if failures.len() < PER_JOB {
            failures.push(failure);
        }
    }

    /// Notes that an executor died while it scored for the job.
    pub(crate) fn add_death(&self, job_id: &str, death: Death) {
        let mut jobs = self.lock();
        let deaths = &mut jobs.of(job_id).deaths;
        if deaths.len() < PER_JOB && !deaths.contains(&death) {
            deaths.push(death);
        }
    }

    /// Its tasks go to other executors than this one, where there are others.
    pub(crate) fn shun(&self, job_id: &str, executor_id: &str) {
        let mut jobs = self.lock();
        jobs.of(job_id).shunned.insert(executor_id.to_owned());
    }

    /// The verdict on a job whose model ends the processes that run it.
    pub(crate) fn deadly(&self, job_id: &str) -> Option<Error> {
        let jobs = self.lock();
        let deaths = &jobs.failures.get(job_id)?.deaths;
        let same = |death: &Death| {
            let all = deaths.iter();
            let same = all.filter(|other| {
                (other.stage_id, other.partition) == (death.stage_id, death.partition)
            });
            same.map(|other| other.executor_id.as_str())
                .collect::<Vec<_>>()
        };
        let (death, executors) = deaths
            .iter()
            .map(|death| (death, same(death)))
            .find(|(_, executors)| executors.len() >= DEATHS)?;
        Some(blamed(&death.models, &executors))
    }

    /// What is known of deaths during a job that nobody is left to run.
    pub(crate) fn died(&self, job_id: &str) -> Option<Error> {
        let jobs = self.lock();
        let deaths = &jobs.failures.get(job_id)?.deaths;
        let models = &deaths.first()?.models;
        let mut executors: Vec<&str> = deaths
            .iter()
            .map(|death| death.executor_id.as_str())
            .collect();
        executors.dedup();
        Some(blamed(models, &executors))
    }

    /// How many tasks of the job have failed, as far as they are kept.
    pub(crate) fn count(&self, job_id: &str) -> u64 {
        let jobs = self.lock();
        let failures = jobs.failures.get(job_id);
        failures.map_or(0, |job| (job.tasks.len() + job.deaths.len()) as u64)
    }

    /// The executors that failed at this stage in a way that another executor may not.
    pub(crate) fn avoided(&self, job_id: &str, stage_id: usize) -> HashSet<String> {
        let jobs = self.lock();
        let Some(job) = jobs.failures.get(job_id) else {
            return HashSet::new();
        };
        let here = job.tasks.iter().filter(|failure| {
            failure.stage_id as usize == stage_id && failure.error.retry() == Retry::Elsewhere
        });
        let failed = here.map(|failure| failure.executor_id.clone());
        failed.chain(job.shunned.iter().cloned()).collect()
    }

    /// Takes what is kept of a job and gives the failure that a user should read.
    pub(crate) fn verdict(&self, job_id: &str) -> Option<Error> {
        let mut jobs = self.lock();
        jobs.order.retain(|kept| kept != job_id);
        let failures = jobs.failures.remove(job_id)?;
        drop(jobs);
        most_telling(&failures.tasks).cloned()
    }
}

fn blamed(models: &[String], executors: &[&str]) -> Error {
    let names = models.iter().map(|model| format!("'{model}'"));
    let text = format!(
        "the executors that scored with {} ended without a word: {}",
        names.collect::<Vec<_>>().join(", "),
        executors.join(", ")
    );
    Error::new(ErrorCode::Model, text).with_hint(
        "the model seems to crash its process: try it on few rows with CHECK MODEL, and look at the end of the executors' logs",
    )
}

/// A final answer says more than a failure that could have gone better elsewhere; a cancelled task says nothing.
fn most_telling(failures: &[TaskFailure]) -> Option<&Error> {
    let rank = |error: &Error| match error.retry() {
        Retry::Never => 0,
        Retry::Elsewhere => 1,
        Retry::Later => 2,
    };
    let errors = failures.iter().map(|failure| &failure.error);
    errors
        .filter(|error| error.code() != ErrorCode::Cancelled)
        .min_by_key(|error| rank(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: ErrorCode, executor_id: &str) -> TaskFailure {
        TaskFailure {
            stage_id: 1,
            executor_id: executor_id.to_owned(),
            error: Error::new(code, code.name()),
        }
    }

    #[test]
    fn the_verdict_is_the_most_final_failure_and_never_a_cancelled_task() {
        let failures = Failures::default();
        for code in [
            ErrorCode::Cancelled,
            ErrorCode::Unavailable,
            ErrorCode::Model,
            ErrorCode::Invalid,
        ] {
            failures.add("j", failure(code, "e1"));
        }
        assert_eq!(failures.avoided("j", 1), HashSet::from(["e1".to_owned()]));
        assert!(failures.avoided("j", 2).is_empty());
        failures.shun("j", "e2");
        assert_eq!(failures.avoided("j", 2), HashSet::from(["e2".to_owned()]));
        assert_eq!(failures.verdict("j").unwrap().code(), ErrorCode::Invalid);
        assert!(failures.verdict("j").is_none());
        failures.add("k", failure(ErrorCode::Cancelled, "e1"));
        assert!(failures.verdict("k").is_none());
    }

    fn death(partition: usize, executor_id: &str) -> Death {
        Death {
            stage_id: 1,
            partition,
            executor_id: executor_id.to_owned(),
            models: vec!["boom".to_owned()],
        }
    }

    #[test]
    fn three_deaths_at_one_partition_are_the_models_doing_and_fewer_are_not() {
        let failures = Failures::default();
        assert_eq!(failures.died("j"), None);
        for (partition, executor) in [(0, "e1"), (1, "e1"), (0, "e2"), (1, "e3"), (0, "e2")] {
            failures.add_death("j", death(partition, executor));
            assert_eq!(failures.deadly("j"), None);
        }
        assert!(failures.died("j").is_some());
        failures.add_death("j", death(0, "e4"));
        let error = failures.deadly("j").unwrap();
        assert_eq!(error.code(), ErrorCode::Model);
        assert_eq!(
            error.message(),
            "the executors that scored with 'boom' ended without a word: e1, e2, e4"
        );
        assert!(failures.verdict("j").is_none());
        assert_eq!(failures.deadly("j"), None);
    }

    #[test]
    fn a_flood_of_failures_is_bounded() {
        let failures = Failures::default();
        for job in 0..2 * JOBS {
            for _ in 0..2 * PER_JOB {
                failures.add(&job.to_string(), failure(ErrorCode::Data, "e1"));
                failures.add_death(&job.to_string(), death(0, &job.to_string()));
            }
        }
        let jobs = failures.lock();
        assert_eq!(jobs.failures.len(), JOBS);
        assert!(
            jobs.failures
                .values()
                .all(|kept| kept.tasks.len() <= PER_JOB && kept.deaths.len() == 1)
        );
    }
}
