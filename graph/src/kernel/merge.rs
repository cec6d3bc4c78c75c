//! Trees of at most 256 leaves from their leaves up, without walking them: where a side of a test is known for many
//! rows, as the number of a leaf in one byte each, the test picks one of its two sides for all of them at once. Leaves
//! are numbered from left to right, so that the right side is always the larger number, and picking it is a mask and a
//! maximum. The time is the same whatever the rows hold, and a tree needs one such step for each test.

use super::bins::Bins;
use super::level::{Work, at};
use super::{BLOCK, Columns, GROUP, Level, Line};
use crate::trees::{Ensemble, Node, Tree};

/// The most leaves of a tree.
const LEAVES: usize = 256;

/// Up to so many leaves have tables of that length.
const SOME: usize = 64;
const FEW: usize = 16;

/// Groups of bytes in a line.
const GROUPS: usize = BLOCK / GROUP;

/// One side of a test: a leaf's number, or where the tests of that side leave theirs.
#[derive(Clone, Copy, Debug)]
enum Side {
    Leaf(u8),
    Slot(u8),
}

/// A test: the right side where the row's byte of `line` is above `most`.
#[derive(Clone, Copy, Debug)]
struct Op {
    line: u16,
    most: i8,
    /// The slot that takes what was chosen: that of the first side that has one.
    to: u8,
    left: Side,
    right: Side,
}

/// A tree: its tests lie one after the other, the lower ones first; its tables one target after the other.
#[derive(Clone, Debug)]
struct Part {
    first_op: u32,
    ops: u32,
    first_table: u32,
    tables: u32,
    /// The slot where its leaves are found in the end.
    root: u8,
}

/// What each leaf of a tree adds to one target.
#[derive(Clone, Debug)]
struct Table {
    target: u32,
    /// Its floats in `values`, as many as [`FEW`], [`SOME`] or [`LEAVES`].
    first: u32,
    size: u32,
}

/// Every `line` is one of `bins`, and every target is below `targets`.
#[derive(Debug)]
pub(crate) struct Merge {
    bins: Bins,
    parts: Vec<Part>,
    ops: Vec<Op>,
    /// The lines that a tree's tests write to, which come after those of `bins`.
    slots: usize,
    tables: Vec<Table>,
    values: Vec<f32>,
    targets: usize,
    level: Level,
}

impl Merge {
    /// Nothing where a tree has too many leaves or a test is more than one comparison.
    pub(super) fn new(ensemble: &Ensemble, level: Level) -> Option<Self> {
        if ensemble.most_leaves() > LEAVES {
            return None;
        }
        let mut made = Self {
            bins: Bins::of(ensemble)?,
            parts: Vec::with_capacity(ensemble.count()),
            ops: Vec::new(),
            slots: 0,
            tables: Vec::with_capacity(ensemble.count()),
            values: Vec::new(),
            targets: ensemble.targets,
            level: level.min(Level::detect()),
        };
        for tree in ensemble.trees() {
            made.add(&tree)?;
        }
        made.ops.shrink_to_fit();
        made.values.shrink_to_fit();
        Some(made)
    }

    fn add(&mut self, tree: &Tree) -> Option<()> {
        let spread = Spread::of(tree)?;
        self.slots = self.slots.max(spread.slots.into());
        let first_op = self.ops.len();
        for test in &spread.tests {
            let Node::Branch(branch) = tree.nodes[test.node as usize] else {
                return None;
            };
            let (line, most) =
                self.bins
                    .place(branch.feature, branch.upto + 0.0, branch.nan_left)?;
            self.ops.push(Op {
                line: line as u16,
                most,
                to: test.to,
                left: test.left,
                right: test.right,
            });
        }
        let first_table = self.tables.len();
        for target in tree.targets() {
            self.table(tree, &spread.leaves, target)?;
        }
        self.parts.push(Part {
            first_op: u32::try_from(first_op).ok()?,
            ops: (self.ops.len() - first_op) as u32,
            first_table: u32::try_from(first_table).ok()?,
            tables: (self.tables.len() - first_table) as u32,
            root: spread.tests.last().map_or(0, |test| test.to),
        });
        Some(())
    }

