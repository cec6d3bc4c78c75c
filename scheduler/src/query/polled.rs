//! A query that its client polls: it runs by itself, and what it has come to can be asked for at any time. Of a plan that reads no
//! shuffle, finished partitions are told while the others still run; endpoints are only ever appended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use whimbrel_proto::ids::{JobId, QueryId};
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::record::Owner;
use super::run::{Runner, cancelled};
use super::{Answer, Ask, Endpoint, Query, Source, lost_result};
use crate::engine::{early, outputs};
use crate::session::Session;

/// A query that nobody polls for this long is given up; each answer says so.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a poll waits for news.
const NEWS: Duration = Duration::from_secs(5);
/// The longest that the first poll waits for the plan.
const PLAN: Duration = Duration::from_secs(10);
/// Each answer has everything so far, so what comes at about the same time is told in one.
const GATHER: Duration = Duration::from_millis(50);
/// How long a lost partition may take to run again.
const AGAIN: Duration = Duration::from_secs(120);
/// Between two looks at it.
const STEP: Duration = Duration::from_millis(200);

/// What has been told of a query so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The columns, once the statement is planned.
    pub(crate) schema: Option<SchemaRef>,
    /// In the order in which they came to be known.
    pub(crate) endpoints: Vec<Endpoint>,
    partitions: BTreeSet<u32>,
    /// The end.
    pub(crate) end: Option<Result<Arc<Answer>, Error>>,
    /// Whether somebody polls at all, and until when that is believed.
    deadline: Option<Duration>,
}

impl Told {
    fn add(&mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> bool {
        let before = self.endpoints.len();
        for endpoint in endpoints {
            if self.partitions.insert(endpoint.ticket.partition) {
                self.endpoints.push(endpoint);
            }
        }
        self.endpoints.len() > before
    }

    /// The query broke off.
    pub(super) fn break_off(&mut self) {
        if self.end.is_none() {
            self.end = Some(Err(cancelled()));
        }
    }

    /// Whether somebody polls still.
    pub(super) fn is_awaited(&self, now: Duration) -> bool {
        self.deadline.is_some_and(|deadline| now < deadline)
    }

    /// The whole result: what was told first stays first.
    fn finish(&mut self, answer: Result<Answer, Error>) {
        let answer = answer.map(|mut answer| {
            if let Source::Executors(all) = &mut answer.source {
                self.add(std::mem::take(all));
                all.clone_from(&self.endpoints);
                // They are in the order of their coming, which is none, unless nothing was told before the end.
                answer.ordered = answer.ordered && in_order(all);
            }
            Arc::new(answer)
        });
        if let Ok(answer) = &answer {
            self.schema = Some(Arc::clone(&answer.schema));
        }
        self.end = Some(answer);
    }
}

fn in_order(endpoints: &[Endpoint]) -> bool {
    endpoints.is_sorted_by_key(|endpoint| endpoint.ticket.partition)
}

/// How far a client is that polls: what it knows already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) endpoints: usize,
    pub(crate) tasks_done: u32,
}

impl Query {
    /// The statement is planned.
    pub(super) fn planned(&self, schema: &SchemaRef) {
        self.told
            .send_modify(|told| told.schema = Some(Arc::clone(schema)));
    }

    pub(super) fn is_polled(&self) -> bool {
        self.told.borrow().deadline.is_some()
    }

    /// How much of it is done, from 0 to 1.
    pub(crate) fn fraction(&self) -> f64 {
        let state = self.snapshot();
        if state.phase.is_over() {
            return 1.0;
        }
        match state.progress.tasks_total {
            0 => 0.0,
            total => f64::from(state.progress.tasks_done) / f64::from(total),
        }
    }
}

impl Runner {
    /// Starts a statement that goes on without its caller, as long as somebody polls it.
    pub(crate) fn start(
        self: &Arc<Self>,
        session: Arc<Session>,
        ask: Ask,
        asked: Option<QueryId>,
    ) -> Result<Arc<Query>, Error> {
        self.admit()?;
        let owner = Owner::of(&session);
        let query = self.parts.queries.begin(asked, &ask.sql, owner)?;
        self.touch(&query);
        let (this, run) = (Arc::clone(self), Arc::clone(&query));
        self.parts.tasks.spawn(async move {
            let mut watch = this.watched(&run);
            let answer = tokio::select! {
                answer = this.complete(session, ask, &run) => answer,
                () = this.deserted(&run) => {
                    tracing::info!(query_id = %run.id(), "nobody polls the query any more");
                    run.cancel();
                    Err(cancelled())
                }
                () = this.parts.stop.cancelled() => {
                    run.cancel();
                    Err(Error::new(ErrorCode::Unavailable, "the scheduler is stopping"))
                }
            };
            this.note_end(&run, &answer);
            watch.over = true;
            run.told.send_modify(|told| told.finish(answer));
        });
        Ok(query)
    }

