//! Writes the rows of a query as they come, never the whole of them at once.
//!
//! Encoding runs on a thread of its own, so that it overlaps with fetching and decoding. A file is written under a temporary
//! name and gets its own when it is whole; until then whatever had that name stays as it was.

mod destination;
mod encode;
mod nested;
mod sink;
mod table;

use std::path::{Path, PathBuf};

pub(crate) use sink::RowSink;

use crate::cli::args::Format;
use crate::cli::failure::Failure;

/// Where rows go and how they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) format: Format,
    pub(crate) place: Place,
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output.
    Stdout,
    /// A file, which appears when it is whole.
    File(PathBuf),
    /// Nowhere: the rows of a statement before the last one.
    Nowhere,
}

/// What the command line and the terminal say about output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) format: Option<Format>,
    pub(crate) file: Option<&'a Path>,
    pub(crate) json: bool,
    pub(crate) stdout_is_terminal: bool,
}

impl Target {
    /// Decides where rows go.
    pub(crate) fn decide(wish: Wish<'_>) -> Result<Self, Failure> {
        let Wish {
            format,
            file,
            json,
            stdout_is_terminal,
        } = wish;
        if let Some(path) = file {
            let by_ending = || format_of(path).or_else(|| json.then_some(Format::Json));
            let format = format.or_else(by_ending).ok_or_else(|| {
                Failure::usage(
                    format!("-o {}: the ending names no format", path.display()),
                    "end it in .csv, .json, .arrow or .parquet, or say --format",
                )
            })?;
            return Ok(Self {
                format,
                place: Place::File(path.to_owned()),
            });
        }
        let default = match (json, stdout_is_terminal) {
            (true, _) => Format::Json,
            (false, true) => Format::Table,
            (false, false) => Format::Csv,
        };
        let format = format.unwrap_or(default);
        if stdout_is_terminal && matches!(format, Format::Arrow | Format::Parquet) {
            return Err(Failure::usage(
                "a terminal shows no Arrow or Parquet",
                "write it to a file with -o FILE",
            ));
        }
        Ok(Self {
            format,
            place: Place::Stdout,
        })
    }

    /// Whether the rows go to a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Whether anybody sees the rows.
    pub(crate) fn is_seen(&self) -> bool {
        self.place != Place::Nowhere
    }

    /// The target of a statement whose rows nobody asked for.
    pub(crate) fn nowhere() -> Self {
        Self {
            format: Format::Csv,
            place: Place::Nowhere,
        }
    }
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "json" | "jsonl" | "ndjson" => Some(Format::Json),
        "arrow" | "feather" | "ipc" => Some(Format::Arrow),
        "parquet" | "pq" => Some(Format::Parquet),
        "txt" => Some(Format::Table),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
