//! Weighted sums of columns, read where they lie.

use super::{BLOCK, Columns, Level};

/// For each target a weighted sum of the columns and a constant.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// By target, then by column.
    pub weights: Vec<f32>,
    pub constants: Vec<f32>,
    pub width: usize,
}

impl Linear {
    /// The sums of each row: `out` has [`BLOCK`] places for each target, of which the first `rows` are wanted.
    pub(crate) fn run(&self, level: Level, columns: &impl Columns, rows: usize, out: &mut [f32]) {
        match level {
            // SAFETY: a level is what `Level::detect` found, or less.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.avx512(columns, rows, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.avx2(columns, rows, out) },
            _ => self.sums(columns, rows, out, |sum, weight, x| sum + weight * x),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vl,fma")]
    fn avx512(&self, columns: &impl Columns, rows: usize, out: &mut [f32]) {
        self.sums(columns, rows, out, |sum, weight, x| weight.mul_add(x, sum));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, columns: &impl Columns, rows: usize, out: &mut [f32]) {
        self.sums(columns, rows, out, |sum, weight, x| weight.mul_add(x, sum));
    }

    /// Compiled with the instructions of the function it is called by.
    #[inline(always)]
    fn sums(
        &self,
        columns: &impl Columns,
        rows: usize,
        out: &mut [f32],
        add: impl Fn(f32, f32, f32) -> f32 + Copy,
    ) {
        let targets = out.chunks_exact_mut(BLOCK).zip(&self.constants);
        for ((out, constant), weights) in targets.zip(self.weights.chunks_exact(self.width.max(1)))
        {
            for first in (0..rows).step_by(64) {
                let here = (rows - first).min(64);
                let mut sums = [0.0_f32; 64];
                for (number, weight) in weights.iter().enumerate() {
                    let column = &columns.column(number)[first..first + here];
                    match <&[f32; 64]>::try_from(column) {
                        Ok(column) => {
                            for (sum, x) in sums.iter_mut().zip(column) {
                                *sum = add(*sum, *weight, *x);
                            }
                        }
                        Err(_) => {
                            for (sum, x) in sums.iter_mut().zip(column) {
                                *sum = add(*sum, *weight, *x);
                            }
                        }
                    }
                }
                for (out, sum) in out[first..].iter_mut().zip(sums) {
                    *out = sum + constant;
                }
            }
        }
    }
}
