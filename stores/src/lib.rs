//! Object stores by URI: S3 and Azure storage, configured from the environment of the process, one client per bucket. The
//! scheduler and the executors read and write the same places, so both take their stores from here.

mod build;
mod clock;
mod environment;
mod error;
mod location;
mod patience;
mod registry;
#[cfg(test)]
mod tests;
mod version;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use whimbrel_proto::Error;

pub use environment::Environment;
pub use error::{entra_refusal, explain, is_missing};
pub use location::{Bucket, Location};
pub use patience::{Patience, Spent, spent};
pub use registry::Registry;
pub use version::{is_version, stamped};

use patience::PatientStore;

/// The stores that this process uses. A clone shares them.
#[derive(Clone)]
pub struct Stores {
    environment: Environment,
    patience: Patience,
    open: Arc<Mutex<HashMap<Bucket, Arc<dyn ObjectStore>>>>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl Stores {
    /// No store yet; credentials, endpoints and regions come from `environment`.
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            patience: Patience::default(),
            open: Arc::default(),
        }
    }

    /// How long the stores that are opened from now on may fail.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The place that `uri` names; `None` where it is no object store's.
    pub fn locate(&self, uri: &str) -> Result<Option<Location>, Error> {
        Location::parse(uri, &self.environment)
    }

    /// The store of a bucket, the same one each time. Nothing is asked over the network yet.
    pub fn open(&self, bucket: &Bucket) -> Result<Arc<dyn ObjectStore>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(bucket) {
            return Ok(Arc::clone(store));
        }
        let store = build::store(bucket, &self.environment)?;
        let store: Arc<dyn ObjectStore> =
            Arc::new(PatientStore::new(store, bucket.clone(), self.patience));
        open.insert(bucket.clone(), Arc::clone(&store));
        Ok(store)
    }
}
