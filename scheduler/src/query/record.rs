//! What the pool knows of its queries: those that run, and those that have ended as long as their rows can be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whimbrel_access::{Caller, Role};
use whimbrel_proto::ids::{JobId, QueryId};
use whimbrel_proto::{Error, ErrorCode};

use super::polled::Told;
use crate::clock::{Clock, Ids};
use crate::engine::Progress;
use crate::session::Session;

/// Of a query's text, what lists show.
const TEXT: usize = 2000;
/// Ended queries that are remembered; those with rows to fetch are never forgotten early.
const ENDED: usize = 500;

/// Where a query is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryPhase {
    Planning,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl QueryPhase {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Planning | Self::Running => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A query as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) phase: QueryPhase,
    pub(crate) job_id: Option<JobId>,
    pub(crate) progress: Progress,
    pub(crate) rows: u64,
    /// Executors that hold rows of the result, until those are not wanted any more.
    pub(crate) holders: BTreeSet<String>,
    ended: Option<Duration>,
}

/// Who has a query: only that user may see its rows, and it ends with its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: String,
    pub(crate) session: String,
}

impl Owner {
    pub(crate) fn of(session: &Session) -> Self {
        Self {
            user: session.caller().user.clone(),
            session: session.id().to_owned(),
        }
    }
}

/// One run of a statement.
#[derive(Debug)]
pub(crate) struct Query {
    id: QueryId,
    sql: String,
    owner: Owner,
    cancel: CancellationToken,
    state: watch::Sender<Snapshot>,
    /// What a client that polls is told.
    pub(super) told: watch::Sender<Told>,
}

impl Query {
    pub(crate) fn id(&self) -> &QueryId {
        &self.id
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether the caller may have its rows and end it: its user, and whoever runs the pool.
    pub(crate) fn is_open_to(&self, caller: &Caller) -> bool {
        caller.user == self.owner.user || caller.role == Role::Operator
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.state.subscribe()
    }

    /// Ends with the wish that the query be cancelled.
    pub(crate) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Wishes that the query end.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The query has become a job of the engine.
    pub(crate) fn run_as(&self, job_id: JobId) {
        self.state.send_modify(|state| {
            state.phase = QueryPhase::Running;
            state.job_id = Some(job_id);
        });
    }

    pub(crate) fn note(&self, progress: Progress, rows: u64) {
        self.state.send_if_modified(|state| {
            let changed =
                !state.phase.is_over() && (state.progress, state.rows) != (progress, rows);
            if changed {
                (state.progress, state.rows) = (progress, rows);
            }
            changed
        });
    }

    fn end(&self, phase: QueryPhase, now: Duration, holders: BTreeSet<String>, rows: Option<u64>) {
        self.state.send_modify(|state| {
            state.phase = phase;
            state.ended = Some(now);
            state.holders = holders;
            state.rows = rows.unwrap_or(state.rows);
            if phase == QueryPhase::Done {
                state.progress.tasks_done = state.progress.tasks_total;
            }
        });
    }

    /// Nobody will fetch its rows any more; gives the job whose rows they are, if there are any.
    fn release(&self) -> Option<JobId> {
        let mut released = None;
        self.state.send_modify(|state| {
            let held = !std::mem::take(&mut state.holders).is_empty();
            released = state.job_id.clone().filter(|_| held);
        });
        released
    }
}

/// What a wish to cancel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// The query was under way and ends now.
    Ending,
    /// It had ended; its rows, those of this job, are given up.
    Released(Option<JobId>),
    /// There is no such query.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queries {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    ttl: Duration,
    queries: Mutex<BTreeMap<QueryId, Arc<Query>>>,
    running: watch::Sender<usize>,
}

