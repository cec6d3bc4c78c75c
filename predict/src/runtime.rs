//! The door between a scoring plan and whatever runs models on this machine: `PredictExec` asks the host for a model once
//! and hands it bounded feeds; the host does the loading, the caching and the threads.

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use async_trait::async_trait;
use datafusion::physical_plan::metrics::Time;
use futures::future::BoxFuture;
use whimbrel_proto::Error;

use crate::binding::Binding;
use crate::known::{Known, Trees};

/// Rows to score at once: one array per [`crate::binding::InputElement`], each of that element's Arrow type and all of one
/// length; for an element that takes lists, a fixed-size list of them without NULL lists. A NULL in a float column means NaN; in any other column it is an error of the model's feed.
#[derive(Clone, Debug)]
pub struct Feed {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    /// The engine job that asks, for progress counters.
    pub job_id: Arc<str>,
    pub times: FeedTimes,
}

/// Where the time of scoring goes: whoever scores adds to it.
#[derive(Clone, Debug, Default)]
pub struct FeedTimes {
    /// From columns to tensors, and back.
    pub tensors: Time,
    /// In the model.
    pub model: Time,
}

/// A loaded model. Scoring runs on the host's own threads, on the caller's only what is over sooner than it could be handed
/// over; dropping the future gives up the work that has not begun.
pub trait Model: Send + Sync + fmt::Debug {
    /// One value per row of the feed, of the binding's `returns` type. What the caller's thread scores may be done when this
    /// returns.
    fn score(&self, feed: Feed) -> BoxFuture<'static, Result<ArrayRef, Error>>;
    /// The most rows that the next feed should have.
    fn batch_rows(&self) -> usize;
    /// What is left of its trees where they were cut by what is known; none where they were not.
    fn cut(&self) -> Option<Trees> {
        None
    }
    /// How many feeds one caller should keep under way now, so that the scoring threads never wait for it.
    fn feeds_ahead(&self) -> usize;
}

/// Gives models by binding; one load per digest, however many tasks ask at once.
#[async_trait]
pub trait ModelHost: Send + Sync + fmt::Debug {
    /// The loaded model of this binding.
    async fn open(&self, binding: &Binding) -> Result<Arc<dyn Model>, Error>;

    /// The same for rows of which something is known, by input, or nothing where `known` is empty. Whether it helps or not, such
    /// rows get the same values.
    async fn open_knowing(
        &self,
        binding: &Binding,
        known: &[Known],
    ) -> Result<Arc<dyn Model>, Error> {
        let _ = known;
        self.open(binding).await
    }
}

/// The host as an extension of a task's `SessionConfig` (extensions are looked up by a sized type).
#[derive(Clone, Debug)]
pub struct ModelHostRef(pub Arc<dyn ModelHost>);
