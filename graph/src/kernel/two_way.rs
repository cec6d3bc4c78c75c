//! Large trees of plain comparisons: nodes of eight bytes, siblings side by side, no branches. Sixteen rows go down a
//! tree side by side, and a block's rows go down one tree before the next, so that its nodes are still in the cache.

use std::collections::{BTreeMap, VecDeque};

use super::routes::{Route, Routes, sums_two_way};
use super::{BLOCK, Columns};
use crate::trees::{Ensemble, Node, Tree};

/// Rows that go down a tree side by side.
const ABREAST: usize = 16;

/// Goes to `left` where `x <= upto`, else to the node after it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Pair {
    upto: f32,
    column: u16,
    left: u16,
}

#[derive(Debug)]
struct Part {
    /// The tree's nodes in `pairs`.
    first: usize,
    nodes: usize,
    depth: u32,
    /// Its values in `values`: for each target one for each node, zero but for leaves.
    values: usize,
    targets: Vec<u32>,
}

/// Every `left` and the node after it lie in the same tree, and every `column` is one of `routes`.
#[derive(Debug)]
pub(crate) struct TwoWay {
    routes: Routes,
    parts: Vec<Part>,
    pairs: Vec<Pair>,
    values: Vec<f32>,
}

impl TwoWay {
    /// Nothing where a test is more than one comparison or a tree has too many nodes.
    pub(super) fn new(ensemble: &Ensemble) -> Option<Self> {
        if !sums_two_way(ensemble) {
            return None;
        }
        let (routes, places) = Routes::of(ensemble);
        if routes.list.is_empty() || routes.list.len() > usize::from(u16::MAX) {
            return None;
        }
        let nodes = ensemble.nodes().count();
        let mut made = Self {
            routes,
            parts: Vec::with_capacity(ensemble.count()),
            pairs: Vec::with_capacity(nodes),
            values: Vec::with_capacity(nodes),
        };
        for tree in ensemble.trees() {
            made.add(&tree, &places)?;
        }
        Some(made)
    }

    fn add(&mut self, tree: &Tree, places: &BTreeMap<Route, usize>) -> Option<()> {
        let first = self.pairs.len();
        let mut leaves = Vec::new();
        // Breadth first: the pairs near the root, which every row needs, lie together.
        let mut waiting = VecDeque::from([tree.root]);
        let mut made = 0_usize;
        while let Some(node) = waiting.pop_front() {
            let pair = match tree.nodes.get(node as usize)? {
                Node::Branch(branch) => {
                    let left = made + waiting.len() + 1;
                    waiting.extend([branch.left, branch.right]);
                    Pair {
                        upto: branch.upto,
                        column: u16::try_from(places[&(branch.feature, branch.nan_left)]).ok()?,
                        left: u16::try_from(left).ok().filter(|left| *left < u16::MAX)?,
                    }
                }
                // Nothing is at most NaN, so a leaf leads to the node after the one before it: itself.
                Node::Leaf { first, count } => {
                    leaves.push((made, *first, *count));
                    Pair {
                        upto: f32::NAN,
                        column: 0,
                        left: u16::try_from(made.saturating_sub(1)).ok()?,
                    }
                }
            };
            self.pairs.push(pair);
            made += 1;
        }
        let (targets, values) = (tree.targets(), self.values.len());
        self.values.resize(values + targets.len() * made, 0.0);
        for (node, first, count) in leaves {
            for (target, weight) in tree.leaf(first, count) {
                let target = targets.binary_search(target).ok()?;
                self.values[values + target * made + node] += weight;
            }
        }
        self.parts.push(Part {
            first,
            nodes: made,
            depth: tree.depth()?,
            values,
            targets,
        });
        Some(())
    }

    pub(super) fn floats(&self) -> usize {
        self.routes.list.len() * BLOCK
    }

    pub(super) fn run(
        &self,
        columns: &impl Columns,
        rows: usize,
        floats: &mut [f32],
        out: &mut [f32],
    ) {
        assert!(rows <= BLOCK && floats.len() >= self.floats());
        self.routes.fill(columns, floats);
        out.fill(0.0);
        for part in &self.parts {
            let pairs = &self.pairs[part.first..part.first + part.nodes];
            for first in (0..rows).step_by(ABREAST) {
                let mut nodes = [0_u32; ABREAST];
                // All the way, though few rows go as deep as the deepest leaf: to look whether all have arrived costs
                // more.
                for _ in 0..part.depth {
                    self.descend(pairs, &floats[first..], &mut nodes);
                }
                for (number, target) in part.targets.iter().enumerate() {
                    let values = &self.values[part.values + number * part.nodes..][..part.nodes];
                    let out = &mut out[*target as usize * BLOCK + first..][..ABREAST];
                    for (out, node) in out.iter_mut().zip(nodes) {
                        *out += values[node as usize];
                    }
                }
            }
        }
    }

    /// One level down; `floats` begins with the rows' value of the first column.
    #[inline(always)]
    fn descend(&self, pairs: &[Pair], floats: &[f32], nodes: &mut [u32; ABREAST]) {
        for (row, node) in nodes.iter_mut().enumerate() {
            // SAFETY: a walk begins at node 0 of a tree that has one, and `add` made every `left` and, for a branch,
            // the node after it a node of the same tree; a leaf's next node is itself.
            let pair = unsafe { pairs.get_unchecked(*node as usize) };
            let place = usize::from(pair.column) * BLOCK + row;
            // SAFETY: `column` is a place in `routes`, each of which has BLOCK floats (asserted by `run`), and the rows
            // from the first on are within a block: BLOCK is a multiple of ABREAST, as is the first row.
            let x = unsafe { *floats.get_unchecked(place) };
            #[expect(
                clippy::neg_cmp_op_on_partial_ord,
                reason = "what cannot be compared goes right"
            )]
            let right = !(x <= pair.upto);
            *node = u32::from(pair.left) + u32::from(right);
        }
    }
}
