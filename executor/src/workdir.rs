//! The folders of one executor. What is its own (`executors/<id>`) is locked while it lives and removed when it ends, and an
//! executor that starts removes what a killed one left; models (`models/<digest>`) are kept for the next start.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tracing::warn;
use whimbrel_proto::ids::ExecutorId;
use whimbrel_proto::{Error, ErrorCode};

const LOCK: &str = "lock";

/// The folders, there from `open` until the value is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    own: PathBuf,
    temporary: bool,
    _lock: File,
}

impl WorkDir {
    /// Makes the folders below `root`, or below a new temporary folder where `root` is empty.
    pub(crate) fn open(root: &Path, id: &ExecutorId) -> Result<Self, Error> {
        let temporary = root.as_os_str().is_empty();
        let root = if temporary {
            std::env::temp_dir().join(format!("whimbrel-{id}"))
        } else {
            root.to_owned()
        };
        let executors = root.join("executors");
        let own = executors.join(id.as_str());
        for dir in [own.join("jobs"), own.join("spill"), root.join("models")] {
            make(&dir)?;
        }
        let root = fs::canonicalize(&root).map_err(|error| failed("find", &root, &error))?;
        let own = root.join("executors").join(id.as_str());
        let lock = lock(&own)?;
        remove_abandoned(&executors, id);
        Ok(Self {
            root,
            own,
            temporary,
            _lock: lock,
        })
    }

    /// What tasks write: `<job>/<stage>/...`.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.own.join("jobs")
    }

    /// What sorts and joins put aside.
    pub(crate) fn spill(&self) -> PathBuf {
        self.own.join("spill")
    }

    /// Model files, shared with the executors that use the same root.
    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("models")
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let dir = if self.temporary {
            &self.root
        } else {
            &self.own
        };
        if let Err(error) = fs::remove_dir_all(dir) {
            warn!(dir = %dir.display(), %error, "cannot remove the work folder");
        }
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| failed("make", dir, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!("cannot {what} {}: {error}", path.display()),
    )
    .with_hint("set `work_dir` to a folder that this user can write")
}

/// The lock gets its name once it is held, so that nobody takes a folder that is just being made for an abandoned one.
fn lock(own: &Path) -> Result<File, Error> {
    let (fresh, path) = (own.join("lock.new"), own.join(LOCK));
    let lock = File::create(&fresh).map_err(|error| failed("write", &fresh, &error))?;
    lock.lock()
        .map_err(|error| failed("lock", &fresh, &error))?;
    fs::rename(&fresh, &path).map_err(|error| failed("write", &path, &error))?;
    Ok(lock)
}

/// A lock that can be had belongs to no living executor.
fn remove_abandoned(executors: &Path, own: &ExecutorId) {
    let Ok(entries) = fs::read_dir(executors) else {
        return;
    };
    for entry in entries
        .flatten()
        .filter(|entry| entry.file_name() != own.as_str())
    {
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => {
                if let Err(error) = fs::remove_dir_all(entry.path()) {
                    warn!(dir = %entry.path().display(), %error, "cannot remove what an executor left");
                }
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_executor_id;

    #[test]
    fn a_start_removes_what_a_killed_executor_left_and_spares_a_living_one() {
        let (id, living, killed) = (new_executor_id(), new_executor_id(), new_executor_id());
        let (id, living, killed) = (id.expect("id"), living.expect("id"), killed.expect("id"));
        let base = std::env::temp_dir().join(format!("whimbrel-test-{id}"));
        let living = WorkDir::open(&base, &living).expect("opens");
        let left = base.join("executors").join(killed.as_str());
        fs::create_dir_all(&left).expect("made");
        fs::write(left.join(LOCK), "").expect("written");

        let dir = WorkDir::open(&base, &id).expect("opens");
        assert!(!left.exists());
        assert!(living.jobs().is_dir());

        let jobs = dir.jobs();
        drop(dir);
        assert!(!jobs.exists());
        assert!(base.join("models").is_dir());
        drop(living);
        fs::remove_dir_all(&base).expect("removed");
    }

    #[test]
    fn without_a_folder_of_its_own_everything_goes_at_the_end() {
        let dir = WorkDir::open(Path::new(""), &new_executor_id().expect("id")).expect("opens");
        let root = dir.root.clone();
        assert!(dir.models().is_dir());
        drop(dir);
        assert!(!root.exists());
    }
}
