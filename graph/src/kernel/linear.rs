//! Weighted sums of columns, read where they lie: some columns at a time, so that a block's sums are seldom loaded and
//! stored.

use super::level::{Work, at};
use super::{BLOCK, Columns, Level};

/// Columns that are added in one go.
const TOGETHER: usize = 4;

/// For each target a weighted sum of the columns and a constant.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// By target, then by column.
    pub weights: Vec<f32>,
    pub constants: Vec<f32>,
    pub width: usize,
}

struct Sums<'a, C, const FUSED: bool> {
    linear: &'a Linear,
    columns: &'a C,
    rows: usize,
    out: &'a mut [f32],
}

impl Linear {
    /// The sums of each row: `out` has [`BLOCK`] places for each target, of which the first `rows` are wanted.
    pub(crate) fn run(&self, level: Level, columns: &impl Columns, rows: usize, out: &mut [f32]) {
        let linear = self;
        if level == Level::Portable {
            // Without the instruction a fused product is a call.
            Sums::<_, false> {
                linear,
                columns,
                rows,
                out,
            }
            .run();
        } else {
            let sums = Sums::<_, true> {
                linear,
                columns,
                rows,
                out,
            };
            at(level, sums);
        }
    }
}

#[inline(always)]
fn add<const FUSED: bool>(sum: f32, weight: f32, x: f32) -> f32 {
    match FUSED {
        true => weight.mul_add(x, sum),
        false => sum + weight * x,
    }
}

impl<C: Columns, const FUSED: bool> Work for Sums<'_, C, FUSED> {
    #[inline(always)]
    fn run(self) {
        let Self {
            linear,
            columns,
            rows,
            out,
        } = self;
        let targets = out.chunks_exact_mut(BLOCK).zip(&linear.constants);
        let weights = linear.weights.chunks_exact(linear.width.max(1));
        for ((out, constant), weights) in targets.zip(weights) {
            let out = &mut out[..rows];
            let (fours, rest) = weights.as_chunks::<TOGETHER>();
            for (place, weights) in fours.iter().enumerate() {
                let column = |number: usize| &columns.column(TOGETHER * place + number)[..rows];
                let [a, b, c, d] = [column(0), column(1), column(2), column(3)];
                let begin = place == 0;
                for row in 0..rows {
                    let sum = if begin { 0.0 } else { out[row] };
                    let sum = add::<FUSED>(sum, weights[0], a[row]);
                    let sum = add::<FUSED>(sum, weights[1], b[row]);
                    let sum = add::<FUSED>(sum, weights[2], c[row]);
                    out[row] = add::<FUSED>(sum, weights[3], d[row]);
                }
            }
            if fours.is_empty() {
                out.fill(0.0);
            }
            let first = fours.len() * TOGETHER;
            for (place, weight) in rest.iter().enumerate() {
                let column = &columns.column(first + place)[..rows];
                for (sum, x) in out.iter_mut().zip(column) {
                    *sum = add::<FUSED>(*sum, *weight, *x);
                }
            }
            out.iter_mut().for_each(|sum| *sum += constant);
        }
    }
}
