//! The part of a statement's life that the engine has: its job is submitted, followed to its end, and its rows are found.

use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlanProperties;
use whimbrel_proto::ids::JobId;
use whimbrel_proto::v1::ResultTicket;
use whimbrel_proto::{Error, ErrorCode};

use super::run::Runner;
use super::{Answer, Endpoint, Plan, Query, Source};
use crate::engine::{Following, KEPT, News, Output, Phase, outputs, progress};
use crate::executors::{Capacity, Member};

/// Between the word that a job has ended and its stages being there to read, the engine needs a moment.
const GRAPH_STEP: Duration = Duration::from_millis(5);
const GRAPH_STEPS: usize = 1000;

impl Runner {
    /// Waits until an executor takes tasks, but not for ever.
    pub(super) async fn wait_for_executor(&self) -> Result<Capacity, Error> {
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
            _ => format!(
                "all executors of the pool are draining; the query waited {waited} s for another"
            ),
        };
        Error::new(ErrorCode::Unavailable, text)
            .with_hint("start one with `whimbrel executor --scheduler HOST:PORT`")
    }

    pub(super) async fn spread(&self, plan: Plan, query: &Arc<Query>) -> Result<Answer, Error> {
        let schema = plan.physical.schema();
        let sorted = plan.physical.output_ordering().is_some();
        let mut following = self.submit(plan, query).await?;
        let job_id = following.job_id().clone();
        self.follow(&mut following, query).await?;
        let parts = self.collect_outputs(&job_id).await?;
        drop(self.parts.failures.verdict(job_id.as_str()));
        let endpoints = self.endpoints(query, &job_id, &parts)?;
        Ok(Answer {
            query_id: query.id().clone(),
            schema,
            ordered: sorted || endpoints.len() < 2,
            rows: parts.iter().map(|part| part.rows).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
            counted: None,
            source: Source::Executors(endpoints),
        })
    }

    /// Submits on a task of its own: a caller that leaves in the middle must not leave a job that nobody knows.
    async fn submit(&self, plan: Plan, query: &Arc<Query>) -> Result<Following, Error> {
        let (engine, query) = (self.parts.engine.clone(), Arc::clone(query));
        let clock = Arc::clone(&self.parts.clock);
        let executors = Arc::clone(&self.parts.executors);
        let submitted = self.parts.tasks.spawn(async move {
            let following = engine
                .submit(query.id().as_str(), plan.ctx, plan.physical, &executors)
                .await?;
            let job_id = following.job_id();
            query.run_as(job_id.clone());
            tracing::info!(query_id = %query.id(), job_id = job_id.as_str(), "query submitted");
            if query.snapshot().phase.is_over() || query.is_cancelled() {
                engine.end(clock.as_ref(), job_id).await;
                engine.discard(job_id);
            }
            Ok(following)
        });
        submitted
            .await
            .map_err(|_| Error::new(ErrorCode::Bug, "submitting the query broke off"))?
    }

    /// Waits for the job's end; gives up where nobody is left to run it.
    async fn follow(&self, following: &mut Following, query: &Query) -> Result<(), Error> {
        let job_id = following.job_id().clone();
        loop {
            let idle = self.parts.executors.capacity().executors == 0;
            let news = tokio::select! {
                news = following.next() => news,
                () = self.parts.clock.sleep(self.parts.limits.executor_wait), if idle => {
                    if self.stranded(&job_id).await {
                        let died = self.parts.failures.died(job_id.as_str());
                        return Err(died.unwrap_or_else(|| self.no_executor()));
                    }
                    continue;
                }
            };
            match news {
                News::Executors => {}
                News::Tasks => {
                    if let Some(error) = self.parts.failures.deadly(job_id.as_str()) {
                        return Err(error);
                    }
                    self.note_progress(&job_id, query).await;
                    self.tell_early(&job_id, query).await;
                }
                News::Job(Phase::Waiting | Phase::Running) => {
                    self.note_progress(&job_id, query).await;
                }
                News::Job(Phase::Succeeded) => return Ok(()),
                News::Job(Phase::Failed) => return Err(self.verdict(&job_id)),
            }
        }
    }

    /// Nothing of the job runs, and nobody takes tasks.
    async fn stranded(&self, job_id: &JobId) -> bool {
        self.parts
            .engine
            .inspect(job_id, |graph| graph.running_tasks().is_empty())
            .await
            .unwrap_or(true)
    }

    pub(crate) async fn note_progress(&self, job_id: &JobId, query: &Query) {
        if let Some(progress) = self.parts.engine.inspect(job_id, progress).await {
            query.note(progress, self.parts.executors.rows(job_id.as_str()));
        }
    }

    fn verdict(&self, job_id: &JobId) -> Error {
        self.parts
            .failures
            .verdict(job_id.as_str())
            .unwrap_or_else(|| {
                tracing::error!(
                    job_id = job_id.as_str(),
                    "the engine gave a query up and no executor said why"
                );
                Error::new(
                    ErrorCode::Bug,
                    format!("the query failed and no executor said why (job {job_id})"),
                )
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
        Err(Error::new(
            ErrorCode::Bug,
            format!("the engine has no result of job {job_id}"),
        )
        .with_hint("run the query again"))
    }

    pub(super) fn endpoints(
        &self,
        query: &Query,
        job_id: &JobId,
        parts: &[Output],
    ) -> Result<Vec<Endpoint>, Error> {
        let with_rows = parts.iter().filter(|part| part.rows > 0);
        let endpoint = |part: &Output| {
            let member = self
                .parts
                .executors
                .get(&part.executor_id)
                .ok_or_else(|| lost_result(&part.executor_id))?;
            let ticket = ResultTicket {
                query_id: query.id().to_string(),
                job_id: job_id.to_string(),
                stage_id: part.stage_id,
                partition: part.partition,
                executor_id: part.executor_id.clone(),
                file: part.file.clone(),
                rows: part.rows,
                user: query.owner().user.clone(),
                expires_unix: self.expires_unix(query),
                own: false,
            };
            Ok(self.signed(ticket, member))
        };
        with_rows.map(endpoint).collect()
    }
}

impl Runner {
    /// When a ticket of now counts no more, in seconds since 1970. Rows of a query that goes on are kept until after its end.
    fn expires_unix(&self, query: &Query) -> i64 {
        let ttl = self.parts.limits.result_ttl;
        let life = match query.snapshot().phase.is_over() || !query.is_polled() {
            true => ttl,
            false => ttl.max(KEPT),
        };
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        self.parts.clock.unix_secs().saturating_add(life)
    }

    fn signed(&self, ticket: ResultTicket, member: Member) -> Endpoint {
        Endpoint {
            signed: self.parts.reader.signer.sign(&ticket).into(),
            ticket,
            address: member.client_address,
            tls: member.client_tls,
        }
    }

    /// Keeps the rows of a ticket's query as long again, and gives a ticket that says so.
    pub(crate) fn renew(&self, ticket: ResultTicket) -> Result<Endpoint, Error> {
        let member = self.parts.executors.get(&ticket.executor_id);
        let member = member.ok_or_else(|| lost_result(&ticket.executor_id))?;
        let query = self.parts.queries.get(&ticket.query_id.parse()?);
        let query = query.ok_or_else(|| lost_result(&ticket.executor_id))?;
        let state = query.snapshot();
        if state.phase.is_over() && !state.holders.contains(&ticket.executor_id) {
            return Err(lost_result(&ticket.executor_id));
        }
        self.parts.queries.renew(&query);
        let expires_unix = self.expires_unix(&query);
        let ticket = ResultTicket {
            expires_unix,
            ..ticket
        };
        Ok(self.signed(ticket, member))
    }
}

/// Rows that were there and are gone.
pub(crate) fn lost_result(executor_id: &str) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!("executor {executor_id} is gone, and rows of the result with it"),
    )
    .with_hint("run the query again")
}
