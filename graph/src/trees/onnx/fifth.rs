//! The arrays of TreeEnsemble: all trees in one, leaves apart from nodes, and tests for sets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{places, same_length};
use crate::error::Error;
use crate::onnx::{Node as Operator, Tensor};
use crate::trees::{Ensemble, Fold, Mode, Node, Test, Tree};

/// The trees of a TreeEnsemble.
pub(crate) fn read_v5(operator: &Operator, features: usize) -> Result<Arc<Ensemble>, Error> {
    let arrays = Arrays::of(operator)?;
    let roots = places(operator.ints("tree_roots"))?;
    let trees = roots.iter().map(|root| arrays.tree(*root));
    let fold = match operator.int("aggregate_function", 1) {
        0 | 1 => Fold::Sum,
        2 => Fold::Min,
        3 => Fold::Max,
        other => {
            return Err(Error::not_covered(format!(
                "trees folded by number {other}"
            )));
        }
    };
    Ensemble {
        features,
        targets: usize::try_from(operator.int("n_targets", 1)).unwrap_or(0),
        fold,
        trees: trees.collect::<Result<_, _>>()?,
    }
    .check()
}

/// The arrays of a TreeEnsemble, all trees in one.
struct Arrays<'a> {
    modes: &'a [i64],
    splits: &'a [f32],
    features: Vec<u32>,
    holds: Vec<u32>,
    fails: Vec<u32>,
    holds_is_leaf: &'a [i64],
    fails_is_leaf: &'a [i64],
    missing: &'a [i64],
    /// For each node the values of its set; empty for all but those that ask for one.
    members: Vec<Vec<f32>>,
    targets: Vec<u32>,
    weights: &'a [f32],
}

const MEMBER: i64 = 6;

impl<'a> Arrays<'a> {
    fn of(operator: &'a Operator) -> Result<Self, Error> {
        let tensor = |name: &str| operator.tensor(name);
        let modes: &[i64] = tensor("nodes_modes").map_or(&[], |modes| &modes.ints);
        let floats = |name: &str| tensor(name).map_or(Ok(&[][..]), Tensor::singles);
        let (splits, weights) = (floats("nodes_splits")?, floats("leaf_weights")?);
        let sets = floats("membership_values")?;
        let mut sets = sets.split(|value| value.is_nan());
        let members = modes.iter().map(|mode| match *mode {
            MEMBER => sets.next().unwrap_or(&[]).to_vec(),
            _ => Vec::new(),
        });
        let arrays = Self {
            modes,
            splits,
            features: places(operator.ints("nodes_featureids"))?,
            holds: places(operator.ints("nodes_truenodeids"))?,
            fails: places(operator.ints("nodes_falsenodeids"))?,
            holds_is_leaf: operator.ints("nodes_trueleafs"),
            fails_is_leaf: operator.ints("nodes_falseleafs"),
            missing: operator.ints("nodes_missing_value_tracks_true"),
            members: members.collect(),
            targets: places(operator.ints("leaf_targetids"))?,
            weights,
        };
        let nodes = arrays.modes.len();
        same_length(&[
            nodes,
            arrays.splits.len(),
            arrays.features.len(),
            arrays.holds.len(),
            arrays.fails.len(),
            arrays.holds_is_leaf.len(),
            arrays.fails_is_leaf.len(),
        ])?;
        same_length(&[arrays.targets.len(), arrays.weights.len()])?;
        Ok(arrays)
    }

    fn tree(&self, root: u32) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        // (is a leaf, number in the arrays) -> node of the tree; what is found first is made first.
        let mut made: HashMap<(bool, u32), u32> = HashMap::new();
        let mut waiting = vec![(false, root)];
        made.insert((false, root), 0);
        tree.nodes.push(Node::Leaf { first: 0, count: 0 });
        while let Some((leaf, number)) = waiting.pop() {
            let place = made[&(leaf, number)] as usize;
            if leaf {
                let missing = || Error::damaged("a tree points to a leaf that it has not");
                let number = number as usize;
                let target = *self.targets.get(number).ok_or_else(missing)?;
                let first = tree.weights.len() as u32;
                tree.weights.push((target, self.weights[number]));
                tree.nodes[place] = Node::Leaf { first, count: 1 };
                continue;
            }
            let node = number as usize;
            let lacks = || Error::damaged("a tree points to a node that it has not");
            let holds = (
                *self.holds_is_leaf.get(node).ok_or_else(lacks)? != 0,
                self.holds[node],
            );
            let fails = (self.fails_is_leaf[node] != 0, self.fails[node]);
            let [holds, fails] = [holds, fails].map(|next| match made.entry(next) {
                Entry::Occupied(there) => *there.get(),
                Entry::Vacant(new) => {
                    let place = tree.nodes.len() as u32;
                    tree.nodes.push(Node::Leaf { first: 0, count: 0 });
                    waiting.push(next);
                    *new.insert(place)
                }
            });
            self.test(node, holds, fails, place, &mut tree)?;
        }
        Ok(tree)
    }

    /// Makes node `place` of the tree the test of `node`; one for a set becomes a chain.
    fn test(
        &self,
        node: usize,
        holds: u32,
        fails: u32,
        place: usize,
        tree: &mut Tree,
    ) -> Result<(), Error> {
        let mode = match self.modes[node] {
            0 => Mode::AtMost,
            1 => Mode::Below,
            2 => Mode::AtLeast,
            3 => Mode::Above,
            4 | MEMBER => Mode::Equal,
            5 => Mode::Unequal,
            other => return Err(Error::not_covered(format!("trees with mode {other}"))),
        };
        let mut test = Test {
            mode,
            feature: self.features[node],
            value: self.splits[node],
            missing_holds: self.missing.get(node).is_some_and(|flag| *flag != 0),
            holds,
            fails,
        };
        let [values @ .., last] = self.members[node].as_slice() else {
            if self.modes[node] == MEMBER {
                return Err(Error::not_covered("trees with an empty set"));
            }
            if test.value.is_nan() {
                return Err(Error::not_covered("trees that compare with NaN"));
            }
            tree.nodes[place] = Node::Branch(test.into());
            return Ok(());
        };
        let mut place = place;
        for value in values {
            let next = tree.nodes.len();
            tree.nodes.push(Node::Leaf { first: 0, count: 0 });
            (test.value, test.fails) = (*value, next as u32);
            tree.nodes[place] = Node::Branch(test.into());
            place = next;
        }
        (test.value, test.fails) = (*last, fails);
        tree.nodes[place] = Node::Branch(test.into());
        Ok(())
    }
}
