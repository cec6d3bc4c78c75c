//! Tree ensembles as every reader makes them and every kernel takes them: each test is one interval and one way for
//! NaN, so that no kernel knows of modes, and several tests may lead to one node, so that a set is a chain of tests.

mod cut;
mod ensemble;
pub(crate) mod lightgbm;
mod onnx;
mod packed;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
pub(crate) mod xgboost;

pub(crate) use self::cut::cut;
pub(crate) use self::ensemble::{Ensemble, Spoken};
pub(crate) use self::onnx::{read_classes, read_regressor, read_v5};

/// More than any model has: a file's numbers must not make what it does not hold.
pub(crate) const MOST_TARGETS: usize = 1 << 14;

/// How the trees' weights become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Min,
    Max,
}

/// Nodes are reached from `root`; [`Ensemble`] sees to it that no walk goes in circles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub root: u32,
    pub nodes: Vec<Node>,
    /// (target, value) of the leaves, each leaf's in one piece.
    pub weights: Vec<(u32, f32)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    Branch(Branch),
    /// The part of the tree's weights that is this leaf's.
    Leaf {
        first: u32,
        count: u32,
    },
}

/// Goes left where `above < x <= upto`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Branch {
    pub feature: u32,
    /// NaN: no lower bound.
    pub above: f32,
    /// NaN: nothing goes left but what `nan_left` sends there.
    pub upto: f32,
    pub nan_left: bool,
    pub left: u32,
    pub right: u32,
}

/// The tests that ONNX has between a feature and one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

/// One test as a model's file says it: where it goes when it holds and when it does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub mode: Mode,
    pub feature: u32,
    pub value: f32,
    /// NaN counts as if the test held.
    pub missing_holds: bool,
    pub holds: u32,
    pub fails: u32,
}

/// The largest float below `value`; NaN below the smallest.
fn just_below(value: f32) -> f32 {
    if value == f32::NEG_INFINITY {
        f32::NAN
    } else {
        value.next_down()
    }
}

impl From<Test> for Branch {
    fn from(test: Test) -> Self {
        let Test {
            mode,
            feature,
            value,
            missing_holds,
            holds,
            fails,
        } = test;
        let (above, upto, swapped) = match mode {
            Mode::AtMost => (f32::NAN, value, false),
            Mode::Below => (f32::NAN, just_below(value), false),
            Mode::AtLeast => (f32::NAN, just_below(value), true),
            Mode::Above => (f32::NAN, value, true),
            Mode::Equal => (just_below(value), value, false),
            Mode::Unequal => (just_below(value), value, true),
        };
        // NaN is unequal to everything, whatever else is said of it.
        let nan_holds = missing_holds || mode == Mode::Unequal;
        let (left, right) = if swapped {
            (fails, holds)
        } else {
            (holds, fails)
        };
        Self {
            feature,
            above,
            upto,
            nan_left: nan_holds != swapped,
            left,
            right,
        }
    }
}

impl Tree {
    pub(crate) fn leaf(&self, first: u32, count: u32) -> &[(u32, f32)] {
        let first = first as usize;
        self.weights
            .get(first..first + count as usize)
            .unwrap_or(&[])
    }

    /// The longest way from the root to a leaf, or nothing if some walk never ends or leaves the tree.
    pub(crate) fn depth(&self) -> Option<u32> {
        // Post-order, with a stack of our own: damaged files may nest as deep as they like.
        const NEW: u32 = u32::MAX;
        const OPEN: u32 = u32::MAX - 1;
        let mut depths = vec![NEW; self.nodes.len()];
        let mut stack = vec![self.root];
        while let Some(&top) = stack.last() {
            let place = top as usize;
            match (self.nodes.get(place)?, depths[place]) {
                (Node::Leaf { .. }, _) => {
                    depths[place] = 0;
                    stack.pop();
                }
                (Node::Branch(branch), NEW) => {
                    depths[place] = OPEN;
                    for next in [branch.left, branch.right] {
                        match *depths.get(next as usize)? {
                            OPEN => return None,
                            NEW => stack.push(next),
                            _ => {}
                        }
                    }
                }
                (Node::Branch(branch), OPEN) => {
                    let [left, right] =
                        [branch.left, branch.right].map(|next| depths[next as usize]);
                    if left >= OPEN || right >= OPEN {
                        return None;
                    }
                    depths[place] = left.max(right) + 1;
                    stack.pop();
                }
                (Node::Branch(_), _) => {
                    stack.pop();
                }
            }
        }
        depths.get(self.root as usize).copied()
    }

    /// The targets of its leaves, ascending.
    pub(crate) fn targets(&self) -> Vec<u32> {
        let mut targets: Vec<u32> = self.weights.iter().map(|(target, _)| *target).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }
}
