//! One client of a store as each of its users needs it: objects, uploads that are not completed yet, and the list of those.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::multipart::MultipartStore;

use crate::output::Uploads;

/// See the module.
#[derive(Clone)]
pub(crate) struct Views {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) multipart: Arc<dyn MultipartStore>,
    /// Where the store can tell.
    pub(crate) uploads: Option<Arc<dyn Uploads>>,
}

impl Views {
    /// The views of a store that cannot list its uploads.
    pub(crate) fn of<S: ObjectStore + MultipartStore>(store: Arc<S>) -> Self {
        Self {
            objects: Arc::clone(&store) as Arc<dyn ObjectStore>,
            multipart: store,
            uploads: None,
        }
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}
