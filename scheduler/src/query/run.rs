//! Runs statements: admits them, plans them, hands those with work to the engine, waits for the end, and says where the rows
//! are. A statement whose caller goes away is cancelled; a cancel is repeated until the engine has heard it, for the engine
//! forgets one that comes while it still plans.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ballista_core::serde::protobuf::JobStatus;
use datafusion::physical_plan::ExecutionPlanProperties;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use whimbrel_proto::ids::{JobId, QueryId};
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::local::collect;
use super::{Answer, Cancelled, Effect, Endpoint, Plan, Planned, Planning, Queries, Query, QueryPhase, Shelf, Source};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::MIN_PARTITIONS;
use crate::engine::{Engine, Output, Phase, outputs, progress, state_of};
use crate::executors::{Capacity, Executors};
use crate::failures::Failures;
use crate::session::Session;

/// Between two attempts to cancel, and how long they go on.
const CANCEL_STEP: Duration = Duration::from_millis(100);
const CANCEL_STEPS: usize = 600;
/// Between the word that a job has ended and its stages being there to read, the engine needs a moment.
const GRAPH_STEP: Duration = Duration::from_millis(5);
const GRAPH_STEPS: usize = 1000;

/// What the runner is told of the pool's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) executor_wait: Duration,
    pub(crate) partitions_per_slot: usize,
    pub(crate) max_partitions: usize,
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
    pub(crate) queries: Arc<Queries>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) tasks: TaskTracker,
    pub(crate) limits: Limits,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Runner {
    parts: Parts,
    draining: AtomicBool,
}

