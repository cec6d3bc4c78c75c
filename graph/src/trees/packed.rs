//! A tree in two thirds of its memory, because a model keeps all of its trees: few tests have a lower bound, so those lie
//! apart, and a leaf needs no threshold.

use super::{Branch, Node, Tree};

#[derive(Clone, Debug)]
pub(super) struct Packed {
    root: u32,
    nodes: Box<[Slim]>,
    /// (node, lower bound) of those that have one, in their order.
    above: Box<[(u32, f32)]>,
    weights: Box<[(u32, f32)]>,
}

/// A branch, or a leaf whose weights are `right` many from number `left` on.
#[derive(Clone, Copy, Debug)]
struct Slim {
    /// Twice the feature, and one more where NaN goes left; or [`LEAF`].
    test: u32,
    upto: f32,
    left: u32,
    right: u32,
}

const LEAF: u32 = u32::MAX;

impl Slim {
    fn of(node: &Node) -> Self {
        match node {
            Node::Branch(branch) => Self {
                test: branch.feature << 1 | u32::from(branch.nan_left),
                upto: branch.upto,
                left: branch.left,
                right: branch.right,
            },
            Node::Leaf { first, count } => Self {
                test: LEAF,
                upto: 0.0,
                left: *first,
                right: *count,
            },
        }
    }

    fn node(self) -> Node {
        if self.test == LEAF {
            return Node::Leaf {
                first: self.left,
                count: self.right,
            };
        }
        Node::Branch(Branch {
            feature: self.test >> 1,
            above: f32::NAN,
            upto: self.upto,
            nan_left: self.test & 1 == 1,
            left: self.left,
            right: self.right,
        })
    }
}

impl Packed {
    /// Features have smaller numbers than this.
    pub(super) const MOST_FEATURES: usize = 1 << 30;

    pub(super) fn of(tree: &Tree) -> Self {
        let bounds = (0..)
            .zip(&tree.nodes)
            .filter_map(|(place, node)| match node {
                Node::Branch(branch) if !branch.above.is_nan() => Some((place, branch.above)),
                Node::Branch(_) | Node::Leaf { .. } => None,
            });
        Self {
            root: tree.root,
            nodes: tree.nodes.iter().map(Slim::of).collect(),
            above: bounds.collect(),
            weights: tree.weights.as_slice().into(),
        }
    }

    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = Node> {
        let mut bounds = self.above.iter().peekable();
        self.nodes.iter().enumerate().map(move |(place, slim)| {
            let mut node = slim.node();
            if let Node::Branch(branch) = &mut node
                && let Some((_, above)) = bounds.next_if(|(at, _)| *at as usize == place)
            {
                branch.above = *above;
            }
            node
        })
    }

    pub(super) fn tree(&self) -> Tree {
        Tree {
            root: self.root,
            nodes: self.nodes().collect(),
            weights: self.weights.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::reference::{Random, Shape, tree};

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let mut random = Random(9);
        for _ in 0..300 {
            let shape = Shape::any(&mut random);
            let (tree, _) = tree(&mut random, shape);
            let unpacked = Packed::of(&tree).tree();
            // NaN, which is no bound, is not equal to itself.
            assert_eq!(format!("{unpacked:?}"), format!("{tree:?}"));
        }
    }
}
