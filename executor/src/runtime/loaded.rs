//! A model in memory: what scores it, and what it has scored. For an ONNX file our own kernels are believed only after they
//! gave what ONNX Runtime gives; nothing else scores the files of LightGBM and XGBoost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::ArrayRef;
use whimbrel_graph::Format;
use whimbrel_predict::binding::RuntimeKind;
use whimbrel_predict::known::{Known, Trees};
use whimbrel_predict::runtime::Feed;
use whimbrel_proto::Error;

use super::cuts::Cuts;
use super::files::ModelFile;
use super::format::{format_of, unloadable};
use super::native::{Failure, Native};
use super::pace::Pace;
use super::sessions::Sessions;
use super::tensors::{FeedPlan, Rows};
use super::threads::Worker;
use super::trust::{Difference, Verdict};
use super::{environment, trust};
use crate::clock::monotonic;

/// What is scored in no more than this is scored by the thread that has the rows, while they are still in its cache: to hand
/// them to another, and to be woken with the answer, costs a good part of it.
const QUICK: Duration = Duration::from_micros(200);

/// Counted since the host started, over all loads of one model.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) loads: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) micros: AtomicU64,
}

/// See the module.
pub(super) struct LoadedModel {
    pub(super) file: ModelFile,
    pub(super) counts: Arc<Counts>,
    pace: Pace,
    engine: Engine,
    /// By column whether it may be fed with anything; none may where it is empty.
    unused: Vec<bool>,
    cuts: Cuts,
}

enum Engine {
    /// And ONNX Runtime, where it is there and can, for rows that only it can score.
    Native(Native, Option<Sessions>),
    Ort(Sessions),
}

/// What our own kernels made of a feed.
enum Ran<'a> {
    Scored(Vec<Rows>),
    /// Nothing: these rows are ONNX Runtime's.
    Left(&'a Sessions),
}

/// Where and for whom a model is loaded.
pub(super) struct Loading<'a> {
    pub(super) library: Option<&'a Path>,
    /// How many scoring threads there are.
    pub(super) threads: usize,
    pub(super) worker: &'a mut Worker,
    pub(super) plan: &'a FeedPlan,
}

impl LoadedModel {
    pub(super) fn load(
        runtime: RuntimeKind,
        file: ModelFile,
        counts: Arc<Counts>,
        loading: &mut Loading<'_>,
    ) -> Result<Self, Error> {
        let (engine, unused) = match runtime {
            RuntimeKind::Ort => (Engine::Ort(loading.sessions(&file.path)?), Vec::new()),
            RuntimeKind::Native => match format_of(&file.path)? {
                Format::Onnx => loading.native(&file.path)?,
                Format::LightGbm | Format::XgBoost => loading.native_alone(&file.path)?,
            },
        };
        let loaded = Self {
            file,
            counts,
            pace: Pace::default(),
            engine,
            unused,
            cuts: Cuts::default(),
        };
        loading.plan.check_left_out(&loaded.unused)?;
        Ok(loaded)
    }

    /// Our own kernels for rows of which so much is known; none where another runtime scores it. Made on the calling scoring
    /// thread where nobody has asked for it before.
    pub(super) fn cut(&self, known: &[Known]) -> Option<Arc<Native>> {
        match &self.engine {
            Engine::Native(native, _) => Some(self.cuts.get(known, native)),
            Engine::Ort(_) => None,
        }
    }

    /// What is left of its trees in `cut`.
    pub(super) fn left(&self, cut: &Native) -> Option<Trees> {
        let Engine::Native(all, _) = &self.engine else {
            return None;
        };
        Some(Trees {
            trees: cut.model.trees(),
            nodes: cut.model.nodes(),
            all_trees: all.model.trees(),
            all_nodes: all.model.nodes(),
        })
    }

    /// What really scores it.
    pub(super) fn runtime(&self) -> RuntimeKind {
        match &self.engine {
            Engine::Native(..) => RuntimeKind::Native,
            Engine::Ort(_) => RuntimeKind::Ort,
        }
    }

    /// Whether the plan fits the model.
    pub(super) fn check(&self, plan: &FeedPlan) -> Result<(), Error> {
        plan.check_left_out(&self.unused)?;
        match &self.engine {
            Engine::Native(native, _) => native.check(plan),
            Engine::Ort(sessions) => sessions.check(plan),
        }
    }

    /// Scores on the calling scoring thread, with `cut` where there is one and our own kernels score.
    pub(super) fn score(
        &self,
        worker: &mut Worker,
        plan: &FeedPlan,
        feed: &Feed,
        cut: Option<&Native>,
    ) -> Result<ArrayRef, Error> {
        if feed.rows == 0 {
            return Ok(plan.nothing());
        }
        let begun = monotonic();
        let read = match self.natively(&mut worker.native, plan, feed, cut)? {
            Ran::Scored(read) => read,
            Ran::Left(sessions) => sessions.run(worker, plan, feed)?,
        };
        self.answer(plan, feed, &read, begun)
    }

