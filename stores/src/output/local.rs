//! Output in a folder of the machine. What is staged is a file in a hidden folder, written and synced; publishing renames it. An
//! output that shall appear as a whole is written under a hidden name beside it and renamed once, at the end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{Error, Result};

use super::files::{
    absent_is_fine, half_written, make_folder, parent, plain, sync_folder, tag, walk, write_whole,
};
use super::{DeferredOutput, Intent, Listed, Published, Receipt};

/// Readers skip names that begin with a dot.
const STAGED: &str = ".whimbrel-staged";
const REVEALED: &str = ".whimbrel-revealed";
/// So much reaches the disk while the rest is still being made, and is not waited for at the end.
const PART_BYTES: u64 = 4 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct LocalOutput {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    /// Where readers look.
    output: PathBuf,
    /// Where everything is until it is revealed.
    hidden: Option<Hidden>,
}

#[derive(Debug)]
struct Hidden {
    folder: PathBuf,
    /// In the output once it has come from there: another job's may stand in its place.
    mark: PathBuf,
}

impl LocalOutput {
    /// An output that appears file by file.
    pub fn new(output: PathBuf) -> Self {
        Self::with(output, None)
    }

    /// An output that appears as a whole, under `output`, once it is revealed; `output` must not be there by then, or be empty.
    /// `name` tells it from other jobs' that are to appear at the same place.
    pub fn hidden(output: PathBuf, name: &str) -> Self {
        let own = output.file_name().unwrap_or_default().to_string_lossy();
        let folder = output.with_file_name(format!(".{own}.whimbrel-{name}"));
        let mark = output.join(format!("{REVEALED}-{name}"));
        Self::with(output, Some(Hidden { folder, mark }))
    }

    /// Where files are until they are revealed.
    pub(super) fn written_to(&self) -> &Path {
        match &self.folder.hidden {
            Some(hidden) => &hidden.folder,
            None => &self.folder.output,
        }
    }

    fn with(output: PathBuf, hidden: Option<Hidden>) -> Self {
        Self {
            folder: Arc::new(Folder { output, hidden }),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = Arc::clone(&self.folder);
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        match done {
            Ok(worked) => worked.map_err(|error| told(path, error)),
            Err(source) => Err(Error::JoinError { source }),
        }
    }
}

impl Folder {
    /// Where files are now.
    fn base(&self) -> &Path {
        match &self.hidden {
            Some(hidden) if self.is_hidden() => &hidden.folder,
            Some(_) | None => &self.output,
        }
    }

    fn is_hidden(&self) -> bool {
        let hidden = self.hidden.as_ref();
        hidden.is_some_and(|hidden| !hidden.mark.exists())
    }

    fn at(&self, path: &str) -> io::Result<PathBuf> {
        plain(path)?;
        Ok(self.base().join(path))
    }

    fn staged(&self, path: &str) -> io::Result<PathBuf> {
        plain(path)?;
        Ok(self.base().join(STAGED).join(path))
    }

    /// Writes a file that is whole from the moment that `place` gives it its name.
    fn write(
        &self,
        path: &str,
        bytes: &[u8],
        place: fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        write_whole(&self.at(path)?, bytes, place)
    }
}

#[async_trait]
impl DeferredOutput for LocalOutput {
    async fn begin(&self, path: &str) -> Result<Intent> {
        let own = path.to_owned();
        self.blocking(path, move |folder| {
            let staged = folder.staged(&own)?;
            make_folder(parent(&staged)?)?;
            File::create_new(&staged)?;
            Ok(Intent {
                path: own,
                upload: String::new(),
            })
        })
        .await
    }

    fn part_bytes(&self) -> u64 {
        PART_BYTES
    }

    async fn part(&self, intent: &Intent, index: usize, bytes: Bytes) -> Result<String> {
        let path = intent.path.clone();
        self.blocking(&intent.path, move |folder| {
            let staged = File::options().write(true).open(folder.staged(&path)?)?;
            staged.write_all_at(&bytes, index as u64 * PART_BYTES)?;
            // The last one is synced with the whole.
            if bytes.len() as u64 == PART_BYTES {
                staged.sync_data()?;
            }
            Ok(String::new())
        })
        .await
    }

