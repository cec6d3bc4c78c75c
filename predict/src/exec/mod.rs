//! `PredictExec`: scores rows as they pass. It adds one column with the model's value and changes nothing else: rows, their
//! order and their partitions stay as they are.
//!
//! Scoring is the dear part of a plan, so the node never scores ahead of what is read from it but for the few feeds that keep
//! the model busy, and dropping its stream stops it. Rows that the mask guards are neither computed nor scored; they get NULL.

mod catch;
#[cfg(test)]
mod caught_tests;
mod clock;
mod feeds;
mod inputs;
mod job;
mod lists;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Statistics, assert_eq_or_internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionMapping;
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions, apply_expression_roots,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, FilterDescription, FilterPushdownPhase,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr,
    PlanProperties, StatisticsArgs,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::Binding;
use crate::error::external;
use crate::exec::inputs::Inputs;
use crate::known::{Known, Trees};

pub use self::catch::RowErrors;
pub(crate) use self::catch::values;
pub use self::job::{MODEL_TIME, READ_TIME, TENSOR_TIME, job_id};

/// The most rows in one feed: a batch of this size stays in the L2 cache, and the cost of a call is long gone by then. A host
/// may ask for fewer.
pub const BATCH_ROWS: usize = 4096;

/// The most bytes of arguments in one feed, so that long texts do not add up to gigabytes in front of the model.
pub const BATCH_BYTES: usize = 8 << 20;

/// Appends the value of one model to its input.
#[derive(Clone, Debug)]
pub struct PredictExec {
    input: Arc<dyn ExecutionPlan>,
    binding: Arc<Binding>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    mask: Option<Arc<dyn PhysicalExpr>>,
    output: String,
    errors: RowErrors,
    known: Vec<Known>,
    trees: Option<Trees>,
    inputs: Arc<Inputs>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl PredictExec {
    /// `args` is one expression per element of the binding, already of a type that the element takes. Rows where `mask` is not
    /// true are never scored: they get NULL, and their arguments are not computed either.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        binding: Arc<Binding>,
        args: Vec<Arc<dyn PhysicalExpr>>,
        mask: Option<Arc<dyn PhysicalExpr>>,
        output: String,
    ) -> Result<Self> {
        let schema = input.schema();
        check_args(&binding, &args, mask.as_ref(), &schema)?;
        let inputs = Arc::new(Inputs::try_new(&binding, &args, &schema)?);
        let errors = RowErrors::default();
        let properties = Arc::new(properties(
            &input,
            output_schema(&schema, &binding, &output, &errors),
        )?);
        Ok(Self {
            input,
            binding,
            args,
            mask,
            output,
            errors,
            known: Vec::new(),
            trees: None,
            inputs,
            metrics: ExecutionPlanMetricsSet::new(),
            properties,
        })
    }

    /// The same, where rows that cannot be scored are dealt with so.
    pub fn catching(self, errors: RowErrors) -> Result<Self> {
        let schema = output_schema(&self.input.schema(), &self.binding, &self.output, &errors);
        let properties = Arc::new(properties(&self.input, schema)?);
        Ok(Self {
            errors,
            properties,
            ..self
        })
    }

    /// The same, with what is known of the rows that are scored, by input; where it is empty, nothing is.
    pub fn knowing(self, known: Vec<Known>) -> Self {
        Self { known, ..self }
    }

    /// The same, which shows what is left of the model's trees.
    pub fn showing(self, trees: Trees) -> Self {
        let trees = Some(trees);
        Self { trees, ..self }
    }

    /// What is known of each input; where it is empty, nothing is.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// What becomes of rows that cannot be scored.
    pub fn errors(&self) -> &RowErrors {
        &self.errors
    }

    /// What is scored.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The model, pinned.
    pub fn binding(&self) -> &Arc<Binding> {
        &self.binding
    }

    /// One expression per element of the binding.
    pub fn args(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.args
    }

    /// Which rows are scored; all where there is none.
    pub fn mask(&self) -> Option<&Arc<dyn PhysicalExpr>> {
        self.mask.as_ref()
    }

    /// The name of the column that holds the model's value.
    pub fn output(&self) -> &str {
        &self.output
    }

    fn shown_known(&self) -> Vec<String> {
        let known = self.binding.elements.iter().zip(&self.known);
        known
            .filter_map(|(element, known)| known.shown(&element.name))
            .collect()
    }