    /// Whether so many rows may be scored by any thread, with [`Self::score_here`].
    pub(super) fn is_quick(&self, rows: usize) -> bool {
        let native = matches!(self.engine, Engine::Native(..));
        native && self.pace.takes(rows).is_some_and(|span| span <= QUICK)
    }

    /// Scores on the calling thread, whichever it is; none where that takes a scoring thread, which has ONNX Runtime.
    pub(super) fn score_here(
        &self,
        scratch: &mut whimbrel_graph::Scratch,
        plan: &FeedPlan,
        feed: &Feed,
        cut: Option<&Native>,
    ) -> Result<Option<ArrayRef>, Error> {
        let begun = monotonic();
        match self.natively(scratch, plan, feed, cut)? {
            Ran::Scored(read) => self.answer(plan, feed, &read, begun).map(Some),
            Ran::Left(_) => Ok(None),
        }
    }

    fn natively(
        &self,
        scratch: &mut whimbrel_graph::Scratch,
        plan: &FeedPlan,
        feed: &Feed,
        cut: Option<&Native>,
    ) -> Result<Ran<'_>, Error> {
        let (native, sessions) = match &self.engine {
            Engine::Native(native, sessions) => (cut.unwrap_or(native), sessions),
            Engine::Ort(sessions) => return Ok(Ran::Left(sessions)),
        };
        match (native.run(scratch, plan, feed), sessions) {
            (Err(Failure::Rows(_)), Some(sessions)) => Ok(Ran::Left(sessions)),
            (Err(Failure::Rows(error) | Failure::Else(error)), _) => Err(error),
            (Ok(read), _) => Ok(Ran::Scored(read)),
        }
    }

    /// The values as a column, after what they took since then was noted.
    fn answer(
        &self,
        plan: &FeedPlan,
        feed: &Feed,
        read: &[Rows],
        begun: Instant,
    ) -> Result<ArrayRef, Error> {
        let scores = plan.column(feed, read)?;
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

    /// What it takes of the memory set aside for models.
    pub(super) fn held_bytes(&self) -> u64 {
        match &self.engine {
            Engine::Native(_, sessions) => {
                let copies = sessions.as_ref().map_or(0, Sessions::copies);
                self.file.bytes * (1 + copies + self.cuts.count())
            }
            Engine::Ort(sessions) => self.file.bytes * sessions.copies(),
        }
    }
}

impl Loading<'_> {
    fn sessions(&self, path: &Path) -> Result<Sessions, Error> {
        let environment = environment::environment(self.library)?;
        Sessions::load(environment, path, self.threads, self.worker, &self.plan.who)
    }

    /// Our own kernels, where ONNX Runtime cannot read the file, and the columns that they do not use.
    fn native_alone(&self, path: &Path) -> Result<(Engine, Vec<bool>), Error> {
        let native = Native::load(path).map_err(|why| unloadable(&self.plan.who, &why))?;
        native.check(self.plan)?;
        let unused = native.model.unused_columns();
        Ok((Engine::Native(native, None), unused))
    }

    /// Our own kernels, or ONNX Runtime's where they differ, and the columns that neither uses.
    fn native(&mut self, path: &Path) -> Result<(Engine, Vec<bool>), Error> {
        let who = self.plan.who.clone();
        let native = match Native::load(path) {
            Ok(native) => native,
            Err(why) => {
                tracing::warn!(
                    model = who,
                    why,
                    "ONNX Runtime scores it instead of the native kernels"
                );
                return Ok((Engine::Ort(self.sessions(path)?), Vec::new()));
            }
        };
        native.check(self.plan)?;
        let unused = native.model.unused_columns();
        let sessions = match self.sessions(path) {
            Ok(sessions) => sessions,
            Err(why) => {
                tracing::info!(model = who, %why, "not compared with ONNX Runtime");
                return Ok((Engine::Native(native, None), unused));
            }
        };
        sessions.check(self.plan)?;
        match trust::compare(&native, &sessions, self.plan, self.worker)? {
            Verdict::Same => Ok((Engine::Native(native, Some(sessions)), unused)),
            Verdict::Differs(difference) => {
                warn_of(&who, &difference);
                Ok((Engine::Ort(sessions), unused))
            }
            Verdict::Misread(difference) => {
                warn_of(&who, &difference);
                Ok((Engine::Ort(sessions), Vec::new()))
            }
        }
    }
}

fn warn_of(who: &str, difference: &Difference) {
    tracing::warn!(
        model = who,
        %difference,
        "ONNX Runtime scores it: the native kernels give something else"
    );
}
