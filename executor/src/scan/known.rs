//! What the footers of Parquet files tell of a split before its rows are read: the least and the largest value of each column.
//! Models are cut by it. The scan reads the same footers from the cache, so they cost no request of their own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, ParquetSource};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use object_store::path::Path;
use whimbrel_predict::binding::RuntimeKind;
use whimbrel_predict::exec::PredictExec;
use whimbrel_predict::known::{Known, Range, either, number, of_inputs, with_scoring};

use super::footers::Footers;
use super::small::SMALL;

/// A split of more files holds nearly what the table holds.
const MOST: usize = 4;

/// The footers that were read, by store and path.
type Read = HashMap<(String, Path), Arc<ParquetMetaData>>;

/// The plan of a task that runs these partitions of it, where its models know what the footers tell.
pub(crate) async fn informed(
    plan: Arc<dyn ExecutionPlan>,
    partitions: &[usize],
    runtime: &RuntimeEnv,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scanned = RefCell::new(Vec::new());
    for predict in native(&plan) {
        let note = |config: &FileScanConfig, group: &FileGroup| {
            scanned.borrow_mut().push((config.clone(), group.clone()));
            Vec::new()
        };
        for partition in partitions {
            of_inputs(predict, Some(*partition), &note);
        }
    }
    let mut read = Read::new();
    for (config, group) in scanned.into_inner() {
        // What cannot be read here is told by the scan, which asks for the same.
        let _ = footers(&config, &group, runtime, &mut read).await;
    }
    match read.is_empty() {
        true => Ok(plan),
        false => told(plan, partitions, &read),
    }
}

/// The scoring nodes of our own kernels that give the task's partitions as they are.
fn native(plan: &Arc<dyn ExecutionPlan>) -> Vec<&PredictExec> {
    let mut found = Vec::new();
    let mut node = plan;
    while let [input] = node.children()[..] {
        // The root is what writes the task's rows, and counts partitions in its own way.
        let same = input.output_partitioning().partition_count()
            == node.output_partitioning().partition_count();
        if !Arc::ptr_eq(node, plan) && (!same || node.is::<RepartitionExec>()) {
            break;
        }
        node = input;
        let predict = node.downcast_ref::<PredictExec>();
        found.extend(predict.filter(|one| one.binding().runtime == RuntimeKind::Native));
    }
    found
}

async fn footers(
    config: &FileScanConfig,
    group: &FileGroup,
    runtime: &RuntimeEnv,
    read: &mut Read,
) -> Result<()> {
    let large = |file: &PartitionedFile| file.object_meta.size > SMALL;
    let parquet = config.file_source().is::<ParquetSource>();
    if !parquet || group.len() > MOST || !group.iter().all(large) {
        return Ok(());
    }
    let url = &config.object_store_url;
    let store = runtime.object_store(url)?;
    let all = runtime.cache_manager.get_file_metadata_cache();
    for file in group.iter() {
        let cache = Arc::new(Footers::of(url, Arc::clone(&all)));
        let footer = DFParquetMetadata::new(store.as_ref(), &file.object_meta)
            .with_file_metadata_cache(Some(cache));
        let footer = footer.fetch_metadata().await?;
        let key = (url.as_str().to_owned(), file.object_meta.location.clone());
        read.insert(key, footer);
    }
    Ok(())
}

fn told(
    plan: Arc<dyn ExecutionPlan>,
    partitions: &[usize],
    read: &Read,
) -> Result<Arc<dyn ExecutionPlan>> {
    let of_group = |config: &FileScanConfig, group: &FileGroup| {
        let schema = config.file_schema();
        let each = group.iter().map(|file| {
            let url = config.object_store_url.as_str().to_owned();
            let footer = read.get(&(url, file.object_meta.location.clone()));
            let known = footer.and_then(|footer| of_file(footer, file, schema));
            known.unwrap_or_else(|| vec![Known::Anything; schema.fields().len()])
        });
        each.reduce(either).unwrap_or_default()
    };
    let informed: Vec<*const PredictExec> =
        native(&plan).into_iter().map(std::ptr::from_ref).collect();
    with_scoring(plan, |predict| {
        if !informed.contains(&std::ptr::from_ref(predict)) {
            return None;
        }
        let each = partitions.iter();
        let each = each.map(|partition| of_inputs(predict, Some(*partition), &of_group));
        let mut known = each.reduce(either)?;
        for (known, said) in known.iter_mut().zip(predict.known()) {
            *known = std::mem::take(known).and(said.clone());
        }
        Some(predict.clone().knowing(known))
    })
}

