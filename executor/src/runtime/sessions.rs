//! A model in ONNX Runtime: one session for each scoring thread, made when that thread first scores.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ort::environment::Environment;
use ort::session::Session;
use whimbrel_predict::runtime::Feed;
use whimbrel_proto::{Error, ErrorCode};

use super::session;
use super::tensors::{FeedPlan, Rows};
use super::threads::Worker;

/// See the module.
pub(super) struct Sessions {
    environment: &'static Environment,
    path: PathBuf,
    /// What the graph takes and gives, by name.
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Whether its ZipMaps are taken off before ONNX Runtime sees it.
    cut: bool,
    /// Each lock is only ever taken by its thread.
    sessions: Vec<Mutex<Option<Session>>>,
    built: AtomicUsize,
}

impl Sessions {
    /// Makes the session of the thread that runs this, so that a graph that cannot run is known at once.
    pub(super) fn load(
        environment: &'static Environment,
        path: &Path,
        threads: usize,
        worker: &Worker,
        who: &str,
    ) -> Result<Self, Error> {
        let (session, cut) =
            session::build(environment, path, false).map_err(|error| unloadable(who, &error))?;
        let inputs = session.inputs().iter().map(|input| input.name().to_owned());
        let outputs = session.outputs().iter();
        let (inputs, outputs) = (
            inputs.collect(),
            outputs.map(|output| output.name().to_owned()).collect(),
        );
        let mut sessions: Vec<Mutex<Option<Session>>> = Vec::new();
        sessions.resize_with(threads, Mutex::default);
        sessions[worker.index] = Mutex::new(Some(session));
        Ok(Self {
            environment,
            path: path.to_owned(),
            inputs,
            outputs,
            cut,
            sessions,
            built: AtomicUsize::new(1),
        })
    }

    /// Whether the plan fits the graph.
    pub(super) fn check(&self, plan: &FeedPlan) -> Result<(), Error> {
        plan.check(&self.inputs, &self.outputs)
    }

    /// Runs the calling scoring thread's session.
    pub(super) fn run(
        &self,
        worker: &mut Worker,
        plan: &FeedPlan,
        feed: &Feed,
    ) -> Result<Vec<Rows>, Error> {
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
                let (built, _) = session::build(self.environment, &self.path, self.cut)
                    .map_err(|error| unloadable(&plan.who, &error))?;
                self.built.fetch_add(1, Ordering::Relaxed);
                none.insert(built)
            }
        };
        plan.run(session, feed, &mut worker.scratch)
    }

    /// Every session has its own copy of the weights.
    pub(super) fn copies(&self) -> u64 {
        self.built.load(Ordering::Relaxed) as u64
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
