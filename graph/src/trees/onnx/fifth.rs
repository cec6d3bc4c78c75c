//! The arrays of TreeEnsemble: all trees in one, leaves apart from nodes, and tests for sets.

use std::borrow::Cow;
use std::sync::Arc;

use super::{place, same_length};
use crate::error::Error;
use crate::onnx::Node as Operator;
use crate::trees::{Ensemble, Fold, Mode, Node, Test, Tree};

const MEMBER: u8 = 6;

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
    let targets = usize::try_from(operator.int("n_targets", 1)).unwrap_or(0);
    let none = Ensemble::new(features, targets, fold)?;
    // Where trees do not lie one after the other, or not at all, the whole says which.
    let whole = one_by_one(operator, &leaves, &roots, none.clone())
        .or_else(|_| all_at_once(operator, &leaves, &roots, none))?;
    Ok(Arc::new(whole))
}

/// Trees whose nodes follow each other in the order of the roots, so that no more than one tree's are there at once.
fn one_by_one(
    operator: &Operator,
    leaves: &Leaves,
    roots: &[u32],
    mut ensemble: Ensemble,
) -> Result<Ensemble, Error> {
    let arrays = Arrays::of(operator)?;
    let mut tests = arrays.tests();
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
        ensemble.add(&part.tree(leaves, *root)?)?;
    }
    Ok(ensemble)
}

/// Trees whose nodes lie anywhere.
fn all_at_once(
    operator: &Operator,
    leaves: &Leaves,
    roots: &[u32],
    mut ensemble: Ensemble,
) -> Result<Ensemble, Error> {
    let arrays = Arrays::of(operator)?;
    let mut all = Part {
        tests: arrays.tests().collect::<Result<_, _>>()?,
        ..Part::default()
    };
    for root in roots {
        ensemble.add(&all.tree(leaves, *root)?)?;
    }
    Ok(ensemble)
}

fn lacks_node() -> Error {
    Error::damaged("a tree points to a node that it has not")
}

/// A node of the file, whose ways lead to nodes or leaves of the file.
struct FileTest<'a> {
    mode: u8,
    feature: u32,
    value: f32,
    missing_holds: bool,
    /// Whether it is a leaf, and its number.
    holds: (bool, u32),
    fails: (bool, u32),
    /// Of a test for a set.
    members: &'a [[u8; 4]],
}

/// All nodes of the file, side by side; floats are as the file has them.
struct Arrays<'a, 'o> {
    operator: &'o Operator<'a>,
    modes: Cow<'a, [u8]>,
    splits: Cow<'a, [[u8; 4]]>,
    /// Those of all sets, each of which ends with NaN.
    members: Cow<'a, [[u8; 4]]>,
}

impl<'a, 'o> Arrays<'a, 'o> {
    fn of(operator: &'o Operator<'a>) -> Result<Self, Error> {
        let arrays = Self {
            operator,
            modes: operator.tensor_bytes("nodes_modes")?,
            splits: operator.tensor_floats("nodes_splits")?,
            members: operator.tensor_floats("membership_values")?,
        };
        let count = |name: &str| operator.each_int(name).count();
        same_length(&[
            arrays.modes.len(),
            arrays.splits.len(),
            count("nodes_featureids"),
            count("nodes_truenodeids"),
            count("nodes_falsenodeids"),
            count("nodes_trueleafs"),
            count("nodes_falseleafs"),
        ])?;
        Ok(arrays)
    }

    fn tests(&self) -> impl Iterator<Item = Result<FileTest<'_>, Error>> {
        let operator = self.operator;
        let is_end = |value: &[u8; 4]| f32::from_le_bytes(*value).is_nan();
        let mut sets = self.members.split(is_end);
        let mut features = operator.each_int("nodes_featureids");
        let mut holds = operator.each_int("nodes_truenodeids");
        let mut fails = operator.each_int("nodes_falsenodeids");
        let mut holds_is_leaf = operator.each_int("nodes_trueleafs");
        let mut fails_is_leaf = operator.each_int("nodes_falseleafs");
        let mut missing = operator.each_int("nodes_missing_value_tracks_true");
        let is_leaf = |flag: Option<i64>| flag.is_some_and(|flag| flag != 0);
        let next = |number: Option<i64>| place(number.unwrap_or(-1));
        let modes = self.modes.iter().zip(self.splits.iter());
        modes.map(move |(mode, value)| {
            Ok(FileTest {
                mode: *mode,
                feature: next(features.next())?,
                value: f32::from_le_bytes(*value),
                missing_holds: is_leaf(missing.next()),
                holds: (is_leaf(holds_is_leaf.next()), next(holds.next())?),
                fails: (is_leaf(fails_is_leaf.next()), next(fails.next())?),
                members: match *mode {
                    MEMBER => sets.next().unwrap_or(&[]),
                    _ => &[],
                },
            })
        })
    }
}

