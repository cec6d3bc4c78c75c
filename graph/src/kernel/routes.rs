//! NaN costs the kernels nothing: a feature whose tests send NaN both ways becomes two columns, one where NaN is
//! replaced by what always goes left and one where it is left to go right, and each test reads the column of its way.

use std::collections::BTreeMap;

use super::{BLOCK, Columns};
use crate::trees::{Branch, Ensemble, Fold, Node};

/// A column as tests read it: a feature, and whether NaN goes left.
pub(super) type Route = (u32, bool);

/// Every branch of an ensemble.
pub(super) fn branches(ensemble: &Ensemble) -> impl Iterator<Item = Branch> {
    ensemble.nodes().filter_map(|node| match node {
        Node::Branch(branch) => Some(branch),
        Node::Leaf { .. } => None,
    })
}

/// Whether leaves are added, each one weight for a target, and each test is one comparison, `x <= upto`.
pub(super) fn sums_two_way(ensemble: &Ensemble) -> bool {
    ensemble.fold == Fold::Sum
        && branches(ensemble).all(|branch| branch.above.is_nan() && !branch.upto.is_nan())
        && ensemble.trees().all(|tree| {
            tree.nodes.iter().all(|node| match node {
                Node::Leaf { first, count } => adds_once(tree.leaf(*first, *count)),
                Node::Branch(_) => true,
            })
        })
}

/// Two weights of a target are added one after the other, which their sum is not.
fn adds_once(weights: &[(u32, f32)]) -> bool {
    let mut ascending = weights.windows(2).map(|pair| pair[0].0 < pair[1].0);
    if ascending.all(|is| is) {
        return true;
    }
    let mut targets: Vec<u32> = weights.iter().map(|(target, _)| *target).collect();
    targets.sort_unstable();
    targets.windows(2).all(|pair| pair[0] != pair[1])
}

/// The columns of an ensemble's tests, and the place of each.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub list: Vec<Route>,
}

impl Routes {
    pub(super) fn of(ensemble: &Ensemble) -> (Self, BTreeMap<Route, usize>) {
        let mut places: BTreeMap<Route, usize> = BTreeMap::new();
        // One by one: to be collected they would all lie side by side first.
        for branch in branches(ensemble) {
            places.insert((branch.feature, branch.nan_left), 0);
        }
        for (number, place) in places.values_mut().enumerate() {
            *place = number;
        }
        let list = places.keys().copied().collect();
        (Self { list }, places)
    }

    /// Writes each column to its [`BLOCK`] floats of `into`.
    pub(super) fn fill(&self, columns: &impl Columns, into: &mut [f32]) {
        for ((feature, nan_left), into) in self.list.iter().zip(into.chunks_exact_mut(BLOCK)) {
            let column = columns.column(*feature as usize);
            if *nan_left {
                for (to, from) in into.iter_mut().zip(column) {
                    *to = if from.is_nan() {
                        f32::NEG_INFINITY
                    } else {
                        *from
                    };
                }
            } else {
                for (to, from) in into.iter_mut().zip(column) {
                    *to = *from;
                }
            }
        }
    }
}
