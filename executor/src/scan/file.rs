//! A range of a local file as a stream of large pieces, read off the async threads.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, Result};

/// Bytes read at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are read ahead of whoever takes them.
const AHEAD: usize = 2;

pub(super) fn read(file: File, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    let file = Arc::new(file);
    let mut start = range.start;
    let pieces = std::iter::from_fn(move || {
        let piece = start..range.end.min(start + PIECE);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    });
    let read = move |piece: Range<u64>| {
        let file = Arc::clone(&file);
        async move {
            match SpawnedTask::spawn_blocking(move || piece_of(&file, piece)).await {
                Ok(read) => read,
                Err(source) => Err(Error::JoinError { source }),
            }
        }
    };
    stream::iter(pieces.map(read)).buffered(AHEAD).boxed()
}

fn piece_of(file: &File, piece: Range<u64>) -> Result<Bytes> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic {
        store: "local file",
        source,
    };
    let length = usize::try_from(piece.end - piece.start).map_err(|error| failed(error.into()))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, piece.start)
        .map_err(|error| failed(error.into()))?;
    Ok(bytes.into())
}
