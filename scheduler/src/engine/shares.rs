//! What each of the engine's jobs gets of the pool where several want it: as many slots as its weight says, and of equals the one
//! that has waited longest is next.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The weight of a query, and of a score job where nobody says otherwise.
pub(crate) const WEIGHT: u32 = 4;

/// Running tasks are compared as if each job had this weight: the product of no weight and no count of tasks overflows.
const SCALE: u64 = 1 << 16;

/// Weights by the job's name, and turns.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    weights: HashMap<String, u32>,
    /// When each job got its last task.
    served: HashMap<String, u64>,
    turn: u64,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what a job weighs that is called so.
    pub(crate) fn weigh(&self, name: &str, weight: u32) {
        self.lock().weights.insert(name.to_owned(), weight.max(1));
    }

    /// Forgets what it weighs.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().weights.remove(name);
    }

    /// How well served a job is that has so many running tasks: whoever is least is next.
    pub(super) fn rank(&self, name: &str, running: usize) -> (u64, u64) {
        let inner = self.lock();
        let weight = inner.weights.get(name).copied().unwrap_or(WEIGHT);
        let share = (running as u64).saturating_mul(SCALE) / u64::from(weight);
        (share, inner.served.get(name).copied().unwrap_or_default())
    }

    /// The job has got a task.
    pub(super) fn serve(&self, name: &str) {
        let mut inner = self.lock();
        inner.turn += 1;
        let turn = inner.turn;
        inner.served.insert(name.to_owned(), turn);
    }

    /// Only these jobs are there.
    pub(super) fn keep(&self, names: &HashSet<String>) {
        self.lock().served.retain(|name, _| names.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next<'a>(shares: &Shares, jobs: &[(&'a str, usize)]) -> &'a str {
        let least = jobs
            .iter()
            .min_by_key(|(name, running)| shares.rank(name, *running));
        least.unwrap().0
    }

    #[test]
    fn slots_go_by_weight() {
        let shares = Shares::default();
        shares.weigh("low", 1);
        shares.weigh("high", 16);
        assert_eq!(next(&shares, &[("low", 1), ("high", 15)]), "high");
        assert_eq!(next(&shares, &[("low", 0), ("high", 1)]), "low");
        assert_eq!(next(&shares, &[("query", 3), ("low", 1)]), "query");
        shares.forget("low");
        assert_eq!(next(&shares, &[("query", 3), ("low", 2)]), "low");
    }

    #[test]
    fn with_one_slot_they_take_turns_and_a_newcomer_is_next() {
        let shares = Shares::default();
        let mut order = Vec::new();
        for jobs in [&[("job", 0)][..], &[("job", 0), ("query", 0)][..]] {
            for _ in 0..3 {
                let name = next(&shares, jobs);
                shares.serve(name);
                order.push(name);
            }
        }
        assert_eq!(order, ["job", "job", "job", "query", "job", "query"]);
    }
}
