//! Output on S3 and Azure storage: a multipart upload that is not completed is an object that nobody sees.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, Result};

use super::{DeferredOutput, Intent, Listed, Published, Receipt};

/// No store takes smaller ones than 5 MiB, but for the last.
const PART_BYTES: u64 = 8 << 20;

/// Tells the uploads that a store holds unfinished, where it can: `object_store` has no call for it.
#[async_trait]
pub trait Uploads: fmt::Debug + Send + Sync {
    /// The unfinished uploads of objects below `prefix`.
    async fn list(&self, prefix: &Path) -> Result<Vec<(Path, String)>>;
}

/// See the module.
#[derive(Clone)]
pub struct CloudOutput {
    objects: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    uploads: Option<Arc<dyn Uploads>>,
    root: Path,
}

impl CloudOutput {
    /// The output below `root`. `objects` and `multipart` are two views of one store.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        multipart: Arc<dyn MultipartStore>,
        uploads: Option<Arc<dyn Uploads>>,
        root: Path,
    ) -> Self {
        Self {
            objects,
            multipart,
            uploads,
            root,
        }
    }

    fn at(&self, path: &str) -> Result<Path> {
        let below = Path::parse(path)?;
        Ok(self.root.parts().chain(below.parts()).collect())
    }

    fn below(&self, location: &Path) -> Option<String> {
        let parts: Path = location.prefix_match(&self.root)?.collect();
        Some(parts.to_string())
    }

    fn listed(&self, meta: ObjectMeta) -> Option<Listed> {
        Some(Listed {
            path: self.below(&meta.location)?,
            bytes: meta.size,
            etag: meta.e_tag,
        })
    }
}

impl fmt::Debug for CloudOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudOutput({}/{})", self.objects, self.root)
    }
}

#[async_trait]
impl DeferredOutput for CloudOutput {
    async fn begin(&self, path: &str) -> Result<Intent> {
        let upload = self.multipart.create_multipart(&self.at(path)?).await?;
        Ok(Intent {
            path: path.to_owned(),
            upload,
        })
    }

    fn part_bytes(&self) -> u64 {
        PART_BYTES
    }

    async fn part(&self, intent: &Intent, index: usize, bytes: Bytes) -> Result<String> {
        let location = self.at(&intent.path)?;
        let part = self
            .multipart
            .put_part(&location, &intent.upload, index, bytes.into())
            .await?;
        Ok(part.content_id)
    }

    async fn seal(&self, intent: Intent, parts: Vec<String>, bytes: u64) -> Result<Receipt> {
        Ok(Receipt {
            intent,
            parts,
            bytes,
            sha256: None,
        })
    }

    async fn publish(&self, receipt: &Receipt) -> Result<Published> {
        let Receipt {
            intent,
            parts,
            bytes,
            ..
        } = receipt;
        let location = self.at(&intent.path)?;
        let parts = parts.iter().map(|content_id| PartId {
            content_id: content_id.clone(),
        });
        let completed = self
            .multipart
            .complete_multipart(&location, &intent.upload, parts.collect())
            .await;
        let refused = match completed {
            Ok(result) => {
                return Ok(Published::Visible { etag: result.e_tag });
            }
            Err(error) => error,
        };
        // Completing twice is an error in some stores, and an answer may be lost after the work was done: the object itself tells.
        match self.objects.head(&location).await {
            Ok(meta) if meta.size == *bytes => Ok(Published::Visible { etag: meta.e_tag }),
            Ok(meta) => Err(Error::Generic {
                store: "output",
                source: format!(
                    "'{location}' has {} bytes and should have {bytes}",
                    meta.size
                )
                .into(),
            }),
            Err(Error::NotFound { .. }) if is_gone(&refused) => Ok(Published::Gone),
            Err(Error::NotFound { .. }) => Err(refused),
            Err(error) => Err(error),
        }
    }

    async fn discard(&self, intent: &Intent) -> Result<()> {
        let location = self.at(&intent.path)?;
        match self
            .multipart
            .abort_multipart(&location, &intent.upload)
            .await
        {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn staged(&self, prefix: &str) -> Result<Vec<Intent>> {
        let Some(uploads) = &self.uploads else {
            return Ok(Vec::new());
        };
        let found = uploads.list(&self.at(prefix)?).await?;
        Ok(found
            .into_iter()
            .filter_map(|(location, upload)| {
                let path = self.below(&location)?;
                Some(Intent { path, upload })
            })
            .collect())
    }

    fn tells_all(&self) -> bool {
        false
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        let options = PutOptions::from(PutMode::Create);
        self.objects
            .put_opts(&self.at(path)?, bytes.into(), options)
            .await
            .map(drop)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Option<String>> {
        let put = self.objects.put(&self.at(path)?, bytes.into()).await?;
        Ok(put.e_tag)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let answer = match self.objects.get(&self.at(path)?).await {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        answer.bytes().await.map(Some)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut found: Vec<Listed> = self
            .objects
            .list(Some(&self.at(prefix)?))
            .try_filter_map(|meta| async move { Ok(self.listed(meta)) })
            .try_collect()
            .await?;
        found.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(found)
    }

    async fn delete(&self, path: &str, etag: Option<&str>) -> Result<()> {
        let location = self.at(path)?;
        if let Some(etag) = etag {
            match self.objects.head(&location).await {
                Ok(meta) if same_tag(meta.e_tag.as_deref(), etag) => {}
                Ok(_) | Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        match self.objects.delete(&location).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Everything is where its readers look.
    async fn reveal(&self) -> Result<()> {
        Ok(())
    }

    async fn clear(&self, _prefix: &str) -> Result<()> {
        Ok(())
    }

    async fn abandon(&self) -> Result<()> {
        Ok(())
    }
}

/// Azure's listings give tags without their quotes, its answers with them.
fn same_tag(found: Option<&str>, wanted: &str) -> bool {
    found.is_some_and(|found| found.trim_matches('"') == wanted.trim_matches('"'))
}

/// Whether the store says that it holds the upload no more, or its blocks.
fn is_gone(error: &Error) -> bool {
    let text = crate::error::chain(error);
    matches!(error, Error::NotFound { .. })
        || ["NoSuchUpload", "InvalidBlockList", "InvalidPart"]
            .iter()
            .any(|code| text.contains(code))
}
