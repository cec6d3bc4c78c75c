//! A local file as a stream of large pieces, read off the async threads.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

/// Bytes read at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are read ahead of whoever takes them.
const AHEAD: usize = 2;

pub(super) fn read(file: File, size: u64) -> BoxStream<'static, Result<Bytes>> {
    let file = Arc::new(file);
    let starts = (0..size).step_by(usize::try_from(PIECE).unwrap_or(usize::MAX));
    let piece = move |start: u64| {
        let file = Arc::clone(&file);
        let length = usize::try_from(PIECE.min(size - start)).unwrap_or(usize::MAX);
        async move {
            let read = move || -> std::io::Result<Bytes> {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start)?;
                Ok(bytes.into())
            };
            let read = SpawnedTask::spawn_blocking(read).await;
            read.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
                .map_err(DataFusionError::IoError)
        }
    };
    stream::iter(starts.map(piece)).buffered(AHEAD).boxed()
}
