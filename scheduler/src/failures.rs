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

/// Failures by engine job. An executor may report before the query knows its job, so nothing here asks for a known job.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    failures: HashMap<String, Vec<TaskFailure>>,
    order: VecDeque<String>,
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, job_id: &str, failure: TaskFailure) {
        let mut jobs = self.lock();
        if !jobs.failures.contains_key(job_id) {
            jobs.order.push_back(job_id.to_owned());
            if jobs.order.len() > JOBS
                && let Some(oldest) = jobs.order.pop_front()
            {
                jobs.failures.remove(&oldest);
            }
        }
        let failures = jobs.failures.entry(job_id.to_owned()).or_default();
        if failures.len() < PER_JOB {
            failures.push(failure);
        }
    }

    /// The executors that failed at this stage in a way that another executor may not.
    pub(crate) fn avoided(&self, job_id: &str, stage_id: usize) -> HashSet<String> {
        let jobs = self.lock();
        let failures = jobs
            .failures
            .get(job_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let here = failures.iter().filter(|failure| {
            failure.stage_id as usize == stage_id && failure.error.retry() == Retry::Elsewhere
        });
        here.map(|failure| failure.executor_id.clone()).collect()
    }

    /// Takes what is kept of a job and gives the failure that a user should read.
    pub(crate) fn verdict(&self, job_id: &str) -> Option<Error> {
        let mut jobs = self.lock();
        jobs.order.retain(|kept| kept != job_id);
        let failures = jobs.failures.remove(job_id)?;
        drop(jobs);
        most_telling(&failures).cloned()
    }
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
        assert_eq!(failures.verdict("j").unwrap().code(), ErrorCode::Invalid);
        assert!(failures.verdict("j").is_none());
        failures.add("k", failure(ErrorCode::Cancelled, "e1"));
        assert!(failures.verdict("k").is_none());
    }

    #[test]
    fn a_flood_of_failures_is_bounded() {
        let failures = Failures::default();
        for job in 0..2 * JOBS {
            for _ in 0..2 * PER_JOB {
                failures.add(&job.to_string(), failure(ErrorCode::Data, "e1"));
            }
        }
        let jobs = failures.lock();
        assert_eq!(jobs.failures.len(), JOBS);
        assert!(jobs.failures.values().all(|kept| kept.len() <= PER_JOB));
    }
}
