//! Parquet columns whose type is another than the table's. The engine casts what it can, digits lost; here a column that does
//! not fit is an error. A column that a file lacks is NULL there.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_proto::{Error, ErrorCode};

use super::types::fits;
use crate::error::{external, find};

const UNFIT: &str = "a file's column '";

/// The plan with an eye on the types of its Parquet files. It does not travel: executors ask for it anew.
pub fn strict(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        let Some(scan) = node.downcast_ref::<DataSourceExec>() else {
            return Ok(Transformed::no(node));
        };
        let Some((config, _)) = scan.downcast_to_file_source::<ParquetSource>() else {
            return Ok(Transformed::no(node));
        };
        let config: FileScanConfig = FileScanConfigBuilder::from(config.clone())
            .with_expr_adapter(Some(Arc::new(StrictColumns)))
            .build();
        Ok(Transformed::yes(
            DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>
        ))
    });
    plan.data()
}

/// See the module.
#[derive(Debug)]
pub struct StrictColumns;

impl PhysicalExprAdapterFactory for StrictColumns {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let engine =
            DefaultPhysicalExprAdapterFactory.create(Arc::clone(&table), Arc::clone(&file))?;
        Ok(Arc::new(StrictAdapter {
            table,
            file,
            engine,
        }))
    }
}

#[derive(Debug)]
struct StrictAdapter {
    table: SchemaRef,
    file: SchemaRef,
    engine: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for StrictAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.apply(|part| {
            if let Some(column) = part.downcast_ref::<Column>()
                && let (Ok(table), Ok(file)) = (
                    self.table.field_with_name(column.name()),
                    self.file.field_with_name(column.name()),
                )
                && !fits(file.data_type(), table.data_type())
            {
                return Err(unfit(column.name(), file.data_type(), table.data_type()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        self.engine.rewrite(expr)
    }
}

fn unfit(column: &str, file: &DataType, table: &DataType) -> DataFusionError {
    let text = format!("{UNFIT}{column}' is {file}, not {table}");
    external(Error::new(ErrorCode::Data, text))
}

/// The column that a scan failed for, where that is why.
pub(crate) fn unfit_column(error: &DataFusionError) -> Option<&str> {
    let text = find(error)?.message().strip_prefix(UNFIT)?;
    text.rsplit_once("' is ").map(|(column, _)| column)
}
