//! The life of a statement: read, planned, run where it belongs, its result described, its end noted.

mod bounds;
mod classify;
mod ddl;
mod explained;
mod job_statements;
mod links;
mod local;
mod models;
mod parameters;
mod pinned;
mod planning;
mod polled;
mod record;
mod run;
mod score;
mod spread;
mod wording;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use whimbrel_access::Role;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;

use crate::jobs::as_table;
use crate::session::Session;

pub(crate) use ddl::{Effect, setting};
pub(crate) use job_statements::JobStatement;
pub(crate) use local::Shelf;
pub(crate) use models::CheckModel;
pub(crate) use planning::{Described, Planning};
pub(crate) use polled::{PATIENCE, Seen, Told};
pub(crate) use record::{Cancelled, Queries, Query, QueryPhase, Snapshot};
pub(crate) use run::{Limits, Parts, Runner};
pub(crate) use score::ScoreStatement;
pub(crate) use spread::lost_result;

/// A statement as it was sent: its text, and the values of its parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) sql: String,
    pub(crate) values: Vec<ScalarValue>,
}

impl From<&str> for Ask {
    fn from(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            values: Vec::new(),
        }
    }
}

impl From<&String> for Ask {
    fn from(sql: &String) -> Self {
        Self::from(sql.as_str())
    }
}

/// What a statement turned out to be.
pub(crate) enum Planned {
    /// Rows that executors compute.
    Spread(Plan),
    /// Rows that the scheduler computes: constants, plans, what there is.
    Here(Plan),
    /// Rows that are known already.
    Rows(SchemaRef, Vec<RecordBatch>),
    /// No rows, but something changes.
    Effect(Effect),
    /// A report on what a model makes of some rows.
    Check(CheckModel),
    /// A wish about a job.
    Job(JobStatement),
    /// Rows that are written, by a job.
    Score(Box<ScoreStatement>),
}

/// A plan, ready to run.
pub(crate) struct Plan {
    pub(crate) ctx: Arc<SessionContext>,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    /// Where the files of its tables are.
    pub(crate) inputs: Vec<String>,
}

impl Planned {
    /// The columns that the statement gives.
    pub(crate) fn schema(&self) -> SchemaRef {
        match self {
            Self::Spread(plan) | Self::Here(plan) => plan.physical.schema(),
            Self::Rows(schema, _) => Arc::clone(schema),
            Self::Check(_) => CheckModel::schema(),
            Self::Job(_) => jobs_schema(),
            Self::Score(_) => score::schema(),
            Self::Effect(_) => SchemaRef::new(arrow::datatypes::Schema::empty()),
        }
    }

    /// The role that the statement takes.
    pub(crate) fn needs(&self, session: &Session) -> Role {
        match self {
            Self::Spread(_) | Self::Here(_) | Self::Rows(..) | Self::Check(_) => Role::Reader,
            Self::Effect(effect) => effect.needs(session),
            Self::Job(_) | Self::Score(_) => Role::Scorer,
        }
    }
}

/// The columns of what a wish about a job answers.
fn jobs_schema() -> SchemaRef {
    match as_table(&[]) {
        Ok(table) => table.schema(),
        Err(_) => SchemaRef::new(arrow::datatypes::Schema::empty()),
    }
}

/// The described result of a statement.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) query_id: QueryId,
    pub(crate) schema: SchemaRef,
    /// The endpoints must be read in their order.
    pub(crate) ordered: bool,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Of a change: the rows that it wrote.
    pub(crate) counted: Option<u64>,
    pub(crate) source: Source,
}

/// Where the rows lie.
#[derive(Debug)]
pub(crate) enum Source {
    /// There are none.
    Nowhere,
    /// On the scheduler's shelf, under the query's id.
    Shelf,
    /// On executors, one endpoint for each partition that has rows.
    Executors(Vec<Endpoint>),
}

/// One partition of a result.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) ticket: ResultTicket,
    /// The ticket as clients get it.
    pub(crate) signed: Bytes,
    /// host:port of the executor's client port.
    pub(crate) address: String,
    /// Whether that port has TLS.
    pub(crate) tls: bool,
}

impl Endpoint {
    /// As Flight names the place.
    pub(crate) fn location(&self) -> String {
        let scheme = if self.tls { "grpc+tls" } else { "grpc+tcp" };
        format!("{scheme}://{}", self.address)
    }
}
