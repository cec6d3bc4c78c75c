//! Facts in one file, `<state dir>/state.redb`: the embedded pool's and the single scheduler's home.
//!
//! One process owns the file. All facts are read into memory when it is opened, so reads never touch the disk; commits go
//! one after another through a thread that writes and syncs the file before it makes them visible or answers. A kill at any
//! point leaves a file that holds every commit that was answered, and perhaps the one that was not. Leased keys are never
//! written: they end with the process that held the lease.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    TableError,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use whimbrel_proto::{Error, ErrorCode};

use super::hub::{Hub, closed};
use super::tree::{Batch, Command, HistoryLimit, Planned, Tree};
use super::{
    ChangeStream, Entry, LeaseId, Listing, Outcome, Revision, StateStore, Transaction, Write,
};
use crate::clock::Clock;

/// key -> (revision, value)
const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// How the file is laid out; a file of a later layout is refused.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
const REVISION_KEY: &str = "revision";

/// Commits that may wait for the writer before callers are held back.
const QUEUE: usize = 64;
/// The facts are in memory anyway; the file's page cache stays small.
const CACHE_BYTES: usize = 4 << 20;

type Request = (Command, oneshot::Sender<Result<Outcome, Error>>);

/// See the module.
#[derive(Debug)]
pub struct RedbStore {
    hub: Arc<Hub>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RedbStore {
    /// Opens or creates the store of a state folder, which is made if it is missing. Called within a tokio runtime.
    pub async fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::with_history(folder, clock, HistoryLimit::default()).await
    }

    pub(super) async fn with_history(
        folder: &Path,
        clock: Arc<dyn Clock>,
        limit: HistoryLimit,
    ) -> Result<Self, Error> {
        let folder = folder.to_owned();
        let (file, tree) = tokio::task::spawn_blocking(move || StateFile::open(&folder, limit))
            .await
            .map_err(|error| {
                Error::new(
                    ErrorCode::Bug,
                    format!("opening the state file failed: {error}"),
                )
            })??;
        let hub = Hub::new(tree, clock);
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking({
            let hub = Arc::clone(&hub);
            move || write_commits(&hub, &file, queue)
        });
        // The lease task must not keep the queue open, or the writer would outlive the store.
        let weak = requests.downgrade();
        let leases = tokio::spawn(Arc::clone(&hub).end_leases(move |leases| {
            let sender = weak.upgrade();
            async move { send(sender, Command::EndLeases(leases)).await }.boxed()
        }));
        Ok(Self {
            hub,
            requests: Mutex::new(Some(requests)),
            tasks: Mutex::new(vec![writer, leases]),
        })
    }

    async fn run(&self, command: Command) -> Result<Outcome, Error> {
        let sender = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        send(sender, command).await
    }
}

async fn send(sender: Option<mpsc::Sender<Request>>, command: Command) -> Result<Outcome, Error> {
    let (reply, answer) = oneshot::channel();
    let sender = sender.ok_or_else(closed)?;
    sender.send((command, reply)).await.map_err(|_| closed())?;
    answer.await.map_err(|_| closed())?
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.hub.close();
    }
}

#[async_trait]
impl StateStore for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.hub.get(key)
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, Error> {
        self.run(Command::Commit(transaction)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.hub.list(prefix)
    }

    async fn watch(&self, prefix: &str, seen: Revision) -> Result<ChangeStream, Error> {
        self.hub.watch(prefix, seen)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.hub.grant(ttl)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<(), Error> {
        self.hub.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.run(Command::EndLeases(vec![lease])).await.map(|_| ())
    }

    async fn close(&self) {
        self.hub.close();
        drop(
            self.requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the state store failed");
            }
        }
    }
}

/// The writer thread: it alone plans, writes and applies, until every sender is gone. It owns the file, so the file is given
/// back when it ends.
fn write_commits(hub: &Hub, file: &StateFile, mut queue: mpsc::Receiver<Request>) {
    while let Some((command, reply)) = queue.blocking_recv() {
        let outcome = match hub.plan(&command) {
            Ok(Planned::Answer(outcome)) => Ok(outcome),
            Ok(Planned::Make(batch)) => file.write(&batch).and_then(|()| hub.apply(batch)),
            Err(error) => Err(error),
        };
        // A caller that has gone does not want the answer; the commit stands.
        drop(reply.send(outcome));
    }
}

/// The open file and the note beside it that says who has it open.
#[derive(Debug)]
struct StateFile {
    database: Database,
    path: PathBuf,
    owner: PathBuf,
}

