//! Waiting for a state with a deadline: a test never sleeps and hopes.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};

/// How long a state may take before the test fails; generous, since two cores may be shared with a compiler.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until `probe` gives a value; `what` names the state in the failure.
pub async fn until<T, F, Fut>(what: &str, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    until_within(DEADLINE, what, async || probe().await).await
}

/// As `until`, for what takes longer than the rest.
pub async fn until_within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let asked = async {
        loop {
            tick.tick().await;
            if let Some(value) = probe().await {
                return value;
            }
        }
    };
    match tokio::time::timeout(deadline, asked).await {
        Ok(value) => Ok(value),
        Err(_) => bail!("{what}: not within {deadline:?}"),
    }
}
