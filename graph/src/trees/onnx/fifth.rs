//! The arrays of TreeEnsemble: all trees in one, leaves apart from nodes, and tests for sets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{place, same_length};
use crate::error::Error;
use crate::onnx::{Node as Operator, Tensor};
use crate::trees::{Ensemble, Fold, Mode, Node, Test, Tree};

const MEMBER: i64 = 6;

/// The trees of a TreeEnsemble.
pub(crate) fn read_v5(operator: &Operator, features: usize) -> Result<Arc<Ensemble>, Error> {
    let leaves = Leaves::of(operator)?;
    let roots = operator.each_int("tree_roots").map(place);
    let roots: Vec<u32> = roots.collect::<Result<_, _>>()?;
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
    // Where trees do not lie one after the other, or not at all, the whole says which.
    let trees = match one_by_one(operator, &leaves, &roots) {
        Ok(trees) => trees,
        Err(_) => {
            let all = Part {
                tests: tests(operator)?.collect::<Result<_, _>>()?,
                first: 0,
            };
            let trees = roots.iter().map(|root| all.tree(&leaves, *root));
            trees.collect::<Result<_, _>>()?
        }
    };
    Ensemble {
        features,
        targets: usize::try_from(operator.int("n_targets", 1)).unwrap_or(0),
        fold,
        trees,
    }
    .check()
}

/// Trees whose nodes follow each other in the order of the roots, so that no more than one tree's are there at once.
fn one_by_one(operator: &Operator, leaves: &Leaves, roots: &[u32]) -> Result<Vec<Tree>, Error> {
    let mut tests = tests(operator)?;
    let mut trees = Vec::with_capacity(roots.len());
    let mut part = Part::default();
    for (place, root) in roots.iter().enumerate() {
        let end = roots.get(place + 1).copied().unwrap_or(u32::MAX);
        let count = end.checked_sub(*root).ok_or_else(lacks_node)? as usize;
        // The next one of those that are left.
        if part.first + part.tests.len() as u32 != *root {
            return Err(lacks_node());
        }
        part.first = *root;
        part.tests.clear();
        for test in tests.by_ref().take(count) {
            part.tests.push(test?);
        }
        trees.push(part.tree(leaves, *root)?);
    }
    Ok(trees)
}

fn lacks_node() -> Error {
    Error::damaged("a tree points to a node that it has not")
}

/// A node of the file, whose ways lead to nodes or leaves of the file.
struct FileTest<'a> {
    mode: i64,
    feature: u32,
    value: f32,
    missing_holds: bool,
    /// Whether it is a leaf, and its number.
    holds: (bool, u32),
    fails: (bool, u32),
    /// Of a test for a set.
    members: &'a [f32],
}

/// All nodes of the file, side by side.
fn tests<'a>(
    operator: &'a Operator<'_>,
) -> Result<impl Iterator<Item = Result<FileTest<'a>, Error>>, Error> {
    let modes: &[i64] = operator
        .tensor("nodes_modes")
        .map_or(&[], |modes| &modes.ints);
    let splits = singles(operator, "nodes_splits")?;
    let mut sets = singles(operator, "membership_values")?.split(|value| value.is_nan());
    let count = |name: &str| operator.each_int(name).count();
    same_length(&[
        modes.len(),
        splits.len(),
        count("nodes_featureids"),
        count("nodes_truenodeids"),
        count("nodes_falsenodeids"),
        count("nodes_trueleafs"),
        count("nodes_falseleafs"),
    ])?;
    let mut features = operator.each_int("nodes_featureids");
    let mut holds = operator.each_int("nodes_truenodeids");
    let mut fails = operator.each_int("nodes_falsenodeids");
    let mut holds_is_leaf = operator.each_int("nodes_trueleafs");
    let mut fails_is_leaf = operator.each_int("nodes_falseleafs");
    let mut missing = operator.each_int("nodes_missing_value_tracks_true");
    let is_leaf = |flag: Option<i64>| flag.is_some_and(|flag| flag != 0);
    let next = |number: Option<i64>| place(number.unwrap_or(-1));
    Ok(modes.iter().zip(splits).map(move |(mode, value)| {
        Ok(FileTest {
            mode: *mode,
            feature: next(features.next())?,
            value: *value,
            missing_holds: is_leaf(missing.next()),
            holds: (is_leaf(holds_is_leaf.next()), next(holds.next())?),
            fails: (is_leaf(fails_is_leaf.next()), next(fails.next())?),
            members: match *mode {
                MEMBER => sets.next().unwrap_or(&[]),
                _ => &[],
            },
        })
    }))
}

fn singles<'a>(operator: &'a Operator, name: &str) -> Result<&'a [f32], Error> {
    operator.tensor(name).map_or(Ok(&[]), Tensor::singles)
}

/// The leaves of all trees.
struct Leaves<'a> {
    targets: Vec<u32>,
    weights: &'a [f32],
}

impl<'a> Leaves<'a> {
    fn of(operator: &'a Operator) -> Result<Self, Error> {
        let targets = operator.each_int("leaf_targetids").map(place);
        let targets: Vec<u32> = targets.collect::<Result<_, _>>()?;
        let weights = singles(operator, "leaf_weights")?;
        same_length(&[targets.len(), weights.len()])?;
        Ok(Self { targets, weights })
    }
}

/// Some of the file's nodes, from number `first` on.
#[derive(Default)]
struct Part<'a> {
    tests: Vec<FileTest<'a>>,
    first: u32,
}

impl Part<'_> {
    fn tree(&self, leaves: &Leaves, root: u32) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        // (is a leaf, number in the file) -> node of the tree; what is found first is made first.
        let mut made: HashMap<(bool, u32), u32> = HashMap::new();
        let mut waiting = vec![(false, root)];
        made.insert((false, root), 0);
        tree.nodes.push(Node::Leaf { first: 0, count: 0 });
        while let Some((leaf, number)) = waiting.pop() {
            let place = made[&(leaf, number)] as usize;
            if leaf {
                let missing = || Error::damaged("a tree points to a leaf that it has not");
                let number = number as usize;
                let target = *leaves.targets.get(number).ok_or_else(missing)?;
                let first = tree.weights.len() as u32;
                tree.weights.push((target, leaves.weights[number]));
                tree.nodes[place] = Node::Leaf { first, count: 1 };
                continue;
            }
            let test = number
                .checked_sub(self.first)
                .and_then(|place| self.tests.get(place as usize))
                .ok_or_else(lacks_node)?;
            let [holds, fails] = [test.holds, test.fails].map(|next| match made.entry(next) {
                Entry::Occupied(there) => *there.get(),
                Entry::Vacant(new) => {
                    let place = tree.nodes.len() as u32;
                    tree.nodes.push(Node::Leaf { first: 0, count: 0 });
                    waiting.push(next);
                    *new.insert(place)
                }
            });
            test.put(holds, fails, place, &mut tree)?;
        }
        tree.nodes.shrink_to_fit();
        tree.weights.shrink_to_fit();
        Ok(tree)
    }
}

impl FileTest<'_> {
    /// Makes node `place` of the tree this test; one for a set becomes a chain.
    fn put(&self, holds: u32, fails: u32, place: usize, tree: &mut Tree) -> Result<(), Error> {
        let mode = match self.mode {
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
            feature: self.feature,
            value: self.value,
            missing_holds: self.missing_holds,
            holds,
            fails,
        };
        let [values @ .., last] = self.members else {
            if self.mode == MEMBER {
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
