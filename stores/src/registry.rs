//! The stores as the engine asks for them: by the URL of a bucket, opened when a plan first names it.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

use crate::Stores;
use crate::door::LocalDoor;

/// Buckets by their URLs; local files as far as the pool may read them.
#[derive(Debug)]
pub struct Registry {
    stores: Stores,
    others: DefaultObjectStoreRegistry,
    files: Arc<dyn ObjectStore>,
}

impl Registry {
    /// The engine's view of `stores`.
    pub fn new(stores: Stores) -> Self {
        Self {
            files: Arc::new(LocalDoor::new(stores.allow().clone())),
            others: DefaultObjectStoreRegistry::new(),
            stores,
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
        if url.scheme() == "file" {
            return Ok(Arc::clone(&self.files));
        }
        let external = |error| DataFusionError::External(Box::new(error));
        match self.stores.locate(url.as_str()).map_err(external)? {
            Some(location) => Ok(self.stores.open(&location.bucket)),
            None => self.others.get_store(url),
        }
    }
}