impl StateFile {
    fn open(folder: &Path, limit: HistoryLimit) -> Result<(Self, Tree), Error> {
        make_folder(folder).map_err(|error| {
            Error::new(
                ErrorCode::Unavailable,
                format!(
                    "cannot use the state folder '{}': {error}",
                    folder.display()
                ),
            )
            .with_hint("choose a folder that can be written with --state")
        })?;
        let path = folder.join("state.redb");
        let owner = folder.join("state.owner");
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| cannot_open(&path, &owner, &error))?;
        // Only a hint for people; the lock is the file's own.
        if let Err(error) = fs::write(&owner, std::process::id().to_string()) {
            tracing::warn!(%error, path = %owner.display(), "cannot note who owns the state file");
        }
        let file = Self {
            database,
            path,
            owner,
        };
        let tree = file.load(limit)?;
        Ok((file, tree))
    }

    fn load(&self, limit: HistoryLimit) -> Result<Tree, Error> {
        let broken = |error: redb::Error| self.broken(&error);
        let read = self
            .database
            .begin_read()
            .map_err(|error| broken(error.into()))?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => {
                return Ok(Tree::restore(Revision(0), Vec::new(), limit));
            }
            Err(error) => return Err(broken(error.into())),
        };
        let number = |key| -> Result<u64, Error> {
            let found = meta.get(key).map_err(|error| broken(error.into()))?;
            Ok(found.map_or(0, |found| found.value()))
        };
        let format = number(FORMAT_KEY)?;
        if format != FORMAT {
            let text = format!(
                "the state file '{}' has layout {format}, not {FORMAT}",
                self.path.display()
            );
            return Err(Error::new(ErrorCode::Invalid, text)
                .with_hint("a later whimbrel wrote it: use that one, or another --state folder"));
        }
        let revision = Revision(number(REVISION_KEY)?);
        let table = read
            .open_table(ENTRIES)
            .map_err(|error| broken(error.into()))?;
        let mut entries = Vec::new();
        for row in table.iter().map_err(|error| broken(error.into()))? {
            let (key, value) = row.map_err(|error| broken(error.into()))?;
            let (revision, bytes) = value.value();
            let entry = Entry {
                value: Bytes::copy_from_slice(bytes),
                revision: Revision(revision),
            };
            entries.push((key.value().to_owned(), entry));
        }
        Ok(Tree::restore(revision, entries, limit))
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        self.try_write(batch).map_err(|error| self.broken(&error))
    }

    fn try_write(&self, batch: &Batch) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert(FORMAT_KEY, FORMAT)?;
            meta.insert(REVISION_KEY, batch.revision.0)?;
            let mut entries = write.open_table(ENTRIES)?;
            for (key, change) in &batch.writes {
                match change {
                    Write::Put { value, lease: None } => {
                        entries.insert(key.as_str(), (batch.revision.0, value.as_ref()))?;
                    }
                    Write::Put { lease: Some(_), .. } | Write::Delete => {
                        entries.remove(key.as_str())?;
                    }
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    fn broken(&self, error: &dyn Display) -> Error {
        let text = format!(
            "the state file '{}' cannot be used: {error}",
            self.path.display()
        );
        Error::new(ErrorCode::Unavailable, text)
            .with_hint("free disk space or restore the file, then start the pool again")
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        // The lock goes right after this; a note that stays behind misleads nobody, since it is read only under a lock.
        if let Err(error) = fs::remove_file(&self.owner) {
            tracing::debug!(%error, path = %self.owner.display(), "cannot remove the owner's note");
        }
    }
}

/// Makes the folder for its owner alone: what is in it is for this pool.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn cannot_open(path: &Path, owner: &Path, error: &DatabaseError) -> Error {
    let shown = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => {
            let who = fs::read_to_string(owner)
                .ok()
                .and_then(|text| text.trim().parse::<u32>().ok())
                .map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("process {pid}"),
                );
            Error::new(
                ErrorCode::Unavailable,
                format!("the state file '{shown}' is in use by {who}"),
            )
            .with_hint(
                "connect to that pool with --pool, stop it, or choose another folder with --state",
            )
        }
        DatabaseError::Storage(redb::StorageError::Io(error))
            if error.kind() == io::ErrorKind::InvalidData =>
        {
            Error::new(
                ErrorCode::Invalid,
                format!("'{shown}' is not a state file of whimbrel"),
            )
            .with_hint("choose another folder with --state, or move that file away")
        }
        error => Error::new(
            ErrorCode::Unavailable,
            format!("cannot open the state file '{shown}': {error}"),
        )
        .with_hint("check the file's rights and the disk, or choose another folder with --state"),
    }
}