impl Runner {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self { parts, draining: AtomicBool::new(false) })
    }

    /// Takes no new statements.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn admit(&self) -> Result<(), Error> {
        if !self.is_draining() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Unavailable, "the pool is going down and takes no new statements")
            .with_hint("try again when it is back, or at another pool"))
    }

    /// Plans a statement without running it.
    pub(crate) async fn prepare(&self, session: Arc<Session>, sql: &str) -> Result<Planned, Error> {
        self.admit()?;
        self.parts.planning.plan(session, sql, self.partitions(self.parts.executors.capacity())).await
    }

    /// Ends a query that runs; the rows of one that has ended are removed.
    pub(crate) fn cancel(&self, id: &QueryId) -> Cancelled {
        let cancelled = self.parts.queries.cancel(id);
        if let Cancelled::Released(Some(job_id)) = &cancelled {
            self.parts.engine.discard(job_id);
        }
        cancelled
    }

    /// Runs a statement to its end. Dropping the future cancels it.
    pub(crate) async fn run(self: &Arc<Self>, session: Arc<Session>, sql: &str, asked: Option<QueryId>) -> Result<Answer, Error> {
        self.admit()?;
        let query = self.parts.queries.begin(asked, sql)?;
        tracing::info!(query_id = %query.id(), session = session.id(), "statement received");
        let mut watch = Watched { runner: Arc::clone(self), query: Arc::clone(&query), over: false };
        let answer = tokio::select! {
            biased;
            () = query.cancelled() => Err(cancelled()),
            answer = self.answer(session, sql, &query) => answer,
        };
        watch.over = true;
        self.note_end(&query, &answer);
        answer
    }

    fn note_end(&self, query: &Query, answer: &Result<Answer, Error>) {
        let queries = &self.parts.queries;
        match answer {
            Ok(answer) => {
                let holders = match &answer.source {
                    Source::Nowhere | Source::Shelf => BTreeSet::new(),
                    Source::Executors(all) => all.iter().map(|endpoint| endpoint.ticket.executor_id.clone()).collect(),
                };
                queries.end(query, QueryPhase::Done, holders, Some(answer.rows));
                tracing::info!(query_id = %query.id(), rows = answer.rows, "statement done");
            }
            Err(error) => {
                let phase = if query.is_cancelled() { QueryPhase::Cancelled } else { QueryPhase::Failed };
                queries.end(query, phase, BTreeSet::new(), None);
                tracing::info!(query_id = %query.id(), error = %error, "statement ended");
                self.end_job(query);
            }
        }
    }

    /// Makes sure that the engine ends the query's job, in the background.
    fn end_job(&self, query: &Query) {
        let Some(job_id) = query.snapshot().job_id else { return };
        let (engine, clock) = (self.parts.engine.clone(), Arc::clone(&self.parts.clock));
        self.parts.tasks.spawn(async move { end_on_engine(&engine, clock.as_ref(), &job_id).await });
    }

    fn partitions(&self, capacity: Capacity) -> usize {
        let Limits { partitions_per_slot, max_partitions, .. } = self.parts.limits;
        (capacity.slots * partitions_per_slot).clamp(MIN_PARTITIONS, max_partitions)
    }

    async fn answer(&self, session: Arc<Session>, sql: &str, query: &Arc<Query>) -> Result<Answer, Error> {
        let planned_for = self.parts.executors.capacity();
        let partitions = self.partitions(planned_for);
        let planned = self.parts.planning.plan(Arc::clone(&session), sql, partitions).await?;
        let schema = planned.schema();
        match planned {
            Planned::Effect(effect) => self.change(&session, effect, query).await,
            Planned::Rows(_, batches) => Ok(self.shelve(query, schema, batches)),
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
                match self.parts.planning.plan(session, sql, partitions).await? {
                    Planned::Spread(plan) => self.spread(plan, query).await,
                    Planned::Here(plan) => Ok(self.shelve(query, schema, collect(plan).await?)),
                    Planned::Rows(..) | Planned::Effect(_) => {
                        Err(Error::new(ErrorCode::Bug, "the statement became another while it waited"))
                    }
                }
            }
        }
    }

    async fn change(&self, session: &Session, effect: Effect, query: &Query) -> Result<Answer, Error> {
        effect.apply(session, &self.parts.catalog).await?;
        Ok(Answer {
            query_id: query.id().clone(),
            schema: arrow::datatypes::SchemaRef::new(arrow::datatypes::Schema::empty()),
            ordered: true,
            rows: 0,
            bytes: 0,
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
        let bytes = batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        self.parts.shelf.put(query.id().clone(), Arc::clone(&schema), batches);
        Answer { query_id: query.id().clone(), schema, ordered: true, rows, bytes, source: Source::Shelf }
    }

    /// Waits until an executor takes tasks, but not for ever.
    async fn wait_for_executor(&self) -> Result<Capacity, Error> {
        let mut changes = self.parts.executors.watch();
        let deadline = self.parts.clock.sleep(self.parts.limits.executor_wait);
        tokio::pin!(deadline);
        loop {
            let capacity = self.parts.executors.capacity();
            if capacity.executors > 0 {
                return Ok(capacity);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = &mut deadline => return Err(self.no_executor()),
            }
        }
    }

    fn no_executor(&self) -> Error {
        let waited = self.parts.limits.executor_wait.as_secs();
        let text = match self.parts.executors.all().len() {
            0 => format!("the pool has no executor; the query waited {waited} s for one"),
            _ => format!("all executors of the pool are draining; the query waited {waited} s for another"),
        };
        Error::new(ErrorCode::Unavailable, text).with_hint("start one with `whimbrel executor --scheduler HOST:PORT`")
    }

    async fn spread(&self, plan: Plan, query: &Arc<Query>) -> Result<Answer, Error> {
        let schema = plan.physical.schema();
        let sorted = plan.physical.output_ordering().is_some();
        let (job_id, statuses) = self.submit(plan, query).await?;
        self.follow(&job_id, statuses, query).await?;
        let parts = self.collect_outputs(&job_id).await?;
        drop(self.parts.failures.verdict(job_id.as_str()));
        let endpoints = self.endpoints(query.id(), &job_id, &parts)?;
        Ok(Answer {
            query_id: query.id().clone(),
            schema,
            ordered: sorted || endpoints.len() < 2,
            rows: parts.iter().map(|part| part.rows).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            source: Source::Executors(endpoints),
        })
    }

    /// Submits on a task of its own: a caller that leaves in the middle must not leave a job that nobody knows.
    async fn submit(&self, plan: Plan, query: &Arc<Query>) -> Result<(JobId, mpsc::Receiver<JobStatus>), Error> {
        let (engine, query) = (self.parts.engine.clone(), Arc::clone(query));
        let clock = Arc::clone(&self.parts.clock);
        let submitted = self.parts.tasks.spawn(async move {
            let (job_id, statuses) = engine.submit(query.id().as_str(), plan.ctx, plan.physical).await?;
            query.run_as(job_id.clone());
            tracing::info!(query_id = %query.id(), job_id = job_id.as_str(), "query submitted");
            if query.snapshot().phase.is_over() || query.is_cancelled() {
                end_on_engine(&engine, clock.as_ref(), &job_id).await;
            }
            Ok((job_id, statuses))
        });
        submitted.await.map_err(|_| Error::new(ErrorCode::Bug, "submitting the query broke off"))?
    }

    /// Waits for the job's end; gives up where nobody is left to run it.
    async fn follow(&self, job_id: &JobId, mut statuses: mpsc::Receiver<JobStatus>, query: &Query) -> Result<(), Error> {
        let mut changes = self.parts.executors.watch();
        let mut ticks = self.parts.engine.ticks();
        loop {
            let idle = self.parts.executors.capacity().executors == 0;
            let phase = tokio::select! {
                status = statuses.recv() => match status {
                    Some(status) => state_of(&status),
                    // The engine has let go of the job; its last word is in its state.
                    None => self.parts.engine.state(job_id).await.unwrap_or(Phase::Failed),
                },
                _ = changes.changed() => continue,
                _ = ticks.changed() => {
                    self.note_progress(job_id, query).await;
                    continue;
                }
                () = self.parts.clock.sleep(self.parts.limits.executor_wait), if idle => {
                    if self.stranded(job_id).await {
                        return Err(self.no_executor());
                    }
                    continue;
                }
            };
            match phase {
                Phase::Waiting | Phase::Running => self.note_progress(job_id, query).await,
                Phase::Succeeded => return Ok(()),
                Phase::Failed => return Err(self.verdict(job_id)),
            }
        }
    }

    /// Nothing of the job runs, and nobody takes tasks.
    async fn stranded(&self, job_id: &JobId) -> bool {
        self.parts.engine.inspect(job_id, |graph| graph.running_tasks().is_empty()).await.unwrap_or(true)
    }

    pub(crate) async fn note_progress(&self, job_id: &JobId, query: &Query) {
        if let Some(progress) = self.parts.engine.inspect(job_id, progress).await {
            query.note(progress, self.parts.executors.rows(job_id.as_str()));
        }
    }

    fn verdict(&self, job_id: &JobId) -> Error {
        self.parts.failures.verdict(job_id.as_str()).unwrap_or_else(|| {
            tracing::error!(job_id = job_id.as_str(), "the engine gave a query up and no executor said why");
            Error::new(ErrorCode::Bug, format!("the query failed and no executor said why (job {job_id})"))
                .with_hint("the logs of scheduler and executors say more under this job")
        })
    }

    async fn collect_outputs(&self, job_id: &JobId) -> Result<Vec<Output>, Error> {
        for _ in 0..GRAPH_STEPS {
            let ended = |graph: &dyn ballista_scheduler::state::execution_graph::ExecutionGraph| {
                graph.is_successful().then(|| outputs(job_id, graph))
            };
            if let Some(Some(outputs)) = self.parts.engine.inspect(job_id, ended).await {
                return outputs;
            }
            self.parts.clock.sleep(GRAPH_STEP).await;
        }
        Err(Error::new(ErrorCode::Bug, format!("the engine has no result of job {job_id}")).with_hint("run the query again"))
    }

    fn endpoints(&self, query_id: &QueryId, job_id: &JobId, parts: &[Output]) -> Result<Vec<Endpoint>, Error> {
        let with_rows = parts.iter().filter(|part| part.rows > 0);
        let endpoint = |part: &Output| {
            let member = self.parts.executors.get(&part.executor_id).ok_or_else(|| lost_result(&part.executor_id))?;
            let ticket = ResultTicket {
                query_id: query_id.to_string(),
                job_id: job_id.to_string(),
                stage_id: part.stage_id,
                partition: part.partition,
                executor_id: part.executor_id.clone(),
                file: part.file.clone(),
                rows: part.rows,
            };
            Ok(Endpoint { ticket, address: member.client_address })
        };
        with_rows.map(endpoint).collect()
    }
}

/// Cancels until the engine has heard it.
async fn end_on_engine(engine: &Engine, clock: &dyn Clock, job_id: &JobId) {
    for _ in 0..CANCEL_STEPS {
        match engine.state(job_id).await {
            Some(Phase::Waiting | Phase::Running) => {
                if let Err(error) = engine.cancel(job_id).await {
                    tracing::warn!(job_id = job_id.as_str(), error = %error, "a cancel did not reach the engine");
                }
            }
            Some(Phase::Succeeded | Phase::Failed) | None => return,
        }
        clock.sleep(CANCEL_STEP).await;
    }
    tracing::error!(job_id = job_id.as_str(), "the engine does not end a cancelled job");
}

/// Rows that were there and are gone.
pub(crate) fn lost_result(executor_id: &str) -> Error {
    Error::new(ErrorCode::Unavailable, format!("executor {executor_id} is gone, and rows of the result with it"))
        .with_hint("run the query again")
}

fn cancelled() -> Error {
    Error::new(ErrorCode::Cancelled, "the query was cancelled")
}

/// A statement with a caller. When the caller leaves before the end, the statement ends too.
struct Watched {
    runner: Arc<Runner>,
    query: Arc<Query>,
    over: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.over {
            self.query.cancel();
            self.runner.note_end(&self.query, &Err(cancelled()));
        }
    }
}
