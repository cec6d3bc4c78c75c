//! The stores as the engine asks for them: by the URL of a bucket, opened when a plan first names it.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

use crate::Stores;
use crate::door::LocalDoor;

/// Buckets by their URLs; local files as ever, or as far as the pool may read them.
#[derive(Debug)]
pub struct Registry {
    stores: Stores,
    others: DefaultObjectStoreRegistry,
    files: Option<Arc<dyn ObjectStore>>,
}

impl Registry {
    /// The engine's view of `stores`.
    pub fn new(stores: Stores) -> Self {
        let allow = stores.allow();
        let files = (!allow.any_file())
            .then(|| Arc::new(LocalDoor::new(allow.clone())) as Arc<dyn ObjectStore>);
        Self {
            stores,
            others: DefaultObjectStoreRegistry::new(),
            files,
        }
    }
}

impl ObjectStoreRegistry for Registry {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.others.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let ("file", Some(files)) = (url.scheme(), &self.files) {
            return Ok(Arc::clone(files));
        }
        let external = |error| DataFusionError::External(Box::new(error));
        match self.stores.locate(url.as_str()).map_err(external)? {
            Some(location) => Ok(self.stores.open(&location.bucket)),
            None => self.others.get_store(url),
        }
    }
}