    async fn seal(&self, intent: Intent, parts: Vec<String>, bytes: u64) -> Result<Receipt> {
        let path = intent.path.clone();
        self.blocking(&path.clone(), move |folder| {
            let staged = folder.staged(&path)?;
            let file = File::open(&staged)?;
            let found = file.metadata()?.len();
            if found != bytes {
                let text = format!("{found} bytes were staged, not {bytes}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            file.sync_all()?;
            sync_folder(parent(&staged)?)
        })
        .await?;
        Ok(Receipt {
            intent,
            parts,
            bytes,
            sha256: None,
        })
    }

    async fn publish(&self, receipt: &Receipt) -> Result<Published> {
        let path = receipt.intent.path.clone();
        let bytes = receipt.bytes;
        self.blocking(&receipt.intent.path, move |folder| {
            let (staged, target) = (folder.staged(&path)?, folder.at(&path)?);
            make_folder(parent(&target)?)?;
            match fs::rename(&staged, &target) {
                // A hidden folder is synced before it is revealed.
                Ok(()) if folder.is_hidden() => {}
                Ok(()) => sync_folder(parent(&target)?)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match fs::metadata(&target) {
                Ok(meta) if meta.len() == bytes => Ok(Published::Visible {
                    etag: Some(tag(&meta)),
                }),
                Ok(meta) => {
                    let text = format!("it has {} bytes and should have {bytes}", meta.len());
                    Err(io::Error::new(io::ErrorKind::InvalidData, text))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Published::Gone),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn discard(&self, intent: &Intent) -> Result<()> {
        let path = intent.path.clone();
        self.blocking(&intent.path, move |folder| {
            absent_is_fine(fs::remove_file(folder.staged(&path)?))
        })
        .await
    }

    async fn staged(&self, prefix: &str) -> Result<Vec<Intent>> {
        let own = prefix.to_owned();
        self.blocking(prefix, move |folder| {
            let root = folder.base().join(STAGED);
            let mut found = Vec::new();
            walk(&root, &root.join(plain(&own)?), &mut found)?;
            let intent = |(path, _)| Intent {
                path,
                upload: String::new(),
            };
            Ok(found.into_iter().map(intent).collect())
        })
        .await
    }

    fn tells_all(&self) -> bool {
        true
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<()> {
        let own = path.to_owned();
        // A link, unlike a rename, never replaces.
        let place = |half: &Path, target: &Path| fs::hard_link(half, target);
        self.blocking(path, move |folder| folder.write(&own, &bytes, place))
            .await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Option<String>> {
        let own = path.to_owned();
        let place = |half: &Path, target: &Path| fs::rename(half, target);
        self.blocking(path, move |folder| {
            folder.write(&own, &bytes, place)?;
            Ok(Some(tag(&fs::metadata(folder.at(&own)?)?)))
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>> {
        let own = path.to_owned();
        self.blocking(path, move |folder| match fs::read(folder.at(&own)?) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let own = prefix.to_owned();
        self.blocking(prefix, move |folder| {
            let mut found = Vec::new();
            walk(folder.base(), &folder.base().join(plain(&own)?), &mut found)?;
            let mut listed: Vec<Listed> = found
                .into_iter()
                .map(|(path, meta)| Listed {
                    path,
                    bytes: meta.len(),
                    etag: Some(tag(&meta)),
                })
                .collect();
            listed.sort_by(|left, right| left.path.cmp(&right.path));
            Ok(listed)
        })
        .await
    }

    async fn delete(&self, path: &str, etag: Option<&str>) -> Result<()> {
        let (own, etag) = (path.to_owned(), etag.map(str::to_owned));
        self.blocking(path, move |folder| {
            let target = folder.at(&own)?;
            let other = match (fs::metadata(&target), etag) {
                (Ok(meta), Some(etag)) => tag(&meta) != etag,
                (Ok(_), None) => false,
                (Err(error), _) => return absent_is_fine(Err(error)),
            };
            if other {
                return Ok(());
            }
            absent_is_fine(fs::remove_file(target))
        })
        .await
    }

    async fn reveal(&self) -> Result<()> {
        let path = self.folder.output.display().to_string();
        self.blocking(&path, |folder| {
            let Some(hidden) = &folder.hidden else {
                return Ok(());
            };
            if hidden.mark.exists() {
                return Ok(());
            }
            // Everything has its name for good before what it was staged in goes.
            sync_folder(&hidden.folder)?;
            match fs::remove_dir_all(hidden.folder.join(STAGED)) {
                // Somebody who does not know that the job is over has begun something meanwhile: the sweep's.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                removed => absent_is_fine(removed)?,
            }
            let mark = hidden
                .folder
                .join(hidden.mark.file_name().unwrap_or_default());
            File::create(mark)?.sync_all()?;
            sync_folder(&hidden.folder)?;
            fs::rename(&hidden.folder, &folder.output)?;
            sync_folder(parent(&folder.output)?)
        })
        .await
    }

    async fn clear(&self, prefix: &str) -> Result<()> {
        let own = prefix.to_owned();
        self.blocking(prefix, move |folder| {
            for half in half_written(&folder.base().join(plain(&own)?))? {
                absent_is_fine(fs::remove_file(half))?;
            }
            Ok(())
        })
        .await
    }

    async fn abandon(&self) -> Result<()> {
        let path = self.folder.output.display().to_string();
        self.blocking(&path, |folder| match &folder.hidden {
            Some(hidden) => absent_is_fine(fs::remove_dir_all(&hidden.folder)),
            None => Ok(()),
        })
        .await
    }
}

fn told(path: &str, error: io::Error) -> Error {
    let (path, kind) = (path.to_owned(), error.kind());
    let source = Box::new(error);
    match kind {
        io::ErrorKind::NotFound => Error::NotFound { path, source },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic {
            store: "local",
            source,
        },
    }
}
