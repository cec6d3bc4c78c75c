//! The schema of a table's files, by looking into them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result as EngineResult};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use whimbrel_predict::locate::uneven_row;
use whimbrel_proto::{Error, ErrorCode};

use super::kinds::Kind;
use super::list::Found;
use super::merge::{merge, settle};
use super::table::{Csv, Format};

/// How many records of a CSV or JSON table are looked at, over all of its files.
const SAMPLE_RECORDS: usize = 10_000;
/// How many of its files are looked into for them.
const SAMPLE_FILES: usize = 32;
/// How many files are looked into at once.
const AT_ONCE: usize = 16;

/// The engine's reader of this format.
pub(super) fn reader(format: Format, sample_records: usize) -> Arc<dyn FileFormat> {
    match format {
        Format::Parquet => Arc::new(ParquetFormat::default()),
        Format::Arrow => Arc::new(ArrowFormat),
        Format::Json => Arc::new(JsonFormat::default().with_schema_infer_max_rec(sample_records)),
        Format::Csv(csv) => Arc::new(csv_reader(csv, sample_records)),
    }
}

fn csv_reader(csv: Csv, sample_records: usize) -> CsvFormat {
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
        .with_schema_infer_max_rec(sample_records)
}

/// The schema that the files share: of Parquet and Arrow by what every file says, of CSV and JSON by a sample of their records.
pub(super) async fn schema_of(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    format: Format,
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
    let every = match format {
        Format::Parquet | Format::Arrow => 1,
        Format::Csv(_) | Format::Json => filled.len().div_ceil(SAMPLE_FILES),
    };
    let sampled: Vec<&Found> = filled.iter().copied().step_by(every).collect();
    let records = SAMPLE_RECORDS / sampled.len().min(SAMPLE_FILES);
    let looks: Vec<_> = sampled
        .iter()
        .map(|&file| infer(session, store, format, records, file).boxed())
        .collect();
    let schemas: Vec<Schema> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let mut pairs = sampled.iter().zip(&schemas);
    let mut schema = pairs
        .next()
        .map_or_else(Schema::empty, |(_, schema)| schema.clone());
    for (file, other) in pairs {
        schema = merge(format, (first, &schema), (file, other))?;
    }
    settle(Kind::of(format), &first.shown, &schema)
}

/// The schema that one file shows in its first `records`.
async fn infer(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    format: Format,
    records: usize,
    file: &Found,
) -> Result<Schema, Error> {
    let inferred = match format {
        Format::Parquet | Format::Json | Format::Arrow => reader(format, records)
            .infer_schema(session, store, std::slice::from_ref(&file.meta))
            .await
            .map(|schema| schema.as_ref().clone()),
        Format::Csv(csv) => {
            let reader = csv_reader(csv, records);
            let inferred = infer_csv(session, reader, store, &file.meta.location).await;
            if inferred.is_err()
                && let Some(error) = uneven_row(
                    store.as_ref(),
                    &file.meta.location,
                    &file.shown,
                    csv.delimiter,
                )
                .await
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
        let cause = error.find_root().strip_backtrace();
        let text = format!(
            "'{}' cannot be read as {}: {cause}",
            file.shown,
            format.name()
        );
        Error::new(ErrorCode::Data, text)
            .with_hint("repair the file, or say its right format with --format")
    })
}

/// As the reader's own `infer_schema`, but a column name that comes twice is kept twice, to be refused and not passed over.
async fn infer_csv(
    session: &dyn Session,
    reader: CsvFormat,
    store: &Arc<dyn ObjectStore>,
    location: &Path,
) -> EngineResult<Schema> {
    let records = reader
        .options()
        .schema_infer_max_rec
        .unwrap_or(SAMPLE_RECORDS);
    let bytes = store
        .get(location)
        .await?
        .into_stream()
        .map_err(DataFusionError::from)
        .boxed();
    let rows = reader.read_to_delimited_chunks_from_stream(bytes);
    let (schema, _) = reader
        .infer_schema_from_stream(session, records, rows)
        .await?;
    Ok(schema)
}
