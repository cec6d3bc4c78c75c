//! Arrow files of one table need not be of one shape: columns are found by their names. The engine takes them by position.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_footer_length;
use arrow::ipc::root_as_footer;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    ArrowSource, FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::datasource::table_schema::TableSchemaBuilder;
use datafusion::error::{DataFusionError, Result};
use datafusion::object_store::path::Path;
use datafusion::object_store::{GetOptions, GetRange, ObjectStore};
use datafusion::physical_expr::projection::ProjectionExprs;
use futures::{FutureExt, StreamExt};
use whimbrel_proto::{Error, ErrorCode};

use super::types::fits;
use crate::error::external;

/// The length of the footer, and the mark behind it.
const TAIL: usize = 10;

/// The columns that an Arrow file says it has.
pub async fn arrow_schema(store: &dyn ObjectStore, location: &Path, shown: &str) -> Result<Schema> {
    let suffix = async |length: u64| -> Result<bytes::Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Suffix(length)),
            ..GetOptions::default()
        };
        Ok(store.get_opts(location, options).await?.bytes().await?)
    };
    let broken = |why: &str| {
        let text = format!("'{shown}' cannot be read as arrow: {why}");
        let hint =
            "write Arrow's file format (also called Feather V2); its stream format is not read";
        external(Error::new(ErrorCode::Data, text).with_hint(hint))
    };
    let tail = suffix(TAIL as u64).await?;
    let tail: [u8; TAIL] = tail
        .as_ref()
        .try_into()
        .map_err(|_| broken("it is too short"))?;
    let length =
        read_footer_length(tail).map_err(|_| broken("it does not end as an Arrow file does"))?;
    let footer = suffix((length + TAIL) as u64).await?;
    let footer = footer
        .get(..length)
        .ok_or_else(|| broken("its footer is longer than the file"))?;
    let footer = root_as_footer(footer).map_err(|_| broken("its footer is damaged"))?;
    let schema = footer
        .schema()
        .ok_or_else(|| broken("it says no columns"))?;
    Ok(fb_to_schema(schema))
}

/// Opens files whose columns are found by name.
pub(super) struct ArrowOpener {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) config: FileScanConfig,
    pub(super) partition: usize,
    /// The columns to be given.
    pub(super) wanted: SchemaRef,
}

impl FileOpener for ArrowOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let (store, config) = (Arc::clone(&self.store), self.config.clone());
        let (partition, wanted) = (self.partition, Arc::clone(&self.wanted));
        Ok(async move {
            let location = file.object_meta.location.clone();
            let shown = crate::locate::shown(&config, &location);
            let schema = arrow_schema(store.as_ref(), &location, &shown).await?;
            let indices = present(&wanted, &schema, &shown)?;
            let inner = reader(&schema, &indices)?;
            let opener = inner.create_file_opener(store, &config, partition)?;
            let file = PartitionedFile {
                partition_values: Vec::new(),
                ..file
            };
            let batches = opener.open(file)?.await.map_err(blamed)?;
            let adapt = move |batch: Result<RecordBatch>| adapted(&batch.map_err(blamed)?, &wanted);
            Ok(batches.map(adapt).boxed())
        }
        .boxed())
    }
}

/// Nobody gives the reader an argument but the file.
fn blamed(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::ArrowError(inner, at) => {
            let inner = match *inner {
                ArrowError::InvalidArgumentError(text) | ArrowError::SchemaError(text) => {
                    ArrowError::IpcError(text)
                }
                other => other,
            };
            DataFusionError::ArrowError(Box::new(inner), at)
        }
        other => other,
    }
}

/// The file's columns that are wanted.
fn present(wanted: &Schema, file: &Schema, shown: &str) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    for field in wanted.fields() {
        let Ok(index) = file.index_of(field.name()) else {
            continue;
        };
        let found = file.field(index).data_type();
        let nested = found.is_nested() && found != field.data_type();
        if nested || !fits(found, field.data_type()) {
            let text = format!(
                "arrow file '{shown}' does not fit its table: its column '{}' is {found}, not {}",
                field.name(),
                field.data_type()
            );
            return Err(external(Error::new(ErrorCode::Data, text).with_hint(
                "make it a table of its own, or write it anew with the table's types",
            )));
        }
        indices.push(index);
    }
    Ok(indices)
}

fn reader(schema: &Schema, indices: &[usize]) -> Result<Arc<dyn FileSource>> {
    let table = TableSchemaBuilder::from(&Arc::new(schema.clone())).build();
    let source: Arc<dyn FileSource> = Arc::new(ArrowSource::new_file_source(table));
    let projection = ProjectionExprs::from_indices(indices, schema);
    match source.try_pushdown_projection(&projection)? {
        Some(projected) => Ok(projected),
        None => Err(DataFusionError::Internal(
            "the Arrow reader takes no projection".to_owned(),
        )),
    }
}

/// The batch with the wanted columns, in their order and types.
fn adapted(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let column = |name: &str, field: &arrow::datatypes::Field| -> Result<ArrayRef> {
        match batch.column_by_name(name) {
            Some(column) => Ok(cast_with_options(column, field.data_type(), &exact)?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        }
    };
    let fields = wanted.fields().iter();
    let columns = fields
        .map(|field| column(field.name(), field))
        .collect::<Result<Vec<_>>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(wanted),
        columns,
        &rows,
    )?)
}
