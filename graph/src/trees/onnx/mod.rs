//! ONNX's tree operators, read into [`Ensemble`]s: the flat arrays of TreeEnsembleRegressor and TreeEnsembleClassifier,
//! and those of TreeEnsemble, which came with version 5 and replaces both.

mod fifth;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use self::fifth::read_v5;
use super::{Branch, Ensemble, Fold, Mode, Node, Test, Tree};
use crate::error::Error;
use crate::onnx::Node as Operator;

/// The trees of a TreeEnsembleRegressor over `features` numbers.
pub(crate) fn read_regressor(operator: &Operator, features: usize) -> Result<Arc<Ensemble>, Error> {
    let targets = usize::try_from(operator.int("n_targets", 1)).unwrap_or(0);
    read_flat(operator, "target", features, targets)
}

/// The trees of a TreeEnsembleClassifier with `classes` labels.
pub(crate) fn read_classes(
    operator: &Operator,
    features: usize,
    classes: usize,
) -> Result<Arc<Ensemble>, Error> {
    read_flat(operator, "class", features, classes)
}

fn mode(text: &str) -> Result<Option<Mode>, Error> {
    Ok(Some(match text {
        "LEAF" => return Ok(None),
        "BRANCH_LEQ" => Mode::AtMost,
        "BRANCH_LT" => Mode::Below,
        "BRANCH_GTE" => Mode::AtLeast,
        "BRANCH_GT" => Mode::Above,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::Unequal,
        _ => return Err(Error::not_covered(format!("trees with '{text}'"))),
    }))
}

fn fold(text: &str) -> Result<Fold, Error> {
    match text {
        // The mean is a sum that the planner divides.
        "SUM" | "AVERAGE" => Ok(Fold::Sum),
        "MIN" => Ok(Fold::Min),
        "MAX" => Ok(Fold::Max),
        _ => Err(Error::not_covered(format!("trees folded by '{text}'"))),
    }
}

/// A number that counts or points: never below zero.
fn place(value: i64) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::damaged("a tree points below zero"))
}

fn same_length(lengths: &[usize]) -> Result<(), Error> {
    match lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        true => Ok(()),
        false => Err(differ()),
    }
}

fn read_flat(
    operator: &Operator,
    prefix: &str,
    features: usize,
    targets: usize,
) -> Result<Arc<Ensemble>, Error> {
    if let Some(double) = operator
        .attributes
        .iter()
        .find(|attribute| attribute.name.ends_with("_as_tensor"))
    {
        return Err(Error::not_covered(format!(
            "{} with '{}'",
            operator.op, double.name
        )));
    }
    let index = Index::of(operator)?;
    let mut trees = flat_nodes(operator, &index)?;
    weigh(operator, prefix, &index, &mut trees)?;
    let fold = fold(operator.text("aggregate_function", "SUM"))?;
    let ensemble = Ensemble::new(features, targets, fold)?;
    ensemble.with(trees).map(Arc::new)
}

fn differ() -> Error {
    Error::damaged("the arrays of the trees differ in length")
}

/// The trees, whose leaves have no weights yet. The arrays are read side by side and never kept.
fn flat_nodes(operator: &Operator, index: &Index) -> Result<Vec<Tree>, Error> {
    let mut trees = vec![Tree::default(); index.trees.len()];
    let mut modes = operator.each_text("nodes_modes");
    let mut values = operator.each_float("nodes_values");
    let mut features = operator.each_int("nodes_featureids");
    let mut holds = operator.each_int("nodes_truenodeids");
    let mut fails = operator.each_int("nodes_falsenodeids");
    let mut missing = operator
        .each_int("nodes_missing_value_tracks_true")
        .peekable();
    let any_missing = missing.peek().is_some();
    for tree_id in operator.each_int("nodes_treeids") {
        let (Some(text), Some(value), Some(feature), Some(holds), Some(fails), missing) = (
            modes.next(),
            values.next(),
            features.next(),
            holds.next(),
            fails.next(),
            missing.next(),
        ) else {
            return Err(differ());
        };
        if missing.is_some() != any_missing {
            return Err(differ());
        }
        let (tree, count) = index.tree(tree_id)?;
        let node = match mode(text)? {
            None => Node::Leaf { first: 0, count: 0 },
            Some(_) if value.is_nan() => {
                return Err(Error::not_covered("trees that compare with NaN"));
            }
            Some(mode) => Node::Branch(Branch::from(Test {
                mode,
                feature: place(feature)?,
                value,
                missing_holds: missing.is_some_and(|flag| flag != 0),
                holds: index.find(tree_id, holds)?.1,
                fails: index.find(tree_id, fails)?.1,
            })),
        };
        let nodes = &mut trees[tree].nodes;
        nodes.reserve_exact(if nodes.is_empty() { count } else { 0 });
        nodes.push(node);
    }
    let rest = [features.next(), holds.next(), fails.next(), missing.next()];
    match (modes.next(), values.next(), rest) {
        (None, None, [None, None, None, None]) => Ok(trees),
        _ => Err(differ()),
    }
}

