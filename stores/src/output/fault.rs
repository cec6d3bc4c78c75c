//! A store in memory that fails as real ones do: answers that are lost after the work was done, conflicts where nothing landed,
//! uploads that are dropped. Each fault is ordered for one call and counted when it happens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::cloud::Uploads;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and the answer is 503.
    Refused,
    /// It is done, and the answer is lost.
    Lost,
    /// Nothing is done, and the answer says that there is such an object (S3's 409).
    Conflict,
    /// The store has forgotten the upload.
    Dropped,
    /// The store looks whether there is such an object, and writes later.
    Late,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    Complete,
}

#[derive(Debug, Default)]
struct State {
    ordered: Vec<(Call, Fault)>,
    fired: usize,
    uploads: HashMap<String, Path>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultStore {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

impl FaultStore {
    /// The next such call goes wrong; in the order of the orders.
    pub(crate) fn order(&self, call: Call, fault: Fault) {
        self.state.lock().unwrap().ordered.push((call, fault));
    }

    pub(crate) fn fired(&self) -> usize {
        self.state.lock().unwrap().fired
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let at = state.ordered.iter().position(|(own, _)| *own == call)?;
        state.fired += 1;
        Some(state.ordered.remove(at).1)
    }
}

fn unavailable() -> Error {
    Error::Generic {
        store: "fault",
        source: "503 Slow Down".into(),
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fault")
    }
}

#[async_trait]
impl MultipartStore for FaultStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let id = self.inner.create_multipart(path).await?;
        let mut state = self.state.lock().unwrap();
        state.uploads.insert(id.clone(), path.clone());
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.inner.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let no_upload = || Error::Generic {
            store: "fault",
            source: "NoSuchUpload: the upload does not exist".into(),
        };
        let fault = self.next(Call::Complete);
        match fault {
            Some(Fault::Refused | Fault::Conflict) => return Err(unavailable()),
            Some(Fault::Dropped) => {
                self.abort_multipart(path, id).await?;
                return Err(no_upload());
            }
            Some(Fault::Lost | Fault::Late) | None => {}
        }
        if self.state.lock().unwrap().uploads.remove(id).is_none() {
            return Err(no_upload());
        }
        let done = self.inner.complete_multipart(path, id, parts).await?;
        match fault {
            Some(Fault::Lost) => Err(unavailable()),
            _ => Ok(done),
        }
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        match self.state.lock().unwrap().uploads.remove(id) {
            Some(_) => {}
            None => {
                return Err(Error::NotFound {
                    path: path.to_string(),
                    source: "NoSuchUpload".into(),
                });
            }
        }
        self.inner.abort_multipart(path, id).await
    }
}

#[async_trait]
impl Uploads for FaultStore {
    async fn list(&self, prefix: &Path) -> Result<Vec<(Path, String)>> {
        let state = self.state.lock().unwrap();
        let below = |path: &&Path| path.prefix_matches(prefix);
        let found = state.uploads.iter().filter(|(_, path)| below(path));
        Ok(found.map(|(id, path)| (path.clone(), id.clone())).collect())
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.next(Call::Put);
        match fault {
            Some(Fault::Refused | Fault::Dropped) => return Err(unavailable()),
            Some(Fault::Conflict) => {
                return Err(Error::AlreadyExists {
                    path: location.to_string(),
                    source: "409 ConditionalRequestConflict".into(),
                });
            }
            Some(Fault::Late) => {
                if self.inner.head(location).await.is_ok() {
                    return Err(Error::AlreadyExists {
                        path: location.to_string(),
                        source: "412".into(),
                    });
                }
                tokio::task::yield_now().await;
                return self.inner.put(location, payload).await;
            }
            Some(Fault::Lost) | None => {}
        }
        let done = self.inner.put_opts(location, payload, options).await?;
        match fault {
            Some(Fault::Lost) => Err(unavailable()),
            _ => Ok(done),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
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
