//! The one place of this crate that asks the system for the time and for randomness.

use std::time::Duration;
use std::time::Instant;

use uuid::Uuid;

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at zero.
    #[expect(clippy::disallowed_methods, reason = "the crate's one clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits; only for pauses between attempts, never for a state.
#[expect(clippy::disallowed_methods, reason = "the crate's one clock")]
pub async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}

/// 256 bits that nobody can guess, as hex.
pub fn random_token() -> String {
    let bytes = random_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 256 bits that nobody can guess.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's one source of randomness"
)]
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let halves = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
    bytes.copy_from_slice(halves.as_flattened());
    bytes
}

/// A name no other process or call uses.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's one source of randomness"
)]
pub fn unique_name() -> String {
    Uuid::now_v7().simple().to_string()
}
