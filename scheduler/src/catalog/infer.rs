//! What a table's files are: which of them belong to it, their format by the ending of their names, and their schema by
//! looking into them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Result as EngineResult};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingTableUrl;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use whimbrel_predict::locate::uneven_row;
use whimbrel_proto::{Error, ErrorCode};

use super::location::{Found, Listed};
use super::table::Format;

/// How many records of a CSV or JSON table are looked at, over all of its files.
const SAMPLE_RECORDS: usize = 10_000;
/// How many of its files are looked into for them.
const SAMPLE_FILES: usize = 32;

/// A format without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Parquet,
    Csv,
    Json,
}

impl Kind {
    pub(super) const NAMES: &'static str = "parquet, csv or json";

    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    fn of(format: Format) -> Self {
        match format {
            Format::Parquet => Self::Parquet,
            Format::Csv { .. } => Self::Csv,
            Format::Json => Self::Json,
        }
    }
}

fn ending(name: &str) -> Option<String> {
    name.rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase())
}

fn kind_of(file: &Found) -> Option<Kind> {
    kind_by_name(file.name())
}

fn kind_by_name(name: &str) -> Option<Kind> {
    match ending(name)?.as_str() {
        "parquet" | "pq" => Some(Kind::Parquet),
        "csv" | "tsv" => Some(Kind::Csv),
        "json" | "jsonl" | "ndjson" => Some(Kind::Json),
        _ => None,
    }
}

/// True where every file's name says that tabs part its fields.
pub(super) fn all_tabs(files: &[Found]) -> bool {
    !files.is_empty()
        && files
            .iter()
            .all(|file| ending(file.name()).as_deref() == Some("tsv"))
}

/// The files of `listed` that belong to the table, and their format where none is asked for. In a folder, files of other
/// endings are passed over; files that the user named, one by one or by a wildcard, are all taken.
pub(super) fn choose(
    uri: &str,
    listed: Listed,
    asked: Option<Kind>,
) -> Result<(Kind, Vec<Found>), Error> {
    let (files, named) = match listed {
        Listed::Named(files) => (files, true),
        Listed::Folder(files) => (files, false),
    };
    refuse_compressed(&files, named)?;
    let kinds: BTreeSet<Option<Kind>> = files.iter().map(kind_of).collect();
    let known: Vec<Kind> = kinds.iter().copied().flatten().collect();
    let kind = match (asked, known.as_slice()) {
        (Some(kind), _) => kind,
        (None, [kind]) if !named || kinds.len() == 1 => *kind,
        (None, [] | [_]) => return Err(no_format(uri, &files, named)),
        (None, several) => {
            let kinds: Vec<&str> = several.iter().map(|kind| kind.name()).collect();
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("'{uri}' holds {} files", kinds.join(" and ")),
            )
            .with_hint("say which with --format, or use a wildcard such as '*.csv'"));
        }
    };
    if named {
        return Ok((kind, files));
    }
    let files: Vec<Found> = files
        .into_iter()
        .filter(|file| kind_of(file) == Some(kind))
        .collect();
    Ok((kind, files))
}

/// A compressed file is refused where it would otherwise be read as it is, or its rows be missed without a word.
fn refuse_compressed(files: &[Found], named: bool) -> Result<(), Error> {
    let packed = |file: &&Found| {
        let Some((inner, "gz" | "bz2" | "xz" | "zst" | "zip")) = file.name().rsplit_once('.')
        else {
            return false;
        };
        named || kind_by_name(inner).is_some()
    };
    match files.iter().find(packed) {
        Some(file) => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{}' is compressed", file.path.display()),
        )
        .with_hint("unpack it, or write Parquet, which compresses by itself")),
        None => Ok(()),
    }
}

