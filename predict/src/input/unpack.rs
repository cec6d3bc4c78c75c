//! Unpacks compressed files as they are read. Files that several packers wrote one behind the other are read to their end, and
//! one that ends too early is an error: half a file is never taken for a whole one.

use std::io;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::error::Result;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio_util::io::{ReaderStream, StreamReader};
use whimbrel_proto::{Error, ErrorCode};

use super::reading::Compression;
use crate::error::external;

/// Bytes unpacked at once.
const PIECE: usize = 256 << 10;

pub(super) fn unpacked(
    packed: BoxStream<'static, Result<Bytes>>,
    compression: Compression,
    shown: &str,
) -> BoxStream<'static, Result<Bytes>> {
    let shown = shown.to_owned();
    let reader = |packed| StreamReader::new(TryStreamExt::map_err(packed, carried));
    macro_rules! decoded {
        ($decoder:ident) => {{
            let mut decoder = $decoder::new(reader(packed));
            decoder.multiple_members(true);
            ReaderStream::with_capacity(decoder, PIECE).boxed()
        }};
    }
    let bytes: BoxStream<'static, io::Result<Bytes>> = match compression {
        Compression::None => return packed,
        Compression::Gzip => decoded!(GzipDecoder),
        Compression::Zstd => decoded!(ZstdDecoder),
        Compression::Bzip2 => decoded!(BzDecoder),
        Compression::Xz => decoded!(XzDecoder),
    };
    bytes
        .map_err(move |error| broken(error, compression, &shown))
        .boxed()
}

/// The error of whoever read the packed bytes, to be carried through the decoder.
fn carried(error: DataFusionError) -> io::Error {
    io::Error::other(error)
}

fn broken(error: io::Error, compression: Compression, shown: &str) -> DataFusionError {
    let kind = error.kind();
    match error.downcast::<DataFusionError>() {
        Ok(carried) => carried,
        Err(error) => {
            let why = match kind {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                _ => error.to_string(),
            };
            let text = format!(
                "'{shown}' cannot be unpacked as {}: {why}",
                compression.name()
            );
            external(
                Error::new(ErrorCode::Data, text)
                    .with_hint("repair the file or leave it out; --compression says how files are packed whose names do not"),
            )
        }
    }
}
