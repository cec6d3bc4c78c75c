//! Files of an output in a folder: names that stay below it, files that are whole once they have their name, and folders that are
//! on the disk once they are made.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

const HALF_WRITTEN: &str = ".whimbrel-half";

/// Writes a file that is whole from the moment that `place` gives it its name.
pub(super) fn write_whole(
    target: &Path,
    bytes: &[u8],
    place: fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let folder = parent(target)?;
    make_folder(folder)?;
    let mut half = tempfile_in(folder)?;
    half.file.write_all(bytes)?;
    half.file.sync_all()?;
    place(&half.path, target)?;
    sync_folder(folder)
}

/// The files at or below `start` whose writers have not come to give them a name.
pub(super) fn half_written(start: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![start.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in entries(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if entry
                .file_name()
                .to_string_lossy()
                .starts_with(HALF_WRITTEN)
            {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// A file that is not whole yet, removed unless it has got another name.
struct Half {
    file: File,
    path: PathBuf,
}

impl Drop for Half {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        if let Err(error) = absent_is_fine(fs::remove_file(&self.path)) {
            tracing::warn!(%error, path = %self.path.display(), "a half-written file stays");
        }
    }
}

fn tempfile_in(folder: &Path) -> io::Result<Half> {
    let path = folder.join(format!("{HALF_WRITTEN}-{}", crate::chance::name()));
    let file = File::create_new(&path)?;
    Ok(Half { file, path })
}

/// What is in a folder, if it is there.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// The files below `start` as paths from `root`; hidden ones are left out.
pub(super) fn walk(
    root: &Path,
    start: &Path,
    found: &mut Vec<(String, fs::Metadata)>,
) -> io::Result<()> {
    for entry in entries(start)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        } else if let Ok(below) = path.strip_prefix(root) {
            found.push((below.to_string_lossy().into_owned(), entry.metadata()?));
        }
    }
    Ok(())
}

/// Only plain names lead below the output.
pub(super) fn plain(path: &str) -> io::Result<&str> {
    let fits = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if fits {
        return Ok(path);
    }
    let text = format!("'{path}' leads out of the output");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

pub(super) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a folder is needed"))
}

/// The folder and those above it, each entry synced where it is new.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = parent(folder)?;
    if !above.as_os_str().is_empty() {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Another file at the same place has another one.
pub(super) fn tag(meta: &fs::Metadata) -> String {
    format!(
        "{:x}-{:x}-{:x}-{:x}",
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.len()
    )
}
