//! Time, waiting, chance and ids: the one file of the scheduler that asks the system for them. Everything else is handed a
//! [`Clock`] and an [`Ids`], so that a test or a simulation can hold time still and replay a run by its seed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use uuid::Uuid;

/// Time as the scheduler sees it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970, for people and records. It may jump.
    fn unix_ms(&self) -> i64;
    /// Whole seconds since 1970, as tickets and tokens count.
    fn unix_secs(&self) -> i64 {
        self.unix_ms() / 1000
    }
    /// Time since a fixed point of this process: never jumps, for deadlines and leases.
    fn monotonic(&self) -> Duration;
    /// Ends once `monotonic` has come to `deadline`: what is reckoned from an earlier look loses nothing in between.
    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()>;

    /// Ends once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.monotonic().saturating_add(duration))
    }
}

/// The machine's own clock.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of time"
    )]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The same, ready to be handed around.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of time"
    )]
    fn unix_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of time"
    )]
    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        let left = deadline.saturating_sub(self.monotonic());
        Box::pin(tokio::time::sleep(left))
    }
}

/// Where ids, secrets and chance come from.
pub trait Ids: Send + Sync + fmt::Debug {
    /// A new id; later ones sort after earlier ones.
    fn uuid(&self) -> Uuid;
    /// 64 hex digits that cannot be guessed: a token.
    fn secret(&self) -> String;
    /// A number below `bound` (0 where `bound` is 0), to spread retries.
    fn below(&self, bound: u64) -> u64;

    /// A new id as 32 hex digits.
    fn id(&self) -> String {
        self.uuid().simple().to_string()
    }
}

/// Ids and chance from the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of ids"
    )]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of chance"
    )]
    fn secret(&self) -> String {
        format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is the scheduler's one source of chance"
    )]
    fn below(&self, bound: u64) -> u64 {
        Uuid::new_v4()
            .as_u64_pair()
            .1
            .checked_rem(bound)
            .unwrap_or(0)
    }
}

/// Ids and chance from a seed: the same seed gives the same run. Never for secrets of a pool that others can reach.
#[derive(Debug)]
pub struct SeededIds {
    state: AtomicU64,
    count: AtomicU64,
}

impl SeededIds {
    /// The sequence of this seed, from its beginning.
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
            count: AtomicU64::new(0),
        }
    }

    /// SplitMix64: every state gives one well mixed number.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self
            .state
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(self.count.fetch_add(1, Ordering::Relaxed), self.next())
    }

    fn secret(&self) -> String {
        format!(
            "{:016x}{:016x}{:016x}{:016x}",
            self.next(),
            self.next(),
            self.next(),
            self.next()
        )
    }

    fn below(&self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

/// A clock that stands still until a test moves it.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ManualClock {
    now: tokio::sync::watch::Sender<Duration>,
}

#[cfg(test)]
impl ManualClock {
    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self {
            now: tokio::sync::watch::Sender::new(Duration::ZERO),
        })
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn unix_ms(&self) -> i64 {
        i64::try_from(self.now.borrow().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        *self.now.borrow()
    }

    fn sleep_until(&self, deadline: Duration) -> BoxFuture<'static, ()> {
        let mut watcher = self.now.subscribe();
        Box::pin(async move {
            if watcher.wait_for(|now| *now >= deadline).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_ids_again_and_another_seed_others() {
        let run = |seed| {
            let ids = SeededIds::new(seed);
            (ids.id(), ids.id(), ids.secret(), ids.below(1000))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let ids = SeededIds::new(7);
        assert!(ids.uuid() < ids.uuid());
        assert_eq!(ids.below(0), 0);
    }

    #[test]
    fn system_ids_differ_and_secrets_are_64_hex_digits() {
        let (first, second) = (SystemIds.secret(), SystemIds.secret());
        assert_ne!(first, second);
        assert_eq!(first.len(), 64);
        assert!(SystemIds.below(3) < 3);
    }
}
