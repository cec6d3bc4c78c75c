//! Tables of Delta Lake: which files of a folder are the table's now, and what columns they have, is what its log says. Of older
//! versions the files are still there, and a folder's name is no value of a column.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use delta_kernel::engine::arrow_conversion::TryIntoArrow;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::{KernelError, KernelResult, Snapshot};
use delta_kernel_default_engine::DefaultEngineBuilder;
use object_store::ObjectStore;
use object_store::path::Path;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::explain;

use super::list::Found;
use super::partitions;
use super::place::Place;

/// A table that says itself what its files and columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) files: Vec<Found>,
    /// The columns that the files hold.
    pub(super) columns: SchemaRef,
    /// The columns that are the same in all rows of a file.
    pub(super) folders: Vec<FieldRef>,
}

/// What the log says.
#[derive(Debug)]
struct Log {
    files: Vec<ScanFile>,
    columns: Schema,
    folders: Vec<FieldRef>,
}

/// The table at `place`, as its newest version is. `found` is what lies in its folder `base`.
pub(super) async fn table(
    place: &Place,
    base: &Path,
    store: &Arc<dyn ObjectStore>,
    found: Vec<Found>,
) -> Result<Told, Error> {
    let url = place.folder_url(base)?;
    let store = Arc::clone(store);
    let read = tokio::task::spawn_blocking(move || replay(&url, store)).await;
    let read =
        read.map_err(|error| Error::new(ErrorCode::Bug, format!("reading a log: {error}")))?;
    let log = read.map_err(|error| told(place, error))?;
    let files = current(place, base, &log, found)?;
    let Log {
        columns, folders, ..
    } = log;
    Ok(Told {
        files,
        columns: Arc::new(columns),
        folders,
    })
}

fn replay(url: &str, store: Arc<dyn ObjectStore>) -> KernelResult<Log> {
    let engine = DefaultEngineBuilder::new(store).build();
    let snapshot = Snapshot::builder_for(url).build(&engine)?;
    let scan = snapshot.scan_builder().without_row_transforms().build()?;
    let mut files = Vec::new();
    for metadata in scan.scan_metadata(&engine)? {
        files = metadata?.visit_scan_files(files, |files, file| files.push(file))?;
    }
    let all: Schema = scan.logical_schema().as_ref().try_into_arrow()?;
    let columns: Schema = scan.physical_schema().as_ref().try_into_arrow()?;
    if let Some(renamed) = first_not_in(&columns, &all) {
        return Err(KernelError::Unsupported(format!(
            "its columns have other names in its files (column mapping), such as '{renamed}'"
        )));
    }
    let is_own = |field: &&FieldRef| columns.index_of(field.name()).is_err();
    let bare = |field: &FieldRef| Field::new(field.name(), field.data_type().clone(), true);
    let folders = all.fields().iter().filter(is_own);
    Ok(Log {
        files,
        folders: folders.map(|field| Arc::new(bare(field))).collect(),
        columns: Schema::new(columns.fields().iter().map(bare).collect::<Vec<_>>()),
    })
}

fn first_not_in<'a>(columns: &'a Schema, all: &Schema) -> Option<&'a str> {
    let mut names = columns.fields().iter().map(|field| field.name().as_str());
    names.find(|name| all.index_of(name).is_err())
}

/// The files that the log names, as they lie in the folder, with the values that the log gives.
fn current(place: &Place, base: &Path, log: &Log, found: Vec<Found>) -> Result<Vec<Found>, Error> {
    let mut lying: HashMap<Path, Found> = found
        .into_iter()
        .map(|file| (file.meta.location.clone(), file))
        .collect();
    let mut files = Vec::with_capacity(log.files.len());
    for file in &log.files {
        if file.dv_info.has_vector() {
            return Err(unreadable(
                place,
                "some of its rows are only marked as deleted (deletion vectors)",
            )
            .with_hint(
                "have the engine that keeps it write the files anew: REORG TABLE ... APPLY (PURGE)",
            ));
        }
        if file.path.contains("://") || file.path.starts_with('/') {
            let text = format!(
                "its file '{}' lies in another table (a shallow clone)",
                file.path
            );
            return Err(
                unreadable(place, &text).with_hint("make a deep clone of it, and name that")
            );
        }
        let below = Path::from_url_path(&file.path).map_err(|error| {
            unreadable(
                place,
                &format!("its file '{}' has no path: {error}", file.path),
            )
        })?;
        let location: Path = base.parts().chain(below.parts()).collect();
        let Some(mut found) = lying.remove(&location) else {
            let text = format!(
                "file '{}' of the Delta Lake table '{place}' is gone",
                place.show(&location)
            );
            return Err(Error::new(ErrorCode::NotFound, text).with_hint(
                "the table may have been changed and cleaned (VACUUM) at this moment: run the query again; else restore the file or the table",
            ));
        };
        found.folders = log
            .folders
            .iter()
            .map(|column| folder(column, file))
            .collect();
        files.push(found);
    }
    files.sort_by(|one, other| one.shown.cmp(&other.shown));
    Ok(files)
}

/// The folder that the file would lie in, had it been put where its values say.
fn folder(column: &FieldRef, file: &ScanFile) -> String {
    let value = file.partition_values.get(column.name());
    partitions::folder(column.name(), value.map(String::as_str))
}

fn unreadable(place: &Place, why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("the Delta Lake table '{place}' cannot be read: {why}"),
    )
}

/// Tells what the reader of logs says, or the store behind it.
fn told(place: &Place, error: KernelError) -> Error {
    match (error, place) {
        (KernelError::Backtraced { source, .. }, _) => told(place, *source),
        (KernelError::ObjectStore(error), Place::Remote(location)) => {
            explain(&location.bucket, location.path.as_ref(), &error)
        }
        (KernelError::Unsupported(why), _) => unreadable(place, &why).with_hint(
            "have the engine that keeps it write its rows to a folder of plain Parquet files, and name that",
        ),
        (error, _) => {
            let text = format!("the log of the Delta Lake table '{place}' cannot be read: {error}");
            Error::new(ErrorCode::Data, text.replace('\n', " "))
                .with_hint("see that its folder _delta_log is whole")
        }
    }
}
