//! Opens an output by its URI, and tells what went wrong with it in words for people.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::Error as StoreError;
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode};

use super::{CloudOutput, DeferredOutput, LocalOutput, Patience, claim};
use crate::clock::{chance, monotonic, pause};
use crate::error::{chain, reason, told};
use crate::purpose::Purpose;
use crate::{Allow, Stores};

impl Stores {
    /// The output below `uri`, which the pool may write. `alone` is the job whose output is to appear as a whole, where the machine's
    /// files allow that. Nothing is asked over the network yet.
    pub fn output(
        &self,
        uri: &str,
        alone: Option<&ScoreJobId>,
    ) -> Result<Arc<dyn DeferredOutput>, Error> {
        let Some(place) = self.locate(uri)? else {
            return local(uri, alone, self.allow());
        };
        self.allow().check(&place, Purpose::Write)?;
        let door = Arc::new(self.door(&place.bucket, Purpose::Write));
        let output = CloudOutput::new(
            Arc::clone(&door) as Arc<_>,
            Arc::clone(&door) as Arc<_>,
            Some(door),
            place.path,
        );
        Ok(Arc::new(output))
    }

    /// How long an unclear answer of a store is asked about, from now on: as long as the store may fail.
    pub fn trials(&self) -> Trials {
        Trials {
            since: monotonic(),
            budget: self.shared.patience.budget(),
        }
    }
}

fn local(
    uri: &str,
    alone: Option<&ScoreJobId>,
    allow: &Allow,
) -> Result<Arc<dyn DeferredOutput>, Error> {
    let path = path_of(uri)?;
    allow.check_path(&path, Purpose::Write)?;
    let output = match alone {
        None => LocalOutput::new(path),
        Some(job) => {
            let output = LocalOutput::hidden(path, job.as_str());
            allow.check_path(output.written_to(), Purpose::Write)?;
            output
        }
    };
    Ok(Arc::new(output))
}

fn path_of(uri: &str) -> Result<PathBuf, Error> {
    let refuse = |why: &str| {
        Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' cannot be written: {why}"),
        )
        .with_hint("give file:///path, s3://BUCKET/PATH or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH")
    };
    let path = match uri.split_once(":/") {
        None => PathBuf::from(uri),
        Some(("file", _)) => url::Url::parse(uri)
            .ok()
            .and_then(|url| url.to_file_path().ok())
            .ok_or_else(|| refuse("it is no file URL"))?,
        Some((scheme, _)) => return Err(refuse(&format!("'{scheme}:' is not supported"))),
    };
    if !path.is_absolute() {
        return Err(refuse("it is no absolute path"));
    }
    // The last part of the path is the name that the output appears under.
    let clean: PathBuf = path.components().collect();
    match clean.file_name() {
        Some(_) => Ok(clean),
        None => Err(refuse("it names no folder")),
    }
}

/// See [`Stores::trials`].
#[derive(Clone, Copy, Debug)]
pub struct Trials {
    since: Instant,
    budget: Duration,
}

impl Patience for Trials {
    async fn wait(&self, attempt: u32) -> bool {
        if monotonic().saturating_duration_since(self.since) >= self.budget {
            return false;
        }
        pause(claim::pause(attempt).mul_f64(chance())).await;
        true
    }
}

/// What a person is to be told about an error of the output at `uri`.
pub fn explain(uri: &str, error: &StoreError) -> Error {
    if let Some(told) = told(error) {
        return told.error.clone();
    }
    let cannot = |code, why: &str| Error::new(code, format!("'{uri}' cannot be written: {why}"));
    match io_kind(error) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            cannot(ErrorCode::Exhausted, "there is no space left for it")
                .with_hint("make room there, and resume the job")
        }
        Some(io::ErrorKind::PermissionDenied) => {
            cannot(ErrorCode::Denied, "the rights of the folder forbid it").with_hint(
                "give the user that runs the scheduler and the executors the right to write there",
            )
        }
        Some(io::ErrorKind::ReadOnlyFilesystem) => {
            cannot(ErrorCode::Denied, "its file system is read-only")
                .with_hint("name an output elsewhere")
        }
        Some(_) | None => cannot(ErrorCode::Unavailable, &reason(&chain(error)))
            .with_hint("check that the place is there and can be written"),
    }
}

/// What the machine said, wherever in the chain of causes.
pub(super) fn io_kind(error: &StoreError) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
