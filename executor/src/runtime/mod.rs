//! What scores, behind [`ModelHost`]: models by digest in memory, their files on disk, and the threads that score them, by our
//! own kernels or by ONNX Runtime. The only module that names `ort`, and the only one with unsafe code.

mod cache;
mod cuts;
mod environment;
mod files;
mod format;
mod loaded;
mod native;
#[cfg(test)]
mod native_tests;
mod pace;
mod session;
mod sessions;
pub(crate) mod telemetry;
mod tensors;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod threads;
mod trust;
#[cfg(test)]
mod values_tests;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::ArrayRef;
use async_trait::async_trait;
use futures::future::{BoxFuture, ready};
use whimbrel_predict::binding::Binding;
use whimbrel_predict::exec::BATCH_ROWS;
use whimbrel_predict::known::{Known, Trees};
use whimbrel_predict::runtime::{Feed, Model, ModelHost};
use whimbrel_proto::{Error, v1};

use self::cache::{ModelCache, Wanted};
use self::cuts::Cutting;
pub use self::files::ModelFetcher;
use self::files::ModelFiles;
pub(crate) use self::files::sha256_of_file;
use self::loaded::LoadedModel;
use self::tensors::FeedPlan;
use self::threads::{ScoringQueue, ScoringThreads};
use crate::host::HostStats;

/// How one host works.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The ONNX Runtime library, or its folder; `None` looks in the usual places.
    pub library: Option<PathBuf>,
    /// The folder of the model files: `<work_dir>/models`.
    pub cache_dir: PathBuf,
    /// Scoring threads; 0 is one per core.
    pub scoring_threads: usize,
    /// The most rows of one feed; a slow model gets fewer.
    pub batch_rows: usize,
    /// Models that nobody uses are dropped, the longest unused first, while all together are larger than this.
    pub model_cache_bytes: u64,
}

impl HostOptions {
    /// The defaults, with the model files in `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            library: None,
            cache_dir: cache_dir.into(),
            scoring_threads: 0,
            batch_rows: BATCH_ROWS,
            model_cache_bytes: 2 << 30,
        }
    }
}

/// Loads models and scores with them.
pub struct ScoringHost {
    batch_rows: usize,
    cache: ModelCache,
    threads: ScoringThreads,
    jobs: Arc<Jobs>,
}

impl ScoringHost {
    /// Starts the scoring threads. ONNX Runtime is looked for when the first model is opened.
    pub fn new(options: HostOptions, fetcher: Arc<dyn ModelFetcher>) -> Result<Arc<Self>, Error> {
        let HostOptions {
            library,
            cache_dir,
            scoring_threads,
            batch_rows,
            model_cache_bytes,
        } = options;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = ScoringThreads::start(if scoring_threads == 0 {
            cores
        } else {
            scoring_threads
        })?;
        let cache = ModelCache::new(
            ModelFiles::new(cache_dir, fetcher),
            library,
            model_cache_bytes,
            threads.count(),
        );
        Ok(Arc::new(Self {
            batch_rows: batch_rows.max(1),
            cache,
            threads,
            jobs: Arc::default(),
        }))
    }

    /// The models in memory; `loads` and `rows_scored` count since the host started, also what was dropped between.
    pub fn stats(&self) -> Vec<v1::LoadedModel> {
        self.cache.stats()
    }
}

impl HostStats for ScoringHost {
    fn loaded(&self) -> Vec<v1::LoadedModel> {
        self.stats()
    }

    fn rows_by_job(&self) -> HashMap<String, u64> {
        self.jobs.rows()
    }

    fn forget_job(&self, job_id: &str) {
        self.jobs.forget(job_id);
    }

    /// Lets the feeds under way end, answers the waiting ones with an error, and joins the scoring threads. Blocks for the
    /// length of a feed; may be called again, and dropping the host does the same.
    fn shut_down(&self) {
        self.threads.stop();
    }
}

