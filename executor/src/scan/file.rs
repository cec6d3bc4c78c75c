//! A local file, read off the async threads: a range of it as a stream of large pieces, or several at once.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, Result};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use super::pins::Pin;

/// Bytes read at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are read ahead of whoever takes them.
const AHEAD: usize = 2;

pub(super) fn read(file: File, range: Range<u64>, pin: &Pin) -> BoxStream<'static, Result<Bytes>> {
    let (file, pin) = (Arc::new(file), Arc::new(pin.clone()));
    let mut start = range.start;
    let pieces = std::iter::from_fn(move || {
        let piece = start..range.end.min(start + PIECE);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    });
    let read = move |piece: Range<u64>| {
        let (file, pin) = (Arc::clone(&file), Arc::clone(&pin));
        async move {
            match SpawnedTask::spawn_blocking(move || piece_of(&file, piece, &pin)).await {
                Ok(read) => read,
                Err(source) => Err(Error::JoinError { source }),
            }
        }
    };
    stream::iter(pieces.map(read)).buffered(AHEAD).boxed()
}

/// The bytes of each of these ranges.
pub(super) async fn ranges(file: File, ranges: Vec<Range<u64>>, pin: &Pin) -> Result<Vec<Bytes>> {
    let pin = pin.clone();
    let read = move || {
        let bytes = ranges.into_iter().map(|range| bytes_of(&file, range));
        let bytes = bytes.collect::<Result<_>>()?;
        unchanged(&file, &pin)?;
        Ok(bytes)
    };
    match SpawnedTask::spawn_blocking(read).await {
        Ok(read) => read,
        Err(source) => Err(Error::JoinError { source }),
    }
}

/// A piece of the file, read here and now.
pub(super) fn piece_of(file: &File, piece: Range<u64>, pin: &Pin) -> Result<Bytes> {
    let bytes = bytes_of(file, piece)?;
    unchanged(file, pin)?;
    Ok(bytes)
}

fn bytes_of(file: &File, range: Range<u64>) -> Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    let length = usize::try_from(length).map_err(failed)?;
    // Not `read_exact_at`, which would have the memory zeroed first.
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = range.start + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(length);
    Ok(bytes.into())
}

/// Whoever writes into the file, and does not put another in its place, may have changed what has just been read.
fn unchanged(file: &File, pin: &Pin) -> Result<()> {
    pin.check_open(&file.metadata().map_err(failed)?)
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic {
        store: "local file",
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;
    use object_store::path::Path;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_into_while_it_is_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let size = PIECE * 6;
        std::fs::write(&path, vec![1; usize::try_from(size).unwrap()]).unwrap();
        let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let pin = Pin::of(&disk.head(&Path::from("a")).await.unwrap(), true, None);
        let whole = read(File::open(&path).unwrap(), 0..size, &pin);
        assert_eq!(whole.try_collect::<Vec<_>>().await.unwrap().len(), 6);
        let mut body = read(File::open(&path).unwrap(), 0..size, &pin);
        body.try_next().await.unwrap();
        let mut other = File::options().write(true).open(&path).unwrap();
        other.write_all(&[2; 10]).unwrap();
        // As a clock that ticks seldom may not show.
        other.set_modified(std::time::UNIX_EPOCH).unwrap();
        let error = body.try_collect::<Vec<_>>().await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    }
}
