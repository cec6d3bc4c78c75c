//! The one place of this crate that asks for the time.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) fn now_unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A point in time to measure from; never jumps.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
