//! What happens to numbers between the sums: scaling, filling gaps, turning scores into probabilities.

use crate::kernel::level::{Work, at};
use crate::kernel::{BLOCK, Level};
use crate::math::{exp, logistic, probit, sigmoid};
use crate::read::to_int64;

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
    /// 1 above the value, else 0; the others likewise.
    IsAbove(f32),
    IsAtLeast(f32),
    IsBelow(f32),
    IsAtMost(f32),
    IsEqual(f32),
    /// What is no number counts.
    IsNotZero,
    Clip {
        least: f32,
        most: f32,
    },
    /// The whole number that an integer of so many bits would be.
    Whole(u32),
    /// One of two where there is a zero, the other where not.
    Choose {
        zero: f32,
        other: f32,
    },
    Power(f32),
    /// As ONNX Runtime has it.
    Logistic,
    /// As LightGBM and XGBoost have it.
    Sigmoid,
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
    NormMax,
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

#[inline(always)]
fn truth(holds: bool) -> f32 {
    f32::from(u8::from(holds))
}

/// As processors of the x86 family cut numbers down, whose answers are ONNX Runtime's; short integers by way of 32
/// bits.
fn whole(x: f32, bits: u32) -> f32 {
    let wide = to_int64(f64::from(x));
    let int = i32::try_from(wide).unwrap_or(i32::MIN);
    match bits {
        64 => wide as f32,
        32 => int as f32,
        16 => f32::from(int as i16),
        _ => f32::from(int as i8),
    }
}

impl Change {
    /// What becomes of one number.
    pub(crate) fn of(self, x: f32) -> f32 {
        let mut values = [x];
        self.apply(&mut values);
        values[0]
    }

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
            Self::IsAbove(than) => values.iter_mut().for_each(|x| *x = truth(*x > than)),
            Self::IsAtLeast(than) => values.iter_mut().for_each(|x| *x = truth(*x >= than)),
            Self::IsBelow(than) => values.iter_mut().for_each(|x| *x = truth(*x < than)),
            Self::IsAtMost(than) => values.iter_mut().for_each(|x| *x = truth(*x <= than)),
            Self::IsEqual(to) => values.iter_mut().for_each(|x| *x = truth(*x == to)),
            Self::IsNotZero => values.iter_mut().for_each(|x| *x = truth(*x != 0.0)),
            Self::Clip { least, most } => values.iter_mut().for_each(|x| {
                *x = if *x < least { least } else { *x };
                *x = if *x > most { most } else { *x };
            }),
            Self::Choose { zero, other } => {
                let choose = |x: &mut f32| *x = if *x == 0.0 { zero } else { other };
                values.iter_mut().for_each(choose);
            }
            Self::Whole(bits) => each(&|x| whole(x, bits)),
            Self::Power(of) => each(&|x| x.powf(of)),
            Self::Logistic => values.iter_mut().for_each(|x| *x = logistic(*x)),
            Self::Sigmoid => values.iter_mut().for_each(|x| *x = sigmoid(*x)),
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
            Self::NormMax => {
                // The largest, not the furthest from zero, as ONNX Runtime has it.
                total.fill(f32::MIN);
                for column in values.chunks_exact(BLOCK) {
                    for (total, x) in total[..rows].iter_mut().zip(column) {
                        *total = if *x > *total { *x } else { *total };
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
        let norm = !matches!(self, Self::Softmax | Self::SoftmaxZero);
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
