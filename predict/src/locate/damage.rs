//! Finds the damage in a Parquet, Arrow or JSON file that a task could not read, by reading the task's files again: the reader's own
//! errors name no file, and seldom a place in it.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::json::ReaderBuilder;
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    ArrowSource, FileScanConfig, JsonSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::object_store::ObjectStoreExt;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::ExecutionPlan;
use whimbrel_proto::{Error, ErrorCode};

use super::shown;
use crate::error::panic_text;
use crate::input::InputSource;

/// Larger files are not read a second time.
const MOST: u64 = 256 << 20;
/// Lines that are tried at once.
const LINES: usize = 1024;

const HINT: &str = "repair the file or leave it out";

#[derive(Clone, Debug)]
enum Kind {
    Parquet,
    Arrow,
    Json(SchemaRef),
}

impl Kind {
    fn of(config: &FileScanConfig) -> Option<Self> {
        let source = config.file_source();
        if source.downcast_ref::<ParquetSource>().is_some() {
            return Some(Self::Parquet);
        }
        let reader = source.downcast_ref::<InputSource>()?.inner();
        if reader.downcast_ref::<ArrowSource>().is_some() {
            return Some(Self::Arrow);
        }
        let json = reader.downcast_ref::<JsonSource>();
        json.map(|_| Self::Json(Arc::clone(config.file_schema())))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Json(_) => "json",
        }
    }

    /// Where the file is damaged, and how.
    fn look(&self, bytes: &Bytes) -> Option<String> {
        match self {
            Self::Parquet => parquet(bytes),
            Self::Arrow => arrow(bytes),
            Self::Json(schema) => json(bytes, schema),
        }
    }
}

/// The error to show for a task of `plan` that could not read its input; `None` where its files can be read. Reads them again:
/// for the way out of a failed task only.
pub async fn broken_file(plan: &Arc<dyn ExecutionPlan>, context: &TaskContext) -> Option<Error> {
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        open.extend(node.children());
        let Some(scan) = node.downcast_ref::<DataSourceExec>() else {
            continue;
        };
        let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>() else {
            continue;
        };
        let Some(kind) = Kind::of(config) else {
            continue;
        };
        for file in config.file_groups.iter().flat_map(|group| group.iter()) {
            if let Some(what) = search(&kind, config, file, context).await {
                let file = shown(config, &file.object_meta.location);
                let text = format!("{} file '{file}' {what}", kind.name());
                return Some(Error::new(ErrorCode::Data, text).with_hint(HINT));
            }
        }
    }
    None
}

async fn search(
    kind: &Kind,
    config: &FileScanConfig,
    file: &PartitionedFile,
    context: &TaskContext,
) -> Option<String> {
    let name = file.object_meta.location.as_ref();
    let input = config.file_source().downcast_ref::<InputSource>();
    let is_plain = input.is_none_or(|input| input.reading().is_divisible(name));
    if file.object_meta.size > MOST || !is_plain {
        return None;
    }
    let store = context
        .runtime_env()
        .object_store(&config.object_store_url)
        .ok()?;
    let location = &file.object_meta.location;
    let read = async { store.get(location).await?.bytes().await };
    match read.await {
        Ok(bytes) => {
            let kind = kind.clone();
            SpawnedTask::spawn_blocking(move || kind.look(&bytes))
                .await
                .ok()?
        }
        Err(error) => {
            tracing::debug!(%error, file = %location, "cannot look for the damage");
            None
        }
    }
}

/// A decoder may panic over what it is given.
fn tried<E: ToString>(decode: impl FnOnce() -> Result<(), E>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic_text(panic.as_ref()).unwrap_or("no text");
            Err(format!("its decoder gave up: {text}"))
        }
    }
}

fn parquet(bytes: &Bytes) -> Option<String> {
    let mut metadata = None;
    let footer = tried(|| {
        ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
            .map(|open| metadata = Some(Arc::clone(open.metadata())))
    });
    let (Ok(()), Some(metadata)) = (&footer, metadata) else {
        return footer
            .err()
            .map(|error| format!("has a footer that cannot be read: {error}"));
    };
    let columns = metadata.file_metadata().schema_descr();
    let groups = metadata.num_row_groups();
    for group in 0..groups {
        let Err(error) = row_group(bytes, group, None) else {
            continue;
        };
        let of = format!("row group {} of {groups}", group + 1);
        let broken = (0..columns.num_columns())
            .find_map(|column| Some((column, row_group(bytes, group, Some(column)).err()?)));
        let Some((column, error)) = broken else {
            return Some(format!("{of}: {error}"));
        };
        let name = columns.column(column).path().string();
        let (start, length) = metadata.row_group(group).column(column).byte_range();
        let end = start.saturating_add(length);
        return Some(format!(
            "{of}, column '{name}', bytes {start} to {end}: {error}"
        ));
    }
    None
}

