//! The walk that can do every ensemble: intervals, sets of whole numbers, smallest and largest instead of sums. Several
//! rows go down a tree side by side, so that one row's wait for memory is another's work.

use super::sets::{Sets, folded};
use super::{BLOCK, Columns};
use crate::trees::{Ensemble, Fold, Node, Spoken};

/// Rows that go down a tree side by side.
const ABREAST: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Step {
    above: f32,
    upto: f32,
    column: u32,
    left: u32,
    right: u32,
    nan_left: bool,
}

#[derive(Debug)]
struct Tree {
    root: u32,
    depth: u32,
    /// By node: its part of the weights.
    leaves: Vec<(u32, u32)>,
    steps: Vec<Step>,
    /// Where a test is more than an interval.
    sets: Option<Sets>,
    weights: Vec<(u32, f32)>,
}

#[derive(Debug)]
pub(crate) struct Walk {
    /// The features that are asked for.
    columns: Vec<u32>,
    fold: Fold,
    /// What each target begins with.
    begin: Vec<f32>,
    trees: Vec<Tree>,
}

impl Walk {
    pub(super) fn new(ensemble: &Ensemble) -> Self {
        let mut columns: Vec<u32> = super::routes::branches(ensemble)
            .map(|branch| branch.feature)
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let begin = ensemble
            .spoken()
            .into_iter()
            .map(|spoken| match (ensemble.fold, spoken) {
                (Fold::Sum, _) | (_, Spoken::Never) => 0.0,
                (Fold::Min, _) => f32::INFINITY,
                (Fold::Max, _) => f32::NEG_INFINITY,
            });
        let begin = begin.collect();
        let trees = ensemble.trees().map(|tree| match folded(&tree) {
            None => tree_of(&tree, None, &columns),
            Some((tree, sets)) => tree_of(&tree, Some(sets), &columns),
        });
        let trees = trees.collect();
        Self {
            columns,
            fold: ensemble.fold,
            begin,
            trees,
        }
    }

    pub(super) fn floats(&self) -> usize {
        self.columns.len() * BLOCK
    }

    pub(super) fn run(
        &self,
        columns: &impl Columns,
        rows: usize,
        floats: &mut [f32],
        out: &mut [f32],
    ) {
        for (feature, into) in self.columns.iter().zip(floats.chunks_exact_mut(BLOCK)) {
            let column = columns.column(*feature as usize);
            into[..column.len()].copy_from_slice(column);
        }
        for (out, begin) in out.chunks_exact_mut(BLOCK).zip(&self.begin) {
            out.fill(*begin);
        }
        for tree in &self.trees {
            for first in (0..rows).step_by(ABREAST) {
                let reached = match &tree.sets {
                    None => tree.walk(floats, first, |_, _| true),
                    Some(sets) => tree.walk(floats, first, |node, x| sets.has(node, x)),
                };
                for (row, node) in reached.into_iter().enumerate() {
                    self.fold(tree, node, first + row, out);
                }
            }
        }
    }

    #[inline]
    fn fold(&self, tree: &Tree, node: u32, row: usize, out: &mut [f32]) {
        let (first, count) = tree.leaves[node as usize];
        for (target, weight) in &tree.weights[first as usize..][..count as usize] {
            let score = &mut out[*target as usize * BLOCK + row];
            *score = match self.fold {
                Fold::Sum => *score + *weight,
                Fold::Min if *weight < *score => *weight,
                Fold::Max if *weight > *score => *weight,
                Fold::Min | Fold::Max => *score,
            };
        }
    }
}

impl Tree {
    /// `has` says whether a number between a node's bounds is meant.
    #[inline(always)]
    fn walk(&self, floats: &[f32], first: usize, has: impl Fn(u32, f32) -> bool) -> [u32; ABREAST] {
        let mut nodes = [self.root; ABREAST];
        for _ in 0..self.depth {
            for (row, node) in nodes.iter_mut().enumerate() {
                let step = &self.steps[*node as usize];
                let x = floats[step.column as usize * BLOCK + first + row];
                let below = x <= step.above;
                let inside = !below & (x <= step.upto) & has(*node, x);
                let left = if x.is_nan() { step.nan_left } else { inside };
                *node = if left { step.left } else { step.right };
            }
        }
        nodes
    }
}

fn tree_of(tree: &crate::trees::Tree, sets: Option<Sets>, columns: &[u32]) -> Tree {
    let mut leaves = Vec::with_capacity(tree.nodes.len());
    let mut steps = Vec::with_capacity(tree.nodes.len());
    for (place, node) in tree.nodes.iter().enumerate() {
        let place = place as u32;
        let (leaf, step) = match *node {
            Node::Branch(branch) => {
                let column = columns.partition_point(|column| *column < branch.feature);
                let step = Step {
                    above: branch.above,
                    upto: branch.upto,
                    column: column as u32,
                    left: branch.left,
                    right: branch.right,
                    nan_left: branch.nan_left,
                };
                ((0, 0), step)
            }
            // A leaf leads to itself, until the deepest leaf is reached.
            Node::Leaf { first, count } => {
                let step = Step {
                    above: f32::NAN,
                    upto: f32::NAN,
                    column: 0,
                    left: place,
                    right: place,
                    nan_left: false,
                };
                ((first, count), step)
            }
        };
        leaves.push(leaf);
        steps.push(step);
    }
    Tree {
        root: tree.root,
        depth: tree.depth().unwrap_or(0),
        leaves,
        steps,
        sets,
        weights: tree.weights.clone(),
    }
}
