//! Loaded models by digest: one load however many tasks ask at once, one session per scoring thread, and the longest
//! unused dropped first when they grow too large together.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::ArrayRef;
use ort::environment::Environment;
use ort::session::Session;
use tokio::sync::OnceCell;
use whimbrel_predict::runtime::Feed;
use whimbrel_proto::ids::Digest;
use whimbrel_proto::{Error, ErrorCode, v1};

use super::files::{ModelFile, ModelFiles};
use super::pace::Pace;
use super::tensors::FeedPlan;
use super::threads::{ScoringQueue, Worker};
use super::{environment, session};
use crate::clock::{monotonic, now_ms};

pub(super) struct ModelCache {
    files: ModelFiles,
    library: Option<PathBuf>,
    budget: u64,
    threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: HashMap<Digest, Arc<Slot>>,
    /// Kept when a model is dropped: they count since the host started.
    counts: HashMap<Digest, Arc<Counts>>,
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

#[derive(Default)]
struct Counts {
    loads: AtomicU64,
    rows: AtomicU64,
    micros: AtomicU64,
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

    /// The model of `digest`, loaded if it is not yet; `plan` is checked against its graph.
    pub(super) async fn get(
        &self,
        digest: &Digest,
        plan: &Arc<FeedPlan>,
        queue: &ScoringQueue,
    ) -> Result<Arc<LoadedModel>, Error> {
        let slot = self.slot(digest);
        let loaded = slot
            .loaded
            .get_or_init(|| self.load(digest, plan, queue))
            .await
            .clone();
        match loaded {
            Ok(model) => {
                self.evict();
                plan.check(&model.inputs, &model.outputs)?;
                Ok(model)
            }
            Err(error) => {
                self.remove(digest, &slot);
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
            .filter_map(|(digest, slot)| {
                let model = slot.loaded.get()?.as_ref().ok()?;
                Some(v1::LoadedModel {
                    digest: digest.to_string(),
                    bytes: model.file.bytes,
                    loads: model.counts.loads.load(Ordering::Relaxed),
                    rows_scored: model.counts.rows.load(Ordering::Relaxed),
                    last_used_ms: slot.last_used_ms.load(Ordering::Relaxed),
                    score_micros: model.counts.micros.load(Ordering::Relaxed),
                    held_bytes: model.held_bytes(),
                })
            })
            .collect();
        models.sort_by(|a, b| a.digest.cmp(&b.digest));
        models
    }

    async fn load(
        &self,
        digest: &Digest,
        plan: &Arc<FeedPlan>,
        queue: &ScoringQueue,
    ) -> Result<Arc<LoadedModel>, Error> {
        let file = self.files.get(digest).await?;
        let counts = Arc::clone(self.lock().counts.entry(digest.clone()).or_default());
        let (library, threads, plan) = (self.library.clone(), self.threads, Arc::clone(plan));
        let model = queue
            .run(move |worker| {
                let environment = environment::environment(library.as_deref())?;
                LoadedModel::load(environment, file, counts, threads, worker, &plan.who)
            })
            .await?;
        model.counts.loads.fetch_add(1, Ordering::Relaxed);
        tracing::info!(model = %digest, bytes = model.file.bytes, "model loaded");
        Ok(Arc::new(model))
    }

    fn slot(&self, digest: &Digest) -> Arc<Slot> {
        let mut state = self.lock();
        state.opened += 1;
        let opened = state.opened;
        let slot = Arc::clone(state.slots.entry(digest.clone()).or_default());
        slot.last_opened.store(opened, Ordering::Relaxed);
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        slot.last_used_ms.store(now, Ordering::Relaxed);
        slot
    }

    /// Forgets a failed load, so that the next one to ask tries again.
    fn remove(&self, digest: &Digest, failed: &Arc<Slot>) {
        let mut state = self.lock();
        if state
            .slots
            .get(digest)
            .is_some_and(|slot| Arc::ptr_eq(slot, failed))
        {
            state.slots.remove(digest);
        }
    }

    /// Drops unused models until the rest fits, but for the one that was asked for last: it is the likeliest to be asked for
    /// again. Slots and models are handed out under this lock or by their holders only, so what nobody else holds now stays
    /// unused.
    fn evict(&self) {
        let mut dropped = Vec::new();
        let mut state = self.lock();
        while state.held_bytes() > self.budget {
            let Some(digest) = state.longest_unused() else {
                break;
            };
            dropped.extend(state.slots.remove(&digest));
            tracing::info!(model = %digest, "model dropped from memory");
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
    fn models(&self) -> impl Iterator<Item = (&Digest, &Arc<Slot>, &Arc<LoadedModel>)> {
        self.slots
            .iter()
            .filter_map(|(digest, slot)| Some((digest, slot, slot.loaded.get()?.as_ref().ok()?)))
    }

    fn held_bytes(&self) -> u64 {
        self.models().map(|(_, _, model)| model.held_bytes()).sum()
    }

    fn longest_unused(&self) -> Option<Digest> {
        let opened = |slot: &Arc<Slot>| slot.last_opened.load(Ordering::Relaxed);
        let latest = self.models().map(|(_, slot, _)| opened(slot)).max();
        self.models()
            .filter(|(_, slot, model)| {
                Arc::strong_count(slot) == 1
                    && Arc::strong_count(model) == 1
                    && Some(opened(slot)) != latest
            })
            .min_by_key(|(_, slot, _)| opened(slot))
            .map(|(digest, _, _)| digest.clone())
    }
}

/// A model in memory.
pub(super) struct LoadedModel {
    environment: &'static Environment,
    file: ModelFile,
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Whether its ZipMaps are taken off before ONNX Runtime sees it.
    cut: bool,
    counts: Arc<Counts>,
    pace: Pace,
    /// One per scoring thread, made when that thread first scores the model; each lock is only ever taken by its thread.
    sessions: Vec<Mutex<Option<Session>>>,
    built: AtomicUsize,
}

impl LoadedModel {
    /// Makes the session of the thread that runs this, so that a graph that cannot run is known at once.
    fn load(
        environment: &'static Environment,
        file: ModelFile,
        counts: Arc<Counts>,
        threads: usize,
        worker: &Worker,
        who: &str,
    ) -> Result<Self, Error> {
        let (session, cut) = session::build(environment, &file.path, false)
            .map_err(|error| unloadable(who, &error))?;
        let inputs = session
            .inputs()
            .iter()
            .map(|input| input.name().to_owned())
            .collect();
        let outputs = session
            .outputs()
            .iter()
            .map(|output| output.name().to_owned())
            .collect();
        let mut sessions: Vec<Mutex<Option<Session>>> = Vec::new();
        sessions.resize_with(threads, Mutex::default);
        sessions[worker.index] = Mutex::new(Some(session));
        Ok(Self {
            environment,
            file,
            inputs,
            outputs,
            cut,
            counts,
            pace: Pace::default(),
            sessions,
            built: AtomicUsize::new(1),
        })
    }

    /// Scores on the calling scoring thread, with its session.
    pub(super) fn score(
        &self,
        worker: &mut Worker,
        plan: &FeedPlan,
        feed: &Feed,
    ) -> Result<ArrayRef, Error> {
        let own = &self.sessions[worker.index];
        let mut session = own.lock().unwrap_or_else(|poisoned| {
            // A panic left it: what state the session is in, nobody knows.
            own.clear_poison();
            let mut session = poisoned.into_inner();
            *session = None;
            session
        });
        let session = match &mut *session {
            Some(session) => session,
            none => {
                let (built, _) = session::build(self.environment, &self.file.path, self.cut)
                    .map_err(|error| unloadable(&plan.who, &error))?;
                self.built.fetch_add(1, Ordering::Relaxed);
                none.insert(built)
            }
        };
        let begun = monotonic();
        let scores = plan.score(session, feed, &mut worker.scratch)?;
        let taken = monotonic().saturating_duration_since(begun);
        self.pace.note(feed.rows, taken);
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        self.counts.micros.fetch_add(micros, Ordering::Relaxed);
        self.counts
            .rows
            .fetch_add(feed.rows as u64, Ordering::Relaxed);
        Ok(scores)
    }

    /// How fast it scores.
    pub(super) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Every session has its own copy of the weights.
    fn held_bytes(&self) -> u64 {
        self.file.bytes * self.built.load(Ordering::Relaxed) as u64
    }
}

fn unloadable(who: &str, error: &ort::Error) -> Error {
    Error::new(
        ErrorCode::Model,
        format!(
            "{who} cannot be loaded: {}",
            session::reason(error.message())
        ),
    )
}
