//! A store whose pinned files are read as they were planned, and in pieces. A piece is short enough to arrive before any
//! timeout however slowly the model takes rows, can be asked for again by itself, and the next ones come while it is scored.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use whimbrel_stores::{Here, Refusals, Refused, spent};

use super::borders::Border;
use super::file;
use super::pins::{Pin, StorePins};
use super::small::{Recent, SMALL, Whole};
use super::watch::{self, Rest};

/// One request's bytes.
const PIECE: u64 = 8 << 20;
/// Pieces that are on their way at once.
const AHEAD: usize = 2;

/// See the module.
pub(super) struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    /// Files of the machine are opened and not fetched.
    local: bool,
    pins: Arc<StorePins>,
    recent: Recent,
    refusals: Refusals,
}

impl PinnedStore {
    pub(super) fn new(
        inner: Arc<dyn ObjectStore>,
        local: bool,
        pins: Arc<StorePins>,
        refusals: Refusals,
    ) -> Self {
        Self {
            inner,
            local,
            pins,
            recent: Recent::default(),
            refusals,
        }
    }

    fn noted<T>(&self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| note(&self.refusals, error))
    }

    async fn fetch(&self, pin: &Pin, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = bounds(options.range.as_ref(), pin.size);
        let mut pieces = pieces(range.clone());
        let first = pieces.next().unwrap_or_else(|| range.clone());
        let head = GetOptions {
            range: (!first.is_empty()).then_some(GetRange::Bounded(first)),
            ..options.clone()
        };
        let first = self.inner.get_opts(location, head).await?;
        pin.check(&first.meta)?;
        let (meta, attributes) = (first.meta.clone(), first.attributes.clone());
        // The next pieces must be of the same object, and a store that has tags holds it to that.
        let options = GetOptions {
            if_match: options.if_match.or_else(|| meta.e_tag.clone()),
            ..options
        };
        let first = spawned(async move { first.bytes().await }).boxed();
        let (store, location, pin) = (Arc::clone(&self.inner), location.clone(), pin.clone());
        let rest = pieces.map(move |piece| {
            let (store, location, pin) = (Arc::clone(&store), location.clone(), pin.clone());
            let options = GetOptions {
                range: Some(GetRange::Bounded(piece)),
                ..options.clone()
            };
            let piece = async move {
                let answer = store.get_opts(&location, options).await?;
                pin.check(&answer.meta)?;
                answer.bytes().await
            };
            // Begun when its turn comes, and then done even while the model is busy.
            async move { spawned(piece).await }.boxed()
        });
        let refusals = self.refusals.clone();
        let body = stream::iter(std::iter::once(first).chain(rest))
            .buffered(AHEAD)
            .inspect_err(move |error| note(&refusals, error));
        Ok(GetResult {
            payload: GetResultPayload::Stream(body.boxed()),
            meta,
            range,
            attributes,
        })
    }

    /// Ranges of a file of the machine, which is looked at once they are read.
    async fn local_ranges(
        &self,
        pin: &Pin,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let answer = self.inner.get_opts(location, GetOptions::default()).await?;
        // One that has become shorter has no such ranges to be read.
        pin.check(&answer.meta)?;
        match answer.payload {
            GetResultPayload::File(file, _) => file::ranges(file, ranges.to_vec(), pin).await,
            GetResultPayload::Stream(_) => self.inner.get_ranges(location, ranges).await,
        }
    }

    /// All of a small file, for a reader that asks for parts of it.
    async fn kept(&self, pin: &Pin, location: &Path) -> Result<Whole> {
        if let Some(whole) = self.recent.get(location) {
            return Ok(whole);
        }
        let whole = self.whole(pin, location).await?;
        self.recent.keep(location.clone(), whole.clone());
        Ok(whole)
    }

    /// All of a small file.
    async fn whole(&self, pin: &Pin, location: &Path) -> Result<Whole> {
        let answer = if self.local {
            let mut options = GetOptions::default();
            options.extensions.insert(Here);
            let answer = self.inner.get_opts(location, options).await?;
            pin.check(&answer.meta)?;
            answer
        } else {
            self.fetch(pin, location, GetOptions::default()).await?
        };
        let GetResult {
            payload,
            meta,
            range,
            attributes,
        } = answer;
        let bytes = match payload {
            // A hop to another thread and back costs more than so few bytes.
            GetResultPayload::File(file, _) => file::piece_of(&file, range, pin)?,
            stream @ GetResultPayload::Stream(_) => {
                let answer = GetResult {
                    payload: stream,
                    meta: meta.clone(),
                    range,
                    attributes,
                };
                answer.bytes().await?
            }
        };
        Ok(Whole { meta, bytes })
    }

    /// The answer with an eye on the border where the reader of this range stops.
    fn watched(
        &self,
        pin: &Pin,
        location: &Path,
        asked: &GetOptions,
        answer: GetResult,
    ) -> GetResult {
        let piece = match &asked.range {
            Some(GetRange::Bounded(range)) => pin.piece(range),
            Some(GetRange::Offset(_) | GetRange::Suffix(_)) | None => None,
        };
        let Some((quoting, start, end)) = piece else {
            return answer;
        };
        let border = Border::new(quoting, start, end, pin.size);
        let GetResult {
            payload,
            meta,
            range,
            attributes,
        } = answer;
        let body = match payload {
            GetResultPayload::File(file, _) => file::read(file, range.clone(), pin),
            GetResultPayload::Stream(body) => body,
        };
        let rest = Rest {
            store: Arc::clone(&self.inner),
            location: location.clone(),
            from: range.end,
            size: pin.size,
        };
        GetResult {
            payload: GetResultPayload::Stream(watch::watch(body, border, rest)),
            meta,
            range,
            attributes,
        }
    }
}

