//! CHECK MODEL: scores some rows of a table the way a query would, and reports what feeds what, what is lost on the way, what
//! comes out, how fast, and with how much memory. Nothing is written, and the rows are given up at once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use whimbrel_predict::binding::Binding;
use whimbrel_predict::mapping::{self, Argument, Form};
use whimbrel_proto::{Error, ErrorCode};

use super::super::local::collect;
use super::super::{Endpoint, Plan, Planned, Query, Runner, Source};
use super::report::{self, Facts, Holder};
use crate::session::Session;

const SAMPLE: usize = 100;
/// More rows are a query's work: these are looked at one by one by the scheduler.
const MOST: usize = 100_000;
/// Executors report once a second.
const REPORT_STEP: Duration = Duration::from_millis(50);
const REPORT_STEPS: usize = 60;

/// The check, understood and not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckModel {
    alias: String,
    table: String,
    sample: usize,
}

impl CheckModel {
    pub(super) fn new(alias: String, table: String, sample: Option<usize>) -> Result<Self, Error> {
        let sample = sample.unwrap_or(SAMPLE);
        if sample > MOST {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("CHECK MODEL: a sample of {sample} rows is too large"),
            )
            .with_hint(format!("ask for {MOST} rows at most; a query scores more")));
        }
        Ok(Self {
            alias,
            table,
            sample,
        })
    }

    /// The columns of the report.
    pub(crate) fn schema() -> SchemaRef {
        report::schema()
    }

    /// The rows that are looked at.
    fn rows(&self) -> String {
        format!("SELECT * FROM {} LIMIT {}", self.table, self.sample)
    }

    /// The value beside all columns of the rows.
    fn scored(&self) -> String {
        format!(
            "SELECT PREDICT('{}', *), * FROM ({}) AS sample",
            self.alias.replace('\'', "''"),
            self.rows()
        )
    }
}

impl Runner {
    /// Makes the check.
    pub(in crate::query) async fn check_model(
        &self,
        session: &Arc<Session>,
        check: &CheckModel,
        query: &Arc<Query>,
    ) -> Result<RecordBatch, Error> {
        let binding = self.parts.models.get(&check.alias)?;
        let columns = self.columns(session, &check.rows()).await?;
        let shown = check.table.replace('"', "");
        let args = arguments(&shown, &columns);
        let mapping = mapping::map(&binding, &args, Form::Star)?;
        let before = self.scored_rows(&binding);
        let sample = self.sample(session, &check.scored(), query).await?;
        let (value, columns) = split(&sample)?;
        let holders = self.holders(&binding, before, sample.num_rows()).await;
        report::report(&Facts {
            binding: &binding,
            table: &shown,
            args: &args,
            mapping: &mapping,
            columns,
            value,
            before,
            holders: &holders,
        })
    }

    async fn columns(&self, session: &Arc<Session>, sql: &str) -> Result<SchemaRef, Error> {
        let planned = self.prepare(Arc::clone(session), sql).await?;
        Ok(planned.schema())
    }

    /// Runs the statement and takes its rows. In one partition, so that the first rows are the same each time.
    async fn sample(
        &self,
        session: &Arc<Session>,
        sql: &str,
        query: &Arc<Query>,
    ) -> Result<RecordBatch, Error> {
        let planning = &self.parts.planning;
        let planned = planning.plan(Arc::clone(session), sql, 1).await?;
        let schema = planned.schema();
        let batches = match planned {
            Planned::Here(plan) => collect(plan).await?,
            Planned::Rows(_, batches) => batches,
            Planned::Spread(plan) => {
                self.wait_for_executor().await?;
                self.take(plan, query).await?
            }
            Planned::Effect(_) | Planned::Check(_) | Planned::Job(_) | Planned::Score(_) => {
                return Err(Error::new(
                    ErrorCode::Bug,
                    "the sample became another statement",
                ));
            }
        };
        concat_batches(&schema, &batches)
            .map_err(|error| Error::new(ErrorCode::Bug, format!("cannot read the sample: {error}")))
    }

    /// Has executors compute the rows, and leaves nothing of them there.
    async fn take(&self, plan: Plan, query: &Arc<Query>) -> Result<Vec<RecordBatch>, Error> {
        let rows = match self.spread(plan, query).await?.source {
            Source::Executors(endpoints) => self.read_all(&endpoints).await,
            Source::Nowhere | Source::Shelf => Ok(Vec::new()),
        };
        if let Some(job_id) = query.snapshot().job_id {
            self.parts.engine.discard(&job_id);
        }
        rows
    }

    async fn read_all(&self, endpoints: &[Endpoint]) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        for endpoint in endpoints {
            batches.extend(self.parts.reader.read(endpoint).await?);
        }
        Ok(batches)
    }

    /// Rows scored and time taken with this model so far, by all executors.
    fn scored_rows(&self, binding: &Binding) -> (u64, u64) {
        let held = self.parts.executors.all();
        let models = held.iter().flat_map(|(_, member)| &member.models);
        models
            .filter(|model| model.digest == binding.digest.as_str())
            .fold((0, 0), |(rows, micros), model| {
                (rows + model.rows_scored, micros + model.score_micros)
            })
    }

    /// The executors that hold the model, once they have told of the sample; else what they told last.
    async fn holders(&self, binding: &Binding, before: (u64, u64), rows: usize) -> Vec<Holder> {
        for _ in 0..REPORT_STEPS {
            if self.scored_rows(binding).0 >= before.0 + rows as u64 {
                break;
            }
            self.parts.clock.sleep(REPORT_STEP).await;
        }
        let members = self.parts.executors.all();
        let holders = members.into_iter().flat_map(|(id, member)| {
            let held = member
                .models
                .into_iter()
                .filter(|model| model.digest == binding.digest.as_str());
            held.map(move |model| Holder {
                executor_id: id.clone(),
                model,
            })
        });
        holders.collect()
    }
}

fn arguments(table: &str, columns: &SchemaRef) -> Vec<Argument> {
    let argument = |field: &arrow::datatypes::FieldRef| Argument {
        name: Some(field.name().clone()),
        shown: format!("{table}.{}", field.name()),
        data_type: field.data_type().clone(),
    };
    columns.fields().iter().map(argument).collect()
}

fn split(sample: &RecordBatch) -> Result<(&ArrayRef, &[ArrayRef]), Error> {
    sample
        .columns()
        .split_first()
        .ok_or_else(|| Error::new(ErrorCode::Bug, "the sample has no columns"))
}
