//! Which of our readers a model's file on disk is for.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use whimbrel_graph::Format;
use whimbrel_proto::{Error, ErrorCode};

/// Told by the file's first bytes, as when it was bound.
pub(super) fn format_of(path: &Path) -> Result<Format, Error> {
    let mut head = Vec::with_capacity(Format::HEAD);
    File::open(path)
        .and_then(|file| file.take(Format::HEAD as u64).read_to_end(&mut head))
        .map_err(|error| {
            let what = format!("cannot read '{}': {error}", path.display());
            Error::new(ErrorCode::Unavailable, what)
        })?;
    Ok(Format::of(&head))
}

/// A file that only our kernels can score, and that they do not cover.
pub(super) fn unloadable(who: &str, why: &str) -> Error {
    Error::new(ErrorCode::Model, format!("{who} cannot be loaded: {why}"))
        .with_hint("bind the model again: this executor may be older than the scheduler")
}
