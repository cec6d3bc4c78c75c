//! What is known of the columns before a row is read, from a filter or from a file's statistics, and what it leaves of a model:
//! trees lose the branches that no such row can reach, and the results of such rows stay what they were, bit for bit. A tree of
//! which one leaf is left still adds it in its turn, because floats add up differently in another order.

use std::sync::Arc;

use crate::changes::Change;
use crate::kernel::{Level, TreeKernel};
use crate::program::{Action, Program, Register, Step, Trees};
use crate::read::{Reading, Rounding, Wide};
use crate::trees::cut;

/// The values that a column may have: `low <= x <= high`, and NaN where `nan` says so. Bounds of wider types are rounded to the
/// nearest float, as the values are.
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

    /// A bound that is NaN bounds nothing.
    fn cleaned(self) -> Self {
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

    fn after(self, change: Change) -> Self {
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
            | Change::Probit
            | Change::Exp
            | Change::Log
            | Change::Sqrt
            | Change::Abs => Self::NOTHING,
        }
    }

    /// What a reading makes of values of which the nearest floats are within the bounds.
    fn read(self, reading: &Reading) -> Self {
        let Reading { changes, rounding } = reading;
        if changes.is_empty() && *rounding == Rounding::Nearest {
            return self;
        }
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
                | Wide::Whole => return Self::NOTHING,
            }
            change.run(&mut ends);
        }
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
}

/// The program for rows that are within what is known of the first columns. Ensembles that lose nothing are shared.
pub(crate) fn narrow(program: &Program, columns: &[Known], level: Level) -> Program {
    let mut slots = vec![Known::NOTHING; program.slots];
    let mut steps = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let known = |register: &Register| match register {
            Register::Column(number) => columns
                .get(*number)
                .map_or(Known::NOTHING, |known| known.cleaned()),
            Register::Slot(slot) => slots[*slot],
        };
        let before = step.from.first().map_or(Known::NOTHING, known);
        let mut action = step.action.clone();
        match &step.action {
            Action::Trees(trees) => {
                let known: Vec<Known> = step.from.iter().map(known).collect();
                action = Action::Trees(narrow_trees(trees, &known, level));
            }
            Action::Change(changes) => {
                slots[step.to] = changes.iter().fold(before, |known, by| known.after(*by));
            }
            Action::Read(reading) => slots[step.to] = before.read(reading),
            Action::Encode(_)
            | Action::Pick(_)
            | Action::Choose
            | Action::Constant(_)
            | Action::Tables(_)
            | Action::Pair(_)
            | Action::Across(_)
            | Action::Linear(_)
            | Action::Largest => {}
        }
        steps.push(Step {
            from: step.from.clone(),
            action,
            to: step.to,
            count: step.count,
        });
    }
    Program {
        steps,
        slots: program.slots,
    }
}

fn narrow_trees(trees: &Arc<Trees>, known: &[Known], level: Level) -> Arc<Trees> {
    match cut(&trees.ensemble, known) {
        None => Arc::clone(trees),
        Some(ensemble) => Arc::new(Trees {
            kernel: TreeKernel::new(&ensemble, level),
            ensemble: Arc::new(ensemble),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Model};

    const TEXT: &str = "tree
num_class=1
num_tree_per_iteration=1
max_feature_idx=2
objective=regression

Tree=0
num_leaves=3
num_cat=0
split_feature=0 2
threshold=2.5 7
decision_type=10 8
left_child=-1 -2
right_child=1 -3
leaf_value=0.125 0.25 0.375

Tree=1
num_leaves=2
num_cat=0
split_feature=2
threshold=5
decision_type=8
left_child=-1
right_child=-2
leaf_value=100.5 1000.0625

end of trees
";

    fn score(model: &Model, columns: [&[f32]; 3], rows: usize) -> Vec<u32> {
        let mut out = vec![0.0; rows];
        let columns = columns.map(Column::from);
        let scratch = &mut model.scratch();
        model.score(0, &columns, rows, scratch, &mut out).unwrap();
        out.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_model_says_what_it_reads_and_what_is_left() {
        let model = Model::from_lightgbm(TEXT.as_bytes(), None).unwrap();
        assert_eq!(model.used_columns(&[0]), [true, false, true]);
        assert_eq!(model.used_columns(&[]), [false; 3]);
        assert_eq!((model.trees(), model.nodes()), (2, 8));
        let third = [4.0, 5.0, 5.5, 7.0, 8.0, f32::NAN];
        let rows = third.len();
        // NaN goes left at the first split.
        for (low, high, nan) in [(2.6, 9.0, false), (-1.0, 2.5, true), (-1.0, 2.5, false)] {
            let less = model.narrowed(&[Known { low, high, nan }]);
            assert_eq!(less.used_columns(&[0]), [false, false, true]);
            let first = vec![high; rows];
            let expected = score(&model, [&first, &[], &third], rows);
            assert_eq!(score(&less, [&[], &[], &third], rows), expected);
            assert_eq!(less.trees(), if low > 0.0 { 2 } else { 1 });
        }
        let same = model.narrowed(&[]);
        assert_eq!((same.trees(), same.nodes()), (2, 8));
        let bounds = [Known::NOTHING, Known::NOTHING, Known::between(7.5, 8.0)];
        let none = model
            .narrowed(&bounds)
            .narrowed(&[Known::between(3.0, 3.0)]);
        assert_eq!((none.trees(), none.nodes()), (0, 0));
        assert_eq!(none.used_columns(&[0]), [false; 3]);
        let expected = score(&model, [&[3.0], &[], &[8.0]], 1);
        assert_eq!(score(&none, [&[], &[], &[]], 1), expected);
        // What is not within the bounds must not bring anything down.
        score(&none, [&[-5.0; 9], &[], &[f32::NAN; 9]], 9);
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
        let bounds = Known::between(f32::NAN, f32::NAN).cleaned();
        assert_eq!(bounds, Known::between(f32::NEG_INFINITY, f32::INFINITY));
    }
}
