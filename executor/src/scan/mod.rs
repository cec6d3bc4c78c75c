//! What a task reads: the input files as they were when its query was planned. A file that has been replaced since is an
//! error, never mixed data, and so is one that was cut where it must not be; the engine itself does not look.

mod borders;
mod file;
mod footers;
mod guard;
mod known;
mod pins;
mod read;
mod small;
mod watch;

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectStore;
use url::Url;
use whimbrel_stores::Refusals;

pub(crate) use self::guard::{DecoderPanic, guard_scans};
pub(crate) use self::known::informed;
use self::pins::Pins;
use self::read::PinnedStore;

/// The environment for a task of this plan: stores that give its input files only as they were planned. What they fail with is
/// noted in `refusals`.
pub(crate) fn pinned(
    runtime: &Arc<RuntimeEnv>,
    plan: &Arc<dyn ExecutionPlan>,
    refusals: &Refusals,
) -> Arc<RuntimeEnv> {
    let pins = Pins::of(plan);
    if pins.is_empty() {
        return Arc::clone(runtime);
    }
    let registry = PinnedRegistry {
        inner: Arc::clone(&runtime.object_store_registry),
        pins: Arc::new(pins),
        refusals: refusals.clone(),
    };
    Arc::new(RuntimeEnv {
        object_store_registry: Arc::new(registry),
        ..runtime.as_ref().clone()
    })
}

/// Hands out the stores of `inner`, pinned.
struct PinnedRegistry {
    inner: Arc<dyn ObjectStoreRegistry>,
    pins: Arc<Pins>,
    refusals: Refusals,
}

impl fmt::Debug for PinnedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedRegistry").finish_non_exhaustive()
    }
}

impl ObjectStoreRegistry for PinnedRegistry {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.inner.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let store = self.inner.get_store(url)?;
        Ok(match self.pins.of_store(url) {
            Some(pins) => Arc::new(PinnedStore::new(
                store,
                pins::is_local(url),
                pins,
                self.refusals.clone(),
            )),
            None => store,
        })
    }
}
