//! Uploads that are not seen until they are completed may be made again, part by part. A completion may be, too: whoever made it
//! looks at the object where the second answer is no.

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, PutPayload, PutResult, Result};

use super::store::PatientStore;
use crate::output::Uploads;
use crate::purpose::Purpose;

#[async_trait]
impl MultipartStore for PatientStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let ask = || self.views.multipart.create_multipart(path);
        self.patiently(path, Purpose::Write, ask).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        let ask = || {
            self.views
                .multipart
                .put_part(path, id, part_idx, data.clone())
        };
        self.patiently(path, Purpose::Write, ask).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let ask = || {
            self.views
                .multipart
                .complete_multipart(path, id, parts.clone())
        };
        self.patiently(path, Purpose::Write, ask).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let ask = || self.views.multipart.abort_multipart(path, id);
        self.patiently(path, Purpose::Write, ask).await
    }
}

#[async_trait]
impl Uploads for PatientStore {
    async fn list(&self, prefix: &Path) -> Result<Vec<(Path, String)>> {
        let Some(uploads) = &self.views.uploads else {
            return Ok(Vec::new());
        };
        self.patiently(prefix, Purpose::Write, || uploads.list(prefix))
            .await
    }
}
