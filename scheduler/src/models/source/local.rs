//! Files and folders on the scheduler's machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use whimbrel_predict::onnx::MAX_BYTES;
use whimbrel_proto::{Error, ErrorCode};

use super::super::content::blocking;
use super::folder::{Folder, Found, at, too_large};

/// Names shown of a folder that is none of a model.
const SHOWN: usize = 100;

#[derive(Debug)]
struct LocalFolder {
    path: PathBuf,
    shown: String,
}

/// What is at an absolute path.
pub(super) async fn open(path: &str) -> Result<Found, Error> {
    let path = path.to_owned();
    blocking(move || {
        let facts = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        let here = |path: &Path| {
            Box::new(LocalFolder {
                path: path.to_owned(),
                shown: path.display().to_string(),
            })
        };
        let whole = Path::new(&path);
        if facts.is_dir() {
            return Ok(Found::Folder(here(whole)));
        }
        let bytes = read_bounded(&path, MAX_BYTES)?;
        let folder = here(whole.parent().unwrap_or_else(|| Path::new("/")));
        let name = whole
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Found::File {
            folder,
            name,
            bytes,
        })
    })
    .await
}

#[async_trait]
impl Folder for LocalFolder {
    async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, Error> {
        let (folder, name) = (self.path.clone(), name.to_owned());
        blocking(move || {
            let path = folder.join(&name);
            let shown = path.display().to_string();
            let canonical = match fs::canonicalize(&path) {
                Ok(canonical) => canonical,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(unreadable(&shown, &error)),
            };
            let home = fs::canonicalize(&folder)
                .map_err(|error| unreadable(&folder.display().to_string(), &error))?;
            if !canonical.starts_with(&home) {
                let error = Error::new(
                    ErrorCode::Invalid,
                    format!("'{name}' is a link that leads out of the folder"),
                );
                return Err(at(&home.display().to_string(), &error)
                    .with_hint("copy the file into the folder"));
            }
            read_bounded(&shown, most).map(Some)
        })
        .await
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        let path = self.path.clone();
        blocking(move || {
            let entries = fs::read_dir(&path)
                .map_err(|error| unreadable(&path.display().to_string(), &error))?;
            let mut names: Vec<String> = entries
                .flatten()
                .take(SHOWN)
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    fn place(&self) -> &str {
        &self.shown
    }
}

fn read_bounded(path: &str, most: u64) -> Result<Bytes, Error> {
    let facts = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !facts.is_file() {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("'{path}' is not a regular file"),
        )
        .with_hint("give the path of a model's file or of an MLflow folder"));
    }
    if facts.len() > most {
        return Err(too_large(path, most));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(facts.len()).unwrap_or(0));
    File::open(path)
        .and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > most {
        return Err(too_large(path, most));
    }
    Ok(bytes.into())
}

fn unreadable(path: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::new(
            ErrorCode::NotFound,
            format!("the model '{path}' does not exist"),
        )
        .with_hint("check the path; it is read on the scheduler's machine"),
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorCode::Denied,
            format!("the model '{path}' may not be read by the scheduler"),
        )
        .with_hint("give its user the right to read it"),
        _ => Error::new(
            ErrorCode::Unavailable,
            format!("the model '{path}' cannot be read: {error}"),
        )
        .with_hint("check the disk of the scheduler's machine"),
    }
}
