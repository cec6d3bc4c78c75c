//! The life of a statement: read, planned, run where it belongs, its result described, its end noted.

mod bounds;
mod classify;
mod ddl;
mod links;
mod local;
mod models;
mod pinned;
mod planning;
mod record;
mod run;
mod score;
mod spread;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::ResultTicket;

pub(crate) use ddl::Effect;
pub(crate) use local::Shelf;
pub(crate) use models::CheckModel;
pub(crate) use planning::Planning;
pub(crate) use record::{Cancelled, Queries, Query, QueryPhase, Snapshot};
pub(crate) use run::{Limits, Parts, Runner};
pub(crate) use score::ScoreStatement;
pub(crate) use spread::lost_result;

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
            Self::Score(_) => score::schema(),
            Self::Effect(_) => SchemaRef::new(arrow::datatypes::Schema::empty()),
        }
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
    /// host:port of the executor's client port.
    pub(crate) address: String,
}
