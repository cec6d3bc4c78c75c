//! The files of the machine, for a pool that may not read all of them.

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::allow::Allow;
use crate::error::refusal;
use crate::purpose::Purpose;

/// See the module.
#[derive(Debug)]
pub(crate) struct LocalDoor {
    files: Arc<LocalFileSystem>,
    allow: Allow,
}

impl LocalDoor {
    pub(crate) fn new(allow: Allow) -> Self {
        Self {
            files: Arc::new(LocalFileSystem::new()),
            allow,
        }
    }

    fn check(&self, location: &Path) -> Result<()> {
        let path = self.files.path_to_filesystem(location)?;
        self.check_path(&path)
    }

    fn check_prefix(&self, prefix: Option<&Path>) -> Result<()> {
        match prefix {
            Some(prefix) => self.check(prefix),
            None => self.check_path(FilePath::new("/")),
        }
    }

    fn check_path(&self, path: &FilePath) -> Result<()> {
        let checked = self.allow.check_path(path, Purpose::Read);
        checked.map_err(|error| refusal(&path.display().to_string(), error))
    }
}

impl fmt::Display for LocalDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.files)
    }
}

/// Nothing is written or removed by these ways: results, models and outputs do not go through the engine's stores.
fn no_writes<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: "local files of a pool".to_owned(),
    })
}

#[async_trait]
impl ObjectStore for LocalDoor {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.files.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        no_writes("put")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        no_writes("put_multipart")
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { no_writes("delete") }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.files.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_prefix(prefix)?;
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        no_writes("copy")
    }
}
