//! Brings model files from the scheduler, which has fetched them from their registry once and verified them.

use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tracing::debug;
use whimbrel_proto::ids::Digest;
use whimbrel_proto::v1::FetchModelRequest;
use whimbrel_proto::{Error, ErrorCode};

use super::Link;
use crate::runtime::ModelFetcher;

/// A stream of a model that brings nothing for so long has broken.
const SILENCE: Duration = Duration::from_secs(30);

/// Models by digest from the scheduler's cluster port.
#[derive(Clone, Debug)]
pub(crate) struct SchedulerModels {
    pub(crate) link: Link,
}

#[async_trait]
impl ModelFetcher for SchedulerModels {
    async fn fetch(&self, digest: &Digest, to: &Path) -> Result<(), Error> {
        let failed = |error: io::Error| write_failed(to, &error);
        let request = FetchModelRequest {
            digest: digest.to_string(),
        };
        let mut chunks = self.link.cluster().fetch_model(request).await?.into_inner();
        let mut file = File::create_new(to).await.map_err(failed)?;
        let mut bytes = 0;
        let silent = |_| {
            Error::new(
                ErrorCode::Unavailable,
                format!("the scheduler stopped sending model {}", digest.short()),
            )
        };
        while let Some(part) = timeout(SILENCE, chunks.message()).await.map_err(silent)?? {
            bytes += part.chunk.len();
            file.write_all(&part.chunk).await.map_err(failed)?;
        }
        // Without it the last bytes may still be on their way when the file is read.
        file.flush().await.map_err(failed)?;
        debug!(model = %digest, bytes, "fetched a model");
        Ok(())
    }
}

fn write_failed(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::Exhausted,
        _ => ErrorCode::Unavailable,
    };
    Error::new(
        code,
        format!("cannot write the model file {}: {error}", path.display()),
    )
    .with_hint("models are kept in the executor's work_dir; give it room")
}
