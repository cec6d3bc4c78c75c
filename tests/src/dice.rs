//! Chance that can be had again: a seed that is printed, and what follows from it.

use std::hash::{BuildHasher, Hasher, RandomState};

use anyhow::{Context, Result};

/// The generator is splitmix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// With a seed of its own, or that of `WHIMBREL_CHAOS_SEED`. Either is printed, for whoever wants the same again.
    #[expect(
        clippy::disallowed_methods,
        reason = "how a failed run is had once more"
    )]
    #[expect(clippy::print_stderr, reason = "a failure is replayed by its seed")]
    pub fn of_this_run(what: &str) -> Result<Self> {
        let seed = match std::env::var("WHIMBREL_CHAOS_SEED") {
            Ok(seed) => seed.parse().context("WHIMBREL_CHAOS_SEED is no number")?,
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        eprintln!("{what}: WHIMBREL_CHAOS_SEED={seed} has the same moments again");
        Ok(Self::new(seed))
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_alike() {
        let mut dice = Dice::new(1_234_567);
        // The first numbers of the algorithm's own reference.
        assert_eq!(dice.next(), 6_457_827_717_110_365_317);
        assert_eq!(dice.next(), 3_203_168_211_198_807_973);
        assert!((0..100).all(|_| dice.below(3) < 3));
    }
}