    fn pairs(&self) -> String {
        let pairs = self.binding.elements.iter().zip(&self.args);
        pairs
            .map(|(element, arg)| match element.unused {
                true => format!("{} not read", element.name),
                false => format!("{} ← {arg}", element.name),
            })
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The planner made these expressions, so what is wrong here is its defect; without the check it would be a panic in a kernel.
fn check_args(
    binding: &Binding,
    args: &[Arc<dyn PhysicalExpr>],
    mask: Option<&Arc<dyn PhysicalExpr>>,
    schema: &Schema,
) -> Result<()> {
    let bug = |what: String| {
        Err(external(Error::new(
            ErrorCode::Bug,
            format!("PREDICT('{}'): {what}", binding.alias),
        )))
    };
    if args.len() != binding.elements.len() {
        return bug(format!(
            "{} inputs planned, the model has {}",
            args.len(),
            binding.elements.len()
        ));
    }
    for (element, arg) in binding.elements.iter().zip(args) {
        let found = arg.data_type(schema)?;
        if !element.takes(&found) {
            return bug(format!(
                "input '{}' takes {}, planned as {found}",
                element.name,
                element.wants()
            ));
        }
    }
    match mask.map(|mask| mask.data_type(schema)).transpose()? {
        None | Some(DataType::Boolean) => Ok(()),
        Some(found) => bug(format!("the row mask is planned as {found}")),
    }
}

fn output_schema(input: &Schema, binding: &Binding, output: &str, errors: &RowErrors) -> SchemaRef {
    let mut fields = input.fields().to_vec();
    fields.push(Arc::new(Field::new(output, binding.returns.clone(), true)));
    if let RowErrors::Told(name) = errors {
        fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
    }
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

/// Everything known of the input's order and partitions holds for the output, whose first columns are the input's.
fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Result<PlanProperties> {
    let from = input.schema();
    let columns: Vec<usize> = (0..from.fields().len()).collect();
    let mapping = ProjectionMapping::from_indices(&columns, &from)?;
    Ok(PlanProperties::new(
        input.equivalence_properties().project(&mapping, schema),
        input.output_partitioning().clone(),
        input.pipeline_behavior(),
        input.boundedness(),
    ))
}

impl DisplayAs for PredictExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding {
            alias,
            digest,
            runtime,
            ..
        } = self.binding.as_ref();
        match kind {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(
                    f,
                    "PredictExec: model={alias}, digest={}, runtime={runtime}, inputs=[{}], output={}, batch_rows={BATCH_ROWS}",
                    digest.short(),
                    self.pairs(),
                    self.output
                )?;
                if let Some(mask) = &self.mask {
                    write!(f, ", mask={mask}")?;
                }
                let known = self.shown_known();
                if !known.is_empty() {
                    write!(f, ", known=[{}]", known.join(", "))?;
                }
                if let Some(trees) = &self.trees {
                    write!(f, ", {trees}")?;
                }
                match &self.errors {
                    RowErrors::Fail => Ok(()),
                    RowErrors::Null => f.write_str(", on_error=null"),
                    RowErrors::Told(name) => write!(f, ", on_error={name}"),
                }
            }
            DisplayFormatType::TreeRender => {
                writeln!(f, "model={alias}")?;
                writeln!(f, "digest={}", digest.short())?;
                writeln!(f, "runtime={runtime}")
            }
        }
    }
}

impl ExecutionPlan for PredictExec {
    fn name(&self) -> &'static str {
        "PredictExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.args.iter().chain(&self.mask), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        assert_eq_or_internal_err!(children.len(), 1, "PredictExec has one child");
        let input = children.swap_remove(0);
        match options.children_properties {
            ChildrenPropertiesMode::Keep => Ok(Arc::new(Self {
                input,
                metrics: ExecutionPlanMetricsSet::new(),
                ..Self::clone(&self)
            })),
            ChildrenPropertiesMode::Recompute => {
                let Self {
                    binding,
                    args,
                    mask,
                    output,
                    errors,
                    known,
                    trees,
                    ..
                } = self.as_ref().clone();
                let new = Self::try_new(input, binding, args, mask, output)?.catching(errors)?;
                // Another input gives the same rows, or it could not stand here.
                Ok(Arc::new(Self {
                    known,
                    trees,
                    ..new
                }))
            }
        }
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
        stream::score(self, partition, &context)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        input: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        assert_eq_or_internal_err!(input.len(), 1, "PredictExec has one child");
        let mut statistics = input[0].as_ref().clone();
        statistics.total_byte_size = Precision::Absent;
        let columns = self.schema().fields().len();
        statistics
            .column_statistics
            .resize_with(columns, ColumnStatistics::new_unknown);
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    /// A filter over the input's columns may go below, where it spares the model rows; one that reads the model's value may
    /// not. The engine maps columns to the child by name, which is only right where names are unique.
    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.input.schema();
        let names: HashSet<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        if names.len() != schema.fields().len() {
            return Ok(FilterDescription::all_unsupported(
                &parent_filters,
                &self.children(),
            ));
        }
        let below = (0..schema.fields().len()).collect();
        let child = ChildFilterDescription::from_child_with_allowed_indices(
            &parent_filters,
            below,
            &self.input,
        )?;
        Ok(FilterDescription::new().with_child(child))
    }
}
