//! The formats: each turns batches into bytes, with bounded memory.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::Place;
use super::destination::Bytes;
use super::nested;
use super::table::TableWriter;
use crate::cli::args::Format;

/// Large enough that readers find long runs, small enough to hold one in memory.
const ROW_GROUP_ROWS: usize = 1 << 20;
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Turns batches into bytes.
pub(super) enum Encoder {
    Table(TableWriter<Bytes>),
    Csv(arrow::csv::Writer<Bytes>, SchemaRef),
    Json(arrow::json::LineDelimitedWriter<Bytes>),
    ArrowFile(FileWriter<Bytes>),
    ArrowStream(StreamWriter<Bytes>),
    Parquet(Box<ArrowWriter<Bytes>>),
}

/// Why a batch could not be encoded; an error of the writer below is remembered there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Encoder {
    pub(super) fn start(
        format: Format,
        place: &Place,
        schema: &SchemaRef,
        bytes: Bytes,
    ) -> Result<Self, Error> {
        Ok(match (format, place) {
            (Format::Table, _) => Self::Table(TableWriter::new(bytes, Arc::clone(schema))),
            (Format::Csv, _) => {
                let mut writer = arrow::csv::WriterBuilder::new()
                    .with_header(true)
                    .build(bytes);
                // The header comes with the first batch, and a result without rows has one too.
                if !schema.fields().is_empty() {
                    writer.write(&nested::for_csv(&RecordBatch::new_empty(Arc::clone(
                        schema,
                    )))?)?;
                }
                Self::Csv(writer, Arc::clone(schema))
            }
            (Format::Json, _) => Self::Json(
                arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build(bytes),
            ),
            (Format::Arrow, Place::File(_)) => Self::ArrowFile(FileWriter::try_new_with_options(
                bytes,
                &plain_schema(schema),
                ipc_options()?,
            )?),
            (Format::Arrow, Place::Stdout | Place::Nowhere) => Self::ArrowStream(
                StreamWriter::try_new_with_options(bytes, &plain_schema(schema), ipc_options()?)?,
            ),
            (Format::Parquet, _) => {
                let properties = parquet_properties(schema);
                Self::Parquet(Box::new(ArrowWriter::try_new(
                    bytes,
                    Arc::clone(schema),
                    Some(properties),
                )?))
            }
        })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match self {
            Self::Table(writer) => writer.write(batch)?,
            Self::Csv(writer, schema) if !schema.fields().is_empty() => {
                writer.write(&nested::for_csv(batch)?)?;
            }
            Self::Csv(..) => {}
            Self::Json(writer) => writer.write(&nested::for_json(batch)?)?,
            Self::ArrowFile(writer) => writer.write(&plain(batch)?)?,
            Self::ArrowStream(writer) => writer.write(&plain(batch)?)?,
            Self::Parquet(writer) => {
                writer.write(batch)?;
                if writer.memory_size() > ROW_GROUP_BYTES {
                    writer.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Nothing more is to come for a while: a reader gets what there is.
    pub(super) fn finish(self) -> Result<(), Error> {
        let mut bytes = match self {
            Self::Table(writer) => writer.finish()?,
            Self::Csv(writer, _) => writer.into_inner(),
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::ArrowFile(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Self::ArrowStream(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Self::Parquet(writer) => writer.into_inner()?,
        };
        bytes.flush()?;
        Ok(())
    }
}

fn ipc_options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))
}

fn parquet_properties(schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema
        .fields()
        .iter()
        .filter(|field| field.data_type().is_floating())
    {
        // Predictions hardly repeat: a dictionary would cost a hash for each and then be thrown away.
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
    }
    properties.build()
}

/// An Arrow file has one dictionary for each column, but every part of a result brings its own: values are written out.
fn plain_schema(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(
            Field::new(field.name(), values.as_ref().clone(), field.is_nullable())
                .with_metadata(field.metadata().clone()),
        ),
        _ => Arc::clone(field),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_dictionary = |column: &ArrayRef| matches!(column.data_type(), DataType::Dictionary(..));
    if !batch.columns().iter().any(is_dictionary) {
        return Ok(batch.clone());
    }
    let schema = Arc::new(plain_schema(batch.schema_ref()));
    let cast =
        |(column, field): (&ArrayRef, &Arc<Field>)| arrow::compute::cast(column, field.data_type());
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(cast)
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}
