//! All trees of a model, each checked before it is one of them.

use super::packed::Packed;
use super::{Fold, MOST_TARGETS, Node, Tree};
use crate::error::Error;

/// Trees over `features` numbers, each adding to some of `targets`; their order is the order of the additions.
#[derive(Clone, Debug)]
pub(crate) struct Ensemble {
    pub features: usize,
    pub targets: usize,
    pub fold: Fold,
    trees: Vec<Packed>,
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

impl Ensemble {
    /// Without trees.
    pub(crate) fn new(features: usize, targets: usize, fold: Fold) -> Result<Self, Error> {
        if targets > MOST_TARGETS || features >= Packed::MOST_FEATURES {
            return Err(Error::not_covered(format!(
                "{targets} targets and {features} features"
            )));
        }
        Ok(Self {
            features,
            targets,
            fold,
            trees: Vec::new(),
        })
    }

    pub(crate) fn with(mut self, trees: Vec<Tree>) -> Result<Self, Error> {
        self.trees.reserve_exact(trees.len());
        for tree in trees {
            self.add(&tree)?;
        }
        Ok(self)
    }

    /// Adds a tree, if it is all that the kernels rely on.
    pub(crate) fn add(&mut self, tree: &Tree) -> Result<(), Error> {
        let place = self.trees.len();
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
        self.trees.push(Packed::of(tree));
        Ok(())
    }

    /// How many trees it has.
    pub(crate) fn count(&self) -> usize {
        self.trees.len()
    }

    pub(crate) fn trees(&self) -> impl Iterator<Item = Tree> {
        self.trees.iter().map(Packed::tree)
    }

    /// Every node of every tree.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        self.trees.iter().flat_map(Packed::nodes)
    }

    /// As many trees, each as it is or another.
    pub(crate) fn map(&self, other: impl Fn(&Tree) -> Option<Tree>) -> Self {
        let trees = self.trees.iter().map(|packed| {
            let other = other(&packed.tree());
            other.map_or_else(|| packed.clone(), |other| Packed::of(&other))
        });
        Self {
            trees: trees.collect(),
            ..*self
        }
    }

    /// The leaves of the tree that has most of them.
    pub(crate) fn most_leaves(&self) -> usize {
        let is_leaf = |node: &Node| matches!(node, Node::Leaf { .. });
        let leaves = |tree: &Packed| tree.nodes().filter(is_leaf).count();
        self.trees.iter().map(leaves).max().unwrap_or(0)
    }

    /// How many trees have a test, and how many nodes those have.
    pub(crate) fn size(&self) -> (usize, usize) {
        let is_branch = |node: Node| matches!(node, Node::Branch(_));
        let trees = self.trees.iter();
        trees.fold((0, 0), |(trees, nodes), tree| {
            match tree.nodes().any(is_branch) {
                true => (trees + 1, nodes + tree.nodes().len()),
                false => (trees, nodes),
            }
        })
    }

    /// For each feature whether a test asks for it.
    pub(crate) fn asks(&self) -> Vec<bool> {
        let mut asks = vec![false; self.features];
        for node in self.nodes() {
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
        for tree in self.trees() {
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
