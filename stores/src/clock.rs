//! The one place of this crate that asks for the time, for a pause, or for chance.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// A point in time to measure from; never jumps.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Waits; only for pauses between attempts, never for a state.
#[expect(clippy::disallowed_methods, reason = "this file owns the clock")]
pub(crate) async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// A number from 0 to 1, to spread out callers that would else come back together.
pub(crate) fn chance() -> f64 {
    // The keys of hash maps are the randomness that comes with the language; more than that is not needed here.
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
