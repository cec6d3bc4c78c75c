//! A model as a list of steps over blocks of rows: each reads columns and the results of earlier steps, and writes results of
//! its own. Nothing is allocated while it runs.

use crate::kernel::level::{Work, at};
use crate::kernel::linear::Linear;
use crate::kernel::{BLOCK, Buffers, Columns, Level, TreeKernel};
use crate::math::{exp, logistic, probit};

/// Where a column of numbers is while a block is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// A column that the caller gave.
    Column(usize),
    /// The result of a step.
    Slot(usize),
}

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

/// What happens to two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Add,
    Subtract,
    Multiply,
    Divide,
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

#[derive(Debug)]
pub(crate) enum Action {
    /// The changes of one register, one after the other.
    Change(Vec<Change>),
    Pair(Pair),
    Across(Across),
    Linear(Linear),
    Trees(TreeKernel),
    /// The place of the first register that is the largest.
    Largest,
}

/// An action on `from`, whose results are in the slots from `to` on.
#[derive(Debug)]
pub(crate) struct Step {
    pub from: Vec<Register>,
    pub action: Action,
    pub to: usize,
    pub count: usize,
}

/// The steps of a model, in an order in which each finds what it reads.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub steps: Vec<Step>,
    pub slots: usize,
}

/// What a thread writes to while it scores.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub slots: Vec<f32>,
    pub buffers: Buffers,
}

/// A block of the caller's columns.
pub(crate) trait Block {
    fn column(&self, number: usize) -> &[f32];
    fn rows(&self) -> usize;
}

struct Sources<'a, B> {
    registers: &'a [Register],
    block: &'a B,
    slots: &'a [f32],
}

impl<B: Block> Columns for Sources<'_, B> {
    #[inline]
    fn column(&self, feature: usize) -> &[f32] {
        match self.registers[feature] {
            Register::Column(number) => self.block.column(number),
            Register::Slot(slot) => &self.slots[slot * BLOCK..][..self.block.rows()],
        }
    }
}

impl Program {
    /// Makes room for this program, too.
    pub(crate) fn fit(&self, memory: &mut Memory) {
        let slots = memory.slots.len().max(self.slots * BLOCK);
        memory.slots.resize(slots, 0.0);
        for step in &self.steps {
            if let Action::Trees(kernel) = &step.action {
                memory.buffers.fit(kernel);
            }
        }
    }

    /// The steps that `wanted` are made of, in order.
    pub(crate) fn needed(&self, wanted: &[Register]) -> Vec<usize> {
        let mut slots: Vec<bool> = vec![false; self.slots];
        let want = |registers: &[Register], slots: &mut Vec<bool>| {
            for register in registers {
                if let Register::Slot(slot) = register {
                    slots[*slot] = true;
                }
            }
        };
        want(wanted, &mut slots);
        let mut needed = Vec::new();
        for (number, step) in self.steps.iter().enumerate().rev() {
            if slots[step.to..step.to + step.count].contains(&true) {
                want(&step.from, &mut slots);
                needed.push(number);
            }
        }
        needed.reverse();
        needed
    }

    /// Runs some of the steps on a block; a register is then read by [`Program::read`].
    pub(crate) fn run(
        &self,
        needed: &[usize],
        level: Level,
        block: &impl Block,
        memory: &mut Memory,
    ) {
        for number in needed {
            let step = &self.steps[*number];
            let (before, rest) = memory.slots.split_at_mut(step.to * BLOCK);
            let out = &mut rest[..step.count * BLOCK];
            let sources = Sources {
                registers: &step.from,
                block,
                slots: before,
            };
            step.run(level, &sources, block.rows(), &mut memory.buffers, out);
        }
    }

    pub(crate) fn read<'a>(
        register: Register,
        block: &'a impl Block,
        memory: &'a Memory,
    ) -> &'a [f32] {
        match register {
            Register::Column(number) => block.column(number),
            Register::Slot(slot) => &memory.slots[slot * BLOCK..][..block.rows()],
        }
    }
}

impl Step {
    fn run(
        &self,
        level: Level,
        sources: &impl Columns,
        rows: usize,
        buffers: &mut Buffers,
        out: &mut [f32],
    ) {
        match &self.action {
            Action::Change(changes) => {
                let out = &mut out[..rows];
                out.copy_from_slice(sources.column(0));
                for change in changes {
                    let change = *change;
                    at(
                        level,
                        Changing {
                            change,
                            values: out,
                        },
                    );
                }
            }
            Action::Pair(pair) => {
                let (left, right) = (sources.column(0), sources.column(1));
                for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
                    *out = match pair {
                        Pair::Add => left + right,
                        Pair::Subtract => left - right,
                        Pair::Multiply => left * right,
                        Pair::Divide => left / right,
                    };
                }
            }
            Action::Across(across) => {
                for (number, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    out[..rows].copy_from_slice(sources.column(number));
                }
                let across = *across;
                let values = out;
                at(
                    level,
                    Crossing {
                        across,
                        values,
                        rows,
                    },
                );
            }
            Action::Linear(linear) => linear.run(level, sources, rows, out),
            Action::Trees(kernel) => kernel.run(sources, rows, buffers, out),
            Action::Largest => {
                let mut best = [0.0; BLOCK];
                best[..rows].copy_from_slice(sources.column(0));
                out.fill(0.0);
                for number in 1..self.from.len() {
                    let column = sources.column(number);
                    for ((best, out), x) in best.iter_mut().zip(out.iter_mut()).zip(column) {
                        if x > best {
                            (*best, *out) = (*x, number as f32);
                        }
                    }
                }
            }
        }
    }
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
