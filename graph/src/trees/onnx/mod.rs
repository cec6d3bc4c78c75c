//! ONNX's tree operators, read into [`Ensemble`]s: the flat arrays of TreeEnsembleRegressor and TreeEnsembleClassifier, and
//! those of TreeEnsemble, which came with version 5 and replaces both.

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

/// Numbers that count or point: never below zero.
fn places(values: &[i64]) -> Result<Vec<u32>, Error> {
    let places = values.iter().map(|value| u32::try_from(*value));
    places
        .collect::<Result<_, _>>()
        .map_err(|_| Error::damaged("a tree points below zero"))
}

fn same_length(lengths: &[usize]) -> Result<(), Error> {
    match lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        true => Ok(()),
        false => Err(Error::damaged("the arrays of the trees differ in length")),
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
    let modes = operator.texts("nodes_modes");
    let values = operator.floats("nodes_values");
    let tree_ids = operator.ints("nodes_treeids");
    let node_ids = operator.ints("nodes_nodeids");
    let of_features = operator.ints("nodes_featureids");
    let holds = operator.ints("nodes_truenodeids");
    let fails = operator.ints("nodes_falsenodeids");
    let missing = operator.ints("nodes_missing_value_tracks_true");
    let count = tree_ids.len();
    same_length(&[
        count,
        modes.len(),
        values.len(),
        node_ids.len(),
        of_features.len(),
        holds.len(),
        fails.len(),
    ])?;
    if !missing.is_empty() {
        same_length(&[count, missing.len()])?;
    }
    let index = Index::of(tree_ids, node_ids)?;
    let mut trees = vec![Tree::default(); index.trees.len()];
    for place in 0..count {
        let (tree, _) = index.find(tree_ids[place], node_ids[place])?;
        let node = match mode(&modes[place])? {
            None => Node::Leaf { first: 0, count: 0 },
            Some(_) if values[place].is_nan() => {
                return Err(Error::not_covered("trees that compare with NaN"));
            }
            Some(mode) => Node::Branch(Branch::from(Test {
                mode,
                feature: places(&of_features[place..=place])?[0],
                value: values[place],
                missing_holds: missing.get(place).is_some_and(|flag| *flag != 0),
                holds: index.find(tree_ids[place], holds[place])?.1,
                fails: index.find(tree_ids[place], fails[place])?.1,
            })),
        };
        trees[tree].nodes.push(node);
    }
    weigh(operator, prefix, &index, &mut trees)?;
    let fold = fold(operator.text("aggregate_function", "SUM"))?;
    Ensemble {
        features,
        targets,
        fold,
        trees,
    }
    .check()
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
    fn of(tree_ids: &[i64], node_ids: &[i64]) -> Result<Self, Error> {
        same_length(&[tree_ids.len(), node_ids.len()])?;
        let mut index = Self {
            trees: HashMap::new(),
            others: HashMap::new(),
        };
        let mut begin = 0;
        for nodes in tree_ids.chunk_by(|left, right| left == right) {
            let (tree_id, ids) = (nodes[0], &node_ids[begin..begin + nodes.len()]);
            begin += nodes.len();
            let numbered = (0..).zip(ids).all(|(place, id)| *id == place);
            let tree = (index.trees.len(), nodes.len() as u32, numbered);
            if index.trees.insert(tree_id, tree).is_some() {
                return Err(Error::not_covered("trees whose nodes are scattered"));
            }
            for (place, id) in ids.iter().enumerate().filter(|_| !numbered) {
                let twice = index.others.insert((tree_id, *id), place as u32);
                if twice.is_some() {
                    return Err(Error::damaged("a tree has a node twice"));
                }
            }
        }
        Ok(index)
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
    let tree_ids = operator.ints(&format!("{prefix}_treeids"));
    let node_ids = operator.ints(&format!("{prefix}_nodeids"));
    let targets = places(operator.ints(&format!("{prefix}_ids")))?;
    let weights = operator.floats(&format!("{prefix}_weights"));
    same_length(&[tree_ids.len(), node_ids.len(), targets.len(), weights.len()])?;
    let mut placed = Vec::with_capacity(tree_ids.len());
    for (place, (&tree_id, &node_id)) in tree_ids.iter().zip(node_ids).enumerate() {
        let (tree, node) = index.find(tree_id, node_id)?;
        placed.push((tree, node, targets[place], weights[place]));
    }
    // Stable: several weights of one leaf stay in their order.
    placed.sort_by_key(|(tree, node, ..)| (*tree, *node));
    for (tree, node, target, weight) in placed {
        let tree = &mut trees[tree];
        let end = tree.weights.len() as u32;
        match &mut tree.nodes[node as usize] {
            Node::Leaf { first, count } => {
                if *count == 0 {
                    *first = end;
                }
                *count += 1;
                tree.weights.push((target, weight));
            }
            // ONNX Runtime never looks at them.
            Node::Branch(_) => {}
        }
    }
    Ok(())
}
