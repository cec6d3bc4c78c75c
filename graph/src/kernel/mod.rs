//! The loops that score, each over blocks of at most [`BLOCK`] rows whose features lie in columns. Which one a model
//! gets is chosen at load: byte planes or byte merges where no tree has many leaves, two-way nodes for large trees, and
//! a walk that can do all.

mod bins;
pub(crate) mod level;
pub(crate) mod linear;
mod merge;
#[cfg(target_arch = "x86_64")]
mod planes;
#[cfg(target_arch = "x86_64")]
mod planes_x86;
mod routes;
mod sets;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod two_way;
mod walk;

use self::merge::Merge;
#[cfg(target_arch = "x86_64")]
use self::planes::Planes;
use self::two_way::TwoWay;
use self::walk::Walk;
use crate::trees::Ensemble;

/// The rows of a block; a multiple of every kernel's stride.
pub(crate) const BLOCK: usize = 256;

/// Columns of one block, by the place of their feature; all of one length, at most [`BLOCK`].
pub(crate) trait Columns {
    fn column(&self, feature: usize) -> &[f32];
}

/// Rows whose bytes fill a vector register.
pub(crate) const GROUP: usize = 64;

/// A byte for each row of a block, group by group, lying as vector registers like it.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Line(pub [[i8; GROUP]; BLOCK / GROUP]);

/// What the kernels of a model need to write to while they run; one for each thread.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub lines: Vec<Line>,
    pub floats: Vec<f32>,
}

impl Buffers {
    /// Makes room for `kernel` too.
    pub(crate) fn fit(&mut self, kernel: &TreeKernel) {
        let (lines, floats) = match kernel {
            #[cfg(target_arch = "x86_64")]
            TreeKernel::Planes(planes) => (planes.lines(), 0),
            TreeKernel::Merge(merge) => (merge.lines(), 0),
            TreeKernel::TwoWay(nodes) => (0, nodes.floats()),
            TreeKernel::Walk(walk) => (0, walk.floats()),
        };
        self.lines.resize(
            lines.max(self.lines.len()),
            Line([[0; GROUP]; BLOCK / GROUP]),
        );
        self.floats.resize(floats.max(self.floats.len()), 0.0);
    }
}

/// The instructions that a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the build's target has.
    Portable,
    Avx2,
    Avx512,
}

impl Level {
    /// The best that this processor has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("fma")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// An ensemble made ready for one of the kernels.
#[derive(Debug)]
pub(crate) enum TreeKernel {
    #[cfg(target_arch = "x86_64")]
    Planes(Box<Planes>),
    Merge(Box<Merge>),
    TwoWay(Box<TwoWay>),
    Walk(Box<Walk>),
}

impl TreeKernel {
    /// The fastest kernel that can do this ensemble.
    pub(crate) fn new(ensemble: &Ensemble, level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(planes) = Planes::new(ensemble, level) {
            return Self::Planes(Box::new(planes));
        }
        if let Some(merge) = Merge::new(ensemble, level) {
            return Self::Merge(Box::new(merge));
        }
        if let Some(nodes) = TwoWay::new(ensemble) {
            return Self::TwoWay(Box::new(nodes));
        }
        Self::Walk(Box::new(Walk::new(ensemble)))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Planes(planes) => planes.name(),
            Self::Merge(merge) => merge.name(),
            Self::TwoWay(_) => "two-way nodes",
            Self::Walk(_) => "walk",
        }
    }

    /// The folded weights of each row: `out` has [`BLOCK`] places for each target, of which the first `rows` are
    /// wanted.
    pub(crate) fn run(
        &self,
        columns: &impl Columns,
        rows: usize,
        buffers: &mut Buffers,
        out: &mut [f32],
    ) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Planes(planes) => planes.run(columns, rows, &mut buffers.lines, out),
            Self::Merge(merge) => merge.run(columns, rows, &mut buffers.lines, out),
            Self::TwoWay(nodes) => nodes.run(columns, rows, &mut buffers.floats, out),
            Self::Walk(walk) => walk.run(columns, rows, &mut buffers.floats, out),
        }
    }
}
