//! XGBoost's two kinds of tests: below a threshold, and not in a set of categories; both hold to the left.

use super::tree::Split;
use crate::error::Error;
use crate::trees::{Branch, Node, Tree};

/// From here on, and below zero, a number is no category, and goes left.
const END_OF_CATEGORIES: i32 = 16_777_216;

/// Goes left where the feature is below the threshold.
pub(super) fn numeric(split: Split, threshold: f32) -> Branch {
    // Nothing is below these; XGBoost makes the first where only missing values are apart from the rest.
    if threshold == f32::NEG_INFINITY || threshold.is_nan() {
        return all_right(split);
    }
    Branch {
        feature: split.feature,
        above: f32::NAN,
        upto: threshold.next_down(),
        nan_left: split.nan_left,
        left: split.left,
        right: split.right,
    }
}

/// Every number goes right. Its sides are swapped, so that it is a comparison like the others.
fn all_right(split: Split) -> Branch {
    Branch {
        feature: split.feature,
        above: f32::NAN,
        upto: f32::INFINITY,
        nan_left: !split.nan_left,
        left: split.right,
        right: split.left,
    }
}

/// Makes the node at `place` one that sends numbers whose whole part is one of the categories right: each run of
/// neighbours is one interval, and those that come after the first are nodes behind the others.
pub(super) fn set(
    place: usize,
    split: Split,
    categories: &[i32],
    tree: &mut Tree,
) -> Result<(), Error> {
    if categories.iter().any(|category| *category < 0) {
        return Err(Error::damaged("a category is below zero"));
    }
    let mut categories = categories.to_vec();
    categories.sort_unstable();
    categories.retain(|category| *category < END_OF_CATEGORIES);
    // Its left is where members go.
    let mut branch = Branch {
        feature: split.feature,
        above: f32::NAN,
        upto: f32::NAN,
        nan_left: !split.nan_left,
        left: split.right,
        right: split.left,
    };
    let mut place = place;
    let mut runs = categories
        .chunk_by(|one, next| next - one <= 1)
        .filter_map(|run| Some((*run.first()?, *run.last()?)))
        .peekable();
    if runs.peek().is_none() {
        tree.nodes[place] = Node::Branch(branch);
    }
    while let Some((first, last)) = runs.next() {
        branch.above = (first as f32).next_down();
        branch.upto = (last as f32 + 1.0).next_down();
        let next = tree.nodes.len() as u32;
        let more = runs.peek().is_some();
        branch.right = if more { next } else { split.left };
        tree.nodes[place] = Node::Branch(branch);
        if more {
            tree.nodes.push(Node::Leaf { first: 0, count: 0 });
            place = next as usize;
        }
    }
    Ok(())
}
