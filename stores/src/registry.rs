//! The stores as the engine asks for them: by the URL of a bucket, opened when a plan first names it.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::Url;

use crate::Stores;

/// Buckets by their URLs; local files as ever.
#[derive(Debug)]
pub struct Registry {
    stores: Stores,
    others: DefaultObjectStoreRegistry,
}

impl Registry {
    /// The engine's view of `stores`.
    pub fn new(stores: Stores) -> Self {
        Self {
            stores,
            others: DefaultObjectStoreRegistry::new(),
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
        let external = |error| DataFusionError::External(Box::new(error));
        match self.stores.locate(url.as_str()).map_err(external)? {
            Some(location) => self.stores.open(&location.bucket).map_err(external),
            None => self.others.get_store(url),
        }
    }
}