fn no_format(uri: &str, files: &[Found], named: bool) -> Error {
    let unknown = files.iter().find(|file| kind_of(file).is_none());
    match unknown {
        Some(file) if named => {
            let text = format!(
                "cannot tell the format of '{}' by its ending",
                file.path.display()
            );
            Error::new(ErrorCode::Invalid, text).with_hint(format!("say --format {}", Kind::NAMES))
        }
        Some(_) => Error::new(
            ErrorCode::Invalid,
            format!("the folder '{uri}' has no .parquet, .csv or .json file"),
        )
        .with_hint(format!(
            "name files of other endings with a wildcard, '{uri}/*', and say --format {}",
            Kind::NAMES
        )),
        None => no_files(uri),
    }
}

pub(super) fn no_files(uri: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("the folder '{uri}' has no data file"))
        .with_hint("put a file there first, so that the table's columns are known; names that begin with _ or . do not count")
}

/// The engine's reader of this format.
pub(super) fn reader(format: Format, sample_records: usize) -> Arc<dyn FileFormat> {
    match format {
        Format::Parquet => Arc::new(ParquetFormat::default()),
        Format::Json => Arc::new(JsonFormat::default().with_schema_infer_max_rec(sample_records)),
        Format::Csv { header, delimiter } => {
            Arc::new(csv_reader(header, delimiter, sample_records))
        }
    }
}

fn csv_reader(header: bool, delimiter: u8, sample_records: usize) -> CsvFormat {
    CsvFormat::default()
        .with_has_header(header)
        .with_delimiter(delimiter)
        .with_schema_infer_max_rec(sample_records)
}

/// The file as the engine's listings name it.
pub(super) fn url_of(file: &Found) -> Result<ListingTableUrl, Error> {
    let bug = |what: String| {
        Error::new(
            ErrorCode::Bug,
            format!("cannot name '{}': {what}", file.path.display()),
        )
    };
    let root = ListingTableUrl::parse("file:///").map_err(|error| bug(error.to_string()))?;
    let mut url = root.get_url().clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.clear();
        parts.extend(file.path.iter().skip(1).filter_map(|part| part.to_str()));
    }
    ListingTableUrl::try_new(url, None).map_err(|error| bug(error.to_string()))
}

/// The schema that the files share: of Parquet by every file's footer, of CSV and JSON by a sample of their records.
pub(super) async fn schema_of(
    session: &dyn Session,
    format: Format,
    files: &[Found],
) -> Result<SchemaRef, Error> {
    let filled: Vec<&Found> = files.iter().filter(|file| file.bytes > 0).collect();
    let Some(first) = filled.first() else {
        let what = files
            .first()
            .map_or_else(String::new, |file| file.path.display().to_string());
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{what}' is empty: it does not say which columns it has"),
        )
        .with_hint("a table without rows needs at least a header line, or a Parquet file"));
    };
    let sampled = match format {
        Format::Parquet => filled.len(),
        Format::Csv { .. } | Format::Json => filled.len().min(SAMPLE_FILES),
    };
    let records = SAMPLE_RECORDS / sampled;
    let mut schema = infer(session, format, records, first).await?;
    for file in &filled[1..sampled] {
        let other = infer(session, format, records, file).await?;
        schema = merge(format, (first, &schema), (file, &other))?;
    }
    settle(Kind::of(format), &first.path.display().to_string(), &schema)
}

