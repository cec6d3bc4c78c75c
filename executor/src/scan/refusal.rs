//! The store's own error of a scan that failed. The engine makes a text of what went wrong with a Parquet footer, and with it the
//! difference between a damaged file, one that was replaced and a store that is away.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::error::DataFusionError;
use whimbrel_proto::Error;
use whimbrel_stores::{Spent, spent};

#[derive(Debug)]
enum Kept {
    Spent(Error),
    Told(Error),
}

/// The first error of the stores of one task; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Refusal(Arc<Mutex<Option<Kept>>>);

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").finish_non_exhaustive()
    }
}

impl Refusal {
    pub(super) fn note(&self, error: &object_store::Error) {
        let kept = match spent(error) {
            Some(error) => Kept::Spent(error.clone()),
            None => Kept::Told(crate::shell::store_error(error)),
        };
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(kept);
    }

    /// What the scan failed with, where it was the store.
    pub(super) fn or(&self, error: DataFusionError) -> DataFusionError {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.take() {
            Some(Kept::Spent(error)) => DataFusionError::External(Box::new(Spent::new(error))),
            Some(Kept::Told(error)) => DataFusionError::External(Box::new(error)),
            None => error,
        }
    }
}
