//! Tree ensembles as every reader makes them and every kernel takes them: each test is one interval and one way for
//! NaN, so that no kernel knows of modes, and several tests may lead to one node, so that a set is a chain of tests.

mod cut;
pub(crate) mod lightgbm;
mod onnx;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
pub(crate) mod xgboost;

use std::sync::Arc;

pub(crate) use self::cut::cut;
pub(crate) use self::onnx::{read_classes, read_regressor, read_v5};
use crate::error::Error;

/// More than any model has: a file's numbers must not make what it does not hold.
pub(crate) const MOST_TARGETS: usize = 1 << 14;

/// How the trees' weights become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Sum,
    Min,
    Max,
}

/// Trees over `features` numbers, each adding to some of `targets`; their order is the order of the additions.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    pub features: usize,
    pub targets: usize,
    pub fold: Fold,
    pub trees: Vec<Tree>,
}

/// Nodes are reached from `root`; [`Ensemble::check`] sees to it that no walk goes in circles.
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

/// Which targets a model's leaves speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Some tree has a weight for it in every leaf.
    Always,
    Never,
    /// It depends on the row.
    Sometimes,
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

impl Ensemble {
    /// Everything that the kernels rely on.
    pub(crate) fn check(self) -> Result<Arc<Self>, Error> {
        if self.targets > MOST_TARGETS {
            return Err(Error::not_covered(format!("{} targets", self.targets)));
        }
        for (place, tree) in self.trees.iter().enumerate() {
            if tree.depth().is_none() {
                return Err(Error::damaged(format!("tree {place} is not a tree")));
            }
            let known = |target: u32| (target as usize) < self.targets;
            if !tree.weights.iter().all(|(target, _)| known(*target)) {
                return Err(Error::damaged(format!(
                    "tree {place} adds to a target that the model has not"
                )));
            }
            for node in &tree.nodes {
                match node {
                    Node::Branch(branch) if branch.feature as usize >= self.features => {
                        return Err(Error::damaged(format!(
                            "tree {place} asks for feature {} of {}",
                            branch.feature, self.features
                        )));
                    }
                    Node::Leaf { first, count }
                        if u64::from(*first) + u64::from(*count) > tree.weights.len() as u64 =>
                    {
                        return Err(Error::damaged(format!("tree {place} lacks weights")));
                    }
                    Node::Branch(_) | Node::Leaf { .. } => {}
                }
            }
        }
        Ok(Arc::new(self))
    }

    /// How many trees have a test, and how many nodes those have.
    pub(crate) fn size(&self) -> (usize, usize) {
        let is_branch = |node: &Node| matches!(node, Node::Branch(_));
        let trees = self.trees.iter();
        trees.fold((0, 0), |(trees, nodes), tree| {
            match tree.nodes.iter().any(is_branch) {
                true => (trees + 1, nodes + tree.nodes.len()),
                false => (trees, nodes),
            }
        })
    }

    /// For each feature whether a test asks for it.
    pub(crate) fn asks(&self) -> Vec<bool> {
        let mut asks = vec![false; self.features];
        for node in self.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Branch(branch) = node {
                asks[branch.feature as usize] = true;
            }
        }
        asks
    }

    /// For each target whether it gets a weight from every row.
    pub(crate) fn spoken(&self) -> Vec<Spoken> {
        let mut spoken = vec![Spoken::Never; self.targets];
        let mut leaves_with = vec![0_u32; self.targets];
        for tree in &self.trees {
            let mut leaves = 0_u32;
            let targets = tree.targets();
            for node in &tree.nodes {
                if let Node::Leaf { first, count } = node {
                    leaves += 1;
                    for (target, _) in tree.leaf(*first, *count) {
                        leaves_with[*target as usize] += 1;
                    }
                }
            }
            for target in targets {
                let target = target as usize;
                let everywhere = std::mem::take(&mut leaves_with[target]) >= leaves;
                if everywhere {
                    spoken[target] = Spoken::Always;
                } else if spoken[target] == Spoken::Never {
                    spoken[target] = Spoken::Sometimes;
                }
            }
        }
        spoken
    }
}