/// The schema that one file shows in its first `records`.
async fn infer(
    session: &dyn Session,
    format: Format,
    records: usize,
    file: &Found,
) -> Result<Schema, Error> {
    let url = url_of(file)?;
    let store = session.runtime_env().object_store(&url).map_err(|error| {
        Error::new(ErrorCode::Bug, format!("no store for local files: {error}"))
    })?;
    let meta = ObjectMeta {
        location: url.prefix().clone(),
        last_modified: file.modified.into(),
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    let inferred = match format {
        Format::Parquet | Format::Json => {
            let schema = reader(format, records)
                .infer_schema(session, &store, &[meta])
                .await;
            schema.map(|schema| schema.as_ref().clone())
        }
        Format::Csv { header, delimiter } => {
            let inferred = infer_csv(
                session,
                csv_reader(header, delimiter, records),
                &store,
                &meta.location,
            )
            .await;
            if inferred.is_err()
                && let Some(error) = uneven_row(
                    store.as_ref(),
                    url.prefix(),
                    &file.path.display().to_string(),
                    delimiter,
                )
                .await
            {
                return Err(error);
            }
            inferred
        }
    };
    inferred.map_err(|error| {
        let cause = error.find_root().strip_backtrace();
        let text = format!(
            "'{}' cannot be read as {}: {cause}",
            file.path.display(),
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

type Named<'a> = (&'a Found, &'a Schema);

/// One schema for two files. CSV columns belong together by position, so there the names must agree; columns of Parquet and
/// JSON files are found by name, and one that a file lacks is NULL in its rows.
fn merge(
    format: Format,
    (first, one): Named<'_>,
    (file, other): Named<'_>,
) -> Result<Schema, Error> {
    let differ = |what: String| {
        let text = format!(
            "'{}' does not fit '{}': {what}",
            file.path.display(),
            first.path.display()
        );
        Error::new(ErrorCode::Data, text)
            .with_hint("add files of one shape as one table, the others as another")
    };
    if let Format::Csv { header, .. } = format {
        let names = |schema: &Schema| -> Vec<String> {
            schema.fields().iter().map(|f| f.name().clone()).collect()
        };
        let (ours, theirs) = (names(one), names(other));
        if ours.len() != theirs.len() {
            return Err(differ(format!(
                "it has {} columns, not {}",
                theirs.len(),
                ours.len()
            )));
        }
        if header
            && let Some((ours, theirs)) = ours
                .iter()
                .zip(&theirs)
                .find(|(ours, theirs)| ours != theirs)
        {
            return Err(differ(format!(
                "it has the column '{theirs}' where '{ours}' is expected"
            )));
        }
    }
    let mut fields: Vec<Field> = one
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for field in other.fields() {
        match fields.iter_mut().find(|known| known.name() == field.name()) {
            Some(known) => {
                let wider =
                    wider(format, known.data_type(), field.data_type()).ok_or_else(|| {
                        differ(format!(
                            "its column '{}' is {}, not {}",
                            field.name(),
                            field.data_type(),
                            known.data_type()
                        ))
                    })?;
                *known = known
                    .clone()
                    .with_data_type(wider)
                    .with_nullable(known.is_nullable() || field.is_nullable());
            }
            None => fields.push(field.as_ref().clone().with_nullable(true)),
        }
    }
    Ok(Schema::new(fields))
}

/// The type that holds both. A text format's types were only guessed, so text holds everything; Parquet's are facts.
fn wider(format: Format, one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64, Null, Utf8};
    match (one, other) {
        (one, other) if one == other => Some(one.clone()),
        (Null, known) | (known, Null) => Some(known.clone()),
        (Int64, Float64) | (Float64, Int64) => Some(Float64),
        (one, other) if one.is_nested() || other.is_nested() => None,
        _ => match format {
            Format::Csv { .. } | Format::Json => Some(Utf8),
            Format::Parquet => None,
        },
    }
}

/// Whether nothing is known of any column but its name: the table is of a text format and has no rows.
pub(super) fn is_untyped(schema: &Schema) -> bool {
    let mut types = schema.fields().iter().map(|field| field.data_type());
    types.all(DataType::is_null)
}

/// Columns of a text format without any value are text, so that later ones are kept as they are. Where no column has one there
/// are no rows, and NULL fits everything that a query may ask of them. A table has columns, each of its own name.
fn settle(kind: Kind, file: &str, schema: &Schema) -> Result<SchemaRef, Error> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !seen.insert(field.name()))
    {
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{file}' has two columns named '{}'", twice.name()),
        )
        .with_hint("rename one of them in the file"));
    }
    if schema.fields().is_empty() {
        return Err(Error::new(
            ErrorCode::Data,
            format!("'{file}' has no columns"),
        ));
    }
    if kind == Kind::Parquet || is_untyped(schema) {
        return Ok(schema.clone().into());
    }
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    });
    Ok(Schema::new(fields.collect::<Vec<Field>>()).into())
}