    fn table(&mut self, tree: &Tree, leaves: &[(u32, u32)], target: u32) -> Option<()> {
        let sizes = [FEW, SOME, LEAVES];
        let size = sizes.into_iter().find(|size| leaves.len() <= *size)?;
        let first = self.values.len();
        self.tables.push(Table {
            target,
            first: u32::try_from(first).ok()?,
            size: size as u32,
        });
        self.values.resize(first + size, 0.0);
        for (to, (from, count)) in self.values[first..].iter_mut().zip(leaves) {
            let mut weights = tree.leaf(*from, *count).iter();
            let weight = weights.find(|(of, _)| *of == target);
            *to = weight.map_or(0.0, |(_, weight)| *weight);
        }
        Some(())
    }

    pub(super) fn name(&self) -> &'static str {
        match self.level {
            Level::Avx512 => "byte merges (AVX-512)",
            Level::Avx2 => "byte merges (AVX2)",
            Level::Portable => "byte merges",
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.bins.lines + self.slots
    }

    pub(super) fn run(
        &self,
        columns: &impl Columns,
        rows: usize,
        lines: &mut [Line],
        out: &mut [f32],
    ) {
        assert!(rows <= BLOCK && lines.len() >= self.lines());
        assert!(out.len() >= self.targets * BLOCK);
        out.fill(0.0);
        let groups = rows.div_ceil(GROUP);
        let scoring = Scoring {
            merge: self,
            columns,
            groups,
            lines,
            out,
        };
        at(self.level, scoring);
    }

    #[inline(always)]
    fn tables_of(&self, part: &Part) -> &[Table] {
        &self.tables[part.first_table as usize..][..part.tables as usize]
    }

    /// Adds each row's leaf.
    #[inline(always)]
    fn look_up(&self, table: &Table, leaves: &[i8], out: &mut [f32]) {
        let values = &self.values[table.first as usize..][..table.size as usize];
        if let Some(values) = values.first_chunk::<LEAVES>() {
            look_up(values, leaves, out);
        } else if let Some(values) = values.first_chunk::<SOME>() {
            look_up(values, leaves, out);
        } else if let Some(values) = values.first_chunk::<FEW>() {
            look_up(values, leaves, out);
        }
    }

    /// All trees over `N` groups of rows from group `first` on.
    #[inline(always)]
    fn trees<const N: usize>(&self, first: usize, lines: &mut [Line], out: &mut [f32]) {
        let (lines, slots) = lines.split_at_mut(self.bins.lines);
        for part in &self.parts {
            for op in &self.ops[part.first_op as usize..][..part.ops as usize] {
                let line = &lines[usize::from(op.line)].0[first..][..N];
                op.choose::<N>(line.as_flattened(), slots);
            }
            for table in self.tables_of(part) {
                let out = &mut out[table.target as usize * BLOCK + first * GROUP..][..N * GROUP];
                if part.ops == 0 {
                    // A tree of one leaf adds the same to all rows.
                    let value = self.values[table.first as usize];
                    out.iter_mut().for_each(|out| *out += value);
                } else {
                    let leaves = slots[usize::from(part.root)].0[..N].as_flattened();
                    self.look_up(table, leaves, out);
                }
            }
        }
    }
}

