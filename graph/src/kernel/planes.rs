//! Trees of at most 64 leaves without walking them, after QuickScorer: a tree is a set of bits, one for each leaf, and
//! every test that fails takes the leaves of its left side out; the first bit that stays is the leaf. The bits lie in
//! planes of eight leaves, so that one byte of each of many rows goes through a plane's tests side by side, and a plane
//! sees only the tests that touch it. The time is the same whatever the rows hold.

use super::bins::{Bins, SIXTEEN};
use super::{BLOCK, Columns, GROUP, Level, Line};
use crate::trees::{Ensemble, Node, Tree};

/// The most leaves of a tree.
const LEAVES: usize = 64;

/// Where the row's byte of `line` is above `most`, the leaves of `gone` are out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub line: u16,
    pub most: i8,
    pub gone: u8,
}

/// A tree: its planes' cuts lie one plane after the other, its tables one target after the other.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The first of its plane ends in `ends`.
    pub first_plane: u32,
    pub planes: u32,
    pub first_out: u32,
    pub outs: u32,
    /// The first of its tables' sixteens.
    pub first_sixteen: u32,
    pub leaves: u32,
}

/// What each of 16 leaves of a tree adds to one target.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Floats(pub [f32; SIXTEEN]);

/// The four bytes of the floats of 16 leaves, byte by byte.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Bytes(pub [[u8; SIXTEEN]; 4]);

/// Every `line` is one of `bins`, and every target is below `targets`.
#[derive(Debug)]
pub(crate) struct Planes {
    pub(super) bins: Bins,
    pub(super) parts: Vec<Part>,
    /// By plane: where its cuts end in `cuts`; they begin where those of the plane before end.
    pub(super) ends: Vec<u32>,
    pub(super) cuts: Vec<Cut>,
    /// With AVX-512, as many for each table as have leaves; with AVX2 there are `bytes` instead.
    pub(super) floats: Vec<Floats>,
    pub(super) bytes: Vec<Bytes>,
    /// By table: the target that it adds to.
    pub(super) table_targets: Vec<u32>,
    pub(super) targets: usize,
    level: Level,
}

impl Planes {
    /// Nothing where a tree has too many leaves or a test is more than one comparison, nor without vector instructions
    /// for it: what compilers make of the same loops is slower than walking.
    pub(super) fn new(ensemble: &Ensemble, level: Level) -> Option<Self> {
        let level = level.min(Level::detect());
        if level == Level::Portable || ensemble.most_leaves() > LEAVES {
            return None;
        }
        let mut made = Self {
            bins: Bins::of(ensemble)?,
            parts: Vec::with_capacity(ensemble.count()),
            ends: vec![0],
            cuts: Vec::new(),
            floats: Vec::new(),
            bytes: Vec::new(),
            table_targets: Vec::new(),
            targets: ensemble.targets,
            level,
        };
        made.make_room(ensemble)?;
        for tree in ensemble.trees() {
            made.add(&tree)?;
        }
        made.ends.shrink_to_fit();
        made.table_targets.shrink_to_fit();
        Some(made)
    }

    /// For the cuts and tables of all trees: lists that grow hold twice as much at times.
    fn make_room(&mut self, ensemble: &Ensemble) -> Option<()> {
        let (mut cuts, mut sixteens) = (0, 0);
        for tree in ensemble.trees() {
            let spread = Spread::of(&tree)?;
            let planes = |(_, first, end): &(u32, usize, usize)| (end - 1) / 8 - first / 8 + 1;
            cuts += spread.lefts.iter().map(planes).sum::<usize>();
            sixteens += spread.leaves.len().div_ceil(SIXTEEN) * tree.targets().len();
        }
        self.cuts.reserve_exact(cuts);
        match self.level {
            Level::Avx512 => self.floats.reserve_exact(sixteens),
            Level::Avx2 | Level::Portable => self.bytes.reserve_exact(sixteens),
        }
        Some(())
    }

    fn add(&mut self, tree: &Tree) -> Option<()> {
        let spread = Spread::of(tree)?;
        let planes = spread.leaves.len().div_ceil(8);
        let first_plane = self.ends.len() as u32 - 1;
        for plane in 0..planes {
            for (branch, first, end) in &spread.lefts {
                let gone = (8 * plane..8 * plane + 8)
                    .filter(|leaf| (first..end).contains(&leaf))
                    .fold(0_u8, |gone, leaf| gone | 1 << (leaf - 8 * plane));
                if gone != 0 {
                    let Node::Branch(branch) = tree.nodes[*branch as usize] else {
                        return None;
                    };
                    let (line, most) =
                        self.bins
                            .place(branch.feature, branch.upto + 0.0, branch.nan_left)?;
                    self.cuts.push(Cut {
                        line: line as u16,
                        most,
                        gone,
                    });
                }
            }
            self.ends.push(self.cuts.len() as u32);
        }
        let first_out = self.table_targets.len();
        let first_sixteen = self.floats.len().max(self.bytes.len());
        for target in tree.targets() {
            self.table(tree, &spread.leaves, target);
        }
        self.parts.push(Part {
            first_plane,
            planes: planes as u32,
            first_out: first_out as u32,
            outs: (self.table_targets.len() - first_out) as u32,
            first_sixteen: first_sixteen as u32,
            leaves: spread.leaves.len() as u32,
        });
        Some(())
    }

