//! Who is in the pool: what each executor told of itself, whether it takes tasks, and when it was last heard.
//!
//! Ballista keeps slots and heartbeats; this is what Ballista does not know: the address that clients reach, whether the
//! executor is on its way out, its models and its live row counts. All of it is memory: an executor that finds itself
//! unknown joins again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::v1::{LoadedModel, ReadJob, RunningSplit};

use crate::clock::Clock;

/// Where clients reach an executor.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// host:port
    pub(crate) client: String,
    pub(crate) tls: bool,
}

#[cfg(test)]
impl From<&str> for Address {
    fn from(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            tls: false,
        }
    }
}

/// What the pool knows of one executor.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) client_address: String,
    /// Whether its client port speaks TLS.
    pub(crate) client_tls: bool,
    pub(crate) slots: u32,
    pub(crate) draining: bool,
    /// Ballista has it too, so it gets tasks.
    pub(crate) registered: bool,
    pub(crate) models: Vec<LoadedModel>,
    pub(crate) rows_by_job: HashMap<String, u64>,
    pub(crate) running_splits: Vec<RunningSplit>,
    pub(crate) served: Served,
    pub(crate) read_jobs: Vec<ReadJob>,
    pub(crate) seen: Duration,
    pub(crate) seen_unix_ms: i64,
}

/// What an executor has sent to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) bytes: u64,
    pub(crate) open_streams: u32,
}

/// A report that an executor sends every second.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) draining: bool,
    pub(crate) models: Vec<LoadedModel>,
    pub(crate) rows_by_job: HashMap<String, u64>,
    pub(crate) running_splits: Vec<RunningSplit>,
    pub(crate) served: Served,
    pub(crate) read_jobs: Vec<ReadJob>,
}

/// The executors of the pool.
#[derive(Debug)]
pub(crate) struct Executors {
    clock: Arc<dyn Clock>,
    members: Mutex<BTreeMap<String, Member>>,
    changed: watch::Sender<u64>,
}

impl Executors {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            members: Mutex::new(BTreeMap::new()),
            changed: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever an executor comes, goes, or stops taking tasks.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// An executor announces itself, for the first time or again.
    pub(crate) fn join(&self, id: &ExecutorId, address: Address, slots: u32) {
        let Address { client, tls } = address;
        let member = Member {
            client_address: client,
            client_tls: tls,
            slots,
            draining: false,
            registered: false,
            models: Vec::new(),
            rows_by_job: HashMap::new(),
            running_splits: Vec::new(),
            served: Served::default(),
            read_jobs: Vec::new(),
            seen: self.clock.monotonic(),
            seen_unix_ms: self.clock.unix_ms(),
        };
        let mut members = self.lock();
        let old = members.get(id.as_str());
        let registered = old.is_some_and(|old| old.registered);
        // It goes on with them; its next report says so.
        let running_splits = old.map(|old| old.running_splits.clone());
        members.insert(
            id.as_str().to_owned(),
            Member {
                registered,
                running_splits: running_splits.unwrap_or_default(),
                ..member
            },
        );
        drop(members);
        self.tell();
    }

    /// What an executor reports; false where it is not known and must join.
    pub(crate) fn report(&self, id: &str, report: Report) -> bool {
        let Report {
            draining,
            models,
            rows_by_job,
            running_splits,
            served,
            read_jobs,
        } = report;
        let mut members = self.lock();
        let Some(member) = members.get_mut(id) else {
            return false;
        };
        let changed = member.draining != draining;
        member.draining = draining;
        member.models = models;
        member.rows_by_job = rows_by_job;
        member.running_splits = running_splits;
        member.served = served;
        member.read_jobs = read_jobs;
        member.seen = self.clock.monotonic();
        member.seen_unix_ms = self.clock.unix_ms();
        drop(members);
        if changed {
            self.tell();
        }
        true
    }

    /// Whether whoever read this job's results has left: a stream was broken off, none is open anywhere, and none was for this long.
    pub(crate) fn is_left(&self, job_id: &str, patience: Duration) -> bool {
        let members = self.lock();
        let read = members.values().flat_map(|member| &member.read_jobs);
        let read: Vec<&ReadJob> = read.filter(|read| read.job_id == job_id).collect();
        let quiet =
            |read: &&ReadJob| read.open == 0 && Duration::from_millis(read.idle_ms) >= patience;
        read.iter().any(|read| read.broken) && read.iter().all(quiet)
    }

    /// Notes whether Ballista has this executor; true where that is news.
    pub(crate) fn set_registered(&self, id: &str, registered: bool) -> bool {
        let mut members = self.lock();
        let Some(member) = members.get_mut(id) else {
            return false;
        };
        let news = std::mem::replace(&mut member.registered, registered) != registered;
        drop(members);
        if news {
            self.tell();
        }
        news
    }

    /// The executor takes no more tasks.
    pub(crate) fn set_draining(&self, id: &str) {
        let mut members = self.lock();
        let Some(member) = members.get_mut(id) else {
            return;
        };
        if !std::mem::replace(&mut member.draining, true) {
            drop(members);
            self.tell();
        }
    }

    /// The executor is gone.
    pub(crate) fn remove(&self, id: &str) -> Option<Member> {
        let gone = self.lock().remove(id);
        if gone.is_some() {
            self.tell();
        }
        gone
    }

