//! Model files on this executor's disk, by the sha256 of their content. A file is only ever used after its content has
//! been held against its name.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use whimbrel_proto::ids::Digest;
use whimbrel_proto::{Error, ErrorCode};

/// Brings a model's bytes to this machine.
#[async_trait]
pub trait ModelFetcher: Send + Sync + fmt::Debug {
    /// Writes the content of `digest` to the new file `to`. What was written is verified by the caller.
    async fn fetch(&self, digest: &Digest, to: &Path) -> Result<(), Error>;
}

/// A verified file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModelFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct ModelFiles {
    dir: PathBuf,
    fetcher: Arc<dyn ModelFetcher>,
}

impl ModelFiles {
    pub(super) fn new(dir: PathBuf, fetcher: Arc<dyn ModelFetcher>) -> Self {
        Self { dir, fetcher }
    }

    /// The verified file of `digest`: the one on disk, or a fresh one where there is none or it is damaged.
    pub(super) async fn get(&self, digest: &Digest) -> Result<ModelFile, Error> {
        let path = self.dir.join(digest.as_str());
        if tokio::fs::try_exists(&path)
            .await
            .map_err(|error| disk("read", &path, &error))?
        {
            if sha256_async(&path).await? == digest.as_str() {
                return sized(path).await;
            }
            tracing::warn!(model = %digest, path = %path.display(), "a cached model file is damaged: fetching it again");
        }
        tokio::fs::create_dir_all(&self.dir)
            .await
            .map_err(|error| disk("create", &self.dir, &error))?;
        let part = Part::new(&self.dir, digest);
        self.fetcher.fetch(digest, &part.0).await?;
        let got = sha256_async(&part.0).await?;
        if got != digest.as_str() {
            return Err(Error::new(
                ErrorCode::Model,
                format!("the fetched model has digest {got}, not {digest}"),
            )
            .with_hint("the model store is damaged: bind the model again"));
        }
        tokio::fs::rename(&part.0, &path)
            .await
            .map_err(|error| disk("write", &path, &error))?;
        sized(path).await
    }
}

/// A file that is still being written; removed when dropped, wherever the fetch ended.
struct Part(PathBuf);

impl Part {
    fn new(dir: &Path, digest: &Digest) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(dir.join(format!(
            ".{}-{}-{number}.part",
            digest.short(),
            std::process::id()
        )))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "cannot remove a partial model file");
            }
            _ => {}
        }
    }
}

async fn sized(path: PathBuf) -> Result<ModelFile, Error> {
    let meta = tokio::fs::metadata(&path)
        .await
        .map_err(|error| disk("read", &path, &error))?;
    Ok(ModelFile {
        path,
        bytes: meta.len(),
    })
}

async fn sha256_async(path: &Path) -> Result<String, Error> {
    let owned = path.to_owned();
    let sum = tokio::task::spawn_blocking(move || sha256_of_file(&owned))
        .await
        .map_err(io::Error::other);
    sum.flatten().map_err(|error| disk("read", path, &error))
}

/// The sha256 of a file's content, as lower-case hex digits.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(DIGITS[usize::from(half)]))
        .collect()
}

fn disk(what: &str, path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::Exhausted,
        _ => ErrorCode::Unavailable,
    };
    Error::new(code, format!("cannot {what} '{}': {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing::{Shelf, TempFolder, digest_of};

    #[tokio::test]
    async fn a_file_is_fetched_once_and_again_only_when_damaged() {
        let folder = TempFolder::new();
        let shelf = Arc::new(Shelf::default());
        let digest = shelf.put(b"content".to_vec());
        let files = ModelFiles::new(
            folder.path().join("models"),
            Arc::clone(&shelf) as Arc<dyn ModelFetcher>,
        );
        let file = files.get(&digest).await.unwrap();
        assert_eq!(file.bytes, 7);
        assert_eq!(files.get(&digest).await.unwrap(), file);
        assert_eq!(shelf.fetches(), 1);
        std::fs::write(&file.path, "damage").unwrap();
        files.get(&digest).await.unwrap();
        assert_eq!(
            (shelf.fetches(), std::fs::read(&file.path).unwrap()),
            (2, b"content".to_vec())
        );
    }

    #[tokio::test]
    async fn wrong_content_names_both_digests_and_leaves_nothing() {
        let folder = TempFolder::new();
        let shelf = Arc::new(Shelf::default());
        let asked = digest_of(b"right");
        shelf.put_as(asked.clone(), b"wrong".to_vec());
        let files = ModelFiles::new(folder.path().to_owned(), shelf);
        let error = files.get(&asked).await.unwrap_err();
        let got = digest_of(b"wrong");
        assert_eq!(
            error.message(),
            format!("the fetched model has digest {got}, not {asked}")
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