impl Op {
    #[inline(always)]
    fn choose<const N: usize>(self, line: &[i8], slots: &mut [Line]) {
        let (to, most) = (usize::from(self.to), self.most);
        match (self.left, self.right) {
            (Side::Leaf(leaf), Side::Leaf(_)) => {
                let to = slots[to].0[..N].as_flattened_mut();
                for (to, line) in to.iter_mut().zip(line) {
                    // The right one is the next one.
                    *to = leaf.wrapping_sub(mask(*line, most)).cast_signed();
                }
            }
            (Side::Leaf(left), Side::Slot(_)) => {
                let to = slots[to].0[..N].as_flattened_mut();
                for (to, line) in to.iter_mut().zip(line) {
                    let right = to.cast_unsigned() & mask(*line, most);
                    *to = right.max(left).cast_signed();
                }
            }
            (Side::Slot(_), Side::Leaf(right)) => {
                let to = slots[to].0[..N].as_flattened_mut();
                for (to, line) in to.iter_mut().zip(line) {
                    let right = right & mask(*line, most);
                    *to = to.cast_unsigned().max(right).cast_signed();
                }
            }
            (Side::Slot(_), Side::Slot(right)) => {
                // Slots were taken from left to right.
                let (lower, upper) = slots.split_at_mut(usize::from(right));
                let right = upper[0].0[..N].as_flattened();
                let to = lower[to].0[..N].as_flattened_mut();
                for ((to, right), line) in to.iter_mut().zip(right).zip(line) {
                    let right = right.cast_unsigned() & mask(*line, most);
                    *to = to.cast_unsigned().max(right).cast_signed();
                }
            }
        }
    }
}

#[inline(always)]
fn mask(byte: i8, most: i8) -> u8 {
    if byte > most { u8::MAX } else { 0 }
}

#[inline(always)]
fn look_up<const S: usize>(values: &[f32; S], leaves: &[i8], out: &mut [f32]) {
    for (out, leaf) in out.iter_mut().zip(leaves) {
        *out += values[usize::from(leaf.cast_unsigned()) % S];
    }
}

struct Scoring<'a, C> {
    merge: &'a Merge,
    columns: &'a C,
    groups: usize,
    lines: &'a mut [Line],
    out: &'a mut [f32],
}

impl<C: Columns> Work for Scoring<'_, C> {
    #[inline(always)]
    fn run(self) {
        for group in 0..self.groups {
            self.merge.bins.fill(self.columns, group, self.lines);
        }
        if self.groups == GROUPS {
            self.merge.trees::<GROUPS>(0, self.lines, self.out);
        } else {
            for group in 0..self.groups {
                self.merge.trees::<1>(group, self.lines, self.out);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Decided {
    node: u32,
    left: Side,
    right: Side,
    to: u8,
    /// The tests below it come before it.
    height: u32,
}

/// A tree as if each way led to nodes of its own.
#[derive(Default)]
struct Spread {
    tests: Vec<Decided>,
    /// A test between leaves takes a new slot, others write where their first side was that is no leaf.
    slots: u8,
    leaves: Vec<(u32, u32)>,
}

impl Spread {
    fn of(tree: &Tree) -> Option<Self> {
        let mut spread = Self::default();
        spread.side(tree, tree.root, LEAVES)?;
        // All that do not wait for each other together, so that the processor need not wait either.
        spread.tests.sort_by_key(|test| test.height);
        Some(spread)
    }

    /// The node, and the tests up to it. Gives up at the first leaf too many, and nests no deeper than that.
    fn side(&mut self, tree: &Tree, node: u32, deeper: usize) -> Option<(Side, u32)> {
        match tree.nodes.get(node as usize)? {
            Node::Leaf { first, count } => {
                let number = u8::try_from(self.leaves.len()).ok()?;
                self.leaves.push((*first, *count));
                Some((Side::Leaf(number), 0))
            }
            Node::Branch(branch) => {
                let deeper = deeper.checked_sub(1)?;
                let (left, left_height) = self.side(tree, branch.left, deeper)?;
                let (right, right_height) = self.side(tree, branch.right, deeper)?;
                let to = match (left, right) {
                    (Side::Slot(to), _) | (_, Side::Slot(to)) => to,
                    (Side::Leaf(_), Side::Leaf(_)) => {
                        self.slots += 1;
                        self.slots - 1
                    }
                };
                let height = left_height.max(right_height) + 1;
                self.tests.push(Decided {
                    node,
                    left,
                    right,
                    to,
                    height,
                });
                Some((Side::Slot(to), height))
            }
        }
    }
}
