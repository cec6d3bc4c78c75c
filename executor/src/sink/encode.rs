//! From rows to the bytes of a file, as they come: what has been encoded is taken away after every batch.

use std::fmt;
use std::mem;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::FileWriter;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::schema::types::ColumnPath;
use tokio::io::AsyncWriteExt;
use whimbrel_predict::sink::{ParquetCompression, SinkFormat, SinkSpec, TextCompression};
use whimbrel_proto::{Error, ErrorCode};

/// A row group is closed early where its pages have grown so large.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Stronger ones cost more than the bytes that they save.
const ZSTD_LEVEL: i32 = 1;
/// A page ends by its bytes: fewer rows would be compressed apart, which is slower and larger.
const PAGE_ROWS: usize = usize::MAX;
/// Rows between two looks at how large a page has grown.
const PAGE_STEP: usize = 8192;

/// An open file. Where there were no rows, there is no file.
pub(super) enum Encoder {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Arrow(Box<FileWriter<Vec<u8>>>),
    Text { lines: Lines, packer: Packer },
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// How a batch becomes text.
#[derive(Debug)]
pub(super) enum Lines {
    Csv { header: bool, delimiter: u8 },
    Json,
}

/// What text goes through.
pub(super) enum Packer {
    None(Vec<u8>),
    Gzip(Box<GzipEncoder<Vec<u8>>>),
    Zstd(Box<ZstdEncoder<Vec<u8>>>),
}

impl Encoder {
    /// A new file of rows with these columns.
    pub(super) fn new(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, Error> {
        match &spec.format {
            SinkFormat::Parquet {
                compression,
                row_group_rows,
            } => {
                let properties = properties(spec, schema, *compression, *row_group_rows);
                let options = ArrowWriterOptions::new().with_properties(properties);
                let writer = ArrowWriter::try_new_with_options(
                    Vec::new(),
                    SchemaRef::clone(schema),
                    options,
                )
                .map_err(unwritten)?;
                Ok(Self::Parquet(Box::new(writer)))
            }
            SinkFormat::Arrow => {
                let mut metadata = schema.metadata().clone();
                metadata.extend(spec.marks.iter().cloned());
                let marked = Schema::new_with_metadata(schema.fields().clone(), metadata);
                let writer = FileWriter::try_new(Vec::new(), &marked).map_err(unwritten)?;
                Ok(Self::Arrow(Box::new(writer)))
            }
            SinkFormat::Csv {
                header,
                delimiter,
                compression,
            } => Ok(Self::Text {
                lines: Lines::Csv {
                    header: *header,
                    delimiter: *delimiter,
                },
                packer: Packer::new(*compression),
            }),
            SinkFormat::Json { compression } => Ok(Self::Text {
                lines: Lines::Json,
                packer: Packer::new(*compression),
            }),
        }
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match self {
            Self::Parquet(writer) => {
                writer.write(batch).map_err(unwritten)?;
                if writer.in_progress_size() > ROW_GROUP_BYTES {
                    writer.flush().map_err(unwritten)?;
                }
                Ok(())
            }
            Self::Arrow(writer) => writer.write(batch).map_err(unwritten),
            Self::Text { lines, packer } => packer.add(&lines.of(batch)?).await,
        }
    }

    /// Ends the file.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        match self {
            Self::Parquet(writer) => writer.finish().map(drop).map_err(unwritten),
            Self::Arrow(writer) => writer.finish().map_err(unwritten),
            Self::Text { packer, .. } => packer.finish().await,
        }
    }

    /// What was encoded since it was asked last.
    pub(super) fn take(&mut self) -> Vec<u8> {
        mem::take(match self {
            Self::Parquet(writer) => writer.inner_mut(),
            Self::Arrow(writer) => writer.get_mut(),
            Self::Text { packer, .. } => packer.packed(),
        })
    }
}

fn properties(
    spec: &SinkSpec,
    schema: &SchemaRef,
    compression: ParquetCompression,
    row_group_rows: u64,
) -> WriterProperties {
    let compression = match compression {
        ParquetCompression::None => Compression::UNCOMPRESSED,
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Lz4 => Compression::LZ4_RAW,
        ParquetCompression::Gzip => Compression::GZIP(GzipLevel::default()),
        ParquetCompression::Zstd => {
            Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default())
        }
    };
    let marks = spec
        .marks
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let rows = usize::try_from(row_group_rows.max(1)).unwrap_or(usize::MAX);
    let mut builder = WriterProperties::builder();
    // Ids and predictions hardly repeat: a dictionary of them is built for nothing, and then makes files larger.
    for field in schema.fields() {
        if field.data_type().is_numeric() {
            let column = ColumnPath::from(field.name().as_str());
            builder = builder.set_column_dictionary_enabled(column, false);
        }
    }
    builder
        .set_compression(compression)
        .set_max_row_group_row_count(Some(rows))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_STEP)
        .set_created_by(concat!("whimbrel ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(marks.collect()))
        .build()
}

impl Lines {
    fn of(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        match self {
            Self::Csv { header, delimiter } => arrow::csv::WriterBuilder::new()
                .with_header(mem::take(header))
                .with_delimiter(*delimiter)
                .build(&mut text)
                .write(batch)
                .map_err(unwritten)?,
            Self::Json => {
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
                writer.write(batch).map_err(unwritten)?;
                writer.finish().map_err(unwritten)?;
            }
        }
        Ok(text)
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

impl Packer {
    fn new(compression: TextCompression) -> Self {
        match compression {
            TextCompression::None => Self::None(Vec::new()),
            TextCompression::Gzip => Self::Gzip(Box::new(GzipEncoder::new(Vec::new()))),
            TextCompression::Zstd => Self::Zstd(Box::new(ZstdEncoder::new(Vec::new()))),
        }
    }

    async fn add(&mut self, text: &[u8]) -> Result<(), Error> {
        match self {
            Self::None(bytes) => {
                bytes.extend_from_slice(text);
                Ok(())
            }
            Self::Gzip(encoder) => encoder.write_all(text).await.map_err(unwritten),
            Self::Zstd(encoder) => encoder.write_all(text).await.map_err(unwritten),
        }
    }

    async fn finish(&mut self) -> Result<(), Error> {
        match self {
            Self::None(_) => Ok(()),
            Self::Gzip(encoder) => encoder.shutdown().await.map_err(unwritten),
            Self::Zstd(encoder) => encoder.shutdown().await.map_err(unwritten),
        }
    }

    fn packed(&mut self) -> &mut Vec<u8> {
        match self {
            Self::None(bytes) => bytes,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }
    }
}

/// Nothing but memory is written to here, so it is the rows that do not fit.
fn unwritten(error: impl fmt::Display) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("the rows cannot be written in this format: {error}"),
    )
    .with_hint("leave the column out, cast it in the query, or write Parquet")
}
