//! Runs statements: admits them, plans them, makes their changes or gets their rows, and notes their end. A statement whose
//! caller goes away is cancelled.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use whimbrel_access::Caller;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::{Error, ErrorCode, v1};

use super::local::collect;
use super::polled::Told;
use super::record::Owner;
use super::{
    Answer, Ask, Cancelled, Described, Effect, Planned, Planning, Queries, Query, QueryPhase,
    ScoreStatement, Shelf, Source, score,
};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::MIN_PARTITIONS;
use crate::engine::Engine;
use crate::executors::{Capacity, Executors};
use crate::failures::Failures;
use crate::jobs::{Jobs, as_table};
use crate::models::Registry;
use crate::reading::ExecutorReader;
use crate::session::Session;

/// What the runner is told of the pool's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) executor_wait: Duration,
    pub(crate) partitions_per_slot: usize,
    pub(crate) max_partitions: usize,
    pub(crate) result_ttl: Duration,
}

/// The parts that a statement passes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engine: Engine,
    pub(crate) executors: Arc<Executors>,
    pub(crate) failures: Arc<Failures>,
    pub(crate) planning: Arc<Planning>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) models: Arc<Registry>,
    /// What reads rows from executors, and signs the tickets for them.
    pub(crate) reader: ExecutorReader,
    pub(crate) queries: Arc<Queries>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) limits: Limits,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(super) parts: Parts,
    draining: AtomicBool,
    jobs: OnceLock<Weak<Jobs>>,
}

