//! Model content by its sha256, one file each in the pool's storage folder. A file is either absent or whole: it is written
//! under another name, synced, and renamed. What is read is checked against its name, so a damaged or swapped file is never
//! handed out.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use whimbrel_proto::ids::Digest;
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::Ids;

/// The digest of these bytes.
pub fn digest_of(bytes: &[u8]) -> Result<Digest, Error> {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.parse()
}

/// See the module.
#[derive(Clone, Debug)]
pub struct ContentStore {
    folder: PathBuf,
    ids: Arc<dyn Ids>,
}

impl ContentStore {
    /// The content kept in `folder`, which is made when something is first put there.
    pub fn new(folder: PathBuf, ids: Arc<dyn Ids>) -> Self {
        Self { folder, ids }
    }

    /// Keeps these bytes. Once it returns they are on stable storage under their digest.
    pub async fn put(&self, bytes: Bytes) -> Result<Digest, Error> {
        let this = self.clone();
        blocking(move || this.put_now(&bytes)).await
    }

    /// The bytes of this digest, checked.
    pub async fn read(&self, digest: &Digest) -> Result<Bytes, Error> {
        let (this, digest) = (self.clone(), digest.clone());
        blocking(move || this.read_now(&digest)).await
    }

    fn put_now(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = digest_of(bytes)?;
        if self.read_now(&digest).is_ok() {
            return Ok(digest);
        }
        let part = self.folder.join(format!(".{digest}.{}", self.ids.id()));
        let kept = self.path(&digest);
        write_whole(&self.folder, &part, &kept, bytes).map_err(|error| {
            // Where it cannot be removed either, it stays hidden and in nobody's way.
            drop(fs::remove_file(&part));
            let text = format!(
                "cannot keep the model in '{}': {error}",
                self.folder.display()
            );
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Error::new(ErrorCode::Exhausted, text)
                        .with_hint("free disk space, or choose another folder with --storage")
                }
                _ => Error::new(ErrorCode::Unavailable, text)
                    .with_hint("choose a folder that can be written with --storage"),
            }
        })?;
        Ok(digest)
    }

    fn read_now(&self, digest: &Digest) -> Result<Bytes, Error> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let text = format!(
                    "the content of model {} is not in '{}'",
                    digest.short(),
                    self.folder.display()
                );
                Error::new(ErrorCode::NotFound, text).with_hint("bind the model again")
            }
            _ => Error::new(
                ErrorCode::Unavailable,
                format!("cannot read '{}': {error}", path.display()),
            ),
        })?;
        if digest_of(&bytes)? != *digest {
            return Err(Error::new(
                ErrorCode::Data,
                format!("the model file '{}' is damaged", path.display()),
            )
            .with_hint("its content is not what its name says: bind the model again"));
        }
        Ok(bytes.into())
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.as_str())
    }
}

fn write_whole(folder: &Path, part: &Path, kept: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = File::create_new(part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(part, kept)?;
    File::open(folder)?.sync_all()
}

/// Runs disk work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(ErrorCode::Bug, format!("disk work failed: {error}")))?
}
