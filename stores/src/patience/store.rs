//! A store whose reads are patient. Conditional writes are passed on as they are: what came of one, only its writer can find out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use whimbrel_proto::units::Span;
use whimbrel_proto::{Error, ErrorCode};

use super::outage::{Outage, Verdict, decide};
use super::passing::{CutShort, answer, may_pass};
use super::{Patience, Spent};
use crate::clock::{chance, monotonic, pause};
use crate::location::Bucket;
use crate::purpose::Purpose;
use crate::views::Views;

/// See the module.
#[derive(Debug)]
pub(crate) struct PatientStore {
    inner: Arc<dyn ObjectStore>,
    pub(super) views: Views,
    bucket: Bucket,
    outage: Arc<Outage>,
}

impl PatientStore {
    pub(crate) fn new(views: Views, bucket: Bucket, patience: Patience) -> Self {
        let outage = Arc::new(Outage::new(bucket.uri(""), patience));
        Self {
            inner: Arc::clone(&views.objects),
            views,
            bucket,
            outage,
        }
    }

    fn trial(&self, path: &Path, purpose: Purpose) -> Trial {
        Trial {
            outage: Arc::clone(&self.outage),
            uri: self.bucket.uri(path.as_ref()),
            purpose,
            first: None,
            tries: 0,
        }
    }

    pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
        &self,
        path: &Path,
        purpose: Purpose,
        ask: impl Fn() -> F,
    ) -> Result<T> {
        let mut trial = self.trial(path, purpose);
        loop {
            match ask().await {
                Ok(answer) => {
                    trial.passed();
                    return Ok(answer);
                }
                Err(error) => trial.failed(error).await?,
            }
        }
    }

    fn listed(
        &self,
        prefix: Option<&Path>,
        after: Option<Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = Path::default();
        let listing = Listing {
            inner: Arc::clone(&self.inner),
            prefix: prefix.cloned(),
            after,
            open: None,
            trial: self.trial(prefix.unwrap_or(&root), Purpose::Read),
        };
        stream::try_unfold(listing, |mut listing| async move {
            Ok(listing.next().await?.map(|meta| (meta, listing)))
        })
        .boxed()
    }
}

/// One request and its repetitions.
struct Trial {
    outage: Arc<Outage>,
    uri: String,
    purpose: Purpose,
    first: Option<Instant>,
    tries: u32,
}

impl Trial {
    /// The store has answered, or more of its answer has come.
    fn passed(&mut self) {
        self.first = None;
        self.tries = 0;
        self.outage.passed(monotonic());
    }

    /// Returns when the request may be made again.
    async fn failed(&mut self, error: StoreError) -> Result<()> {
        if !may_pass(&error, self.outage.answered()) {
            return Err(error);
        }
        let now = monotonic();
        let first = *self.first.get_or_insert(now);
        let said = answer(&error);
        let (limit, failing) = self.outage.failed(now, first, &said);
        match decide(limit, failing, self.tries, chance()) {
            Verdict::Wait(span) => {
                tracing::debug!(uri = self.uri, error = said, "a request is made again");
                self.tries += 1;
                pause(span).await;
                Ok(())
            }
            Verdict::Over => {
                let span = Span::secs(failing.as_secs());
                let done = self.purpose.done();
                let text = format!("'{}' cannot be {done}: {said}, for {span}", self.uri);
                let told = Error::new(ErrorCode::Unavailable, text).with_hint(match self.purpose {
                    Purpose::Read => "run the query again once the store is back; store_budget says how long a store may fail",
                    Purpose::Write => "resume the job once the store is back; store_budget says how long a store may fail",
                });
                Err(StoreError::Generic {
                    store: "object store",
                    source: Box::new(Spent::new(told)),
                })
            }
        }
    }
}

