//! A record that exactly one of several may write. Stores answer a conditional create in ways that do not say who won: a time-out
//! after the object landed, a conflict where nothing did. So every answer but success is settled by reading the record back.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use object_store::{Error, Result};
use whimbrel_proto::Retry;

use super::DeferredOutput;
use super::open::io_kind;
use crate::error::told;
use crate::patience::spent;

/// Who wrote the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    Won,
    /// Another did; what it wrote.
    Lost(Bytes),
}

/// How long an unclear answer is asked about again, and how to wait in between.
pub trait Patience: Send + Sync {
    /// Waits before the next attempt; false once there shall be none.
    fn wait(&self, attempt: u32) -> impl Future<Output = bool> + Send;
}

/// The pause before attempt `attempt + 1`: doubled each time, up to five seconds.
pub(super) fn pause(attempt: u32) -> Duration {
    Duration::from_millis(100 * (1 << attempt.min(6))).min(Duration::from_secs(5))
}

/// Creates the record at `path`, or finds out what stands there. Whoever claims must write bytes that are nobody else's: they tell
/// its own record from another's.
pub async fn claim(
    output: &dyn DeferredOutput,
    path: &str,
    bytes: Bytes,
    patience: &impl Patience,
) -> Result<Claim> {
    let mut attempt = 0;
    loop {
        let refused = match output.create(path, bytes.clone()).await {
            Ok(()) => return Ok(Claim::Won),
            Err(error) => error,
        };
        let unclear = match output.get(path).await {
            Ok(Some(found)) if found == bytes => return Ok(Claim::Won),
            Ok(Some(found)) => return Ok(Claim::Lost(found)),
            Ok(None) => refused,
            Err(error) => error,
        };
        if is_final(&unclear) || !patience.wait(attempt).await {
            return Err(unclear);
        }
        attempt += 1;
    }
}

/// Whether asking again cannot help.
fn is_final(error: &Error) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    if io_kind(error).is_some_and(|kind| full.contains(&kind)) {
        return true;
    }
    let said = told(error).map(|told| told.error.retry());
    if spent(error).is_some() || said == Some(Retry::Never) {
        return true;
    }
    matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use whimbrel_proto::{Error as Told, ErrorCode};

    use super::*;
    use crate::patience::Spent;

    #[test]
    fn a_store_that_has_said_its_last_word_is_not_asked_again() {
        let last = Told::new(ErrorCode::Unavailable, "away for 10 minutes");
        let generic = |source| Error::Generic {
            store: "S3",
            source,
        };
        assert!(is_final(&generic(Box::new(Spent::new(last)))));
        assert!(!is_final(&generic("503 Slow Down".into())));
        let denied = Told::new(ErrorCode::Denied, "there are no credentials");
        assert!(is_final(&crate::error::refusal("s3://lake/a", denied)));
    }
}
