//! What an embedded pool may be told.

use std::path::{Path, PathBuf};

use whimbrel_proto::{Error, ErrorCode};

use crate::clock::unique_name;

/// Where an embedded pool keeps its state and its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// Nothing stays: state in memory, work in a folder that ends with the pool.
    #[default]
    Temporary,
    /// State stays in this folder, which one process at a time may run a pool on.
    Folder(PathBuf),
}

/// How to start an embedded pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where state and work are kept.
    pub home: Home,
    /// How many executors it has.
    pub executors: usize,
    /// Settings of its scheduler; addresses, token, state and storage are the pool's own.
    pub scheduler: whimbrel_scheduler::Config,
    /// Settings of each executor; addresses and work folder are the pool's own.
    pub executor: whimbrel_executor::Config,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            home: Home::default(),
            executors: 1,
            scheduler: whimbrel_scheduler::Config {
                allow: everything(),
                ..whimbrel_scheduler::Config::default()
            },
            executor: whimbrel_executor::Config {
                allow: everything(),
                ..whimbrel_executor::Config::default()
            },
        }
    }
}

/// What an embedded pool may read where nobody says otherwise: it runs with the rights of the user whose process it is in.
pub fn everything() -> Vec<String> {
    whimbrel_scheduler::EVERYTHING.map(str::to_owned).into()
}

/// The folders of one pool. The ones that must not stay go when it is dropped.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    keep: bool,
}

impl Folders {
    /// Clears what an earlier pool of the folder left behind when it was killed.
    pub(super) fn prepare(home: &Home) -> Result<Self, Error> {
        let folders = match home {
            Home::Temporary => Self {
                root: std::env::temp_dir().join(format!("whimbrel-{}", unique_name())),
                keep: false,
            },
            Home::Folder(folder) => Self {
                root: folder.clone(),
                keep: true,
            },
        };
        folders.clear_work();
        let work = folders.work();
        std::fs::create_dir_all(&work).map_err(|error| {
            Error::new(
                ErrorCode::Unavailable,
                format!("cannot work in {}: {error}", work.display()),
            )
            .with_hint("name a writable folder with WHIMBREL_STATE, or a running pool with --pool")
        })?;
        Ok(folders)
    }

    /// The scheduler's `state` setting.
    pub(super) fn state(&self) -> String {
        if self.keep {
            self.root.to_string_lossy().into_owned()
        } else {
            "memory".to_owned()
        }
    }

    /// The scheduler's `storage` setting.
    pub(super) fn storage(&self) -> String {
        self.root.join("models").to_string_lossy().into_owned()
    }

    /// What an executor may fill.
    pub(super) fn executor_work(&self, number: usize) -> PathBuf {
        self.work().join(number.to_string())
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn clear_work(&self) {
        remove(&self.work());
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        if self.keep {
            self.clear_work()
        } else {
            remove(&self.root)
        }
    }
}

fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "could not remove a work folder")
        }
    }
}