impl fmt::Debug for ScoringHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoringHost")
            .field("threads", &self.threads.count())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ModelHost for ScoringHost {
    async fn open(&self, binding: &Binding) -> Result<Arc<dyn Model>, Error> {
        self.open_knowing(binding, &[]).await
    }

    async fn open_knowing(
        &self,
        binding: &Binding,
        known: &[Known],
    ) -> Result<Arc<dyn Model>, Error> {
        let plan = Arc::new(FeedPlan::new(binding)?);
        let wanted = Wanted {
            digest: binding.digest.clone(),
            runtime: binding.runtime,
        };
        let loaded = self.cache.get(&wanted, &plan, self.threads.queue()).await?;
        Ok(Arc::new(BoundModel {
            loaded,
            plan,
            cutting: Cutting::new(known),
            queue: self.threads.queue().clone(),
            jobs: Arc::clone(&self.jobs),
            batch_rows: self.batch_rows,
            feeds_ahead: self.threads.count() + 1,
        }))
    }
}

/// One binding's view of a loaded model.
struct BoundModel {
    loaded: Arc<LoadedModel>,
    plan: Arc<FeedPlan>,
    cutting: Arc<Cutting>,
    queue: ScoringQueue,
    jobs: Arc<Jobs>,
    batch_rows: usize,
    feeds_ahead: usize,
}

impl BoundModel {
    /// The values, where the calling thread may score these rows.
    fn score_here(&self, feed: &Feed) -> Result<Option<ArrayRef>, Error> {
        if !self.loaded.is_quick(feed.rows) {
            return Ok(None);
        }
        self.queue.run_here(|scratch| {
            let cut = self.cutting.of(&self.loaded, feed.rows);
            self.loaded.score_here(scratch, &self.plan, feed, cut)
        })
    }

    fn score_there(
        &self,
        feed: Feed,
        job_rows: Arc<AtomicU64>,
    ) -> BoxFuture<'static, Result<ArrayRef, Error>> {
        let (loaded, plan, cutting, queue) = (
            Arc::clone(&self.loaded),
            Arc::clone(&self.plan),
            Arc::clone(&self.cutting),
            self.queue.clone(),
        );
        Box::pin(async move {
            queue
                .run(move |worker| {
                    let cut = cutting.of(&loaded, feed.rows);
                    let scores = loaded.score(worker, &plan, &feed, cut)?;
                    job_rows.fetch_add(feed.rows as u64, Ordering::Relaxed);
                    Ok(scores)
                })
                .await
        })
    }
}

impl Model for BoundModel {
    fn score(&self, feed: Feed) -> BoxFuture<'static, Result<ArrayRef, Error>> {
        let job_rows = self.jobs.counter(&feed.job_id);
        match self.score_here(&feed) {
            Ok(None) => self.score_there(feed, job_rows),
            Ok(Some(scores)) => {
                job_rows.fetch_add(feed.rows as u64, Ordering::Relaxed);
                Box::pin(ready(Ok(scores)))
            }
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn batch_rows(&self) -> usize {
        self.loaded.pace().rows(self.batch_rows)
    }

    fn cut(&self) -> Option<Trees> {
        self.loaded.left(self.cutting.made()?)
    }

    fn feeds_ahead(&self) -> usize {
        match self.loaded.is_quick(self.batch_rows()) {
            true => 1,
            false => self.feeds_ahead,
        }
    }
}

impl fmt::Debug for BoundModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundModel")
            .field("model", &self.plan.who)
            .finish_non_exhaustive()
    }
}

/// Rows scored by engine job. A feed keeps its counter, so one that ends after its job was forgotten brings nothing back.
#[derive(Default)]
struct Jobs(Mutex<HashMap<Arc<str>, Arc<AtomicU64>>>);

impl Jobs {
    fn counter(&self, job_id: &Arc<str>) -> Arc<AtomicU64> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(jobs.entry(Arc::clone(job_id)).or_default())
    }

    fn rows(&self) -> HashMap<String, u64> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter()
            .map(|(job_id, rows)| (job_id.to_string(), rows.load(Ordering::Relaxed)))
            .collect()
    }

    fn forget(&self, job_id: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(job_id);
    }
}
