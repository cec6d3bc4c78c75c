//! A model as a list of steps over blocks of rows: each reads columns and the results of earlier steps, and writes
//! results of its own. Nothing is allocated while it runs.

use std::sync::Arc;

use crate::changes::{Across, Change};
use crate::column::{Column, Element};
use crate::encode::{Encoder, Source, Trouble};
use crate::kernel::linear::Linear;
use crate::kernel::tables::{Tables, pick};
use crate::kernel::{BLOCK, Buffers, Columns, Level, TreeKernel};
use crate::read::Reading;
use crate::trees::Ensemble;

/// Where a column of numbers is while a block is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Register {
    /// A column that the caller gave.
    Column(usize),
    /// The result of a step.
    Slot(usize),
}

/// What happens to two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Add,
    Subtract,
    Multiply,
    Divide,
    IsBelow,
    IsAtMost,
    IsEqual,
}

/// An ensemble, kept so that less can be made of it, and what scores it.
#[derive(Debug)]
pub(crate) struct Trees {
    pub ensemble: Arc<Ensemble>,
    pub kernel: TreeKernel,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A column that is none of 32-bit floats, as such.
    Read(Reading),
    /// The place of the key that a column or register has.
    Encode(Arc<Encoder>),
    /// An entry for each place.
    Pick(Arc<[f32]>),
    /// The first register where it is zero the third, else the second.
    Choose,
    Constant(f32),
    Tables(Arc<Tables>),
    /// The changes of one register, one after the other.
    Change(Vec<Change>),
    Pair(Pair),
    Across(Across),
    Linear(Linear),
    Trees(Arc<Trees>),
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
    /// The first step of the last block that failed, and why.
    pub trouble: Option<(usize, Trouble)>,
}

/// A block of the caller's columns.
pub(crate) trait Block {
    /// One of 32-bit floats.
    fn column(&self, number: usize) -> &[f32];
    fn any_column(&self, number: usize) -> Column<'_>;
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

impl<B: Block> Sources<'_, B> {
    /// As the caller gave it, or as a step made it.
    fn any(&self, place: usize) -> Source<'_> {
        match self.registers[place] {
            Register::Column(number) => match self.block.any_column(number) {
                column if column.element() == Element::Float32 => {
                    Source::Floats(self.column(place))
                }
                column => Source::Column(column),
            },
            Register::Slot(_) => Source::Floats(self.column(place)),
        }
    }
}

impl Program {
    /// Makes room for this program, too.
    pub(crate) fn fit(&self, memory: &mut Memory) {
        let slots = memory.slots.len().max(self.slots * BLOCK);
        memory.slots.resize(slots, 0.0);
        for step in &self.steps {
            if let Action::Trees(trees) = &step.action {
                memory.buffers.fit(&trees.kernel);
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
            if step.may_fail() || slots[step.to..step.to + step.count].contains(&true) {
                want(&step.reads(), &mut slots);
                needed.push(number);
            }
        }
        needed.reverse();
        needed
    }

    /// For each column whether `wanted` or some of the steps read it.
    pub(crate) fn columns_of(&self, wanted: &[Register], steps: &[usize], of: usize) -> Vec<bool> {
        let mut columns = vec![false; of];
        let steps = steps.iter().flat_map(|step| self.steps[*step].reads());
        for register in steps.chain(wanted.iter().copied()) {
            if let Register::Column(number) = register {
                columns[number] = true;
            }
        }
        columns
    }

    pub(crate) fn trees(&self) -> impl Iterator<Item = &Trees> {
        self.steps.iter().filter_map(|step| {
            let Action::Trees(trees) = &step.action else {
                return None;
            };
            Some(&**trees)
        })
    }

    /// Runs some of the steps on a block; a register is then read by [`Program::read`],
    /// unless there was trouble.
    pub(crate) fn run(
        &self,
        needed: &[usize],
        level: Level,
        block: &impl Block,
        memory: &mut Memory,
    ) {
        memory.trouble = None;
        for number in needed {
            let step = &self.steps[*number];
            let (before, rest) = memory.slots.split_at_mut(step.to * BLOCK);
            let out = &mut rest[..step.count * BLOCK];
            let sources = Sources {
                registers: &step.from,
                block,
                slots: before,
            };
            let done = step.run(level, &sources, block.rows(), &mut memory.buffers, out);
            if let Err(trouble) = done {
                memory.trouble = Some((*number, trouble));
                return;
            }
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
    /// Whether the model fails for some rows, whatever is asked for.
    fn may_fail(&self) -> bool {
        matches!(&self.action, Action::Encode(encoder) if encoder.fails.contains(&true))
    }

    /// What it looks at: trees have registers that no test asks for.
    fn reads(&self) -> Vec<Register> {
        let Action::Trees(trees) = &self.action else {
            return self.from.clone();
        };
        let asks = trees.ensemble.asks();
        let asked = self.from.iter().zip(asks).filter(|(_, asks)| *asks);
        asked.map(|(register, _)| *register).collect()
    }

    fn run(
        &self,
        level: Level,
        sources: &Sources<'_, impl Block>,
        rows: usize,
        buffers: &mut Buffers,
        out: &mut [f32],
    ) -> Result<(), Trouble> {
        match &self.action {
            Action::Read(reading) => {
                let Source::Column(column) = sources.any(0) else {
                    return Ok(());
                };
                if !reading.run(&column, &mut out[..rows]) {
                    return Err(Trouble::Beyond);
                }
            }
            Action::Encode(encoder) => encoder.run(sources.any(0), &mut out[..rows])?,
            Action::Pick(entries) => pick(entries, sources.column(0), &mut out[..rows]),
            Action::Constant(value) => out.fill(*value),
            Action::Choose => {
                let [by, yes, no] = [0, 1, 2].map(|place| sources.column(place));
                for (row, out) in out[..rows].iter_mut().enumerate() {
                    *out = if by[row] == 0.0 { no[row] } else { yes[row] };
                }
            }
            Action::Tables(tables) => tables.run(sources, rows, out),
            Action::Change(changes) => {
                let out = &mut out[..rows];
                out.copy_from_slice(sources.column(0));
                for change in changes {
                    change.run(level, out);
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
                        Pair::IsBelow => f32::from(u8::from(left < right)),
                        Pair::IsAtMost => f32::from(u8::from(left <= right)),
                        Pair::IsEqual => f32::from(u8::from(left == right)),
                    };
                }
            }
            Action::Across(across) => {
                for (number, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    out[..rows].copy_from_slice(sources.column(number));
                }
                across.run(level, out, rows);
            }
            Action::Linear(linear) => linear.run(level, sources, rows, out),
            Action::Trees(trees) => trees.kernel.run(sources, rows, buffers, out),
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
        Ok(())
    }
}
