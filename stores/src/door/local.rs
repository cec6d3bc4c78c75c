//! The files of the machine, for a pool that may not read all of them.

use std::fmt;
use std::fs::{File, Metadata};
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
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::allow::Allow;
use crate::error::refusal;
use crate::purpose::Purpose;

/// An extension of a request for a whole file: it is opened by the thread that asks, for whom a hop to another thread and back
/// would cost more than a small file.
#[derive(Clone, Copy, Debug)]
pub struct Here;

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

/// `None` where it cannot be opened: that is for the store to tell.
fn opened(path: &FilePath, location: &Path) -> Option<GetResult> {
    let file = File::open(path).ok()?;
    let facts = file.metadata().ok().filter(Metadata::is_file)?;
    Some(GetResult {
        payload: GetResultPayload::File(file, path.to_owned()),
        meta: ObjectMeta {
            location: location.clone(),
            last_modified: facts.modified().ok()?.into(),
            size: facts.len(),
            e_tag: None,
            version: None,
        },
        range: 0..facts.len(),
        attributes: Attributes::default(),
    })
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
        let path = self.files.path_to_filesystem(location)?;
        self.check_path(&path)?;
        let here = options.extensions.get::<Here>().is_some() && options.range.is_none();
        match here.then(|| opened(&path, location)).flatten() {
            Some(file) => Ok(file),
            None => self.files.get_opts(location, options).await,
        }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use object_store::ObjectStoreExt;

    use super::*;
    use crate::Process;

    fn here() -> GetOptions {
        let mut options = GetOptions::default();
        options.extensions.insert(Here);
        options
    }

    #[tokio::test]
    async fn a_file_opened_by_the_thread_that_asks_is_as_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (lake, other) = (folder.join("lake"), folder.join("other"));
        for (place, text) in [(&lake, "0123"), (&other, "9")] {
            std::fs::create_dir(place).unwrap();
            std::fs::write(place.join("a"), text).unwrap();
        }
        std::os::unix::fs::symlink(other.join("a"), lake.join("leads-out")).unwrap();
        let list = [format!("file://{}/", lake.display())];
        let door = LocalDoor::new(Allow::parse(&list, Process::Scheduler).unwrap());
        let at = |file: PathBuf| Path::from_absolute_path(file).unwrap();

        let file = at(lake.join("a"));
        let plain = door.get(&file).await.unwrap();
        let opened = door.get_opts(&file, here()).await.unwrap();
        assert_eq!(
            (opened.meta.size, opened.meta.last_modified),
            (plain.meta.size, plain.meta.last_modified)
        );
        assert_eq!(opened.bytes().await.unwrap(), plain.bytes().await.unwrap());
        for closed in [other.join("a"), lake.join("leads-out")] {
            let error = door.get_opts(&at(closed), here()).await.unwrap_err();
            assert!(error.to_string().contains("may not be read"), "{error}");
        }
        for missing in [lake.join("none"), lake.clone()] {
            let error = door.get_opts(&at(missing), here()).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
    }
}
