//! A byte stream to standard output or to a file that appears when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use whimbrel::clock::unique_name;

use super::Place;
use crate::cli::console::cannot_write;
use crate::cli::failure::Failure;

const BUFFER: usize = 256 << 10;

/// Takes bytes. What is not published is discarded when it is dropped.
pub(super) struct Destination {
    name: String,
    target: Option<(PathBuf, PathBuf)>,
    first_error: Arc<Mutex<Option<io::Error>>>,
}

/// The writing end, which encoders own; they wrap its errors in their own, so the first is kept beside.
pub(super) struct Bytes {
    inner: BufWriter<Box<dyn Write + Send>>,
    first_error: Arc<Mutex<Option<io::Error>>>,
}

impl Destination {
    /// Opens a place for writing.
    pub(super) fn open(place: &Place) -> Result<(Self, Bytes), Failure> {
        let (name, target, inner): (String, _, Box<dyn Write + Send>) = match place {
            Place::Stdout => ("standard output".to_owned(), None, Box::new(io::stdout())),
            Place::Nowhere => ("nothing".to_owned(), None, Box::new(io::sink())),
            Place::File(path) => {
                let name = path.display().to_string();
                let opened = open_file(path).map_err(|error| cannot_write(&name, &error))?;
                (name, opened.target, Box::new(opened.file))
            }
        };
        let first_error = Arc::new(Mutex::new(None));
        let bytes = Bytes {
            inner: BufWriter::with_capacity(BUFFER, inner),
            first_error: Arc::clone(&first_error),
        };
        Ok((
            Self {
                name,
                target,
                first_error,
            },
            bytes,
        ))
    }

    /// Gives the file its name. The writer must have been flushed.
    pub(super) fn publish(mut self) -> Result<(), Failure> {
        match self.target.take() {
            None => Ok(()),
            Some((temporary, path)) => std::fs::rename(&temporary, path).map_err(|error| {
                discard(&temporary);
                cannot_write(&self.name, &error)
            }),
        }
    }

    /// The failure behind an encoder's error: the system's word where the bytes could not be written.
    pub(super) fn failure(&self, encoder_error: &dyn std::fmt::Display) -> Failure {
        let first = self
            .first_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let error = first.unwrap_or_else(|| io::Error::other(encoder_error.to_string()));
        cannot_write(&self.name, &error)
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.target {
            discard(temporary);
        }
    }
}

impl Bytes {
    fn remember(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        self.first_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        kind.into()
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner
            .write(bytes)
            .map_err(|error| self.remember(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().map_err(|error| self.remember(error))
    }
}

struct Opened {
    file: File,
    /// The temporary name and the one to be; none where the bytes go straight to where they belong.
    target: Option<(PathBuf, PathBuf)>,
}

/// A device or a pipe must not be replaced by a file, and a link must stay one.
fn open_file(path: &Path) -> io::Result<Opened> {
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    if real.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if real.exists() && !real.is_file() {
        let file = OpenOptions::new().write(true).open(&real)?;
        return Ok(Opened { file, target: None });
    }
    let temporary = temporary_beside(&real);
    Ok(Opened {
        file: create(&temporary)?,
        target: Some((temporary, real)),
    })
}

/// In the same folder, so that the rename is one step.
fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", unique_name()))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).open(path)
}

fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "could not remove an unfinished file");
    }
}
