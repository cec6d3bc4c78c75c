//! An output whose every step of a commit is a [`Failpoint`]: the commit itself knows nothing of them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::Result;
use whimbrel_stores::job::SUCCESS;
use whimbrel_stores::output::{DeferredOutput, Intent, Listed, Published, Receipt};

use super::failpoint::{Failpoint, pass};

/// See the module.
#[derive(Debug)]
pub(super) struct Tripwire {
    inner: Arc<dyn DeferredOutput>,
}

impl Tripwire {
    pub(super) fn new(inner: Arc<dyn DeferredOutput>) -> Self {
        Self { inner }
    }
}

/// The failpoints around a call on `path`.
fn around(path: &str) -> Option<(Failpoint, Failpoint)> {
    if path == SUCCESS {
        return Some((Failpoint::BeforeSuccess, Failpoint::AfterSuccess));
    }
    match path.rsplit('/').next()? {
        "decision.json" => Some((Failpoint::BeforeDecision, Failpoint::AfterDecision)),
        "manifest.json" => Some((Failpoint::BeforeManifest, Failpoint::AfterManifest)),
        _ => None,
    }
}

async fn between<T>(
    points: Option<(Failpoint, Failpoint)>,
    call: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    if let Some((before, _)) = points {
        pass(before);
    }
    let done = call.await;
    if let Some((_, after)) = points
        && done.is_ok()
    {
        pass(after);
    }
    done
}

#[async_trait]
impl DeferredOutput for Tripwire {
    async fn begin(&self, path: &str) -> Result<Intent> {
        self.inner.begin(path).await
    }

    fn part_bytes(&self) -> u64 {
        self.inner.part_bytes()
    }

    async fn part(&self, intent: &Intent, index: usize, bytes: Bytes) -> Result<String> {
        self.inner.part(intent, index, bytes).await
    }

    async fn seal(&self, intent: Intent, parts: Vec<String>, bytes: u64) -> Result<Receipt> {
        self.inner.seal(intent, parts, bytes).await
    }

    async fn publish(&self, receipt: &Receipt) -> Result<Published> {
        let points = (Failpoint::BeforePublish, Failpoint::AfterPublish);
        between(Some(points), self.inner.publish(receipt)).await
    }

    async fn discard(&self, intent: &Intent) -> Result<()> {
        self.inner.discard(intent).await
    }

    async fn staged(&self, prefix: &str) -> Result<Vec<Intent>> {
        self.inner.staged(prefix).await
    }

    fn tells_all(&self) -> bool {
        self.inner.tells_all()
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        between(around(path), self.inner.create(path, bytes)).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Option<String>> {
        between(around(path), self.inner.put(path, bytes)).await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        self.inner.get(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, path: &str, etag: Option<&str>) -> Result<()> {
        let is_record = path.contains("_whimbrel");
        if path == SUCCESS {
            self.inner.delete(path, etag).await?;
            pass(Failpoint::AfterTakeDown);
            return Ok(());
        }
        let points = (Failpoint::BeforeReplace, Failpoint::AfterReplace);
        between(
            (!is_record).then_some(points),
            self.inner.delete(path, etag),
        )
        .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        self.inner.clear(prefix).await
    }

    async fn abandon(&self) -> Result<()> {
        self.inner.abandon().await
    }

    async fn reveal(&self) -> Result<()> {
        let points = (Failpoint::BeforeReveal, Failpoint::AfterReveal);
        between(Some(points), self.inner.reveal()).await
    }
}