    fn touch(&self, query: &Query) {
        let deadline = self.parts.clock.monotonic() + PATIENCE + NEWS;
        query.told.send_if_modified(|told| {
            told.deadline = Some(deadline);
            false
        });
    }

    /// Ends once nobody has polled for a while.
    async fn deserted(&self, query: &Query) {
        loop {
            let deadline = query.told.borrow().deadline.unwrap_or_default();
            if self.parts.clock.monotonic() >= deadline {
                return;
            }
            self.parts.clock.sleep_until(deadline).await;
        }
    }

    /// What there is to tell: at once where it is more than the client has seen, else as soon as it is, and after a while in any
    /// case. The first answer waits for the plan only.
    pub(crate) async fn poll(&self, query: &Query, seen: Option<Seen>) -> Told {
        self.touch(query);
        let mut told = query.told.subscribe();
        let mut state = query.watch();
        let limit = if seen.is_some() { NEWS } else { PLAN };
        let late = self.parts.clock.sleep(limit);
        tokio::pin!(late);
        loop {
            let now = told.borrow_and_update().clone();
            let done = state.borrow_and_update().progress.tasks_done;
            let news = match seen {
                None => now.schema.is_some(),
                Some(seen) => now.endpoints.len() > seen.endpoints || done > seen.tasks_done,
            };
            if now.end.is_some() || (news && seen.is_none()) {
                return now;
            }
            if news {
                self.parts.clock.sleep(GATHER).await;
                return query.told.borrow().clone();
            }
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return now },
                changed = state.changed() => if changed.is_err() { return now },
                () = &mut late => return now,
            }
        }
    }

    /// Tells of the partitions that are finished, where the plan has but one stage: others may be rolled back.
    pub(super) async fn tell_early(&self, job_id: &JobId, query: &Query) {
        if !query.is_polled() {
            return;
        }
        let look = |graph: &dyn ballista_scheduler::state::execution_graph::ExecutionGraph| {
            early(job_id, graph)
        };
        let Some(Ok(parts)) = self.parts.engine.inspect(job_id, look).await else {
            return;
        };
        let known = query.told.borrow().partitions.clone();
        let fresh: Vec<_> = parts
            .into_iter()
            .filter(|part| !known.contains(&part.partition))
            .collect();
        // An executor that went in this moment: the partition runs again, and is told of then.
        if let Ok(endpoints) = self.endpoints(query, job_id, &fresh) {
            query.told.send_if_modified(|told| told.add(endpoints));
        }
    }

    /// Where the rows of a ticket are after their executor was lost: its partition has run again, or will have, as long as its query
    /// goes on.
    pub(crate) async fn again(&self, ticket: &ResultTicket) -> Result<Endpoint, Error> {
        let gone = || lost_result(&ticket.executor_id);
        let id: QueryId = ticket.query_id.parse()?;
        let query = self.parts.queries.get(&id).ok_or_else(gone)?;
        let job_id: JobId = ticket.job_id.parse()?;
        let deadline = self.parts.clock.monotonic() + AGAIN;
        while self.parts.clock.monotonic() < deadline {
            let over = query.snapshot().phase.is_over();
            if let Some(endpoint) = self.elsewhere(&query, &job_id, ticket).await? {
                return Ok(endpoint);
            }
            if over {
                break;
            }
            self.parts.clock.sleep(STEP).await;
        }
        Err(gone())
    }

    async fn elsewhere(
        &self,
        query: &Query,
        job_id: &JobId,
        ticket: &ResultTicket,
    ) -> Result<Option<Endpoint>, Error> {
        let look =
            |graph: &dyn ballista_scheduler::state::execution_graph::ExecutionGraph| match graph
                .is_successful()
            {
                true => outputs(job_id, graph),
                false => early(job_id, graph),
            };
        let Some(Ok(parts)) = self.parts.engine.inspect(job_id, look).await else {
            return Ok(None);
        };
        let moved = parts.into_iter().find(|part| {
            (part.stage_id, part.partition) == (ticket.stage_id, ticket.partition)
                && part.executor_id != ticket.executor_id
        });
        let Some(part) = moved else { return Ok(None) };
        if part.rows != ticket.rows {
            return Err(Error::new(
                ErrorCode::Data,
                format!(
                    "partition {} of query {} had {} rows, and {} when it ran again",
                    part.partition, ticket.query_id, ticket.rows, part.rows
                ),
            )
            .with_hint("run the query again"));
        }
        // Its new executor may have gone too; it runs once more then.
        Ok(self
            .endpoints(query, job_id, &[part])
            .ok()
            .and_then(|mut one| one.pop()))
    }
}
