//! Small files, read whole and once. A reader of columns asks for the end of a file and then for columns of it; of a small one
//! each question costs more than all of its bytes: a request, or several hops between threads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;

/// Files up to this are small.
pub(super) const SMALL: u64 = 1 << 20;
/// A reader opens the next files while it reads one.
const KEPT: usize = 4;

/// A file and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) meta: ObjectMeta,
    pub(super) bytes: Bytes,
}

/// The files that were read last.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<(Path, Whole)>>);

impl Recent {
    pub(super) fn get(&self, location: &Path) -> Option<Whole> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().find(|(known, _)| known == location);
        found.map(|(_, whole)| whole.clone())
    }

    pub(super) fn keep(&self, location: Path, whole: Whole) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back((location, whole));
    }
}
