//! Bounds of a column's values, and what is left of them when the values are read and changed.

use crate::changes::Change;
use crate::read::{Reading, Rounding, Wide};

/// The values that a column may have: `low <= x <= high`, and NaN where `nan` says so. Bounds of wider types are
/// rounded to the nearest float, as the values are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub low: f32,
    pub high: f32,
    pub nan: bool,
}

impl Known {
    /// Any value at all.
    pub const NOTHING: Self = Self {
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
        nan: true,
    };

    /// From `low` to `high`, both of them included; no NaN.
    pub fn between(low: f32, high: f32) -> Self {
        Self {
            low,
            high,
            nan: false,
        }
    }

    /// The one value, NaN too.
    pub(crate) fn exactly(value: f32) -> Self {
        match value.is_nan() {
            true => Self {
                low: f32::INFINITY,
                high: f32::NEG_INFINITY,
                nan: true,
            },
            false => Self::between(value, value),
        }
    }

    /// What is either.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            nan: self.nan || other.nan,
        }
    }

    /// A bound that is NaN bounds nothing.
    pub(crate) fn cleaned(self) -> Self {
        let or = |bound: f32, other| if bound.is_nan() { other } else { bound };
        Self {
            low: or(self.low, f32::NEG_INFINITY),
            high: or(self.high, f32::INFINITY),
            nan: self.nan,
        }
    }

    fn with(self, value: f32) -> Self {
        Self {
            low: self.low.min(value),
            high: self.high.max(value),
            nan: self.nan,
        }
    }

    /// After a change that keeps the order of numbers, or turns it around: rounding keeps it too.
    fn mapped(self, change: impl Fn(f32) -> f32) -> Self {
        let [one, other] = [self.low, self.high].map(change);
        if one.is_nan() || other.is_nan() {
            return Self::NOTHING;
        }
        Self {
            low: one.min(other),
            high: one.max(other),
            nan: self.nan,
        }
    }

    pub(crate) fn after(self, change: Change) -> Self {
        match change {
            Change::Add(by) if by.is_finite() => self.mapped(|x| x + by),
            Change::Subtract(by) if by.is_finite() => self.mapped(|x| x - by),
            Change::SubtractFrom(from) if from.is_finite() => self.mapped(|x| from - x),
            Change::Multiply(by) if by.is_finite() && by != 0.0 => self.mapped(|x| x * by),
            Change::Divide(by) if by.is_finite() && by != 0.0 => self.mapped(|x| x / by),
            Change::Negate => self.mapped(|x| -x),
            Change::Impute { value, .. } if value.is_nan() => Self::NOTHING,
            Change::Impute { missing, value } if missing.is_nan() => Self {
                nan: false,
                ..if self.nan { self.with(value) } else { self }
            },
            Change::Impute { value, .. } => self.with(value),
            Change::Clip { least, most } => self.mapped(|x| x.max(least).min(most)),
            Change::IsAbove(_)
            | Change::IsAtLeast(_)
            | Change::IsBelow(_)
            | Change::IsAtMost(_)
            | Change::IsEqual(_)
            | Change::IsNotZero => Self::between(0.0, 1.0),
            Change::Choose { zero, other } => match zero.is_nan() || other.is_nan() {
                true => Self::NOTHING,
                false => Self::between(zero.min(other), zero.max(other)),
            },
            Change::Add(_)
            | Change::Subtract(_)
            | Change::SubtractFrom(_)
            | Change::Multiply(_)
            | Change::Divide(_)
            | Change::DivideInto(_)
            | Change::Whole(_)
            | Change::Power(_)
            | Change::Logistic
            | Change::Sigmoid
            | Change::Probit
            | Change::Exp
            | Change::Log
            | Change::Sqrt
            | Change::Abs => Self::NOTHING,
        }
    }

    /// What a reading makes of values of which the nearest floats are within the bounds.
    pub(crate) fn read(self, reading: &Reading) -> Self {
        let Reading { changes, rounding } = reading;
        if changes.is_empty() && *rounding == Rounding::Nearest {
            return self;
        }
        let Some((ends, nan)) = self.wide(changes) else {
            return Self::NOTHING;
        };
        let [one, other] = ends.map(|end| rounding.of(end));
        match one.is_nan() || other.is_nan() {
            true => Self::NOTHING,
            false => Self {
                low: one.min(other),
                high: one.max(other),
                nan,
            },
        }
    }

    /// The ends between which doubles of which the nearest floats are within the bounds are after changes, in either
    /// order, and whether there is NaN among them; nothing where nothing is known.
    pub(crate) fn wide(self, changes: &[Wide]) -> Option<([f64; 2], bool)> {
        let mut ends = [self.low.next_down(), self.high.next_up()].map(f64::from);
        let mut nan = self.nan;
        for change in changes {
            match *change {
                Wide::Add(by) | Wide::Subtract(by) | Wide::SubtractFrom(by) if by.is_finite() => {}
                Wide::Multiply(by) | Wide::Divide(by) if by.is_finite() && by != 0.0 => {}
                Wide::Clip { .. } => {}
                Wide::IsBelow(_)
                | Wide::IsAtMost(_)
                | Wide::IsAbove(_)
                | Wide::IsAtLeast(_)
                | Wide::IsEqual(_) => {
                    (ends, nan) = ([0.0, 1.0], false);
                    continue;
                }
                Wide::Add(_)
                | Wide::Subtract(_)
                | Wide::SubtractFrom(_)
                | Wide::Multiply(_)
                | Wide::Divide(_)
                | Wide::DivideInto(_)
                | Wide::Whole => return None,
            }
            change.run(&mut ends);
        }
        Some((ends, nan)).filter(|_| !ends.iter().any(|end| end.is_nan()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    /// Whatever double is within the bounds, what is read of it is within what is known then.
    #[test]
    fn bounds_of_doubles_are_those_of_what_is_read() {
        let chains: [&[Wide]; 6] = [
            &[],
            &[Wide::Subtract(1e9), Wide::Multiply(-3.0)],
            &[Wide::SubtractFrom(0.1), Wide::Divide(1e-3)],
            &[
                Wide::Clip {
                    least: -0.3,
                    most: 1e9,
                },
                Wide::Add(0.7),
            ],
            &[Wide::IsAtMost(1e9), Wide::Subtract(0.5)],
            &[Wide::Add(2.0), Wide::DivideInto(1.0)],
        ];
        let centres: [f64; 8] = [0.0, 0.1, -0.3, 1e9, 1e9 + 0.25, -1e9 - 31.0, 1e-50, 1e30];
        for changes in chains {
            for rounding in [Rounding::Nearest, Rounding::Up, Rounding::Down] {
                for (low, high) in centres
                    .iter()
                    .flat_map(|low| centres.map(|high| (*low, high)))
                {
                    let changes = changes.to_vec();
                    let reading = Reading { changes, rounding };
                    let known = Known::between(low as f32, high as f32).read(&reading);
                    let inside = [
                        low,
                        low.next_up(),
                        (low + high) / 2.0,
                        high.next_down(),
                        high,
                    ];
                    let inside = inside.map(|x| if low <= high { x.clamp(low, high) } else { low });
                    let mut read = [0.0; 5];
                    assert!(reading.run(&Column::from(&inside[..]), &mut read));
                    let within = |x: &f32| known.low <= *x && *x <= known.high;
                    let empty = low > high;
                    assert!(
                        empty || read.iter().all(within),
                        "{reading:?} {known:?} {read:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_bound_goes_through_what_keeps_the_order() {
        let known = Known::between(-1.0, 3.0);
        let after = |changes: &[Change]| changes.iter().fold(known, |known, by| known.after(*by));
        let scaled = [Change::Subtract(1.0), Change::Multiply(-2.0)];
        assert_eq!(after(&scaled), Known::between(-4.0, 4.0));
        let divided = [Change::Add(1.0), Change::Divide(0.5), Change::Negate];
        assert_eq!(after(&divided), Known::between(-8.0, 0.0));
        assert_eq!(after(&[Change::Multiply(0.0)]), Known::NOTHING);
        assert_eq!(after(&[Change::Add(f32::NAN)]), Known::NOTHING);
        let impute = |missing, value| Change::Impute { missing, value };
        assert_eq!(after(&[impute(f32::NAN, 9.0)]), known);
        assert_eq!(after(&[impute(0.0, 9.0)]), Known::between(-1.0, 9.0));
        let gaps = Known { nan: true, ..known };
        let filled = gaps.after(impute(f32::NAN, 9.0));
        assert_eq!(filled, Known::between(-1.0, 9.0));
        let clip = Change::Clip {
            least: 0.0,
            most: 2.0,
        };
        assert_eq!(after(&[clip]), Known::between(0.0, 2.0));
        let choose = Change::Choose {
            zero: 5.0,
            other: -5.0,
        };
        assert_eq!(after(&[choose]), Known::between(-5.0, 5.0));
        let bounds = Known::between(f32::NAN, f32::NAN).cleaned();
        assert_eq!(bounds, Known::between(f32::NEG_INFINITY, f32::INFINITY));
    }
}
