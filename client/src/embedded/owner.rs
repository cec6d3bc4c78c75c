//! Who runs the pool of a folder: one process at a time, found by the others through a file.
//!
//! The right to run it is a lock on `lock`, which the kernel gives back when the process ends, however it ends. An owner that
//! leaves takes the file along, so whoever locks it looks whether it still has its name. `owner.json` beside it says where the pool is reached and with which token (0600, for the token opens the pool); it is written whole or not
//! at all, and one left by a process that was killed is overwritten by the next owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::unique_name;

/// What the owner tells other commands of the same user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// host:port of the pool's client port.
    pub(super) address: String,
    /// For messages only: a process id is no proof that the owner lives.
    pub(super) pid: u32,
    /// What the client port asks for.
    pub(super) token: String,
}

impl Owner {
    /// The present or last owner's file; nothing where there is none or it cannot be understood.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(owner_file(folder)).ok()?).ok()
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owner({} of process {})", self.address, self.pid)
    }
}

/// The right to run a folder's pool. Dropping it takes the file away and gives the right back.
#[derive(Debug)]
pub(super) struct Claim {
    folder: PathBuf,
    announced: bool,
    /// Locked as long as it is open.
    _lock: File,
}

impl Claim {
    /// The right, or nothing where another process has it.
    pub(super) fn try_take(folder: &Path) -> Result<Option<Self>, Error> {
        create_private_folder(folder).map_err(|error| cannot_use(folder, &error))?;
        let path = lock_file(folder);
        match try_lock(&path) {
            Ok(Some(lock)) => Ok(Some(Self {
                folder: folder.to_owned(),
                announced: false,
                _lock: lock,
            })),
            Ok(None) => Ok(None),
            Err(error) => Err(cannot_use(&path, &error)),
        }
    }

    /// Lets other commands find the pool.
    pub(super) fn announce(&mut self, owner: &Owner) -> Result<(), Error> {
        let path = owner_file(&self.folder);
        write_private(&path, owner).map_err(|error| cannot_use(&path, &error))?;
        self.announced = true;
        Ok(())
    }

    /// Other commands no longer find the pool; the right is kept.
    pub(super) fn withdraw(&mut self) {
        if std::mem::take(&mut self.announced)
            && let Err(error) = std::fs::remove_file(owner_file(&self.folder))
        {
            tracing::debug!(folder = %self.folder.display(), %error, "the owner file was gone already");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.withdraw();
        if let Err(error) = std::fs::remove_file(lock_file(&self.folder)) {
            tracing::debug!(folder = %self.folder.display(), %error, "the lock file was gone already");
        }
    }
}

/// A lock on the file that has this name now; nothing where another process has it or has just left.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let lock = options
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let locked = lock.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn lock_file(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn owner_file(folder: &Path) -> PathBuf {
    folder.join("owner.json")
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn write_private(path: &Path, owner: &Owner) -> io::Result<()> {
    let temporary = path.with_extension(unique_name());
    let write = || {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(owner)?)?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // What matters is the first error; the file may not have come to be.
        std::fs::remove_file(&temporary).ok();
    })
}

fn cannot_use(path: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorCode::Unavailable,
        format!(
            "cannot keep the pool's state in {}: {error}",
            path.display()
        ),
    )
    .with_hint("name a writable folder with WHIMBREL_STATE, or a running pool with --pool")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(unique_name()))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn owner(address: &str) -> Owner {
        Owner {
            address: address.into(),
            pid: 1,
            token: "t".into(),
        }
    }

    #[test]
    fn one_process_owns_a_folder_until_it_lets_go() {
        let folder = Folder::new();
        let claim = Claim::try_take(&folder.0).unwrap().unwrap();
        assert!(Claim::try_take(&folder.0).unwrap().is_none());
        drop(claim);
        assert!(Claim::try_take(&folder.0).unwrap().is_some());
    }

    #[test]
    fn a_lock_on_a_file_that_lost_its_name_is_no_right() {
        let folder = Folder::new();
        let claim = Claim::try_take(&folder.0).unwrap().unwrap();
        // A command that opened the file just before its owner left.
        let late = File::open(lock_file(&folder.0)).unwrap();
        drop(claim);
        late.try_lock().unwrap();
        assert!(Claim::try_take(&folder.0).unwrap().is_some());
    }

    #[test]
    fn the_file_is_private_and_ends_with_the_claim() {
        let folder = Folder::new();
        let mut claim = Claim::try_take(&folder.0).unwrap().unwrap();
        claim.announce(&owner("127.0.0.1:1")).unwrap();
        assert_eq!(Owner::read(&folder.0), Some(owner("127.0.0.1:1")));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&owner_file(&folder.0)), mode(&folder.0)),
            (0o600, 0o700)
        );
        drop(claim);
        assert_eq!(Owner::read(&folder.0), None);
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    }

    #[test]
    fn a_file_left_by_a_killed_owner_is_taken_over() {
        let folder = Folder::new();
        let mut killed = Claim::try_take(&folder.0).unwrap().unwrap();
        killed.announce(&owner("127.0.0.1:1")).unwrap();
        killed.announced = false;
        drop(killed);
        let mut next = Claim::try_take(&folder.0).unwrap().unwrap();
        next.announce(&owner("127.0.0.1:2")).unwrap();
        assert_eq!(Owner::read(&folder.0), Some(owner("127.0.0.1:2")));
    }

    #[test]
    fn a_broken_file_is_no_owner_and_a_token_is_never_printed() {
        let folder = Folder::new();
        let _claim = Claim::try_take(&folder.0).unwrap().unwrap();
        std::fs::write(owner_file(&folder.0), "{").unwrap();
        assert_eq!(Owner::read(&folder.0), None);
        let shown = format!(
            "{:?}",
            Owner {
                token: "s3cret".into(),
                ..owner("a:1")
            }
        );
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