fn row_group(bytes: &Bytes, group: usize, column: Option<usize>) -> Result<(), String> {
    tried(|| {
        let open = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
        let mask = match column {
            Some(column) => ProjectionMask::leaves(open.parquet_schema(), [column]),
            None => ProjectionMask::all(),
        };
        let rows = open
            .with_row_groups(vec![group])
            .with_projection(mask)
            .build()?;
        for batch in rows {
            batch?;
        }
        Ok::<_, arrow::error::ArrowError>(())
    })
}

fn arrow(bytes: &Bytes) -> Option<String> {
    let mut read = 0;
    let mut count = |batch: Result<_, arrow::error::ArrowError>| batch.map(|_| read += 1);
    let ended = tried(|| {
        let cursor = Cursor::new(bytes.clone());
        if bytes.starts_with(b"ARROW1") {
            FileReader::try_new(cursor, None)?.try_for_each(&mut count)
        } else {
            StreamReader::try_new(cursor, None)?.try_for_each(&mut count)
        }
    });
    let error = ended.err()?;
    Some(format!("batch {}: {error}", read + 1))
}

fn json(bytes: &Bytes, schema: &SchemaRef) -> Option<String> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let decode = |lines: &[&[u8]]| {
        tried(|| {
            let mut decoder = ReaderBuilder::new(Arc::clone(schema)).build_decoder()?;
            for line in lines {
                decoder.decode(line)?;
            }
            decoder.flush().map(drop)
        })
    };
    for (block, many) in lines.chunks(LINES).enumerate() {
        if decode(many).is_ok() {
            continue;
        }
        let broken = many
            .iter()
            .enumerate()
            .find_map(|(line, text)| Some((line, decode(&[text]).err()?)));
        let (line, error) = broken?;
        return Some(format!("line {}: {error}", block * LINES + line + 1));
    }
    None
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::ipc::writer::FileWriter;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::parquet::file::properties::WriterProperties;

    use super::*;

    fn rows() -> RecordBatch {
        let names = StringArray::from_iter_values((0..300).map(|n| format!("name {n}")));
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(0..300)) as _),
            ("name", Arc::new(names) as _),
        ])
        .unwrap()
    }

    #[test]
    fn a_parquet_file_is_damaged_in_a_column_of_a_row_group() {
        let mut file = Vec::new();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(100))
            .build();
        let mut writer =
            ArrowWriter::try_new(&mut file, rows().schema(), Some(properties)).unwrap();
        writer.write(&rows()).unwrap();
        let metadata = writer.close().unwrap();
        assert_eq!(parquet(&Bytes::from(file.clone())), None);
        let (start, length) = metadata.row_group(1).column(1).byte_range();
        let mut damaged = file.clone();
        damaged[usize::try_from(start).unwrap()..][..20].fill(0xff);
        let what = parquet(&damaged.into()).unwrap();
        let end = start + length;
        let place = format!("row group 2 of 3, column 'name', bytes {start} to {end}: ");
        assert!(what.starts_with(&place), "{what}");
        file.truncate(file.len() - 9);
        let what = parquet(&file.into()).unwrap();
        assert!(
            what.starts_with("has a footer that cannot be read: "),
            "{what}"
        );
    }

    #[test]
    fn an_arrow_file_is_damaged_at_a_batch() {
        let mut writer = FileWriter::try_new(Vec::new(), &rows().schema()).unwrap();
        writer.write(&rows()).unwrap();
        writer.write(&rows()).unwrap();
        writer.finish().unwrap();
        let mut file = writer.into_inner().unwrap();
        assert_eq!(arrow(&file.clone().into()), None);
        let half = file.len() / 2;
        file[8..half].fill(0xff);
        assert!(arrow(&file.into()).is_some());
    }

    #[test]
    fn a_json_file_is_damaged_at_a_line() {
        let text = "{\"id\":1,\"name\":\"a\"}\n\n{\"id\":2,\"name\":\"b\"}\n{\"id\":3,\"name\":\n";
        let what = json(&Bytes::from(text), &rows().schema()).unwrap();
        assert!(what.starts_with("line 4: "), "{what}");
        let text = "{\"id\":1,\"name\":\"a\"}\n{\"id\":\"x\",\"name\":\"b\"}";
        let what = json(&Bytes::from(text), &rows().schema()).unwrap();
        assert!(what.starts_with("line 2: ") && what.contains('x'), "{what}");
    }
}
