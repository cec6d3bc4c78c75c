//! A text file as a stream of UTF-8, from its first byte or from the middle.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datafusion::common::DataFusionError;
use datafusion::error::Result;
use datafusion::object_store::path::Path;
use datafusion::object_store::{GetOptions, GetResultPayload, ObjectStore};
use datafusion_datasource::boundary_stream::AlignedBoundaryStream;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use whimbrel_proto::{Error, ErrorCode};

use super::encoding::as_utf8;
use super::local;
use super::reading::{Compression, Encoding, Reading};
use super::unpack::unpacked;
use crate::error::external;

/// A file, or the lines that begin within a range of its bytes.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    pub location: &'a Path,
    /// What a person calls the file.
    pub shown: &'a str,
    /// The whole file's size, and the range; the whole file where there is none.
    pub range: Option<(u64, u64, u64)>,
}

/// The text of a piece, unpacked and as UTF-8.
pub async fn open(
    store: &Arc<dyn ObjectStore>,
    piece: Piece<'_>,
    reading: &Reading,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let Piece {
        location,
        shown,
        range,
    } = piece;
    if let Some((size, start, end)) = range {
        let lines = AlignedBoundaryStream::new(
            Arc::clone(store),
            location.clone(),
            start,
            end,
            size,
            b'\n',
        );
        return Ok(lines.await?.map_err(DataFusionError::from).boxed());
    }
    let answer = store.get_opts(location, GetOptions::default()).await?;
    let size = answer.meta.size;
    let bytes = match answer.payload {
        GetResultPayload::File(file, _) => local::read(file, size),
        GetResultPayload::Stream(bytes) => bytes.map_err(DataFusionError::from).boxed(),
    };
    let compression = reading.compression_of(location.as_ref());
    let bytes = unpacked(bytes, compression, shown);
    Ok(as_utf8(bytes, reading.encoding, shown))
}

/// The text from a file's first byte on, without a mark of its encoding; bytes that are no text are refused.
pub async fn sniffed(
    mut text: BoxStream<'static, Result<Bytes>>,
    shown: &str,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    const LONGEST_MARK: usize = 4;
    let mut head = BytesMut::new();
    while head.len() < LONGEST_MARK {
        match text.try_next().await? {
            Some(more) => head.extend_from_slice(&more),
            None => break,
        }
    }
    let mut head = head.freeze();
    if let Some(compression) = Compression::of_bytes(&head) {
        let text = format!("'{shown}' is packed with {}", compression.name());
        return Err(external(Error::new(ErrorCode::Data, text).with_hint(
            format!(
                "name it with the ending of its kind, or say --compression {}",
                compression.name()
            ),
        )));
    }
    match head.as_ref() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            let text = format!("'{shown}' is not UTF-8 but UTF-16");
            let name = Encoding::Utf16.name();
            return Err(external(Error::new(ErrorCode::Data, text).with_hint(
                format!("say --encoding {name}, or convert it: `iconv -f UTF-16 -t UTF-8`"),
            )));
        }
        [0xef, 0xbb, 0xbf, ..] => head = head.slice(3..),
        _ => {}
    }
    Ok(stream::iter([Ok(head)]).chain(text).boxed())
}
