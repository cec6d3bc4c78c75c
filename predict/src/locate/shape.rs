//! Names the Parquet file whose column has another type than its table's: the engine's reader only knows the column.

use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_proto::{Error, ErrorCode};

use super::shown;
use crate::input::fits;

/// The error that names the file, out of those that `partition` reads; others come after them.
pub(super) async fn odd_file(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    context: &TaskContext,
    column: &str,
) -> Option<Error> {
    let mut scans = Vec::new();
    collect(plan, &mut scans);
    for own in [true, false] {
        for scan in &scans {
            let groups = scan.file_groups.iter().enumerate();
            for (_, group) in groups.filter(|(index, _)| (*index == partition) == own) {
                for file in group.iter() {
                    if let Some(error) = odd(scan, file, context, column).await {
                        return Some(error);
                    }
                }
            }
        }
    }
    None
}

fn collect<'a>(plan: &'a Arc<dyn ExecutionPlan>, scans: &mut Vec<&'a FileScanConfig>) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>()
        && let Some((config, _)) = scan.downcast_to_file_source::<ParquetSource>()
    {
        scans.push(config);
    }
    for child in plan.children() {
        collect(child, scans);
    }
}

async fn odd(
    scan: &FileScanConfig,
    file: &PartitionedFile,
    context: &TaskContext,
    column: &str,
) -> Option<Error> {
    let store = context
        .runtime_env()
        .object_store(&scan.object_store_url)
        .ok()?;
    let meta = &file.object_meta;
    let schema = DFParquetMetadata::new(store.as_ref(), meta)
        .fetch_schema()
        .await;
    let schema = schema.ok()?;
    let found = schema.field_with_name(column).ok()?.data_type();
    let table = scan.file_schema().field_with_name(column).ok()?.data_type();
    if fits(found, table) {
        return None;
    }
    let name = shown(scan, &meta.location);
    let text = format!(
        "parquet file '{name}' does not fit its table: its column '{column}' is {found}, not {table}"
    );
    Some(Error::new(ErrorCode::Data, text).with_hint(
        "make it a table of its own, write it anew with the table's types, or add the table again so that its types are found anew",
    ))
}