    fn table(&mut self, tree: &Tree, spread: &[(u32, u32)], target: u32) {
        let mut leaves = [0.0; LEAVES];
        for (to, (first, count)) in leaves.iter_mut().zip(spread) {
            let mut weights = tree.leaf(*first, *count).iter();
            let weight = weights.find(|(of, _)| *of == target);
            *to = weight.map_or(0.0, |(_, weight)| *weight);
        }
        self.table_targets.push(target);
        let (sixteens, _) = leaves.as_chunks::<SIXTEEN>();
        let sixteens = &sixteens[..spread.len().div_ceil(SIXTEEN)];
        if self.level == Level::Avx512 {
            self.floats.extend(sixteens.iter().copied().map(Floats));
            return;
        }
        for values in sixteens {
            let byte = |byte: usize, leaf: usize| values[leaf].to_le_bytes()[byte];
            let bytes = std::array::from_fn(|of| std::array::from_fn(|leaf| byte(of, leaf)));
            self.bytes.push(Bytes(bytes));
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.level {
            Level::Avx512 => "byte planes (AVX-512)",
            Level::Avx2 | Level::Portable => "byte planes (AVX2)",
        }
    }

    pub(super) fn lines(&self) -> usize {
        self.bins.lines
    }

    pub(super) fn run(
        &self,
        columns: &impl Columns,
        rows: usize,
        lines: &mut [Line],
        out: &mut [f32],
    ) {
        assert!(rows <= BLOCK && lines.len() >= self.bins.lines);
        assert!(out.len() >= self.targets * BLOCK);
        out.fill(0.0);
        let groups = rows.div_ceil(GROUP);
        if self.level == Level::Avx512 {
            // SAFETY: `new` let no level through that this processor has not.
            unsafe { super::planes_x86::avx512(self, columns, groups, lines, out) };
        } else {
            // SAFETY: as above.
            unsafe { super::planes_x86::avx2(self, columns, groups, lines, out) };
        }
    }

    /// The cuts of each plane of a tree, the last plane first.
    #[inline(always)]
    pub(super) fn planes_of(&self, part: &Part) -> impl Iterator<Item = (usize, &[Cut])> {
        let ends = &self.ends[part.first_plane as usize..][..=part.planes as usize];
        (0..part.planes as usize).rev().map(|plane| {
            (
                plane,
                &self.cuts[ends[plane] as usize..ends[plane + 1] as usize],
            )
        })
    }

    /// The targets that a tree adds to, with the sixteens of each one's table, which are `floats` or `bytes`.
    #[inline(always)]
    pub(super) fn tables_of<'a, T>(
        &'a self,
        part: &Part,
        sixteens: &'a [T],
    ) -> impl Iterator<Item = (&'a [T], usize)> {
        let targets = &self.table_targets[part.first_out as usize..][..part.outs as usize];
        let count = (part.leaves as usize).div_ceil(SIXTEEN);
        let first = part.first_sixteen as usize;
        let tables = sixteens[first..].chunks_exact(count.max(1));
        tables.zip(targets.iter().map(|target| *target as usize))
    }
}

/// A tree's leaves from left to right, and for each branch those of its left side.
#[derive(Default)]
struct Spread {
    leaves: Vec<(u32, u32)>,
    /// (branch, its first left leaf, the one after its last)
    lefts: Vec<(u32, usize, usize)>,
}

impl Spread {
    fn of(tree: &Tree) -> Option<Self> {
        let mut spread = Self::default();
        spread.node(tree, tree.root)?;
        Some(spread)
    }

    /// Gives up at the first leaf too many, so it nests no deeper than it has leaves.
    fn node(&mut self, tree: &Tree, node: u32) -> Option<()> {
        match tree.nodes.get(node as usize)? {
            Node::Leaf { first, count } => {
                self.leaves.push((*first, *count));
                (self.leaves.len() <= LEAVES).then_some(())
            }
            Node::Branch(branch) => {
                if self.lefts.len() >= LEAVES {
                    return None;
                }
                let first = self.leaves.len();
                let place = self.lefts.len();
                self.lefts.push((node, first, first));
                self.node(tree, branch.left)?;
                self.lefts[place].2 = self.leaves.len();
                self.node(tree, branch.right)
            }
        }
    }
}