impl Queries {
    pub(crate) fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, ttl: Duration) -> Self {
        Self {
            clock,
            ids,
            ttl,
            queries: Mutex::new(BTreeMap::new()),
            running: watch::Sender::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<QueryId, Arc<Query>>> {
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a new query, under the id that the client asked for if it did.
    pub(crate) fn begin(
        &self,
        asked: Option<QueryId>,
        sql: &str,
        owner: Owner,
    ) -> Result<Arc<Query>, Error> {
        let id = match asked {
            Some(id) => id,
            None => self.ids.id().parse()?,
        };
        let mut queries = self.lock();
        if queries.contains_key(&id) {
            return Err(
                Error::new(ErrorCode::Exists, format!("there is a query {id} already"))
                    .with_hint("a query's id is used once; make another"),
            );
        }
        let state = Snapshot {
            phase: QueryPhase::Planning,
            job_id: None,
            progress: Progress::default(),
            rows: 0,
            holders: BTreeSet::new(),
            ended: None,
        };
        let query = Arc::new(Query {
            id: id.clone(),
            sql: sql.chars().take(TEXT).collect(),
            owner,
            cancel: CancellationToken::new(),
            state: watch::Sender::new(state),
            told: watch::Sender::default(),
        });
        queries.insert(id, Arc::clone(&query));
        self.running.send_modify(|count| *count += 1);
        Ok(query)
    }

    /// Notes how a query ended.
    pub(crate) fn end(
        &self,
        query: &Query,
        phase: QueryPhase,
        holders: BTreeSet<String>,
        rows: Option<u64>,
    ) {
        if query.snapshot().phase.is_over() {
            return;
        }
        query.end(phase, self.clock.monotonic(), holders, rows);
        self.running
            .send_modify(|count| *count = count.saturating_sub(1));
    }

    pub(crate) fn get(&self, id: &QueryId) -> Option<Arc<Query>> {
        self.lock().get(id).cloned()
    }

    /// The query, where the caller may know of it.
    pub(crate) fn of(&self, id: &QueryId, caller: &Caller) -> Option<Arc<Query>> {
        self.get(id).filter(|query| query.is_open_to(caller))
    }

    /// The queries that a session began.
    pub(crate) fn of_session(&self, session: &str) -> Vec<QueryId> {
        let queries = self.lock();
        let own = queries
            .values()
            .filter(|query| query.owner.session == session);
        own.map(|query| query.id.clone()).collect()
    }

    /// The rows of a query are kept as long again as they are from its end on.
    pub(crate) fn renew(&self, query: &Query) {
        let now = self.clock.monotonic();
        query.state.send_modify(|state| {
            state.ended = state.ended.map(|_| now);
        });
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Query>> {
        self.lock().values().cloned().collect()
    }

    /// Ends a query that runs, gives up the rows of one that has ended.
    pub(crate) fn cancel(&self, id: &QueryId) -> Cancelled {
        let Some(query) = self.get(id) else {
            return Cancelled::Unknown;
        };
        if query.snapshot().phase.is_over() {
            return Cancelled::Released(query.release());
        }
        query.cancel();
        Cancelled::Ending
    }

    /// How many queries are under way.
    pub(crate) fn running(&self) -> watch::Receiver<usize> {
        self.running.subscribe()
    }

    /// Forgets what is over: rows that are kept no longer, and the oldest of too many. Gives the jobs whose rows executors still have.
    #[must_use]
    pub(crate) fn sweep(&self) -> Vec<JobId> {
        let now = self.clock.monotonic();
        let mut queries = self.lock();
        let expired = |query: &Query| {
            let ended = query.state.borrow().ended;
            ended.is_some_and(|ended| now.saturating_sub(ended) > self.ttl)
        };
        let mut gone = Vec::new();
        queries.retain(|_, query| {
            let keep = !expired(query);
            if !keep {
                gone.extend(query.release());
            }
            keep
        });
        let mut empty: Vec<(Duration, QueryId)> = Vec::new();
        for (id, query) in queries.iter() {
            let state = query.state.borrow();
            if let Some(ended) = state.ended
                && state.holders.is_empty()
                && !query.told.borrow().is_awaited(now)
            {
                empty.push((ended, id.clone()));
            }
        }
        empty.sort();
        let surplus = empty.len().saturating_sub(ENDED);
        for (_, id) in empty.into_iter().take(surplus) {
            queries.remove(&id);
        }
        drop(queries);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, SeededIds};

    fn queries() -> (Arc<ManualClock>, Queries) {
        let clock = ManualClock::shared();
        (
            clock.clone(),
            Queries::new(clock, Arc::new(SeededIds::new(1)), Duration::from_secs(10)),
        )
    }

    fn owner() -> Owner {
        Owner {
            user: "ann".to_owned(),
            session: "s".to_owned(),
        }
    }

    #[test]
    fn a_query_is_its_users_and_the_operators() {
        let (_, queries) = queries();
        let query = queries.begin(None, "SELECT 1", owner()).unwrap();
        let caller = |user: &str, role| Caller {
            user: user.to_owned(),
            role,
            expires: None,
        };
        assert!(query.is_open_to(&caller("ann", Role::Reader)));
        assert!(query.is_open_to(&caller("bob", Role::Operator)));
        assert!(!query.is_open_to(&caller("bob", Role::Scorer)));
        assert_eq!(queries.of_session("s"), [query.id().clone()]);
        assert!(queries.of_session("t").is_empty());
    }

    #[test]
    fn a_query_is_cancelled_once_and_its_id_used_once() {
        let (_, queries) = queries();
        let id: QueryId = "mine".parse().unwrap();
        let query = queries
            .begin(Some(id.clone()), "SELECT 1", owner())
            .unwrap();
        assert_eq!(
            queries
                .begin(Some(id.clone()), "SELECT 2", owner())
                .unwrap_err()
                .code(),
            ErrorCode::Exists
        );
        assert_eq!(queries.cancel(&id), Cancelled::Ending);
        assert!(query.is_cancelled());
        queries.end(&query, QueryPhase::Cancelled, BTreeSet::new(), None);
        queries.end(&query, QueryPhase::Done, BTreeSet::new(), None);
        assert_eq!(query.snapshot().phase, QueryPhase::Cancelled);
        assert_eq!(*queries.running().borrow(), 0);
        assert_eq!(
            queries.cancel(&"other".parse().unwrap()),
            Cancelled::Unknown
        );
    }

    #[test]
    fn rows_are_wanted_until_they_are_released_or_expire() {
        let (clock, queries) = queries();
        let holders = BTreeSet::from(["e1".to_owned()]);
        let first = queries.begin(None, "a", owner()).unwrap();
        let second = queries.begin(None, "b", owner()).unwrap();
        queries.end(&first, QueryPhase::Done, holders.clone(), Some(3));
        queries.end(&second, QueryPhase::Done, holders, Some(4));
        assert_eq!(
            queries.cancel(first.id()),
            Cancelled::Released(None),
            "it never was a job"
        );
        assert!(first.snapshot().holders.is_empty());
        assert_eq!(second.snapshot().rows, 4);
        clock.advance(Duration::from_secs(11));
        assert!(queries.sweep().is_empty(), "neither was ever a job");
        assert!(queries.all().is_empty());
    }
}
