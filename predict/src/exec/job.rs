//! The scoring of one feed, from the model's host to rows with values beside them.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::Binding;
use crate::error::external;
use crate::exec::catch::{self, RowErrors};
use crate::exec::feeds::Group;
use crate::exec::inputs::Inputs;
use crate::known::Known;
use crate::runtime::{Feed, FeedTimes, Model, ModelHost};

/// The metrics that say where the time of a split goes: reading its rows, or waiting for them while nothing else can be done;
/// making tensors of them; and in the model.
pub const READ_TIME: &str = "read_time";
pub const TENSOR_TIME: &str = "tensor_time";
pub const MODEL_TIME: &str = "model_time";

/// The engine job that a task is of. Ballista names tasks `TID <job>/<stage>.<attempt>/<task>.<attempt>`; outside it the session stands for the job.
pub fn job_id(context: &TaskContext) -> String {
    context
        .task_id()
        .as_deref()
        .and_then(|task| task.strip_prefix("TID "))
        .and_then(|task| task.split_once('/'))
        .map_or_else(|| context.session_id(), |(job, _)| job.to_owned())
}

#[derive(Debug)]
pub(super) struct Metrics {
    rows_scored: Count,
    feeds: Count,
    /// What scoring leaves out of the model, because no row of the partition could reach it.
    trees_cut: Count,
    nodes_cut: Count,
    cut: OnceLock<()>,
    score_time: Time,
    load_time: Time,
    times: FeedTimes,
    pub(super) read_time: Time,
}

impl Metrics {
    pub(super) fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            rows_scored: MetricBuilder::new(set).counter("rows_scored", partition),
            feeds: MetricBuilder::new(set).counter("feeds", partition),
            trees_cut: MetricBuilder::new(set).counter("trees_cut", partition),
            nodes_cut: MetricBuilder::new(set).counter("nodes_cut", partition),
            cut: OnceLock::new(),
            score_time: MetricBuilder::new(set).subset_time("score_time", partition),
            load_time: MetricBuilder::new(set).subset_time("load_time", partition),
            times: FeedTimes {
                tensors: MetricBuilder::new(set).subset_time(TENSOR_TIME, partition),
                model: MetricBuilder::new(set).subset_time(MODEL_TIME, partition),
            },
            read_time: MetricBuilder::new(set).subset_time(READ_TIME, partition),
        }
    }

    fn note_cut(&self, model: &dyn Model) {
        if let Some(left) = model.cut() {
            self.cut.get_or_init(|| {
                self.trees_cut.add(left.all_trees - left.trees);
                self.nodes_cut.add(left.all_nodes - left.nodes);
            });
        }
    }
}

/// What every feed of the partition needs.
#[derive(Debug)]
pub(super) struct Job {
    pub binding: Arc<Binding>,
    pub inputs: Arc<Inputs>,
    pub mask: Option<Arc<dyn PhysicalExpr>>,
    pub schema: SchemaRef,
    pub errors: RowErrors,
    pub known: Vec<Known>,
    pub job_id: Arc<str>,
    pub partition: usize,
    pub metrics: Metrics,
}

impl Job {
    pub(super) async fn open(self: Arc<Self>, host: Arc<dyn ModelHost>) -> Result<Arc<dyn Model>> {
        let _timer = self.metrics.load_time.timer();
        let model = host.open_knowing(&self.binding, &self.known).await;
        model.map_err(external)
    }

    /// Scores the group's rows and lays the values beside them.
    pub(super) async fn score(
        self: Arc<Self>,
        model: Option<Arc<dyn Model>>,
        group: Group,
    ) -> Result<Vec<RecordBatch>> {
        let Some(model) = model.filter(|_| group.scored() > 0) else {
            return group.attach(None, Vec::new(), &self);
        };
        let columns = group.columns()?;
        let (values, failed) = match self.ask(&model, columns.clone(), group.scored()).await {
            Ok(values) => (values, Vec::new()),
            Err(error) if self.errors.is_caught() => {
                let ask = |start, rows| {
                    let part = columns.iter().map(|column| column.slice(start, rows));
                    self.ask(&model, part.collect(), rows)
                };
                catch::score(group.scored(), error, &self.binding.returns, ask).await?
            }
            Err(error) => return Err(error),
        };
        group.attach(Some(&values), failed, &self)
    }

    async fn ask(
        &self,
        model: &Arc<dyn Model>,
        columns: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<ArrayRef> {
        let feed = Feed {
            columns,
            rows,
            job_id: Arc::clone(&self.job_id),
            times: self.metrics.times.clone(),
        };
        let values = {
            let _timer = self.metrics.score_time.timer();
            model.score(feed).await.map_err(external)?
        };
        self.check(&values, rows)?;
        self.metrics.note_cut(model.as_ref());
        self.metrics.feeds.add(1);
        self.metrics.rows_scored.add(rows);
        Ok(values)
    }

    /// A value beside the wrong row would be a silent error, so the answer must have the shape that was promised.
    fn check(&self, values: &ArrayRef, rows: usize) -> Result<()> {
        let Binding {
            alias,
            digest,
            returns,
            ..
        } = self.binding.as_ref();
        let wrong = if values.len() != rows {
            format!("{} values for {rows} rows", values.len())
        } else if values.data_type() != returns {
            format!("{} where {returns} was promised", values.data_type())
        } else {
            return Ok(());
        };
        let what = format!("model '{alias}' ({}) answered with {wrong}", digest.short());
        Err(external(Error::new(ErrorCode::Model, what).with_hint(
            "PREDICT needs a model that answers each row with values of its signature's types",
        )))
    }
}
