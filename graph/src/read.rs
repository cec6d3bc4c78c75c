//! Columns that hold no 32-bit floats, read as such. What a graph does to doubles before they meet a model is done to
//! doubles.

use crate::column::{Column, Values, fill};
use crate::kernel::BLOCK;

/// What happens to one double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wide {
    Add(f64),
    Subtract(f64),
    Multiply(f64),
    Divide(f64),
    SubtractFrom(f64),
    DivideInto(f64),
    Clip {
        least: f64,
        most: f64,
    },
    IsBelow(f64),
    IsAtMost(f64),
    IsAbove(f64),
    IsAtLeast(f64),
    IsEqual(f64),
    /// The whole number that a 64-bit one would be.
    Whole,
}

/// Which float stands for a double that lies between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    /// For tests of `x <= a` and `x > a` with a float `a`, which then answer as for the double.
    Up,
    /// For tests of `x < a` and `x >= a`.
    Down,
}

/// How a column becomes floats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub changes: Vec<Wide>,
    pub rounding: Rounding,
}

/// As processors of the x86 family have it, whose answers are ONNX Runtime's: what is no such number is the least.
#[inline(always)]
pub(crate) fn to_int64(x: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if (-END..END).contains(&x) {
        x as i64
    } else {
        i64::MIN
    }
}

fn up(x: f64) -> f32 {
    let near = x as f32;
    match f64::from(near) < x {
        true => near.next_up(),
        false => near,
    }
}

fn down(x: f64) -> f32 {
    let near = x as f32;
    match f64::from(near) > x {
        true => near.next_down(),
        false => near,
    }
}

impl Rounding {
    pub(crate) fn of(self, x: f64) -> f32 {
        match self {
            Self::Nearest => x as f32,
            Self::Up => up(x),
            Self::Down => down(x),
        }
    }
}

impl Wide {
    pub(crate) fn run(self, values: &mut [f64]) {
        let truth = |holds: bool| f64::from(u8::from(holds));
        let each = values.iter_mut();
        match self {
            Self::Add(by) => each.for_each(|x| *x += by),
            Self::Subtract(by) => each.for_each(|x| *x -= by),
            Self::Multiply(by) => each.for_each(|x| *x *= by),
            Self::Divide(by) => each.for_each(|x| *x /= by),
            Self::SubtractFrom(from) => each.for_each(|x| *x = from - *x),
            Self::DivideInto(into) => each.for_each(|x| *x = into / *x),
            Self::Clip { least, most } => each.for_each(|x| {
                *x = if *x < least { least } else { *x };
                *x = if *x > most { most } else { *x };
            }),
            Self::IsBelow(than) => each.for_each(|x| *x = truth(*x < than)),
            Self::IsAtMost(than) => each.for_each(|x| *x = truth(*x <= than)),
            Self::IsAbove(than) => each.for_each(|x| *x = truth(*x > than)),
            Self::IsAtLeast(than) => each.for_each(|x| *x = truth(*x >= than)),
            Self::IsEqual(to) => each.for_each(|x| *x = truth(*x == to)),
            Self::Whole => each.for_each(|x| *x = to_int64(*x) as f64),
        }
    }
}

/// The numbers of a column as doubles, changed; nothing of a column of texts.
pub(crate) fn doubles(column: &Column<'_>, changes: &[Wide], out: &mut [f64]) {
    let stride = column.stride;
    match column.values {
        Values::Float32(values) => fill(values, stride, out, f64::from),
        Values::Float64(values) => fill(values, stride, out, |x| x),
        Values::Int64(values) => fill(values, stride, out, |x| x as f64),
        Values::Int32(values) => fill(values, stride, out, f64::from),
        Values::Int16(values) => fill(values, stride, out, f64::from),
        Values::Int8(values) => fill(values, stride, out, f64::from),
        Values::UInt16(values) => fill(values, stride, out, f64::from),
        Values::UInt8(values) => fill(values, stride, out, f64::from),
        Values::Bool(values) => fill(values, stride, out, |x| f64::from(u8::from(x))),
        Values::Text { .. } => {}
    }
    for change in changes {
        change.run(out);
    }
}

