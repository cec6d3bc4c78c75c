//! The splits of LightGBM's trees: three kinds of missing values, and sets of categories.

use std::collections::HashMap;

use super::{list, number};
use crate::error::Error;
use crate::trees::{Branch, Node, Tree};

/// What LightGBM takes for zero.
const ZERO: f32 = 1e-35;

/// The arrays of one tree.
struct Lines {
    features: Vec<u32>,
    thresholds: Vec<f64>,
    kinds: Vec<u8>,
    left: Vec<i64>,
    right: Vec<i64>,
    leaves: Vec<f64>,
    set_ends: Vec<usize>,
    sets: Vec<u32>,
}

/// The tree of some lines, and what its leaves add: leaf by leaf the tree has a place for one weight, but no weights.
pub(super) fn tree(lines: &HashMap<&str, &str>) -> Result<(Tree, Vec<f64>), Error> {
    if number(lines, "is_linear", 0)? != 0 {
        return Err(Error::not_covered("LightGBM's linear trees"));
    }
    let lines = Lines {
        features: list(lines, "split_feature")?,
        thresholds: list(lines, "threshold")?,
        kinds: list(lines, "decision_type")?,
        left: list(lines, "left_child")?,
        right: list(lines, "right_child")?,
        leaves: list(lines, "leaf_value")?,
        set_ends: list(lines, "cat_boundaries")?,
        sets: list(lines, "cat_threshold")?,
    };
    let count = lines.features.len();
    let lengths = [
        lines.thresholds.len(),
        lines.kinds.len(),
        lines.left.len(),
        lines.right.len(),
        lines.leaves.len().wrapping_sub(1),
    ];
    if lengths.iter().any(|length| *length != count) {
        return Err(Error::damaged("the lines of a tree differ in length"));
    }
    // The splits keep their places, the leaves follow, and behind them what some splits need more.
    let mut tree = Tree::default();
    for place in 0..count {
        let split = Node::Leaf { first: 0, count: 0 };
        debug_assert_eq!(tree.nodes.len(), place);
        tree.nodes.push(split);
    }
    for place in 0..lines.leaves.len() {
        tree.nodes.push(Node::Leaf {
            first: place as u32,
            count: 1,
        });
    }
    for place in 0..count {
        lines.split(place, &mut tree)?;
    }
    Ok((tree, lines.leaves))
}

/// The largest float that is not above `value`, where what LightGBM takes for zero is all on one side: it drops such
/// values before it looks at thresholds, of which some are the smallest that it does not drop.
fn at_most(value: f64) -> f32 {
    let float = value as f32;
    let below = if f64::from(float) > value {
        float.next_down()
    } else {
        float
    };
    match value {
        0.0.. if below < ZERO => ZERO,
        ..0.0 if below >= -ZERO => (-ZERO).next_down(),
        _ => below,
    }
}

impl Lines {
    /// Leaves are written as what is below zero.
    fn child(&self, child: i64) -> Result<u32, Error> {
        let place = match child {
            0.. => usize::try_from(child).ok(),
            _ => usize::try_from(!child)
                .ok()
                .map(|leaf| self.features.len() + leaf),
        };
        let most = self.features.len() + self.leaves.len();
        let place = place.filter(|place| *place < most);
        place
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| Error::damaged("a tree points to a node that it has not"))
    }

    fn split(&self, place: usize, tree: &mut Tree) -> Result<(), Error> {
        let (feature, kind) = (self.features[place], self.kinds[place]);
        let left = self.child(self.left[place])?;
        let right = self.child(self.right[place])?;
        if kind & 1 != 0 {
            return self.set(place, left, right, tree);
        }
        let upto = at_most(self.thresholds[place]);
        if upto.is_nan() {
            return Err(Error::damaged("a threshold is not a number"));
        }
        let default_left = kind & 2 != 0;
        let plain = Branch {
            feature,
            above: f32::NAN,
            upto,
            nan_left: default_left,
            left,
            right,
        };
        let zero_goes_left = upto >= 0.0;
        tree.nodes[place] = match kind >> 2 & 3 {
            // Nothing is missing: NaN is zero.
            0 => Node::Branch(Branch {
                nan_left: zero_goes_left,
                ..plain
            }),
            // Zero is missing, and so is NaN.
            1 => {
                let all_left = upto >= ZERO && default_left;
                let all_right = upto < -ZERO && !default_left;
                if all_left || all_right {
                    Node::Branch(plain)
                } else {
                    let next = tree.nodes.len() as u32;
                    tree.nodes.push(Node::Branch(plain));
                    Node::Branch(Branch {
                        feature,
                        above: (-ZERO).next_down(),
                        upto: ZERO,
                        nan_left: true,
                        left: if default_left { left } else { right },
                        right: next,
                    })
                }
            }
            2 => Node::Branch(plain),
            _ => return Err(Error::damaged("a split has an unknown kind of missing")),
        };
        Ok(())
    }

    /// Categories that go left: each run of neighbours is one interval of what is cut down to them.
    fn set(&self, place: usize, left: u32, right: u32, tree: &mut Tree) -> Result<(), Error> {
        let lacks = || Error::damaged("a split lacks its categories");
        let number = self.thresholds[place] as usize;
        let first = *self.set_ends.get(number).ok_or_else(lacks)?;
        let end = *self
            .set_ends
            .get(number.saturating_add(1))
            .ok_or_else(lacks)?;
        let words = self.sets.get(first..end).ok_or_else(lacks)?;
        if words.len() > 1 << 18 {
            return Err(Error::not_covered("LightGBM's categories above 8 millions"));
        }
        let has = |category: usize| {
            let word = words.get(category / 32);
            word.is_some_and(|word| word >> (category % 32) & 1 != 0)
        };
        let mut runs = Vec::new();
        let mut category = 0;
        while category < words.len() * 32 {
            if has(category) {
                let from = category;
                while has(category) {
                    category += 1;
                }
                runs.push((from, category));
            }
            category += 1;
        }
        let mut place = place;
        let mut branch = Branch {
            feature: self.features[place],
            above: f32::NAN,
            upto: f32::NAN,
            nan_left: false,
            left,
            right,
        };
        let last = runs.len().saturating_sub(1);
        for (number, (from, to)) in runs.into_iter().enumerate() {
            // Cutting down takes what is just above -1 to 0.
            branch.above = match from {
                0 => -1.0,
                from => (from as f32).next_down(),
            };
            branch.upto = (to as f32).next_down();
            let next = tree.nodes.len() as u32;
            branch.right = if number == last { right } else { next };
            tree.nodes[place] = Node::Branch(branch);
            if number < last {
                tree.nodes.push(Node::Leaf { first: 0, count: 0 });
                place = next as usize;
            }
        }
        if last == 0 && matches!(tree.nodes[place], Node::Leaf { .. }) {
            tree.nodes[place] = Node::Branch(branch);
        }
        Ok(())
    }
}
