//! The schema of a table's files, by looking into some of them.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::json::reader::infer_json_schema;
use bytes::{Bytes, BytesMut};
use datafusion::catalog::Session;
use datafusion::common::Result as EngineResult;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use whimbrel_predict::error::find;
use whimbrel_predict::input::{Piece, Reading, arrow_schema, open, sniffed};
use whimbrel_predict::locate::uneven_row;
use whimbrel_proto::{Error, ErrorCode};

use super::kinds::Kind;
use super::list::Found;
use super::merge::{merge, settle};
use super::table::{Csv, Format, Table};

/// How many records of a CSV or JSON table are looked at, over all of its files, where the user does not say.
const SAMPLE_RECORDS: usize = 10_000;
/// How many of a table's files are looked into: the first, the last, and some between them.
const SAMPLE_FILES: usize = 32;
/// How many files are looked into at once.
const AT_ONCE: usize = 16;
/// A JSON record is not looked for beyond this.
const MOST_BYTES: usize = 64 << 20;

/// What is looked at, and how.
pub(super) struct Sample<'a> {
    format: Format,
    reading: &'a Reading,
    records: usize,
}

impl<'a> Sample<'a> {
    /// `records` are those of the user; 0: not said.
    pub(super) fn new(table: &'a Table, records: u64) -> Self {
        Self::of(table.format, &table.reading, records)
    }

    pub(super) fn of(format: Format, reading: &'a Reading, records: u64) -> Self {
        let said = usize::try_from(records).unwrap_or(usize::MAX);
        Self {
            format,
            reading,
            records: if said == 0 { SAMPLE_RECORDS } else { said },
        }
    }
}

/// The engine's reader of this format.
pub(super) fn reader(format: Format) -> Arc<dyn FileFormat> {
    match format {
        Format::Parquet => Arc::new(ParquetFormat::default()),
        Format::Arrow => Arc::new(ArrowFormat),
        Format::Json => Arc::new(JsonFormat::default()),
        Format::Csv(csv) => Arc::new(csv_reader(csv)),
    }
}

fn csv_reader(csv: Csv) -> CsvFormat {
    let Csv {
        header,
        delimiter,
        quote,
        escape,
        comment,
        multiline,
    } = csv;
    CsvFormat::default()
        .with_has_header(header)
        .with_delimiter(delimiter)
        .with_quote(quote)
        .with_escape(escape)
        .with_comment(comment)
        .with_newlines_in_values(multiline)
}

/// The first, the last, and others evenly between them.
fn spread<'a, T>(all: &[&'a T], most: usize) -> Vec<&'a T> {
    if all.len() <= most {
        return all.to_vec();
    }
    let last = all.len() - 1;
    (0..most).map(|at| all[at * last / (most - 1)]).collect()
}

/// The schema that the files share, as some of them tell it. Where not all were asked, any column may have NULLs.
pub(super) async fn schema_of(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    sample: &Sample<'_>,
    files: &[Found],
) -> Result<SchemaRef, Error> {
    let filled: Vec<&Found> = files.iter().filter(|file| file.meta.size > 0).collect();
    let Some(first) = filled.first() else {
        let what = files
            .first()
            .map_or("the table", |file| file.shown.as_str());
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{what}' is empty: it does not say which columns it has"),
        )
        .with_hint("a table without rows needs at least a header line, or a Parquet file"));
    };
    let sampled = spread(&filled, SAMPLE_FILES);
    let records = sample.records.div_ceil(sampled.len());
    let looks: Vec<_> = sampled
        .iter()
        .map(|&file| infer(session, store, sample, records, file).boxed())
        .collect();
    let schemas: Vec<Schema> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let mut pairs = sampled.iter().zip(&schemas);
    let mut schema = pairs
        .next()
        .map_or_else(Schema::empty, |(_, schema)| schema.clone());
    for (file, other) in pairs {
        schema = merge(sample.format, (first, &schema), (file, other))?;
    }
    if sampled.len() < filled.len() {
        let fields = schema.fields().iter();
        let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        schema = Schema::new(fields.map(nullable).collect::<Vec<_>>());
    }
    settle(Kind::of(sample.format), &first.shown, &schema)
}

/// The schema that one file shows in its first `records`.
async fn infer(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    sample: &Sample<'_>,
    records: usize,
    file: &Found,
) -> Result<Schema, Error> {
    let (location, shown) = (&file.meta.location, file.shown.as_str());
    let inferred = match sample.format {
        Format::Parquet => reader(sample.format)
            .infer_schema(session, store, std::slice::from_ref(&file.meta))
            .await
            .map(|schema| schema.as_ref().clone()),
        Format::Arrow => arrow_schema(store.as_ref(), location, shown).await,
        Format::Json => infer_json(store, sample.reading, records, file).await,
        Format::Csv(csv) => {
            let inferred = infer_csv(session, store, csv, sample.reading, records, file).await;
            if inferred.as_ref().is_err_and(|error| find(error).is_none())
                && let Some(error) =
                    uneven_row(store, location, shown, csv.delimiter, sample.reading).await
            {
                return Err(error);
            }
            inferred
        }
    };
    inferred.map_err(|error| {
        if let Some(error) = whimbrel_stores::spent(&error) {
            return error.clone();
        }
        if let Some(own) = find(&error) {
            return own.clone();
        }
        let cause = error.find_root().strip_backtrace();
        let text = format!(
            "'{shown}' cannot be read as {}: {cause}",
            sample.format.name()
        );
        let hint = match sample.format {
            Format::Csv(_) | Format::Json => {
                "repair the file, or say its right format with --format, or its encoding with --encoding"
            }
            Format::Parquet | Format::Arrow => {
                "repair the file, or say its right format with --format"
            }
        };
        Error::new(ErrorCode::Data, text).with_hint(hint)
    })
}

async fn text_of(
    store: &Arc<dyn ObjectStore>,
    reading: &Reading,
    file: &Found,
) -> EngineResult<BoxStream<'static, EngineResult<Bytes>>> {
    let piece = Piece {
        location: &file.meta.location,
        shown: &file.shown,
        range: None,
    };
    sniffed(open(store, piece, reading).await?, &file.shown).await
}

/// As the reader's own `infer_schema`, but a column name that comes twice is kept twice, to be refused and not passed over.
async fn infer_csv(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    csv: Csv,
    reading: &Reading,
    records: usize,
    file: &Found,
) -> EngineResult<Schema> {
    let mut options = csv_reader(csv).options().clone();
    options.null_regex = reading.null_pattern();
    let reader = CsvFormat::default().with_options(options);
    let text = text_of(store, reading, file).await?;
    let rows = reader.read_to_delimited_chunks_from_stream(text);
    let (schema, _) = reader
        .infer_schema_from_stream(session, records, rows)
        .await?;
    Ok(schema)
}

/// By the file's first records; what is cut off behind them does not count.
async fn infer_json(
    store: &Arc<dyn ObjectStore>,
    reading: &Reading,
    records: usize,
    file: &Found,
) -> EngineResult<Schema> {
    let mut text = text_of(store, reading, file).await?;
    let (mut head, mut lines, mut whole) = (BytesMut::new(), 0, true);
    while let Some(more) = text.try_next().await? {
        lines += more.iter().filter(|byte| **byte == b'\n').count();
        head.extend_from_slice(&more);
        if lines > records || head.len() > MOST_BYTES {
            whole = false;
            break;
        }
    }
    if !whole && let Some(end) = head.iter().rposition(|byte| *byte == b'\n') {
        head.truncate(end + 1);
    }
    let (schema, _) = infer_json_schema(Cursor::new(head), Some(records))?;
    Ok(schema)
}