/// What the row groups that the scan reads of a file hold, by the table's columns.
fn of_file(footer: &ParquetMetaData, file: &PartitionedFile, table: &Schema) -> Option<Vec<Known>> {
    let facts = footer.file_metadata();
    let own = parquet_to_arrow_schema(facts.schema_descr(), facts.key_value_metadata()).ok()?;
    // A row group is the task's in whose part of the file its first byte lies.
    let read = |group: &&RowGroupMetaData| {
        let column = group.column(0);
        let first = column.dictionary_page_offset();
        let first = first.unwrap_or_else(|| column.data_page_offset());
        let range = file.range.as_ref();
        range.is_none_or(|range| range.start <= first && first < range.end)
    };
    let groups: Vec<&RowGroupMetaData> = footer.row_groups().iter().filter(read).collect();
    let columns = table.fields().iter().map(|field| {
        let converter = StatisticsConverter::try_new(field.name(), &own, facts.schema_descr());
        let converter = converter.ok().filter(|_| is_number(field.data_type()));
        converter.and_then(|of| of_column(&of, &groups))
    });
    Some(columns.map(Option::unwrap_or_default).collect())
}

fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Float32 | DataType::Float64)
}

/// The bounds of a column; none where a row group does not tell them.
fn of_column(of: &StatisticsConverter<'_>, groups: &[&RowGroupMetaData]) -> Option<Known> {
    if !is_number(of.arrow_field().data_type()) {
        return None;
    }
    let ends = |values: ArrayRef| -> Option<Vec<f64>> {
        let values = (0..values.len()).map(|place| {
            let value = ScalarValue::try_from_array(&values, place).ok()?;
            number(&value)
        });
        values.collect()
    };
    let lows = ends(of.row_group_mins(groups.iter().copied()).ok()?)?;
    let highs = ends(of.row_group_maxes(groups.iter().copied()).ok()?)?;
    let nulls = of.row_group_null_counts(groups.iter().copied()).ok()?;
    let none = nulls.null_count() == 0 && nulls.values().iter().all(|count| *count == 0);
    // No footer counts NaN.
    let nan = !(none && of.arrow_field().data_type().is_integer());
    Some(Known::Numbers(Range {
        low: lows.into_iter().reduce(f64::min)?,
        high: highs.into_iter().reduce(f64::max)?,
        nan_below: nan,
        nan_above: nan,
    }))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, RecordBatch};
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::physical_expr::expressions::{cast, col};
    use datafusion::physical_plan::PhysicalExpr;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
    use whimbrel_predict::signature::ElementType;
    use whimbrel_predict::testing;

    use super::*;
    use crate::runtime::testing::TempFolder;

    const ROWS: i64 = 300_000;

    /// A file of numbers from `from` up, too large to be small: whole ones, and the same and a half.
    fn write(folder: &TempFolder, name: &str, from: i64) {
        let k = Int64Array::from_iter_values(from..from + ROWS);
        let x = Float64Array::from_iter_values((from..from + ROWS).map(|k| k as f64 + 0.5));
        let batch = RecordBatch::try_from_iter([("k", Arc::new(k) as _), ("x", Arc::new(x) as _)]);
        let batch = batch.unwrap();
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// What the models of a task of these partitions know.
    async fn known(folder: &TempFolder, runtime: RuntimeKind, partitions: &[usize]) -> Vec<Known> {
        let config = SessionConfig::new()
            .with_target_partitions(2)
            .with_repartition_file_scans(false);
        let context = SessionContext::new_with_config(config);
        let path = folder.path().display().to_string();
        let table = context
            .read_parquet(path, ParquetReadOptions::default())
            .await
            .unwrap();
        let scan = table.create_physical_plan().await.unwrap();
        let schema = scan.schema();
        let args = ["k", "x"].map(|name| -> Arc<dyn PhysicalExpr> {
            cast(col(name, &schema).unwrap(), &schema, DataType::Float32).unwrap()
        });
        let mut binding = testing::binding("m", &["k", "x"], ElementType::Float32).unwrap();
        binding.runtime = runtime;
        let predict =
            PredictExec::try_new(scan, Arc::new(binding), args.to_vec(), None, "p".to_owned());
        let root = Arc::new(CoalescePartitionsExec::new(Arc::new(predict.unwrap())));
        let plan = informed(root, partitions, &context.runtime_env())
            .await
            .unwrap();
        let predict = plan.children()[0].downcast_ref::<PredictExec>().unwrap();
        predict.known().to_vec()
    }

    #[tokio::test]
    async fn a_split_knows_what_its_footers_tell() {
        let folder = TempFolder::new();
        write(&folder, "a.parquet", 0);
        write(&folder, "b.parquet", 1_000_000);
        let one = |from: i64| {
            let half = |k: i64| f64::from((k as f64 + 0.5) as f32);
            let last = from + ROWS - 1;
            let x = Range {
                nan_below: true,
                nan_above: true,
                ..Range::between(half(from), half(last))
            };
            vec![
                Known::Numbers(Range::between(from as f64, last as f64)),
                Known::Numbers(x),
            ]
        };
        assert_eq!(known(&folder, RuntimeKind::Native, &[0]).await, one(0));
        assert_eq!(
            known(&folder, RuntimeKind::Native, &[1]).await,
            one(1_000_000)
        );
        let both = either(one(0), one(1_000_000));
        assert_eq!(known(&folder, RuntimeKind::Native, &[0, 1]).await, both);
        assert_eq!(known(&folder, RuntimeKind::Ort, &[0]).await, []);
    }
}