impl Reading {
    /// Sets `out` to the column's numbers; false where one of them is too large for a float and counts.
    pub(crate) fn run(&self, column: &Column<'_>, out: &mut [f32]) -> bool {
        let stride = column.stride;
        match (column.values, self.changes.is_empty()) {
            (Values::Int64(values), true) => fill(values, stride, out, |x| x as f32),
            (Values::Int32(values), true) => fill(values, stride, out, |x| x as f32),
            (Values::Int16(values), true) => fill(values, stride, out, f32::from),
            (Values::Int8(values), true) => fill(values, stride, out, f32::from),
            (Values::UInt16(values), true) => fill(values, stride, out, f32::from),
            (Values::UInt8(values), true) => fill(values, stride, out, f32::from),
            (Values::Bool(values), true) => fill(values, stride, out, |x| f32::from(u8::from(x))),
            _ => {
                let mut wide = [0.0; BLOCK];
                let wide = &mut wide[..out.len()];
                doubles(column, &self.changes, wide);
                return self.narrow(wide, out);
            }
        }
        true
    }

    fn narrow(&self, wide: &[f64], out: &mut [f32]) -> bool {
        match self.rounding {
            Rounding::Up => fill(wide, 1, out, up),
            Rounding::Down => fill(wide, 1, out, down),
            Rounding::Nearest => {
                fill(wide, 1, out, |x| x as f32);
                let beyond =
                    |(wide, narrow): (&f64, &f32)| wide.is_finite() && narrow.is_infinite();
                return !wide.iter().zip(&*out).any(beyond);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Reading, Rounding, Wide, to_int64};
    use crate::Column;

    fn read(column: Column<'_>, changes: &[Wide], rounding: Rounding, rows: usize) -> Vec<f32> {
        let changes = changes.to_vec();
        let mut out = vec![0.0; rows];
        assert!(Reading { changes, rounding }.run(&column, &mut out));
        out
    }

    #[test]
    fn tests_of_rounded_doubles_answer_as_those_of_doubles() {
        let edges = [
            0.1_f32,
            -0.1,
            1.0,
            f32::MAX,
            f32::MIN,
            0.0,
            1e-45,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        let mut values: Vec<f64> = edges.iter().map(|edge| f64::from(*edge)).collect();
        values.extend(edges.map(|edge| f64::from(edge).next_up()));
        values.extend(edges.map(|edge| f64::from(edge).next_down()));
        values.extend([1e300, -1e300, 1e-300, -1e-300]);
        let column = Column::from(&values[..]);
        let up = read(column, &[], Rounding::Up, values.len());
        let down = read(column, &[], Rounding::Down, values.len());
        for edge in edges {
            for (place, x) in values.iter().enumerate() {
                assert_eq!(up[place] <= edge, *x <= f64::from(edge), "{x} {edge}");
                assert_eq!(down[place] < edge, *x < f64::from(edge), "{x} {edge}");
            }
        }
    }

    #[test]
    fn doubles_are_changed_before_they_are_rounded() {
        let values = [1e9 + 0.25, 1e9 + 0.75];
        let column = Column::from(&values[..]);
        let changes = [Wide::Subtract(1e9), Wide::Multiply(2.0)];
        assert_eq!(read(column, &changes, Rounding::Nearest, 2), [0.5, 1.5]);
        let mut out = [0.0];
        let nearest = Reading {
            changes: Vec::new(),
            rounding: Rounding::Nearest,
        };
        assert!(!nearest.run(&Column::from(&[1e300][..]), &mut out));
        assert!(nearest.run(&Column::from(&[f64::INFINITY][..]), &mut out));
    }

    #[test]
    fn whole_numbers_are_rounded_once() {
        // By way of a double it would be rounded to even twice.
        let values = [9_007_199_791_611_905_i64, i64::MIN, -3];
        let column = Column::from(&values[..]);
        let expected = values.map(|value| value as f32);
        assert_eq!(read(column, &[], Rounding::Nearest, 3), expected);
        let pairs = [1_i32, 2, 3, 4];
        let column = Column::strided(&pairs, 2);
        assert_eq!(read(column, &[], Rounding::Nearest, 2), [1.0, 3.0]);
        assert_eq!(to_int64(f64::NAN), i64::MIN);
        assert_eq!([-0.9, 2.9, 1e19].map(to_int64), [0, 2, i64::MIN]);
    }
}