/// Readers make a text of what a store says, and with it the difference between a damaged file, one that was replaced and a store that
/// is away.
fn note(refusals: &Refusals, error: &object_store::Error) {
    refusals.keep(Refused {
        error: crate::shell::store_error(error),
        place: None,
        spent: spent(error).is_some(),
        text: error.to_string(),
    });
}

/// Runs on while nobody waits for it, and ends with whoever would.
async fn spawned(piece: impl Future<Output = Result<Bytes>> + Send + 'static) -> Result<Bytes> {
    match SpawnedTask::spawn(piece).await {
        Ok(bytes) => bytes,
        Err(source) => Err(object_store::Error::JoinError { source }),
    }
}

fn bounds(asked: Option<&GetRange>, size: u64) -> Range<u64> {
    match asked {
        None => 0..size,
        Some(GetRange::Bounded(range)) => range.start.min(size)..range.end.min(size),
        Some(GetRange::Offset(start)) => (*start).min(size)..size,
        Some(GetRange::Suffix(length)) => size.saturating_sub(*length)..size,
    }
}

/// Whether these bytes are of a small file, and no piece of it whose end is watched.
fn is_of_small(pin: &Pin, asked: &GetOptions) -> bool {
    let watched = match &asked.range {
        Some(GetRange::Bounded(range)) => pin.piece(range).is_some(),
        Some(GetRange::Offset(_) | GetRange::Suffix(_)) | None => false,
    };
    pin.size <= SMALL && !asked.head && !watched
}

fn slice(whole: &Whole, range: Range<u64>) -> Result<Bytes> {
    let inside = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok())
        .filter(|(start, end)| start <= end && *end <= whole.bytes.len());
    let Some((start, end)) = inside else {
        let text = format!(
            "bytes {} to {} of '{}', which has {}",
            range.start,
            range.end,
            whole.meta.location,
            whole.bytes.len()
        );
        return Err(object_store::Error::Generic {
            store: "small file",
            source: text.into(),
        });
    };
    Ok(whole.bytes.slice(start..end))
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let piece = start..range.end.min(start.saturating_add(PIECE));
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

impl fmt::Debug for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.pins.get(location) {
            None => self.inner.get_opts(location, options).await,
            Some(pin) if is_of_small(pin, &options) => {
                let whole = match &options.range {
                    None => self.whole(pin, location).await,
                    Some(_) => self.kept(pin, location).await,
                };
                let whole = self.noted(whole)?;
                let range = bounds(options.range.as_ref(), pin.size);
                let bytes = self.noted(slice(&whole, range.clone()))?;
                Ok(GetResult {
                    payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
                    meta: whole.meta,
                    range,
                    attributes: Attributes::default(),
                })
            }
            Some(pin) if self.local || options.head => {
                let result = self.noted(self.inner.get_opts(location, options.clone()).await)?;
                self.noted(pin.check(&result.meta))?;
                Ok(self.watched(pin, location, &options, result))
            }
            Some(pin) => {
                let result = self.noted(self.fetch(pin, location, options.clone()).await)?;
                Ok(self.watched(pin, location, &options, result))
            }
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match self.pins.get(location) {
            Some(pin) if pin.size <= SMALL => {
                let whole = self.noted(self.kept(pin, location).await)?;
                let slices = ranges.iter().map(|range| slice(&whole, range.clone()));
                self.noted(slices.collect())
            }
            Some(pin) if self.local => self.noted(self.local_ranges(pin, location, ranges).await),
            None => self.inner.get_ranges(location, ranges).await,
            Some(_) => {
                let fetch = |range: Range<u64>| self.get_range(location, range);
                object_store::coalesce_ranges(
                    ranges,
                    fetch,
                    object_store::OBJECT_STORE_COALESCE_DEFAULT,
                )
                .await
            }
        }
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use object_store::Error;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;
    use whimbrel_stores::stamped;

    use super::*;

