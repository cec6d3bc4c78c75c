//! A model's kernels without the branches that the rows of a query cannot reach, shared by the tasks of that query.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use whimbrel_predict::known::Known;

use super::loaded::LoadedModel;
use super::native::Native;

/// Queries in turn ask for what they know; the oldest makes room.
const KEPT: usize = 4;

type Made = Arc<OnceLock<Arc<Native>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Cuts(Mutex<VecDeque<(Vec<Known>, Made)>>);

impl Cuts {
    /// What `native` is for rows of which so much is known. It is made once; who asks meanwhile waits.
    pub(super) fn get(&self, known: &[Known], native: &Native) -> Arc<Native> {
        let made = self.slot(known);
        Arc::clone(made.get_or_init(|| Arc::new(native.narrowed(known))))
    }

    fn slot(&self, known: &[Known]) -> Made {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, made)) = kept.iter().find(|(of, _)| of == known) {
            return Arc::clone(made);
        }
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        let made = Made::default();
        kept.push_back((known.to_vec(), Arc::clone(&made)));
        made
    }

    pub(super) fn count(&self) -> u64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.len() as u64
    }
}

/// When one partition's rows are scored by such kernels: after so many of them that making the kernels is worth it.
pub(super) struct Cutting {
    known: Vec<Known>,
    scored: AtomicUsize,
    made: OnceLock<Option<Arc<Native>>>,
}

impl Cutting {
    /// Rows that are scored before: what cutting takes is as much as scoring a few thousand.
    const WORTH: usize = 65_536;

    pub(super) fn new(known: &[Known]) -> Arc<Self> {
        let tells = known.iter().any(Known::tells);
        Arc::new(Self {
            known: if tells { known.to_vec() } else { Vec::new() },
            scored: AtomicUsize::new(0),
            made: OnceLock::new(),
        })
    }

    /// What scores the next so many rows, where it is not the whole model.
    pub(super) fn of(&self, loaded: &LoadedModel, rows: usize) -> Option<&Native> {
        if self.known.is_empty() {
            return None;
        }
        let before = self.scored.fetch_add(rows, Ordering::Relaxed);
        if before < Self::WORTH {
            return None;
        }
        let made = self.made.get_or_init(|| loaded.cut(&self.known));
        made.as_deref()
    }

    /// What scores the rows now, where it is not the whole model.
    pub(super) fn made(&self) -> Option<&Native> {
        self.made.get()?.as_deref()
    }
}
