//! LightGBM's leaves are doubles, and so are its sums. Floats add up to as much where each leaf is two of them: a coarse
//! one, whose sums have no more digits than a float, so that none is ever rounded, and the fine rest, whose sums are too
//! small for their rounding to show.

use crate::trees::{Node, Tree};

/// A float's digits, but for one that the rests may need.
const DIGITS: f64 = 23.0;
/// Beyond are the halves of no floats.
const LEAST: f64 = -100.0;
const MOST: f64 = 126.0;

/// How the leaves of the trees of one number are cut in two.
pub(super) struct Sums {
    /// Every coarse part is a multiple of it; nothing where the leaves are no numbers that floats could add.
    step: Option<f64>,
}

impl Sums {
    /// For trees with these leaves.
    pub(super) fn of<'a>(trees: impl Iterator<Item = &'a Vec<f64>>) -> Self {
        let largest =
            |leaves: &Vec<f64>| leaves.iter().fold(0.0, |most, leaf| leaf.abs().max(most));
        // No sum is larger, whichever of its leaves each tree adds and however many trees were added.
        let most: f64 = trees.map(largest).sum();
        let exponent = most.log2().floor().max(LEAST) + 1.0;
        let step = (exponent <= MOST).then(|| (exponent - DIGITS).exp2());
        Self { step }
    }

    fn cut(&self, leaf: f64) -> [f32; 2] {
        let coarse = match self.step {
            Some(step) => (leaf / step).round() * step,
            None => leaf,
        };
        let fine = (leaf - coarse) as f32;
        [coarse as f32, if fine.is_finite() { fine } else { 0.0 }]
    }

    /// Gives the tree's leaves, which have a place for one weight each, two: those of their values, for these targets.
    /// Where all the fine ones are zero there is one.
    pub(super) fn weigh(&self, tree: &mut Tree, leaves: &[f64], [coarse, fine]: [u32; 2]) {
        let cut = || leaves.iter().map(|leaf| self.cut(*leaf));
        let is_coarse = cut().all(|[_, fine]| fine == 0.0);
        for [of_coarse, of_fine] in cut() {
            tree.weights.push((coarse, of_coarse));
            if !is_coarse {
                tree.weights.push((fine, of_fine));
            }
        }
        if is_coarse {
            return;
        }
        for node in &mut tree.nodes {
            if let Node::Leaf {
                first,
                count: count @ 1,
            } = node
            {
                (*first, *count) = (2 * *first, 2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::reference::Random;

    #[test]
    fn floats_add_up_to_what_doubles_do() {
        let mut random = Random(5);
        for size in [1e-30, 1e-3, 1.0, 1e4, 1e30] {
            let mut leaf = || size * (random.below(1 << 30) as f64 / f64::from(1 << 29) - 1.0);
            let trees: Vec<Vec<f64>> = (0..500).map(|_| (0..5).map(|_| leaf()).collect()).collect();
            let sums = Sums::of(trees.iter());
            for row in 0..50 {
                let added = trees.iter().enumerate();
                let added = added.map(|(place, leaves)| leaves[(row + place) % leaves.len()]);
                let (mut coarse, mut fine, mut exactly, mut coarsely) =
                    (0.0_f32, 0.0_f32, 0.0, 0.0);
                for leaf in added {
                    let [of_coarse, of_fine] = sums.cut(leaf);
                    coarse += of_coarse;
                    fine += of_fine;
                    exactly += leaf;
                    coarsely += f64::from(of_coarse);
                }
                assert_eq!(f64::from(coarse), coarsely);
                let apart = (f64::from(coarse + fine) - exactly).abs();
                assert!(
                    apart <= f64::from(f32::EPSILON) * exactly.abs() + size * 1e-9,
                    "{apart} of {exactly}"
                );
            }
        }
    }

    #[test]
    fn leaves_that_are_no_numbers_of_floats_stay_what_they_are() {
        for leaf in [f64::INFINITY, f64::NEG_INFINITY, 1e300, 3e38] {
            let sums = Sums::of([vec![leaf, 1.0]].iter());
            assert_eq!(sums.cut(leaf), [leaf as f32, 0.0]);
            assert_eq!(sums.cut(1.0), [1.0, 0.0]);
        }
        let sums = Sums::of([vec![f64::NAN, 0.0]].iter());
        let [coarse, fine] = sums.cut(f64::NAN);
        assert!(coarse.is_nan() && fine == 0.0);
        assert_eq!(sums.cut(0.0), [0.0, 0.0]);
    }
}
