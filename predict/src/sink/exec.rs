//! The operator at a score job's root: it hands each partition's rows to the host and gives one row that says what came of them.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::assert_eq_or_internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties,
};
use futures::stream;
use whimbrel_proto::ids::SplitId;
use whimbrel_proto::{Error, ErrorCode};

use super::catching::{sorted, visible};
use super::split::{input_bytes, input_files, input_range};
use super::{SinkHostRef, SinkReport, SinkSpec, SinkTask, Times};
use crate::error::external;
use crate::exec::{MODEL_TIME, READ_TIME, TENSOR_TIME};

static REPORT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let count = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Utf8, false),
        count("rows_read"),
        count("rows_written"),
        count("rows_dead"),
        count("bytes_written"),
        Field::new("already_done", DataType::Boolean, false),
    ]))
});

/// The columns of the row that each split gives.
pub fn report_schema() -> &'static SchemaRef {
    &REPORT
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ScoreSinkExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SinkSpec>,
    /// Known once the plan is one task's.
    split: Option<SplitId>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl ScoreSinkExec {
    /// Writes the rows of `input`, each partition as a split.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<SinkSpec>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&REPORT)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            spec,
            split: None,
            metrics: ExecutionPlanMetricsSet::new(),
            properties: Arc::new(properties),
        }
    }

    /// What is written.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Where and how.
    pub fn spec(&self) -> &Arc<SinkSpec> {
        &self.spec
    }

    /// Which split this task's rows are, once that is known.
    pub fn split(&self) -> Option<&SplitId> {
        self.split.as_ref()
    }

    /// The same for the task of this split.
    #[must_use]
    pub fn with_split(&self, split: Option<SplitId>) -> Self {
        Self {
            split,
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.clone()
        }
    }
}

impl DisplayAs for ScoreSinkExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SinkSpec {
            job,
            output,
            format,
            ..
        } = self.spec.as_ref();
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(
                    f,
                    "ScoreSinkExec: job={job}, output={output}, format={format}"
                )?;
                match &self.split {
                    Some(split) => write!(f, ", split={split}"),
                    None => Ok(()),
                }
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "job={job}")?;
                writeln!(f, "output={output}")?;
                writeln!(f, "format={format}")
            }
        }
    }
}

impl ExecutionPlan for ScoreSinkExec {
    fn name(&self) -> &'static str {
        "ScoreSinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Its partitions are the job's splits.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_eq_or_internal_err!(children.len(), 1, "ScoreSinkExec has one child");
        let new = Self::new(children.swap_remove(0), Arc::clone(&self.spec));
        Ok(Arc::new(new.with_split(self.split.clone())))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let bug = |what: &str| {
            let text = format!("score job {}: {what}", self.spec.job);
            external(Error::new(ErrorCode::Bug, text))
        };
        let host = context
            .session_config()
            .get_extension::<SinkHostRef>()
            .ok_or_else(|| bug("it was planned where nothing is written"))?;
        let split = match &self.split {
            Some(split) if partition == 0 => split.clone(),
            Some(_) => return Err(bug("a task has several partitions")),
            None => return Err(bug("a task does not know its split")),
        };
        let (input, own) = (Arc::clone(&self.input), Arc::clone(&context));
        let timed = Arc::clone(&self.input);
        let rows = self.input.schema();
        let (columns, errors) = sorted(&rows);
        let task = SinkTask {
            generation: self.spec.generation(&split),
            spec: Arc::clone(&self.spec),
            split: split.clone(),
            schema: visible(&rows, &columns)?,
            columns,
            errors,
            files: input_files(&self.input),
            range: input_range(&self.input),
            bytes_read: input_bytes(&self.input),
            context,
            times: Box::new(move || times(&timed)),
            rows: Box::new(move || input.execute(partition, own)),
        };
        let metrics = self.metrics.clone();
        let written = async move {
            let write_time = MetricBuilder::new(&metrics).subset_time("write_time", partition);
            let report = {
                let _timer = write_time.timer();
                host.0.write(task).await?
            };
            let note = |name, value: u64| {
                let counter = MetricBuilder::new(&metrics).counter(name, partition);
                counter.add(usize::try_from(value).unwrap_or(usize::MAX));
            };
            note("rows_written", report.rows_written);
            note("bytes_written", report.bytes_written);
            row(&split, &report)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&REPORT),
            stream::once(written),
        )))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What the nodes of a plan have measured.
fn times(plan: &Arc<dyn ExecutionPlan>) -> Times {
    let metrics = plan.metrics();
    let own = |name| {
        let sum = metrics
            .as_ref()
            .and_then(|metrics| metrics.sum_by_name(name));
        Duration::from_nanos(sum.map_or(0, |sum| sum.as_usize() as u64))
    };
    let own = Times {
        read: own(READ_TIME),
        tensors: own(TENSOR_TIME),
        model: own(MODEL_TIME),
    };
    let mut sum = Times::default();
    for child in plan.children() {
        let below = times(child);
        sum.read += below.read;
        sum.tensors += below.tensors;
        sum.model += below.model;
    }
    Times {
        // A PREDICT over another one waits for that one: only the lowest of them reads.
        read: if sum.read.is_zero() {
            own.read
        } else {
            sum.read
        },
        tensors: sum.tensors + own.tensors,
        model: sum.model + own.model,
    }
}

fn row(split: &SplitId, report: &SinkReport) -> Result<RecordBatch> {
    let count = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
    let columns = vec![
        Arc::new(StringArray::from(vec![split.as_str()])) as ArrayRef,
        count(report.rows_read),
        count(report.rows_written),
        count(report.rows_dead),
        count(report.bytes_written),
        Arc::new(BooleanArray::from(vec![report.already_done])),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&REPORT), columns)?)
}