/// The leaves of all trees.
struct Leaves<'a> {
    targets: Vec<u16>,
    weights: Cow<'a, [[u8; 4]]>,
}

impl<'a> Leaves<'a> {
    fn of(operator: &Operator<'a>) -> Result<Self, Error> {
        let weights = operator.tensor_floats("leaf_weights")?;
        let mut targets = Vec::with_capacity(weights.len());
        for target in operator.each_int("leaf_targetids") {
            let unknown = |_| Error::damaged("a leaf adds to a target that no model has");
            targets.push(u16::try_from(target).map_err(unknown)?);
        }
        same_length(&[targets.len(), weights.len()])?;
        Ok(Self { targets, weights })
    }

    /// Adds one to the tree; returns its place.
    fn put(&self, number: u32, tree: &mut Tree) -> Result<u32, Error> {
        let number = number as usize;
        let found = self.targets.get(number).zip(self.weights.get(number));
        let missing = || Error::damaged("a tree points to a leaf that it has not");
        let (target, weight) = found.ok_or_else(missing)?;
        let (place, first) = (tree.nodes.len() as u32, tree.weights.len() as u32);
        tree.weights
            .push((u32::from(*target), f32::from_le_bytes(*weight)));
        tree.nodes.push(Node::Leaf { first, count: 1 });
        Ok(place)
    }
}

/// Some of the file's nodes, from number `first` on.
#[derive(Default)]
struct Part<'a> {
    tests: Vec<FileTest<'a>>,
    first: u32,
    /// By test: the number of the last tree that has it, and where.
    made: Vec<(u32, u32)>,
    trees: u32,
}

impl Part<'_> {
    fn test(&self, number: u32) -> Result<usize, Error> {
        let place = number.checked_sub(self.first).map(|place| place as usize);
        place
            .filter(|place| *place < self.tests.len())
            .ok_or_else(lacks_node)
    }

    /// The tree from `root` on. Tests that several others lead to are one node; leaves are as many.
    fn tree(&mut self, leaves: &Leaves, root: u32) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        self.trees += 1;
        self.made.resize(self.tests.len(), (0, 0));
        let mut waiting = vec![self.node(root, &mut tree)?];
        while let Some((number, place)) = waiting.pop() {
            let test = &self.tests[number];
            let [holds, fails] = [test.holds, test.fails];
            let mut end = |(is_leaf, number), tree: &mut Tree| {
                if is_leaf {
                    return leaves.put(number, tree);
                }
                let begun = tree.nodes.len();
                let (number, place) = self.node(number, tree)?;
                if tree.nodes.len() > begun {
                    waiting.push((number, place));
                }
                Ok(place)
            };
            let (holds, fails) = (end(holds, &mut tree)?, end(fails, &mut tree)?);
            self.tests[number].put(holds, fails, place as usize, &mut tree)?;
        }
        Ok(tree)
    }

    /// The place of a test, and that of its node: a new one, unless this tree has it.
    fn node(&mut self, number: u32, tree: &mut Tree) -> Result<(usize, u32), Error> {
        let number = self.test(number)?;
        let (of, place) = &mut self.made[number];
        if *of != self.trees {
            (*of, *place) = (self.trees, tree.nodes.len() as u32);
            tree.nodes.push(Node::Leaf { first: 0, count: 0 });
        }
        Ok((number, *place))
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
            (test.value, test.fails) = (f32::from_le_bytes(*value), next as u32);
            tree.nodes[place] = Node::Branch(test.into());
            place = next;
        }
        (test.value, test.fails) = (f32::from_le_bytes(*last), fails);
        tree.nodes[place] = Node::Branch(test.into());
        Ok(())
    }
}
