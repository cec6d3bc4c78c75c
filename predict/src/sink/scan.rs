//! A scan of text whose bad records do not end the work: they are rows, and one more column tells why they are bad.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::Statistics;
use datafusion::common::config::CsvOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{
    CsvSource, FileScanConfigBuilder, FileSource, JsonSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

use crate::input::{InputSource, Reading};

/// The scan with one more column, its last, called `told`; `None` where it is none of text.
pub(super) fn telling(
    scan: &Arc<dyn ExecutionPlan>,
    told: &str,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let scan = scan.downcast_ref::<DataSourceExec>();
    let Some((config, source)) =
        scan.and_then(DataSourceExec::downcast_to_file_source::<InputSource>)
    else {
        return Ok(None);
    };
    let table = source.table_schema();
    let own = table.file_schema().fields().len();
    let schema = widened(table, told);
    let Some(reader) = reader(source, schema.clone()) else {
        return Ok(None);
    };
    let projection = projection(source, own, told)?;
    let Some(reader) = reader.try_pushdown_projection(&projection)? else {
        return Ok(None);
    };
    let reading = Reading {
        told: true,
        ..source.reading().as_ref().clone()
    };
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(InputSource::new(reader, Arc::new(reading))))
        .with_statistics(Statistics::new_unknown(schema.table_schema()))
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

fn widened(table: &TableSchema, told: &str) -> TableSchema {
    let file = table.file_schema();
    // Of a bad record any column may be missing.
    let nullable = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_nullable(true));
    let mut fields: Vec<Arc<Field>> = file.fields().iter().map(nullable).collect();
    fields.push(Arc::new(Field::new(told, DataType::Utf8, true)));
    let file = Schema::new_with_metadata(fields, file.metadata().clone());
    TableSchemaBuilder::from(&Arc::new(file))
        .with_table_partition_cols(table.table_partition_cols().clone())
        .build()
}

/// The same reader over these columns; where quotes are escaped otherwise than by quotes, nobody knows where a record ends.
fn reader(source: &InputSource, schema: TableSchema) -> Option<Arc<dyn FileSource>> {
    if source.inner().downcast_ref::<JsonSource>().is_some() {
        return Some(Arc::new(JsonSource::new(schema)));
    }
    let csv = source.csv().filter(|csv| csv.escape().is_none())?;
    let options = CsvOptions {
        has_header: Some(csv.has_header()),
        delimiter: csv.delimiter(),
        quote: csv.quote(),
        comment: csv.comment(),
        newlines_in_values: Some(csv.newlines_in_values()),
        truncated_rows: Some(csv.truncate_rows()),
        ..CsvOptions::default()
    };
    Some(Arc::new(CsvSource::new(schema).with_csv_options(options)))
}

/// What is read of the columns, and the one that tells at the end.
fn projection(source: &InputSource, own: usize, told: &str) -> Result<ProjectionExprs> {
    let mut exprs: Vec<ProjectionExpr> = match source.projection() {
        Some(projection) => projection.iter().cloned().collect(),
        None => {
            let fields = source.table_schema().table_schema().fields().iter();
            fields
                .enumerate()
                .map(|(place, field)| column(field.name(), place))
                .collect()
        }
    };
    for expr in &mut exprs {
        expr.expr = moved(&expr.expr, own)?;
    }
    exprs.push(column(told, own));
    Ok(ProjectionExprs::new(exprs))
}

fn column(name: &str, place: usize) -> ProjectionExpr {
    ProjectionExpr {
        expr: Arc::new(Column::new(name, place)),
        alias: name.to_owned(),
    }
}

/// The columns of folders come after those of files, of which there is one more.
fn moved(expr: &Arc<dyn PhysicalExpr>, own: usize) -> Result<Arc<dyn PhysicalExpr>> {
    Arc::clone(expr)
        .transform_down(|expr| {
            Ok(match expr.downcast_ref::<Column>() {
                Some(column) if column.index() >= own => {
                    let moved = Column::new(column.name(), column.index() + 1);
                    Transformed::yes(Arc::new(moved) as Arc<dyn PhysicalExpr>)
                }
                Some(_) | None => Transformed::no(expr),
            })
        })
        .data()
}
