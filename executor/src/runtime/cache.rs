//! Loaded models by digest and runtime: one load however many tasks ask at once, and the longest unused dropped first when
//! they grow too large together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use whimbrel_predict::binding::RuntimeKind;
use whimbrel_proto::ids::Digest;
use whimbrel_proto::{Error, v1};

use super::files::ModelFiles;
use super::loaded::{Counts, LoadedModel, Loading};
use super::tensors::FeedPlan;
use super::threads::ScoringQueue;
use crate::clock::now_ms;

pub(super) struct ModelCache {
    files: ModelFiles,
    library: Option<PathBuf>,
    budget: u64,
    threads: usize,
    state: Mutex<State>,
}

/// One content may be scored by both runtimes at once: bindings differ in what they ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) runtime: RuntimeKind,
}

#[derive(Default)]
struct State {
    slots: HashMap<Wanted, Arc<Slot>>,
    /// Kept when a model is dropped: they count since the host started.
    counts: HashMap<Wanted, Arc<Counts>>,
    /// Counts the openings: the order in which models were used last.
    opened: u64,
}

#[derive(Default)]
struct Slot {
    /// All that wait for one load get its result, the error too.
    loaded: OnceCell<Result<Arc<LoadedModel>, Error>>,
    last_opened: AtomicU64,
    /// The same as a time, for people.
    last_used_ms: AtomicI64,
}

impl ModelCache {
    pub(super) fn new(
        files: ModelFiles,
        library: Option<PathBuf>,
        budget: u64,
        threads: usize,
    ) -> Self {
        Self {
            files,
            library,
            budget,
            threads,
            state: Mutex::default(),
        }
    }

    /// The model, loaded if it is not yet; `plan` is checked against its graph.
    pub(super) async fn get(
        &self,
        wanted: &Wanted,
        plan: &Arc<FeedPlan>,
        queue: &ScoringQueue,
    ) -> Result<Arc<LoadedModel>, Error> {
        let slot = self.slot(wanted);
        let loaded = slot
            .loaded
            .get_or_init(|| self.load(wanted, plan, queue))
            .await
            .clone();
        match loaded {
            Ok(model) => {
                self.evict();
                model.check(plan)?;
                Ok(model)
            }
            Err(error) => {
                self.remove(wanted, &slot);
                Err(error)
            }
        }
    }

    /// What is loaded. Models that were in use when others came, and do not fit beside them, go first: nobody else may ask again.
    pub(super) fn stats(&self) -> Vec<v1::LoadedModel> {
        self.evict();
        let state = self.lock();
        let mut models: Vec<_> = state
            .slots
            .iter()
            .filter_map(|(wanted, slot)| {
                let model = slot.loaded.get()?.as_ref().ok()?;
                Some(v1::LoadedModel {
                    digest: wanted.digest.to_string(),
                    bytes: model.file.bytes,
                    loads: model.counts.loads.load(Ordering::Relaxed),
                    rows_scored: model.counts.rows.load(Ordering::Relaxed),
                    last_used_ms: slot.last_used_ms.load(Ordering::Relaxed),
                    score_micros: model.counts.micros.load(Ordering::Relaxed),
                    held_bytes: model.held_bytes(),
                    runtime: model.runtime().name().to_owned(),
                })
            })
            .collect();
        models.sort_by(|a, b| a.digest.cmp(&b.digest));
        models
    }

    async fn load(
        &self,
        wanted: &Wanted,
        plan: &Arc<FeedPlan>,
        queue: &ScoringQueue,
    ) -> Result<Arc<LoadedModel>, Error> {
        let Wanted { digest, runtime } = wanted.clone();
        let file = self.files.get(&digest).await?;
        let counts = Arc::clone(self.lock().counts.entry(wanted.clone()).or_default());
        let (library, threads, plan) = (self.library.clone(), self.threads, Arc::clone(plan));
        let model = queue
            .run(move |worker| {
                let mut loading = Loading {
                    library: library.as_deref(),
                    threads,
                    worker,
                    plan: &plan,
                };
                LoadedModel::load(runtime, file, counts, &mut loading)
            })
            .await?;
        model.counts.loads.fetch_add(1, Ordering::Relaxed);
        tracing::info!(model = %digest, bytes = model.file.bytes, runtime = %model.runtime(), "model loaded");
        Ok(Arc::new(model))
    }

    fn slot(&self, wanted: &Wanted) -> Arc<Slot> {
        let mut state = self.lock();
        state.opened += 1;
        let opened = state.opened;
        let slot = Arc::clone(state.slots.entry(wanted.clone()).or_default());
        slot.last_opened.store(opened, Ordering::Relaxed);
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        slot.last_used_ms.store(now, Ordering::Relaxed);
        slot
    }

    /// Forgets a failed load, so that the next one to ask tries again.
    fn remove(&self, wanted: &Wanted, failed: &Arc<Slot>) {
        let mut state = self.lock();
        if state
            .slots
            .get(wanted)
            .is_some_and(|slot| Arc::ptr_eq(slot, failed))
        {
            state.slots.remove(wanted);
        }
    }

    /// Drops unused models until the rest fits, but for the one that was asked for last: it is the likeliest to be asked for
    /// again. Slots and models are handed out under this lock or by their holders only, so what nobody else holds now stays
    /// unused.
    fn evict(&self) {
        let mut dropped = Vec::new();
        let mut state = self.lock();
        while state.held_bytes() > self.budget {
            let Some(wanted) = state.longest_unused() else {
                break;
            };
            dropped.extend(state.slots.remove(&wanted));
            tracing::info!(model = %wanted.digest, "model dropped from memory");
        }
        drop(state);
        // Sessions are released here, outside the lock.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn models(&self) -> impl Iterator<Item = (&Wanted, &Arc<Slot>, &Arc<LoadedModel>)> {
        self.slots
            .iter()
            .filter_map(|(wanted, slot)| Some((wanted, slot, slot.loaded.get()?.as_ref().ok()?)))
    }

    fn held_bytes(&self) -> u64 {
        self.models().map(|(_, _, model)| model.held_bytes()).sum()
    }

    fn longest_unused(&self) -> Option<Wanted> {
        let opened = |slot: &Arc<Slot>| slot.last_opened.load(Ordering::Relaxed);
        let latest = self.models().map(|(_, slot, _)| opened(slot)).max();
        self.models()
            .filter(|(_, slot, model)| {
                Arc::strong_count(slot) == 1
                    && Arc::strong_count(model) == 1
                    && Some(opened(slot)) != latest
            })
            .min_by_key(|(_, slot, _)| opened(slot))
            .map(|(wanted, _, _)| wanted.clone())
    }
}
