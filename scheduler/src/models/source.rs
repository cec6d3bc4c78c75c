//! Where a model is bound from: one ONNX file on the scheduler's machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use whimbrel_proto::{Error, ErrorCode};

use crate::catalog::absolute;

/// Protobuf cannot hold more, so no ONNX file is larger.
const MAX_BYTES: u64 = (1 << 31) - 1;

/// The absolute path that `uri` means.
pub(super) fn locate(uri: &str, base: &Path) -> Result<String, Error> {
    if uri.is_empty() {
        return Err(
            Error::new(ErrorCode::Invalid, "the model's location is empty")
                .with_hint("give the path of an .onnx file"),
        );
    }
    absolute(uri, base)
}

/// The file's bytes. Touches the disk: called off the async threads.
pub(super) fn read(path: &str) -> Result<Bytes, Error> {
    let facts = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if facts.is_dir() {
        let text = format!("'{path}' is a folder, and MLflow folders cannot be bound yet");
        return Err(Error::new(ErrorCode::Invalid, text).with_hint("give the .onnx file in it"));
    }
    if !facts.is_file() {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("'{path}' is not a regular file"),
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("'{path}' is larger than 2 GiB, so it is no ONNX file");
        return Err(Error::new(ErrorCode::Invalid, text));
    }
    Ok(bytes.into())
}

fn unreadable(path: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::new(
            ErrorCode::NotFound,
            format!("the model '{path}' does not exist"),
        )
        .with_hint("check the path; it is read on the scheduler's machine"),
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorCode::Denied,
            format!("the model '{path}' may not be read by the scheduler"),
        )
        .with_hint("give its user the right to read it"),
        _ => Error::new(
            ErrorCode::Unavailable,
            format!("the model '{path}' cannot be read: {error}"),
        ),
    }
}
