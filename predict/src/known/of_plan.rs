//! What a plan promises of the rows that it gives, column by column: the walk goes down as long as the rows stay rows of what
//! is below.

use std::sync::Arc;

use datafusion::common::{JoinType, ScalarValue};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::Known;
use super::conditions::{constant, hold, of_expr};
use crate::exec::PredictExec;

/// Tells what a file's own columns hold, in the order of the table's.
pub type Scanned<'a> = &'a dyn Fn(&FileScanConfig, &FileGroup) -> Vec<Known>;

/// What is known of each input of the model, for all rows or for those of one partition.
pub fn of_inputs(
    predict: &PredictExec,
    partition: Option<usize>,
    scanned: Scanned<'_>,
) -> Vec<Known> {
    let schema = predict.input().schema();
    let mut columns = of_plan(predict.input(), partition, scanned);
    if let Some(mask) = predict.mask() {
        hold(mask, &schema, &mut columns);
    }
    let elements = predict.binding().elements.iter();
    let inputs = predict.args().iter().zip(elements);
    inputs
        .map(|(arg, element)| {
            let known = of_expr(arg, &schema, &columns);
            match &element.default {
                None => known,
                Some(default) => with_default(known, &default.scalar(element.element)),
            }
        })
        .collect()
}

/// The default stands in for NULL.
fn with_default(known: Known, default: &ScalarValue) -> Known {
    match &known {
        Known::Numbers(range) if range.nan() => known.or(constant(default)),
        Known::Anything | Known::Numbers(_) | Known::Texts(_) => known,
    }
}

fn of_plan(
    plan: &Arc<dyn ExecutionPlan>,
    partition: Option<usize>,
    scanned: Scanned<'_>,
) -> Vec<Known> {
    let known = known_of(plan, partition, scanned);
    let count = plan.schema().fields().len();
    match known {
        Some(known) if known.len() == count => known,
        Some(_) | None => vec![Known::Anything; count],
    }
}

fn known_of(
    plan: &Arc<dyn ExecutionPlan>,
    partition: Option<usize>,
    scanned: Scanned<'_>,
) -> Option<Vec<Known>> {
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let mut known = of_plan(filter.input(), partition, scanned);
        hold(filter.predicate(), &filter.input().schema(), &mut known);
        return Some(picked(known, filter.projection().as_deref()));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let known = of_plan(projection.input(), partition, scanned);
        let schema = projection.input().schema();
        let exprs = projection.expr().iter();
        return Some(
            exprs
                .map(|one| of_expr(&one.expr, &schema, &known))
                .collect(),
        );
    }
    if let Some(predict) = plan.downcast_ref::<PredictExec>() {
        let mut known = of_plan(predict.input(), partition, scanned);
        known.resize(plan.schema().fields().len(), Known::Anything);
        return Some(known);
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        return of_union(union, partition, scanned);
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let inner = *join.join_type() == JoinType::Inner;
        let sides = [join.left(), join.right()].into_iter();
        let known = sides.flat_map(|side| of_plan(side, None, scanned));
        return inner.then(|| picked(known.collect(), join.projection.as_deref()));
    }
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return of_scan(scan, partition, scanned);
    }
    let partition = match passes(plan)? {
        Partitions::Kept => partition,
        Partitions::Mixed => None,
    };
    let [input] = plan.children()[..] else {
        return None;
    };
    Some(of_plan(input, partition, scanned))
}

fn picked(known: Vec<Known>, projection: Option<&[usize]>) -> Vec<Known> {
    match projection {
        None => known,
        Some(places) => places
            .iter()
            .map(|place| known.get(*place).cloned().unwrap_or_default())
            .collect(),
    }
}

enum Partitions {
    Kept,
    Mixed,
}

/// Nodes that give rows of their input as they are.
fn passes(plan: &Arc<dyn ExecutionPlan>) -> Option<Partitions> {
    let kept = plan.is::<CooperativeExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<GlobalLimitExec>()
        || plan
            .downcast_ref::<SortExec>()
            .is_some_and(SortExec::preserve_partitioning);
    let mixed = plan.is::<CoalescePartitionsExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<SortExec>();
    match (kept, mixed) {
        (true, _) => Some(Partitions::Kept),
        (false, true) => Some(Partitions::Mixed),
        (false, false) => None,
    }
}

fn of_union(
    union: &UnionExec,
    partition: Option<usize>,
    scanned: Scanned<'_>,
) -> Option<Vec<Known>> {
    if let Some(mut partition) = partition {
        for input in union.inputs() {
            let count = input.output_partitioning().partition_count();
            if partition < count {
                return Some(of_plan(input, Some(partition), scanned));
            }
            partition -= count;
        }
        return None;
    }
    let each = union.inputs().iter();
    let each = each.map(|input| of_plan(input, None, scanned));
    each.reduce(either)
}

/// What is known of each column where one of the two holds.
pub fn either(one: Vec<Known>, other: Vec<Known>) -> Vec<Known> {
    let pairs = one.into_iter().zip(other);
    pairs.map(|(one, other)| one.or(other)).collect()
}

/// The values of folders, and what is known of what the files hold.
fn of_scan(
    scan: &DataSourceExec,
    partition: Option<usize>,
    scanned: Scanned<'_>,
) -> Option<Vec<Known>> {
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let groups = match partition {
        Some(partition) => std::slice::from_ref(config.file_groups.get(partition)?),
        None => config.file_groups.as_slice(),
    };
    let own = config.file_schema().fields().len();
    let of_group = |group: &FileGroup| {
        let mut known = match partition {
            Some(_) => scanned(config, group),
            None => Vec::new(),
        };
        known.resize(own, Known::Anything);
        known.extend(of_folders(config, group));
        known
    };
    let table = groups.iter().map(of_group).reduce(either)?;
    let Some(projection) = config.file_source().projection() else {
        return Some(table);
    };
    let schema = config.file_source().table_schema().table_schema();
    let exprs = projection.iter();
    Some(
        exprs
            .map(|one| of_expr(&one.expr, schema, &table))
            .collect(),
    )
}

fn of_folders(config: &FileScanConfig, group: &FileGroup) -> Vec<Known> {
    let columns = 0..config.table_partition_cols().len();
    let of_column = |column: usize| {
        let values = group.iter().map(|file| file.partition_values.get(column));
        let known = values.map(|value| value.map_or(Known::Anything, constant));
        known.reduce(Known::or).unwrap_or_default()
    };
    columns.map(of_column).collect()
}
