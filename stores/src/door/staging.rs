//! Uploads through the door: the same client, the same refusals and the same words as for everything else.

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload, PutResult, Result};

use super::Door;
use crate::output::Uploads;

#[async_trait]
impl MultipartStore for Door {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let (client, teller) = self.route(path)?;
        let begun = client.create_multipart(path).await;
        begun.map_err(|error| teller.tell(path.as_ref(), error))
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let (client, teller) = self.route(path)?;
        let put = client.put_part(path, id, part_idx, data).await;
        put.map_err(|error| teller.tell(path.as_ref(), error))
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let (client, teller) = self.route(path)?;
        let completed = client.complete_multipart(path, id, parts).await;
        completed.map_err(|error| teller.tell(path.as_ref(), error))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let (client, teller) = self.route(path)?;
        let aborted = client.abort_multipart(path, id).await;
        aborted.map_err(|error| teller.tell(path.as_ref(), error))
    }
}

#[async_trait]
impl Uploads for Door {
    async fn list(&self, prefix: &Path) -> Result<Vec<(Path, String)>> {
        let (client, teller) = self.route(prefix)?;
        let listed = Uploads::list(client.as_ref(), prefix).await;
        listed.map_err(|error| teller.tell(prefix.as_ref(), error))
    }
}