    async fn pinned(inner: Arc<dyn ObjectStore>, local: bool, path: &Path) -> PinnedStore {
        let meta = inner.head(path).await.unwrap();
        let pin = Pin::of(&if local { meta } else { stamped(meta) }, local, None);
        let pins = Arc::new(HashMap::from([(path.clone(), pin)]));
        PinnedStore::new(inner, local, pins, Refusals::default())
    }

    #[tokio::test]
    async fn pieces_make_up_the_whole() {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("a/big");
        let bytes: Vec<u8> = (0..(PIECE * 2 + 1234)).map(|at| (at % 251) as u8).collect();
        inner.put(&path, bytes.clone().into()).await.unwrap();
        let store = pinned(Arc::clone(&inner), false, &path).await;
        assert_eq!(
            store.get(&path).await.unwrap().bytes().await.unwrap(),
            bytes
        );
        let middle = PIECE - 5..PIECE * 2 + 5;
        let want =
            &bytes[usize::try_from(middle.start).unwrap()..usize::try_from(middle.end).unwrap()];
        assert_eq!(store.get_range(&path, middle.clone()).await.unwrap(), want);
        let ranges = store.get_ranges(&path, &[0..3, middle]).await.unwrap();
        assert_eq!(
            (ranges[0].as_ref(), ranges[1].as_ref()),
            (&bytes[..3], want)
        );
        let suffix = GetOptions {
            range: Some(GetRange::Suffix(10)),
            ..GetOptions::default()
        };
        let tail = store
            .get_opts(&path, suffix)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(tail, bytes[bytes.len() - 10..]);
    }

    #[tokio::test]
    async fn a_small_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let stores: [(Arc<dyn ObjectStore>, bool); 2] =
            [(Arc::new(InMemory::new()), false), (Arc::new(disk), true)];
        for (inner, local) in stores {
            let path = Path::from("a");
            inner.put(&path, "0123456789".into()).await.unwrap();
            let store = pinned(Arc::clone(&inner), local, &path).await;
            let suffix = GetOptions {
                range: Some(GetRange::Suffix(3)),
                ..GetOptions::default()
            };
            let end = store.get_opts(&path, suffix).await.unwrap();
            assert_eq!(
                (end.range.clone(), end.bytes().await.unwrap().as_ref()),
                (7..10, "789".as_bytes())
            );
            // What comes now comes from memory.
            inner.delete(&path).await.unwrap();
            assert_eq!(
                store.get_ranges(&path, &[0..2, 4..5]).await.unwrap(),
                ["01", "4"]
            );
            assert_eq!(store.get_range(&path, 8..10).await.unwrap(), "89");
            assert!(
                store
                    .get_ranges(&path, std::slice::from_ref(&(8..11)))
                    .await
                    .is_err()
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_was_replaced_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        // In a store as long as before, and within the same second; the clock of files may be as coarse as this test is fast.
        let stores: [(Arc<dyn ObjectStore>, bool, &str); 2] = [
            (Arc::new(InMemory::new()), false, "two"),
            (Arc::new(disk), true, "other"),
        ];
        for (inner, local, other) in stores {
            let path = Path::from("a");
            inner.put(&path, "one".into()).await.unwrap();
            let store = pinned(Arc::clone(&inner), local, &path).await;
            assert_eq!(
                store.get(&path).await.unwrap().bytes().await.unwrap(),
                "one"
            );
            inner.put(&path, other.to_owned().into()).await.unwrap();
            for error in [
                store.get(&path).await.unwrap_err(),
                store.head(&path).await.unwrap_err(),
                store.get_ranges(&path, &[0..1, 1..2]).await.unwrap_err(),
            ] {
                assert!(matches!(error, Error::Precondition { .. }), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn a_large_local_file_that_became_shorter_is_a_changed_one() {
        let folder = tempfile::tempdir().unwrap();
        let inner: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let path = Path::from("a");
        let long = usize::try_from(PIECE).unwrap();
        inner.put(&path, vec![1; long].into()).await.unwrap();
        let store = pinned(Arc::clone(&inner), true, &path).await;
        inner.put(&path, vec![1; 10].into()).await.unwrap();
        let end = PIECE - 8..PIECE;
        let error = store.get_ranges(&path, &[end]).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_while_it_is_read_is_never_mixed() {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("a");
        let bytes = |byte| vec![byte; usize::try_from(PIECE * 4).unwrap()];
        inner.put(&path, bytes(1).into()).await.unwrap();
        let store = pinned(Arc::clone(&inner), false, &path).await;
        let mut body = store.get(&path).await.unwrap().into_stream();
        assert_eq!(body.next().await.unwrap().unwrap()[0], 1);
        inner.put(&path, bytes(2).into()).await.unwrap();
        let (mut read, mut refused) = (PIECE, false);
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => {
                    assert!(!refused && piece.iter().all(|byte| *byte == 1));
                    read += piece.len() as u64;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Precondition { .. }), "{error}");
                    refused = true;
                    break;
                }
            }
        }
        assert!(
            refused && read < PIECE * 4,
            "{read} bytes, refused: {refused}"
        );
    }
}
