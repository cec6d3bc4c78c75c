//! Reads over a store that fails as it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

use super::*;
use crate::location::Bucket;
use crate::views::Views;

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Busy,
    Denied,
    /// The connection goes after this many bytes, or names.
    Reset(usize),
    /// The body ends in order, but too early.
    Short(usize),
}

/// Answers from memory, but for the faults that come first.
#[derive(Debug, Default)]
struct Faulty {
    inner: InMemory,
    faults: Mutex<VecDeque<Fault>>,
}

impl Faulty {
    fn next(&self) -> Option<Fault> {
        self.faults.lock().unwrap().pop_front()
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn busy() -> Error {
    Error::Generic {
        store: "S3",
        source:
            "Server returned non-2xx status code: 503 Service Unavailable: <Code>SlowDown</Code>"
                .into(),
    }
}

fn reset() -> Error {
    let source = Box::new(HttpError::new(
        HttpErrorKind::Interrupted,
        io::Error::from(io::ErrorKind::ConnectionReset),
    ));
    Error::Generic {
        store: "S3",
        source,
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.next();
        match fault {
            Some(Fault::Busy) => return Err(busy()),
            Some(Fault::Denied) => {
                return Err(Error::PermissionDenied {
                    path: location.to_string(),
                    source: "403".into(),
                });
            }
            Some(Fault::Reset(_) | Fault::Short(_)) | None => {}
        }
        let answer = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes) = (
            answer.meta.clone(),
            answer.range.clone(),
            answer.attributes.clone(),
        );
        let bytes = answer.bytes().await?;
        let pieces: Vec<Result<bytes::Bytes>> = match fault {
            Some(Fault::Reset(after)) => vec![Ok(bytes.slice(..after)), Err(reset())],
            Some(Fault::Short(after)) => vec![Ok(bytes.slice(..after))],
            Some(Fault::Busy | Fault::Denied) | None => vec![Ok(bytes)],
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(pieces).boxed()),
            meta,
            range,
            attributes,
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        match self.next() {
            Some(Fault::Reset(after)) => listed
                .take(after)
                .chain(stream::iter([Err(reset())]))
                .boxed(),
            Some(Fault::Busy | Fault::Denied | Fault::Short(_)) => {
                stream::iter([Err(busy())]).boxed()
            }
            None => listed,
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
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

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.inner.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        match self.next() {
            Some(_) => Err(busy()),
            None => self.inner.put_part(path, id, part_idx, data).await,
        }
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.inner.complete_multipart(path, id, parts).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.inner.abort_multipart(path, id).await
    }
}

async fn subject(budget: Duration, faults: &[Fault]) -> (Arc<Faulty>, PatientStore) {
    let faulty = Arc::new(Faulty::default());
    for name in ["a", "b", "c", "d"] {
        let text = format!("the bytes of {name}");
        faulty.put(&Path::from(name), text.into()).await.unwrap();
    }
    faulty.faults.lock().unwrap().extend(faults);
    let bucket = Bucket::S3 {
        bucket: "lake".to_owned(),
    };
    let views = Views::of(faulty.clone());
    let store = PatientStore::new(views, bucket, Patience::new(budget));
    (faulty, store)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_read_goes_on_at_the_byte_it_had_reached() {
    let faults = [
        Fault::Busy,
        Fault::Reset(4),
        Fault::Busy,
        Fault::Reset(0),
        Fault::Short(3),
    ];
    let (faulty, store) = subject(LONG, &faults).await;
    let answer = store.get(&Path::from("a")).await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), "the bytes of a");
    assert!(faulty.next().is_none(), "every fault struck");
}

#[tokio::test]
async fn a_listing_goes_on_at_the_name_it_had_reached() {
    let (faulty, store) = subject(LONG, &[Fault::Reset(2), Fault::Busy, Fault::Reset(1)]).await;
    let names: Vec<String> = store
        .list(None)
        .map_ok(|meta| meta.location.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert!(faulty.next().is_none(), "every fault struck");
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_never_mixed() {
    let (faulty, store) = subject(LONG, &[Fault::Reset(4)]).await;
    let answer = store.get(&Path::from("a")).await.unwrap();
    faulty
        .put(&Path::from("a"), "other bytes, a".into())
        .await
        .unwrap();
    let error = answer.bytes().await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_is_final_and_an_outage_ends_with_the_budget() {
    let (faulty, store) = subject(LONG, &[Fault::Denied, Fault::Busy]).await;
    let error = store.get(&Path::from("a")).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
    assert!(faulty.next().is_some(), "it was asked once");
    let (_, store) = subject(Duration::ZERO, &[Fault::Busy]).await;
    let error = store.get(&Path::from("x/a")).await.unwrap_err();
    let wrapped = datafusion::error::DataFusionError::from(io::Error::other(error));
    assert_eq!(
        spent(&wrapped).unwrap().to_string(),
        "'s3://lake/x/a' cannot be read: the store answers 503 Service Unavailable (SlowDown), for 0s; run the query again once the store is back; store_budget says how long a store may fail"
    );
}

#[tokio::test]
async fn a_part_is_sent_again_until_the_budget_is_spent() {
    let (faulty, store) = subject(LONG, &[Fault::Busy, Fault::Busy]).await;
    let path = Path::from("staged");
    let id = store.create_multipart(&path).await.unwrap();
    let part = store.put_part(&path, &id, 0, "one".into()).await.unwrap();
    assert!(faulty.faults.lock().unwrap().is_empty());
    store
        .complete_multipart(&path, &id, vec![part])
        .await
        .unwrap();
    assert_eq!(
        store.get(&path).await.unwrap().bytes().await.unwrap(),
        "one"
    );
    let (_, store) = subject(Duration::ZERO, &[Fault::Busy]).await;
    let id = store.create_multipart(&path).await.unwrap();
    let error = store.put_part(&path, &id, 0, "one".into()).await;
    let error = error.unwrap_err();
    let text = spent(&error).unwrap().to_string();
    assert!(
        text.starts_with("'s3://lake/staged' cannot be written: the store answers 503")
            && text.contains("resume the job"),
        "{text}"
    );
}
