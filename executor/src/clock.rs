//! The one place of this crate that asks for the time, for a pause, or for chance.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use whimbrel_proto::Error;
use whimbrel_proto::ids::ExecutorId;

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A point in time to measure from; never jumps.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// How long ago a file was last written; zero where the file system does not say.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) fn age(metadata: &std::fs::Metadata) -> Duration {
    let written = metadata.modified().unwrap_or_else(|_| SystemTime::now());
    SystemTime::now()
        .duration_since(written)
        .unwrap_or_default()
}

/// Waits; only for pauses between attempts, never for a state.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// The name of an attempt, which is nobody else's.
#[expect(clippy::disallowed_methods, reason = "this file owns the ids")]
pub(crate) fn new_attempt() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A fresh id; later ones sort after earlier ones.
#[expect(clippy::disallowed_methods, reason = "this file owns the ids")]
pub(crate) fn new_executor_id() -> Result<ExecutorId, Error> {
    uuid::Uuid::now_v7().simple().to_string().parse()
}
