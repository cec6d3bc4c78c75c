//! Names the file and the line of a CSV row that could not be read, or the Parquet file that does not fit. The engine's reader knows neither: it counts records
//! from the start of the byte range it was given. So once a scan has failed, the files of the failed task are read again up
//! to the record complained of, and only a record that deserves the complaint is reported. Files of other formats are searched
//! for damage.

mod complaint;
mod damage;
mod records;
mod shape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use whimbrel_proto::{Error, ErrorCode};

use self::complaint::Complaint;
pub use self::damage::broken_file;
pub(crate) use self::records::{Record, Records, fields};
use crate::input::{InputSource, Piece, Reading, open, unfit_column};

const HINT: &str = "repair the row; a text with a delimiter or a line break in it needs quotes";
const TYPE_HINT: &str = "repair the row, or add the table again so that its types are found anew";

/// One CSV scan of a plan.
struct Scan {
    config: FileScanConfig,
    reading: Arc<Reading>,
    delimiter: u8,
    quote: u8,
}

/// The error to show for a scan of `plan` that failed with `error` while it read `partition`; `None` where the error is not
/// about a CSV file. Reads the files again: for the way out of a failed task only.
pub async fn broken_row(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    context: &TaskContext,
    error: &(dyn std::error::Error + Send + Sync + 'static),
) -> Option<Error> {
    if let Some(column) = error
        .downcast_ref::<DataFusionError>()
        .and_then(unfit_column)
    {
        return shape::odd_file(plan, partition, context, column).await;
    }
    let text = csv_error(error)?;
    let mut scans = Vec::new();
    collect_scans(plan, &mut scans);
    let first = scans
        .iter()
        .flat_map(|scan| scan.config.file_groups.iter())
        .flat_map(|group| group.iter())
        .next()?;
    let first = shown(&scans[0].config, &first.object_meta.location);
    let Some(complaint) = Complaint::parse(&text) else {
        return Some(unlocated(&first, &text));
    };
    // The failed partition's own files come first; others follow, for plans that number their partitions differently.
    for own in [true, false] {
        for scan in &scans {
            let groups = scan.config.file_groups.iter().enumerate();
            for (_, group) in groups.filter(|(index, _)| (*index == partition) == own) {
                for file in group.iter() {
                    if let Some(error) = search(scan, file, context, &complaint).await {
                        return Some(error);
                    }
                }
            }
        }
    }
    Some(unlocated(&first, &text))
}

/// The error to show for the first record of a file that has not as many fields as its first record; `None` where all have.
pub async fn uneven_row(
    store: &Arc<dyn ObjectStore>,
    location: &Path,
    name: &str,
    delimiter: u8,
    reading: &Reading,
) -> Option<Error> {
    let mut width = None;
    let uneven = |record: &Record| {
        let width = *width.get_or_insert(record.fields);
        let told = || format!("expected {width} fields, got {}", record.fields);
        (record.fields != width).then(told).map(Some)
    };
    let (line, what) = find(
        store,
        (location, name),
        0,
        reading,
        (delimiter, b'"'),
        uneven,
    )
    .await
    .ok()??;
    Some(told(name, line, &what, HINT))
}

fn told(file: &str, line: u64, what: &str, hint: &str) -> Error {
    Error::new(
        ErrorCode::Data,
        format!("csv file '{file}' line {line}: {what}"),
    )
    .with_hint(hint)
}

fn unlocated(file: &str, text: &str) -> Error {
    Error::new(
        ErrorCode::Data,
        format!("a csv file of the scan that begins with '{file}' cannot be read: {text}"),
    )
    .with_hint(HINT)
}

/// The reader's text, wherever in the chain of causes it is.
fn csv_error(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(ArrowError::CsvError(text) | ArrowError::ParseError(text)) =
            error.downcast_ref::<ArrowError>()
        {
            return Some(text.clone());
        }
        cause = error.source();
    }
    None
}

fn collect_scans(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<Scan>) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>()
        && let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>()
        && let Some((source, reading)) = csv(config)
    {
        scans.push(Scan {
            config: config.clone(),
            reading,
            delimiter: source.delimiter(),
            quote: source.quote(),
        });
    }
    for child in plan.children() {
        collect_scans(child, scans);
    }
}

fn csv(config: &FileScanConfig) -> Option<(&CsvSource, Arc<Reading>)> {
    let source = config.file_source();
    match source.downcast_ref::<InputSource>() {
        Some(input) => Some((input.csv()?, Arc::clone(input.reading()))),
        None => Some((source.downcast_ref::<CsvSource>()?, Arc::default())),
    }
}

pub(crate) fn shown(config: &FileScanConfig, location: &Path) -> String {
    let store = config.object_store_url.as_str();
    match store {
        "file:///" => format!("/{location}"),
        store => format!("{store}{location}"),
    }
}

async fn search(
    scan: &Scan,
    file: &PartitionedFile,
    context: &TaskContext,
    complaint: &Complaint,
) -> Option<Error> {
    let store = context
        .runtime_env()
        .object_store(&scan.config.object_store_url)
        .ok()?;
    let start = file
        .range
        .as_ref()
        .map_or(0, |range| u64::try_from(range.start).unwrap_or(0));
    let columns: Vec<String> = scan
        .config
        .file_schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let (delimiter, quote) = (scan.delimiter, scan.quote);
    let deserves = |record: &Record| {
        (record.index == complaint.record())
            .then(|| complaint.fits(record, delimiter, quote, &columns))
    };
    let location = &file.object_meta.location;
    let name = shown(&scan.config, location);
    let marks = (delimiter, quote);
    let file = (location, name.as_str());
    match find(&store, file, start, &scan.reading, marks, deserves).await {
        Ok(found) => {
            let (line, what) = found?;
            let hint = match complaint {
                Complaint::Fields { .. } | Complaint::Encoding { .. } => HINT,
                Complaint::Value { .. } => TYPE_HINT,
            };
            Some(told(&name, line, &what, hint))
        }
        Err(error) => {
            tracing::debug!(%error, file = %location, "cannot look for the broken row");
            None
        }
    }
}

/// Reads the records of a file from the first that begins at byte `start` or later, until `look` has an answer: the line and
/// what is wrong, or that nothing is.
async fn find(
    store: &Arc<dyn ObjectStore>,
    (location, shown): (&Path, &str),
    start: u64,
    reading: &Reading,
    (delimiter, quote): (u8, u8),
    mut look: impl FnMut(&Record) -> Option<Option<String>>,
) -> Result<Option<(u64, String)>> {
    let whole = Piece {
        location,
        shown,
        range: None,
    };
    let mut bytes = open(store, whole, reading).await?;
    let (mut position, mut lines) = (0, 1);
    let mut records = (start == 0).then(|| Records::new(delimiter, quote, 1));
    while let Some(chunk) = bytes.next().await {
        for byte in chunk? {
            match &mut records {
                None => {
                    lines += u64::from(byte == b'\n');
                    // As the engine aligns its ranges: a range begins after the first line end at or after `start - 1`.
                    if byte == b'\n' && position + 1 >= start {
                        records = Some(Records::new(delimiter, quote, lines));
                    }
                }
                Some(records) => {
                    if let Some(record) = records.push(byte)
                        && let Some(answer) = look(&record)
                    {
                        return Ok(answer.map(|what| (record.line, what)));
                    }
                }
            }
            position += 1;
        }
    }
    let last = records.and_then(|mut records| records.end());
    Ok(last.and_then(|record| look(&record).flatten().map(|what| (record.line, what))))
}
