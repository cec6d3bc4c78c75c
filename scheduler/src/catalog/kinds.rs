//! Which files of a place belong to a table, and their format by the ending of their names.

use std::collections::BTreeSet;

use whimbrel_predict::input::Compression;
use whimbrel_proto::{Error, ErrorCode};

use super::list::{Found, Listed};
use super::table::Format;

/// A format without its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Parquet,
    Csv,
    Json,
    Arrow,
}

impl Kind {
    pub(super) const NAMES: &'static str = "parquet, csv, json or arrow";

    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    pub(super) fn of(format: Format) -> Self {
        match format {
            Format::Parquet => Self::Parquet,
            Format::Csv(_) => Self::Csv,
            Format::Json => Self::Json,
            Format::Arrow => Self::Arrow,
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
    let (name, compression) = Compression::split(name);
    match (ending(name)?.as_str(), compression) {
        ("parquet" | "pq", Compression::None) => Some(Kind::Parquet),
        ("csv" | "tsv", _) => Some(Kind::Csv),
        ("json" | "jsonl" | "ndjson", _) => Some(Kind::Json),
        ("arrow" | "feather" | "ipc", Compression::None) => Some(Kind::Arrow),
        _ => None,
    }
}

/// True where every file's name says that tabs part its fields.
pub(super) fn all_tabs(files: &[Found]) -> bool {
    !files.is_empty()
        && files
            .iter()
            .all(|file| ending(Compression::split(file.name()).0).as_deref() == Some("tsv"))
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
        Listed::Told(told) => return told_kind(uri, asked).map(|kind| (kind, told.files)),
    };
    refuse_archives(&files, named)?;
    let kinds: BTreeSet<Option<Kind>> = files.iter().map(kind_of).collect();
    let known: Vec<Kind> = kinds.iter().copied().flatten().collect();
    let kind = match (asked, known.as_slice()) {
        (Some(kind), _) => kind,
        (None, [kind]) if !named || kinds.len() == 1 => *kind,
        (None, [] | [_]) => return Err(no_format(uri, &files, named)),
        (None, several) => return Err(mixed(uri, several, &files)),
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

/// The files of a Delta Lake table are Parquet.
fn told_kind(uri: &str, asked: Option<Kind>) -> Result<Kind, Error> {
    match asked {
        None | Some(Kind::Parquet) => Ok(Kind::Parquet),
        Some(other @ (Kind::Csv | Kind::Json | Kind::Arrow)) => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' is a Delta Lake table, and not {}", other.name()),
        )
        .with_hint("leave the format out")),
    }
}

/// How many files there are of each format, and one of each of the first two.
fn mixed(uri: &str, kinds: &[Kind], files: &[Found]) -> Error {
    let of = |kind: Kind| files.iter().filter(move |file| kind_of(file) == Some(kind));
    let counts: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{} {}", of(*kind).count(), kind.name()))
        .collect();
    let examples: Vec<String> = kinds
        .iter()
        .take(2)
        .filter_map(|kind| of(*kind).next())
        .map(|file| format!("'{}'", file.shown))
        .collect();
    let text = format!(
        "'{uri}' holds files of several formats ({}), such as {}",
        counts.join(", "),
        examples.join(" and ")
    );
    Error::new(ErrorCode::Invalid, text)
        .with_hint("say which with --format, or use a wildcard such as '*.csv'")
}

/// An archive, and a packed file of a format that packs by itself, are refused where they would be read as they are, or their
/// rows be missed without a word.
fn refuse_archives(files: &[Found], named: bool) -> Result<(), Error> {
    let archive = |file: &&Found| {
        let name = file.name().to_ascii_lowercase();
        let (inner, packed) = match name.strip_suffix(".zip") {
            Some(inner) => (inner, true),
            None => {
                let (inner, compression) = Compression::split(&name);
                (inner, compression != Compression::None)
            }
        };
        let text = matches!(kind_by_name(inner), Some(Kind::Csv | Kind::Json));
        packed && (name.ends_with(".zip") || !text) && (named || kind_by_name(inner).is_some())
    };
    match files.iter().find(archive) {
        Some(file) if file.name().to_ascii_lowercase().ends_with(".zip") => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{}' is an archive", file.shown),
        )
        .with_hint("unpack it, or pack each file by itself with gzip or zstd")),
        Some(file) if kind_by_name(Compression::split(file.name()).0).is_some() => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{}' is compressed", file.shown),
        )
        .with_hint("unpack it: the format compresses by itself")),
        Some(_) | None => Ok(()),
    }
}

fn no_format(uri: &str, files: &[Found], named: bool) -> Error {
    let unknown = files.iter().find(|file| kind_of(file).is_none());
    match unknown {
        Some(file) if named => {
            let text = format!("cannot tell the format of '{}' by its ending", file.shown);
            Error::new(ErrorCode::Invalid, text).with_hint(format!("say --format {}", Kind::NAMES))
        }
        Some(_) => Error::new(
            ErrorCode::Invalid,
            format!("the folder '{uri}' has no .parquet, .csv, .json or .arrow file"),
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