/// Where each node of the flat arrays lies: its tree, and its place in that tree, both in the order of the file.
struct Index {
    /// By tree id: the tree, how many nodes it has, and whether they are numbered by their places.
    trees: HashMap<i64, (usize, u32, bool)>,
    /// The places of nodes that are numbered otherwise, by tree and node id.
    others: HashMap<(i64, i64), u32>,
}

impl Index {
    /// ONNX Runtime takes the first node of each tree as its root, and a tree's nodes to follow each other.
    fn of(operator: &Operator) -> Result<Self, Error> {
        let mut index = Self {
            trees: HashMap::new(),
            others: HashMap::new(),
        };
        let mut node_ids = operator.each_int("nodes_nodeids");
        let mut tree_ids = operator.each_int("nodes_treeids").peekable();
        while let Some(tree_id) = tree_ids.next() {
            let (mut count, mut numbered) = (0_u32, true);
            loop {
                let node_id = node_ids.next().ok_or_else(differ)?;
                if numbered && node_id != i64::from(count) {
                    // Those before it had their places for numbers.
                    let before = (0..count).map(|place| ((tree_id, i64::from(place)), place));
                    index.others.extend(before);
                    numbered = false;
                }
                if !numbered && index.others.insert((tree_id, node_id), count).is_some() {
                    return Err(Error::damaged("a tree has a node twice"));
                }
                count += 1;
                if tree_ids.next_if_eq(&tree_id).is_none() {
                    break;
                }
            }
            let tree = (index.trees.len(), count, numbered);
            if index.trees.insert(tree_id, tree).is_some() {
                return Err(Error::not_covered("trees whose nodes are scattered"));
            }
        }
        match node_ids.next() {
            None => Ok(index),
            Some(_) => Err(differ()),
        }
    }

    /// A tree, and how many nodes it has.
    fn tree(&self, tree_id: i64) -> Result<(usize, usize), Error> {
        let lacks = || Error::damaged("a tree points to a node that it has not");
        let (tree, count, _) = *self.trees.get(&tree_id).ok_or_else(lacks)?;
        Ok((tree, count as usize))
    }

    fn find(&self, tree_id: i64, node_id: i64) -> Result<(usize, u32), Error> {
        let lacks = || Error::damaged("a tree points to a node that it has not");
        let (tree, count, numbered) = *self.trees.get(&tree_id).ok_or_else(lacks)?;
        let place = match numbered {
            true => u32::try_from(node_id).ok().filter(|place| *place < count),
            false => self.others.get(&(tree_id, node_id)).copied(),
        };
        place.map(|place| (tree, place)).ok_or_else(lacks)
    }
}

/// Gives each leaf its weights, in the order of the file.
fn weigh(
    operator: &Operator,
    prefix: &str,
    index: &Index,
    trees: &mut [Tree],
) -> Result<(), Error> {
    let list = |name: &str| operator.each_int(&format!("{prefix}_{name}"));
    let leaves = list("treeids").zip(list("nodeids"));
    let (targets, weights) = (
        list("ids"),
        operator.each_float(&format!("{prefix}_weights")),
    );
    let count = leaves.clone().count();
    let counts = [list("treeids").count(), list("nodeids").count()];
    same_length(&[
        count,
        counts[0],
        counts[1],
        targets.clone().count(),
        weights.clone().count(),
    ])?;
    let mut totals = vec![0_u32; trees.len()];
    for (tree_id, node_id) in leaves.clone() {
        let (tree, node) = index.find(tree_id, node_id)?;
        // ONNX Runtime never looks at those of branches.
        if let Node::Leaf { count, .. } = &mut trees[tree].nodes[node as usize] {
            *count += 1;
            totals[tree] += 1;
        }
    }
    for (tree, total) in trees.iter_mut().zip(totals) {
        tree.weights = vec![(0, 0.0); total as usize];
        let mut begin = 0;
        for node in &mut tree.nodes {
            if let Node::Leaf { first, count } = node {
                *first = begin;
                begin += std::mem::take(count);
            }
        }
    }
    // Several weights of one leaf stay in their order.
    for (((tree_id, node_id), target), weight) in leaves.zip(targets).zip(weights) {
        let (tree, node) = index.find(tree_id, node_id)?;
        let tree = &mut trees[tree];
        if let Node::Leaf { first, count } = &mut tree.nodes[node as usize] {
            tree.weights[(*first + *count) as usize] = (place(target)?, weight);
            *count += 1;
        }
    }
    Ok(())
}