    pub(crate) fn get(&self, id: &str) -> Option<Member> {
        self.lock().get(id).cloned()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<(String, Member)> {
        self.lock()
            .iter()
            .map(|(id, member)| (id.clone(), member.clone()))
            .collect()
    }

    /// Whether it may be given tasks.
    pub(crate) fn takes_tasks(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(Member::takes_tasks)
    }

    /// Whether some executor of this choice may be given tasks.
    pub(crate) fn any_taking_tasks(&self, choice: impl Fn(&str) -> bool) -> bool {
        self.lock()
            .iter()
            .any(|(id, member)| member.takes_tasks() && choice(id))
    }

    /// How many executors may be given tasks, and their slots together.
    pub(crate) fn capacity(&self) -> Capacity {
        let members = self.lock();
        let active = members.values().filter(|member| member.takes_tasks());
        active.fold(Capacity::default(), |sum, member| Capacity {
            executors: sum.executors + 1,
            slots: sum.slots + member.slots as usize,
        })
    }

    /// Rows scored so far for a job, as last reported.
    pub(crate) fn rows(&self, job_id: &str) -> u64 {
        self.lock()
            .values()
            .filter_map(|member| member.rows_by_job.get(job_id))
            .sum()
    }

    /// The same, by executor.
    pub(crate) fn rows_by_executor(&self, job_id: &str) -> Vec<(String, u64)> {
        let members = self.lock();
        let rows = members.iter().filter_map(|(id, member)| {
            let rows = member.rows_by_job.get(job_id)?;
            Some((id.clone(), *rows))
        });
        rows.collect()
    }

    /// The splits of a score job that executors are at, with the executor of each.
    pub(crate) fn running_splits(&self, score_job: &str) -> Vec<(String, RunningSplit)> {
        let members = self.lock();
        let splits = members.iter().flat_map(|(id, member)| {
            let own = member.running_splits.iter();
            let own = own.filter(|split| split.job == score_job);
            own.map(move |split| (id.clone(), split.clone()))
        });
        splits.collect()
    }

    /// Those not heard of for `timeout`.
    pub(crate) fn silent(&self, timeout: Duration) -> Vec<String> {
        let now = self.clock.monotonic();
        let members = self.lock();
        let silent = members
            .iter()
            .filter(|(_, member)| now.saturating_sub(member.seen) > timeout);
        silent.map(|(id, _)| id.clone()).collect()
    }

    /// This process stood still for `pause`, and so heard nobody: that says nothing about them.
    pub(crate) fn forgive(&self, pause: Duration) {
        for member in self.lock().values_mut() {
            member.seen += pause;
        }
    }
}

impl Member {
    fn takes_tasks(&self) -> bool {
        self.registered && !self.draining
    }
}

/// What the pool can run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) executors: usize,
    pub(crate) slots: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn report(draining: bool) -> Report {
        Report {
            draining,
            models: Vec::new(),
            rows_by_job: HashMap::from([("j".to_owned(), 7)]),
            running_splits: Vec::new(),
            served: Served::default(),
            read_jobs: Vec::new(),
        }
    }

    #[test]
    fn an_executor_counts_from_its_registration_until_it_drains() {
        let executors = Executors::new(ManualClock::shared());
        let id: ExecutorId = "e1".parse().unwrap();
        assert!(
            !executors.report("e1", report(false)),
            "unknown before it joins"
        );
        executors.join(&id, "host:1".into(), 2);
        assert_eq!(executors.capacity(), Capacity::default());
        executors.set_registered("e1", true);
        assert_eq!(
            executors.capacity(),
            Capacity {
                executors: 1,
                slots: 2
            }
        );
        assert!(executors.report("e1", report(true)));
        assert!(!executors.takes_tasks("e1"));
        assert_eq!(executors.rows("j"), 7);
    }

    #[test]
    fn silence_counts_only_while_this_process_runs() {
        let clock = ManualClock::shared();
        let executors = Executors::new(clock.clone());
        executors.join(&"e1".parse().unwrap(), "host:1".into(), 1);
        clock.advance(Duration::from_secs(60));
        executors.forgive(Duration::from_secs(58));
        assert!(executors.silent(Duration::from_secs(5)).is_empty());
        clock.advance(Duration::from_secs(4));
        assert_eq!(executors.silent(Duration::from_secs(5)), ["e1"]);
    }

    #[test]
    fn a_result_is_left_once_a_broken_stream_stays_the_last_for_a_while() {
        let executors = Executors::new(ManualClock::shared());
        let ids = ["e1", "e2"].map(|id| id.parse::<ExecutorId>().unwrap());
        for id in &ids {
            executors.join(id, "host:1".into(), 2);
        }
        let tell = |which: usize, open, idle_ms, broken| {
            let read = ReadJob {
                job_id: "j".to_owned(),
                open,
                idle_ms,
                broken,
            };
            let report = Report {
                read_jobs: vec![read],
                ..report(false)
            };
            executors.report(ids[which].as_str(), report);
        };
        let left = || executors.is_left("j", Duration::from_secs(5));
        assert!(!left(), "nobody has begun to read");
        tell(0, 0, 9_000, false);
        assert!(!left(), "it was read whole");
        tell(1, 0, 4_000, true);
        assert!(!left(), "its reader may come back");
        tell(1, 0, 6_000, true);
        assert!(left());
        tell(0, 1, 0, false);
        assert!(!left(), "somebody reads");
    }
}
