//! When a store began to fail, and what follows from it. An outage is the store's, not a request's: any good answer ends it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::Patience;

/// The longest first pause; each later one may be twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause: a store that is back is noticed soon.
const LONGEST: Duration = Duration::from_secs(5);
/// Shorter failures are the everyday life of object stores, and not worth a line.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// What to do about a failure that may pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Wait(Duration),
    /// The budget is spent.
    Over,
}

/// `failing` is how long the store, or this request alone, has failed; `chance` is from 0 to 1.
pub(super) fn decide(limit: Duration, failing: Duration, tries: u32, chance: f64) -> Verdict {
    if failing >= limit {
        return Verdict::Over;
    }
    let most = FIRST
        .saturating_mul(2_u32.saturating_pow(tries.min(16)))
        .min(LONGEST)
        .min(limit - failing);
    Verdict::Wait(most.mul_f64(chance.clamp(0.0, 1.0)))
}

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    told: bool,
    answered: bool,
}

/// How one store does.
#[derive(Debug)]
pub(super) struct Outage {
    store: String,
    patience: Patience,
    state: Mutex<State>,
}

impl Outage {
    pub(super) fn new(store: String, patience: Patience) -> Self {
        Self {
            store,
            patience,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store has ever answered.
    pub(super) fn answered(&self) -> bool {
        self.lock().answered
    }

    /// The store has answered.
    pub(super) fn passed(&self, now: Instant) {
        let mut state = self.lock();
        let failing = state
            .since
            .map(|since| now.saturating_duration_since(since));
        let told = state.told;
        *state = State {
            answered: true,
            ..State::default()
        };
        drop(state);
        if let (true, Some(failing)) = (told, failing) {
            warn!(
                store = self.store,
                failed_s = failing.as_secs(),
                "a store is back"
            );
        }
    }

    /// A request has failed, for the first time at `first`. Gives the limit, and how long the store or the request has failed.
    pub(super) fn failed(
        &self,
        now: Instant,
        first: Instant,
        answer: &str,
    ) -> (Duration, Duration) {
        let mut state = self.lock();
        let since = *state.since.get_or_insert(now);
        let store = now.saturating_duration_since(since);
        let tells = !state.told && store >= WORTH_TELLING;
        state.told |= tells;
        let limit = self.patience.limit(state.answered);
        drop(state);
        if tells {
            warn!(
                store = self.store,
                failed_s = store.as_secs(),
                budget_s = limit.as_secs(),
                answer,
                "a store fails; reads wait and try again"
            );
        }
        (limit, store.max(now.saturating_duration_since(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn pauses_grow_to_a_limit_and_chance_takes_any_part_of_them() {
        assert_eq!(decide(S(600), S(0), 0, 1.0), Verdict::Wait(FIRST));
        assert_eq!(decide(S(600), S(1), 3, 1.0), Verdict::Wait(FIRST * 8));
        assert_eq!(decide(S(600), S(1), 3, 0.25), Verdict::Wait(FIRST * 2));
        assert_eq!(decide(S(600), S(1), 99, 1.0), Verdict::Wait(LONGEST));
        assert_eq!(decide(S(600), S(599), 99, 1.0), Verdict::Wait(S(1)));
        assert_eq!(decide(S(600), S(600), 0, 0.0), Verdict::Over);
    }

    #[test]
    fn the_budget_is_the_stores_a_good_answer_renews_it_and_a_stranger_gets_less() {
        let patience = Patience::new(S(60)).with_strangers(S(20));
        let outage = Outage::new("s3://lake".to_owned(), patience);
        let start = monotonic();
        assert_eq!(outage.failed(start, start, "503"), (S(20), S(0)));
        // Another request inherits what the store has failed already.
        let later = start + S(10);
        assert_eq!(outage.failed(later, later, "503"), (S(20), S(10)));
        outage.passed(later);
        let again = later + S(30);
        assert_eq!(outage.failed(again, again, "503"), (S(60), S(0)));
        // One object that always fails is no better off where others are read.
        assert_eq!(outage.failed(again, start, "500"), (S(60), S(40)));
    }
}
