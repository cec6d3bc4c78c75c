//! What happens to numbers between the sums: scaling, filling gaps, turning scores into probabilities.

use crate::kernel::level::{Work, at};
use crate::kernel::{BLOCK, Level};
use crate::math::{exp, logistic, probit};

/// What happens to one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Add(f32),
    Subtract(f32),
    Multiply(f32),
    Divide(f32),
    SubtractFrom(f32),
    DivideInto(f32),
    /// `value` for `missing`, which may be NaN.
    Impute {
        missing: f32,
        value: f32,
    },
    /// 1 above the value, else 0.
    IsAbove(f32),
    Logistic,
    Probit,
    Exp,
    Log,
    Sqrt,
    Abs,
    Negate,
}

/// What happens to the numbers of a row together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Across {
    Softmax,
    /// Zeros stay what they are.
    SoftmaxZero,
    NormL1,
    NormL2,
}

struct Changing<'a> {
    change: Change,
    values: &'a mut [f32],
}

impl Work for Changing<'_> {
    #[inline(always)]
    fn run(self) {
        self.change.apply(self.values);
    }
}

/// `values` has [`BLOCK`] numbers for each number of a row.
struct Crossing<'a> {
    across: Across,
    values: &'a mut [f32],
    rows: usize,
}

impl Work for Crossing<'_> {
    #[inline(always)]
    fn run(self) {
        self.across.apply(self.values, self.rows);
    }
}

impl Change {
    pub(crate) fn run(self, level: Level, values: &mut [f32]) {
        let change = self;
        at(level, Changing { change, values });
    }

    #[inline(always)]
    fn apply(self, values: &mut [f32]) {
        let mut each = |change: &dyn Fn(f32) -> f32| {
            for value in values.iter_mut() {
                *value = change(*value);
            }
        };
        match self {
            Self::Add(by) => values.iter_mut().for_each(|x| *x += by),
            Self::Subtract(by) => values.iter_mut().for_each(|x| *x -= by),
            Self::Multiply(by) => values.iter_mut().for_each(|x| *x *= by),
            Self::Divide(by) => values.iter_mut().for_each(|x| *x /= by),
            Self::SubtractFrom(from) => values.iter_mut().for_each(|x| *x = from - *x),
            Self::DivideInto(into) => values.iter_mut().for_each(|x| *x = into / *x),
            Self::Impute { missing, value } if missing.is_nan() => {
                let fill = |x: &mut f32| *x = if x.is_nan() { value } else { *x };
                values.iter_mut().for_each(fill);
            }
            Self::Impute { missing, value } => {
                let fill = |x: &mut f32| *x = if *x == missing { value } else { *x };
                values.iter_mut().for_each(fill);
            }
            Self::IsAbove(least) => {
                let set = |x: &mut f32| *x = f32::from(u8::from(*x > least));
                values.iter_mut().for_each(set);
            }
            Self::Logistic => values.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::Exp => values.iter_mut().for_each(|x| *x = exp(*x)),
            Self::Abs => values.iter_mut().for_each(|x| *x = x.abs()),
            Self::Negate => values.iter_mut().for_each(|x| *x = -*x),
            Self::Probit => each(&probit),
            Self::Log => each(&f32::ln),
            Self::Sqrt => each(&f32::sqrt),
        }
    }
}

impl Across {
    /// `values` has [`BLOCK`] numbers for each number of a row.
    pub(crate) fn run(self, level: Level, values: &mut [f32], rows: usize) {
        let across = self;
        at(
            level,
            Crossing {
                across,
                values,
                rows,
            },
        );
    }

    #[inline(always)]
    fn apply(self, values: &mut [f32], rows: usize) {
        let mut peak = [f32::MIN; BLOCK];
        let mut total = [0.0_f32; BLOCK];
        let columns = 0..values.len() / BLOCK;
        match self {
            Self::Softmax | Self::SoftmaxZero => {
                for column in values.chunks_exact(BLOCK) {
                    for (peak, x) in peak[..rows].iter_mut().zip(column) {
                        *peak = if *x > *peak { *x } else { *peak };
                    }
                }
                for column in columns.clone() {
                    let column = &mut values[column * BLOCK..][..rows];
                    for ((x, peak), total) in column.iter_mut().zip(&peak).zip(&mut total) {
                        let keep = self == Self::SoftmaxZero && x.abs() <= 1e-7;
                        let power = exp(*x - *peak);
                        *total += if keep { 0.0 } else { power };
                        *x = if keep { *x * exp(-*peak) } else { power };
                    }
                }
            }
            Self::NormL1 => {
                for column in values.chunks_exact(BLOCK) {
                    for (total, x) in total[..rows].iter_mut().zip(column) {
                        *total += x.abs();
                    }
                }
            }
            Self::NormL2 => {
                for column in values.chunks_exact(BLOCK) {
                    for (total, x) in total[..rows].iter_mut().zip(column) {
                        *total += x * x;
                    }
                }
                total.iter_mut().for_each(|total| *total = total.sqrt());
            }
        }
        let norm = matches!(self, Self::NormL1 | Self::NormL2);
        for column in columns {
            let column = &mut values[column * BLOCK..][..rows];
            for (x, total) in column.iter_mut().zip(&total) {
                *x = if norm && *total == 0.0 {
                    *x
                } else {
                    *x / *total
                };
            }
        }
    }
}