impl Runner {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            draining: AtomicBool::new(false),
            jobs: OnceLock::new(),
        })
    }

    /// The jobs exist only after what plans and runs their statements.
    pub(crate) fn score_with(&self, jobs: &Arc<Jobs>) {
        // A second pool for the same runner would be a defect of the one place that calls this.
        let _ = self.jobs.set(Arc::downgrade(jobs));
    }

    /// Takes no new statements.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Refuses what is new while the pool goes down.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        if !self.is_draining() {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Unavailable,
            "the pool is going down and takes no new statements",
        )
        .with_hint("try again when it is back, or at another pool"))
    }

    /// Plans a statement without running it.
    pub(crate) async fn prepare(&self, session: Arc<Session>, sql: &str) -> Result<Planned, Error> {
        self.admit()?;
        let partitions = self.partitions(self.parts.executors.capacity());
        self.parts.planning.plan(session, sql, partitions).await
    }

    /// The columns that a statement gives and the parameters that it takes. It is not run.
    pub(crate) async fn describe(
        &self,
        session: Arc<Session>,
        sql: &str,
    ) -> Result<Described, Error> {
        self.admit()?;
        let partitions = self.partitions(self.parts.executors.capacity());
        self.parts.planning.describe(session, sql, partitions).await
    }

    /// Ends a query, or gives up its rows, where it is one of the caller's.
    pub(crate) fn cancel_for(&self, id: &QueryId, caller: &Caller) -> Result<Cancelled, Error> {
        match self.parts.queries.get(id) {
            Some(query) if !query.is_open_to(caller) => Err(Error::new(
                ErrorCode::Denied,
                format!("query {id} is of another user"),
            )
            .with_hint("its user, or whoever runs the pool, may end it")),
            Some(_) | None => Ok(self.cancel(id)),
        }
    }

    /// Ends a query that runs; the rows of one that has ended are removed.
    pub(crate) fn cancel(&self, id: &QueryId) -> Cancelled {
        let cancelled = self.parts.queries.cancel(id);
        if let Cancelled::Released(Some(job_id)) = &cancelled {
            self.parts.engine.discard(job_id);
        }
        self.parts.shelf.remove(id);
        cancelled
    }

    /// Runs a statement to its end. Dropping the future cancels it.
    pub(crate) async fn run(
        self: &Arc<Self>,
        session: Arc<Session>,
        ask: impl Into<Ask>,
        asked: Option<QueryId>,
    ) -> Result<Answer, Error> {
        self.admit()?;
        let ask = ask.into();
        let owner = Owner::of(&session);
        let query = self.parts.queries.begin(asked, &ask.sql, owner)?;
        let mut watch = self.watched(&query);
        let answer = self.complete(session, ask, &query).await;
        watch.over = true;
        self.note_end(&query, &answer);
        answer
    }

    /// What ends the query where its caller goes away.
    pub(super) fn watched(self: &Arc<Self>, query: &Arc<Query>) -> Watched {
        Watched {
            runner: Arc::clone(self),
            query: Arc::clone(query),
            over: false,
        }
    }

    /// Runs a statement that is noted, until its end or a cancel.
    pub(super) async fn complete(
        &self,
        session: Arc<Session>,
        ask: Ask,
        query: &Arc<Query>,
    ) -> Result<Answer, Error> {
        tracing::info!(query_id = %query.id(), "statement received");
        let closed = Arc::clone(&session);
        tokio::select! {
            biased;
            () = query.cancelled() => Err(cancelled()),
            () = closed.closed() => {
                query.cancel();
                Err(cancelled())
            }
            answer = self.answer(session, ask, query) => answer,
        }
    }

    pub(super) fn note_end(&self, query: &Query, answer: &Result<Answer, Error>) {
        let queries = &self.parts.queries;
        match answer {
            Ok(answer) => {
                let holders = match &answer.source {
                    Source::Nowhere | Source::Shelf => BTreeSet::new(),
                    Source::Executors(all) => all
                        .iter()
                        .map(|endpoint| endpoint.ticket.executor_id.clone())
                        .collect(),
                };
                queries.end(query, QueryPhase::Done, holders, Some(answer.rows));
                tracing::info!(query_id = %query.id(), rows = answer.rows, "statement done");
            }
            Err(error) => {
                let phase = if query.is_cancelled() {
                    QueryPhase::Cancelled
                } else {
                    QueryPhase::Failed
                };
                queries.end(query, phase, BTreeSet::new(), None);
                tracing::info!(query_id = %query.id(), error = %error, "statement ended");
                self.end_job(query);
            }
        }
    }

    /// Makes sure that the engine ends the query's job, in the background.
    fn end_job(&self, query: &Query) {
        let Some(job_id) = query.snapshot().job_id else {
            return;
        };
        let (engine, clock) = (self.parts.engine.clone(), Arc::clone(&self.parts.clock));
        self.parts.tasks.spawn(async move {
            engine.end(clock.as_ref(), &job_id).await;
            // It may have succeeded a moment before.
            engine.discard(&job_id);
        });
    }

    /// How many partitions a pool of this size can use.
    pub(crate) fn partitions(&self, capacity: Capacity) -> usize {
        let Limits {
            partitions_per_slot,
            max_partitions,
            ..
        } = self.parts.limits;
        (capacity.slots * partitions_per_slot).clamp(MIN_PARTITIONS, max_partitions)
    }

    async fn answer(
        &self,
        session: Arc<Session>,
        ask: Ask,
        query: &Arc<Query>,
    ) -> Result<Answer, Error> {
        let planned_for = self.parts.executors.capacity();
        let partitions = self.partitions(planned_for);
        let planning = &self.parts.planning;
        let planned = planning
            .plan(Arc::clone(&session), ask.clone(), partitions)
            .await?;
        session.caller().may(planned.needs(&session))?;
        let schema = planned.schema();
        query.planned(&schema);
        match planned {
            Planned::Effect(effect) => self.change(&session, effect, query).await,
            Planned::Rows(_, batches) => Ok(self.shelve(query, schema, batches)),
            Planned::Check(check) => {
                let report = self.check_model(&session, &check, query).await?;
                Ok(self.shelve(query, schema, vec![report]))
            }
            Planned::Score(statement) => {
                let job = self.score(session, *statement).await?;
                let written = job.progress.as_ref().map(|progress| progress.rows_written);
                Ok(Answer {
                    counted: Some(written.unwrap_or(0)),
                    ..self.shelve(query, schema, vec![score::answer(&job)?])
                })
            }
            Planned::Job(statement) => {
                let job = self.change_job(&session, statement).await?;
                Ok(self.shelve(query, schema, vec![as_table(&[job])?]))
            }
            Planned::Here(plan) => {
                let batches = collect(plan).await?;
                Ok(self.shelve(query, schema, batches))
            }
            Planned::Spread(plan) => {
                let capacity = self.wait_for_executor().await?;
                if planned_for.executors > 0 || capacity.slots == 0 {
                    return self.spread(plan, query).await;
                }
                // It was planned for nobody; now there is somebody to cut it for.
                let partitions = self.partitions(capacity);
                match planning.plan(session, ask, partitions).await? {
                    Planned::Spread(plan) => self.spread(plan, query).await,
                    Planned::Here(plan) => Ok(self.shelve(query, schema, collect(plan).await?)),
                    Planned::Rows(..)
                    | Planned::Effect(_)
                    | Planned::Check(_)
                    | Planned::Job(_)
                    | Planned::Score(_) => Err(Error::new(
                        ErrorCode::Bug,
                        "the statement became another while it waited",
                    )),
                }
            }
        }
    }

    pub(super) fn jobs(&self) -> Result<Arc<Jobs>, Error> {
        let jobs = self.jobs.get().and_then(Weak::upgrade);
        jobs.ok_or_else(|| {
            Error::new(ErrorCode::Unavailable, "the scheduler is not up yet").with_hint("try again")
        })
    }

    /// Submits the job and waits for its end. A caller that leaves does not end it.
    async fn score(
        &self,
        session: Arc<Session>,
        statement: ScoreStatement,
    ) -> Result<v1::JobStatus, Error> {
        let jobs = self.jobs()?;
        let ScoreStatement { spec, signed, wait } = statement;
        let signed = signed.by(session.caller());
        let submission = jobs.submit(Some(session), spec, signed).await?;
        match wait {
            true => jobs.ended(&submission.job).await,
            false => Ok(submission.job.as_ref().into()),
        }
    }

    async fn change(
        &self,
        session: &Session,
        effect: Effect,
        query: &Query,
    ) -> Result<Answer, Error> {
        effect
            .apply(session, &self.parts.catalog, &self.parts.models)
            .await?;
        Ok(Answer {
            query_id: query.id().clone(),
            schema: arrow::datatypes::SchemaRef::new(arrow::datatypes::Schema::empty()),
            ordered: true,
            rows: 0,
            bytes: 0,
            counted: None,
            source: Source::Nowhere,
        })
    }

    fn shelve(
        &self,
        query: &Query,
        schema: arrow::datatypes::SchemaRef,
        batches: Vec<arrow::record_batch::RecordBatch>,
    ) -> Answer {
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let bytes = batches
            .iter()
            .map(|batch| batch.get_array_memory_size() as u64)
            .sum();
        self.parts.shelf.put(query, Arc::clone(&schema), batches);
        Answer {
            query_id: query.id().clone(),
            schema,
            ordered: true,
            rows,
            bytes,
            counted: None,
            source: Source::Shelf,
        }
    }
}

pub(super) fn cancelled() -> Error {
    Error::new(ErrorCode::Cancelled, "the query was cancelled")
}

/// A statement with a caller. When the caller leaves before the end, the statement ends too.
pub(super) struct Watched {
    runner: Arc<Runner>,
    query: Arc<Query>,
    pub(super) over: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.over {
            self.query.cancel();
            self.runner.note_end(&self.query, &Err(cancelled()));
            self.query.told.send_modify(Told::break_off);
        }
    }
}