/// The rest of an object's bytes.
struct Body {
    inner: Arc<dyn ObjectStore>,
    options: GetOptions,
    meta: ObjectMeta,
    left: Range<u64>,
    open: Option<BoxStream<'static, Result<Bytes>>>,
    trial: Trial,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let step = match &mut self.open {
                Some(open) => open.try_next().await,
                None => {
                    match self.again().await {
                        Ok(open) => self.open = Some(open),
                        Err(error) => self.trial.failed(error).await?,
                    }
                    continue;
                }
            };
            match step {
                Ok(Some(bytes)) => {
                    self.left.start += bytes.len() as u64;
                    self.trial.passed();
                    return Ok(Some(bytes));
                }
                Ok(None) if self.left.is_empty() => return Ok(None),
                Ok(None) => {
                    self.open = None;
                    let source = Box::new(CutShort);
                    let store = "object store";
                    self.trial
                        .failed(StoreError::Generic { store, source })
                        .await?;
                }
                Err(error) => {
                    self.open = None;
                    self.trial.failed(error).await?;
                }
            }
        }
    }

    /// Asks for what is left of the same object.
    async fn again(&mut self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.left.clone())),
            if_match: self
                .options
                .if_match
                .clone()
                .or_else(|| self.meta.e_tag.clone()),
            ..self.options.clone()
        };
        let location = &self.meta.location;
        let answer = self.inner.get_opts(location, options).await?;
        let same = |meta: &ObjectMeta| {
            (meta.size, meta.last_modified, &meta.e_tag)
                == (self.meta.size, self.meta.last_modified, &self.meta.e_tag)
        };
        if !same(&answer.meta) {
            return Err(StoreError::Precondition {
                path: location.to_string(),
                source: "it was replaced while it was read".into(),
            });
        }
        Ok(answer.into_stream())
    }
}

/// The rest of a listing, which goes by name.
struct Listing {
    inner: Arc<dyn ObjectStore>,
    prefix: Option<Path>,
    after: Option<Path>,
    open: Option<BoxStream<'static, Result<ObjectMeta>>>,
    trial: Trial,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<ObjectMeta>> {
        loop {
            let open = self.open.get_or_insert_with(|| match &self.after {
                None => self.inner.list(self.prefix.as_ref()),
                Some(after) => self.inner.list_with_offset(self.prefix.as_ref(), after),
            });
            match open.try_next().await {
                // A store that does not know offsets begins at the first name again.
                Ok(Some(meta))
                    if self
                        .after
                        .as_ref()
                        .is_some_and(|after| meta.location <= *after) => {}
                Ok(Some(meta)) => {
                    self.after = Some(meta.location.clone());
                    self.trial.passed();
                    return Ok(Some(meta));
                }
                Ok(None) => {
                    self.trial.passed();
                    return Ok(None);
                }
                Err(error) => {
                    self.open = None;
                    self.trial.failed(error).await?;
                }
            }
        }
    }
}

impl fmt::Display for PatientStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for PatientStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let ask = || self.inner.get_opts(location, options.clone());
        let answer = self.patiently(location, Purpose::Read, ask).await?;
        let GetResult {
            payload: GetResultPayload::Stream(open),
            meta,
            range,
            attributes,
        } = answer
        else {
            return Ok(answer);
        };
        if options.head {
            return Ok(GetResult {
                payload: GetResultPayload::Stream(open),
                meta,
                range,
                attributes,
            });
        }
        let body = Body {
            inner: Arc::clone(&self.inner),
            options,
            meta: meta.clone(),
            left: range.clone(),
            open: Some(open),
            trial: self.trial(location, Purpose::Read),
        };
        let body = stream::try_unfold(body, |mut body| async move {
            Ok(body.next().await?.map(|bytes| (bytes, body)))
        });
        Ok(GetResult {
            payload: GetResultPayload::Stream(body.boxed()),
            meta,
            range,
            attributes,
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        self.patiently(prefix.unwrap_or(&root), Purpose::Read, || {
            self.inner.list_with_delimiter(prefix)
        })
        .await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if options.mode != PutMode::Overwrite {
            return self.inner.put_opts(location, payload, options).await;
        }
        let put = || {
            self.inner
                .put_opts(location, payload.clone(), options.clone())
        };
        self.patiently(location, Purpose::Write, put).await
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
