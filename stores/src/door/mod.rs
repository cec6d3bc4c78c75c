//! A store as its users see it. Every request goes to the client that serves its path now: that of the narrowest link, made
//! with the secrets as they are at this moment. What the pool may not use is refused here, whoever asks, and an error carries
//! what a person is to be told, since only here it is known which bucket, process and link it is about.

mod local;
mod staging;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::Stores;
use crate::error::{Teller, refusal};
use crate::location::{Bucket, Location};
use crate::patience::PatientStore;
use crate::purpose::Purpose;

pub use local::Here;
pub(crate) use local::LocalDoor;

/// See the module.
pub(crate) struct Door {
    stores: Stores,
    bucket: Bucket,
    purpose: Purpose,
}

impl Door {
    pub(crate) fn new(stores: Stores, bucket: Bucket, purpose: Purpose) -> Self {
        Self {
            stores,
            bucket,
            purpose,
        }
    }

    fn route(&self, path: &Path) -> Result<(Arc<PatientStore>, Teller)> {
        let place = Location {
            bucket: self.bucket.clone(),
            path: path.clone(),
            is_folder: false,
        };
        self.stores.route(&place, self.purpose).map_err(|error| {
            let refused = refusal(&place.to_string(), error);
            self.stores.refusals.note(&refused);
            refused
        })
    }

    fn listing(&self, prefix: Option<&Path>) -> Result<(Arc<PatientStore>, Teller)> {
        match prefix {
            Some(prefix) => self.route(prefix),
            None => self.route(&Path::default()),
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket.uri(""))
    }
}

#[async_trait]
impl ObjectStore for Door {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (client, teller) = self.route(location)?;
        let path = location.to_string();
        let head = options.head;
        let mut found = match client.get_opts(location, options).await {
            Ok(found) => found,
            Err(error) if head => {
                return Err(teller.tell(&path, reason(client.as_ref(), location, error).await));
            }
            Err(error) => return Err(teller.tell(&path, error)),
        };
        if let GetResultPayload::Stream(body) = found.payload {
            let told = body.map_err(move |error| teller.tell(&path, error));
            found.payload = GetResultPayload::Stream(told.boxed());
        }
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (client, teller) = self.route(location)?;
        let found = client.get_ranges(location, ranges).await;
        found.map_err(|error| teller.tell(location.as_ref(), error))
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let (client, teller) = self.route(location)?;
        let put = client.put_opts(location, payload, options).await;
        put.map_err(|error| teller.tell(location.as_ref(), error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (client, teller) = self.route(location)?;
        let put = client.put_multipart_opts(location, options).await;
        put.map_err(|error| teller.tell(location.as_ref(), error))
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let door = Self::new(self.stores.clone(), self.bucket.clone(), self.purpose);
        let each = locations.map(move |location| {
            let routed = location.and_then(|location| {
                let (client, teller) = door.route(&location)?;
                Ok((location, client, teller))
            });
            match routed {
                Err(error) => stream::once(async { Err(error) }).boxed(),
                Ok((location, client, teller)) => {
                    let path = location.to_string();
                    let one = stream::once(async { Ok(location) }).boxed();
                    let gone = client.delete_stream(one);
                    gone.map_err(move |error| teller.tell(&path, error)).boxed()
                }
            }
        });
        each.flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.listing(prefix) {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok((client, teller)) => {
                let path = prefix.map(Path::to_string).unwrap_or_default();
                let listed = client.list(prefix);
                listed
                    .map_err(move |error| teller.tell(&path, error))
                    .boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (client, teller) = self.listing(prefix)?;
        let listed = client.list_with_delimiter(prefix).await;
        listed.map_err(|error| teller.tell(prefix.map(Path::as_ref).unwrap_or_default(), error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.route(to)?;
        let (client, teller) = self.route(from)?;
        let copied = client.copy_opts(from, to, options).await;
        copied.map_err(|error| teller.tell(from.as_ref(), error))
    }
}

/// An answer to HEAD has no body, and so a refusal of it no reason: asked for a byte, the store says why.
async fn reason(client: &dyn ObjectStore, location: &Path, error: Error) -> Error {
    let refused = matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    );
    if !refused {
        return error;
    }
    let byte = GetOptions {
        range: Some(GetRange::Bounded(0..1)),
        ..GetOptions::default()
    };
    client.get_opts(location, byte).await.err().unwrap_or(error)
}
