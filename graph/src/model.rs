//! The door: load a model once, then score with it from as many threads as there are, each with a [`Scratch`] of its own.

use crate::error::Error;
use crate::kernel::{BLOCK, Level};
use crate::onnx::read_graph;
use crate::plan::{Plan, PlannedOutput, plan};
use crate::program::{Block, Memory, Program, Register};
use crate::trees::lightgbm;

/// What the places of classes are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Labels {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Texts(texts) => texts.len(),
        }
    }
}

/// What an output has for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So many numbers, with the names of their classes where the model gives them with each row.
    Numbers { width: usize, names: Option<Labels> },
    /// One of these labels.
    Label(Labels),
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    pub kind: Kind,
}

/// One value for each row, `stride` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> From<&'a [f32]> for Column<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self { values, stride: 1 }
    }
}

impl<'a> Column<'a> {
    /// Every `stride`-th value, the first one first; such a column is copied while it is scored.
    pub fn strided(values: &'a [f32], stride: usize) -> Self {
        Self {
            values,
            stride: stride.max(1),
        }
    }

    fn holds(&self, rows: usize) -> bool {
        match rows
            .checked_sub(1)
            .map(|last| last.checked_mul(self.stride))
        {
            None => true,
            Some(Some(last)) => last < self.values.len(),
            Some(None) => false,
        }
    }
}

/// A model made ready; it is only read while it scores.
#[derive(Debug)]
pub struct Model {
    program: Program,
    level: Level,
    columns: usize,
    outputs: Vec<Output>,
    /// By output: the registers of its numbers and the steps that they need.
    wanted: Vec<(Vec<Register>, Vec<usize>)>,
    kernels: Vec<&'static str>,
}

/// What scoring writes to; one for each thread, made by [`Model::scratch`].
#[derive(Debug, Default)]
pub struct Scratch {
    memory: Memory,
    /// [`BLOCK`] values of each column; empty until a column is strided.
    gathered: Vec<f32>,
}

impl Model {
    /// The model of an ONNX file. `order` says for each place of the model's inputs, all of the first one and then all of
    /// the next, which of the columns feeds it; without it they are fed in their order.
    pub fn from_onnx(bytes: &[u8], order: Option<&[usize]>) -> Result<Self, Error> {
        Self::from_onnx_at(bytes, order, Level::detect())
    }

    /// As [`Model::from_onnx`], with no better instructions than those of `level`.
    pub fn from_onnx_at(
        bytes: &[u8],
        order: Option<&[usize]>,
        level: Level,
    ) -> Result<Self, Error> {
        let level = level.min(Level::detect());
        Ok(Self::new(plan(&read_graph(bytes)?, order, level)?, level))
    }

    /// The model of a LightGBM text file; `order` as in [`Model::from_onnx`].
    pub fn from_lightgbm(text: &[u8], order: Option<&[usize]>) -> Result<Self, Error> {
        let level = Level::detect();
        Ok(Self::new(lightgbm::plan(text, order, level)?, level))
    }

    fn new(plan: Plan, level: Level) -> Self {
        let Plan {
            program,
            columns,
            outputs: planned,
            kernels,
        } = plan;
        let (mut outputs, mut wanted) = (Vec::new(), Vec::new());
        for (name, output) in planned {
            let (registers, kind) = match output {
                PlannedOutput::Numbers(registers, names) => {
                    let width = registers.len();
                    (registers, Kind::Numbers { width, names })
                }
                PlannedOutput::Label(register, labels) => (vec![register], Kind::Label(labels)),
            };
            let needed = program.needed(&registers);
            outputs.push(Output { name, kind });
            wanted.push((registers, needed));
        }
        Self {
            program,
            level,
            columns,
            outputs,
            wanted,
            kernels,
        }
    }

    /// How many columns it takes.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What scores its trees, for people.
    pub fn kernels(&self) -> &[&'static str] {
        &self.kernels
    }

    /// Room to score in.
    pub fn scratch(&self) -> Scratch {
        let mut scratch = Scratch::default();
        self.program.fit(&mut scratch.memory);
        scratch
    }

    /// The numbers of an output, row by row: `out` has `rows * width` places.
    pub fn score(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let Some(Output {
            kind: Kind::Numbers { width, .. },
            ..
        }) = self.outputs.get(output)
        else {
            return Err(Error::Call(format!("output {output} has no numbers")));
        };
        self.fits(columns, rows, out.len(), *width)?;
        let width = *width;
        self.run(output, columns, rows, scratch, |first, place, values| {
            if width == 1 {
                out[first..first + values.len()].copy_from_slice(values);
                return;
            }
            let places = out[first * width..].iter_mut().skip(place).step_by(width);
            for (to, from) in places.zip(values) {
                *to = *from;
            }
        });
        Ok(())
    }

    /// The places of the rows' labels: `out` has `rows` places.
    pub fn classify(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
        out: &mut [u32],
    ) -> Result<(), Error> {
        let Some(Output {
            kind: Kind::Label(_),
            ..
        }) = self.outputs.get(output)
        else {
            return Err(Error::Call(format!("output {output} has no labels")));
        };
        self.fits(columns, rows, out.len(), 1)?;
        self.run(output, columns, rows, scratch, |first, _, values| {
            for (to, from) in out[first..].iter_mut().zip(values) {
                *to = *from as u32;
            }
        });
        Ok(())
    }

    fn fits(
        &self,
        columns: &[Column<'_>],
        rows: usize,
        places: usize,
        width: usize,
    ) -> Result<(), Error> {
        if columns.len() != self.columns {
            let (given, takes) = (columns.len(), self.columns);
            return Err(Error::Call(format!("{given} columns, not {takes}")));
        }
        if !columns.iter().all(|column| column.holds(rows)) {
            return Err(Error::Call(format!("a column has fewer than {rows} rows")));
        }
        if rows.checked_mul(width) != Some(places) {
            return Err(Error::Call(format!("{places} places for {rows} rows")));
        }
        Ok(())
    }

    /// Hands each block's values of each of the output's registers to `take`, with the block's first row.
    fn run(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
        mut take: impl FnMut(usize, usize, &[f32]),
    ) {
        let Scratch { memory, gathered } = scratch;
        // Nothing to do, but for the scratch of another model.
        self.program.fit(memory);
        let strided = columns.iter().any(|column| column.stride > 1);
        if strided && gathered.len() < columns.len() * BLOCK {
            gathered.resize(columns.len() * BLOCK, 0.0);
        }
        let (registers, needed) = &self.wanted[output];
        for first in (0..rows).step_by(BLOCK) {
            let count = (rows - first).min(BLOCK);
            if strided {
                gather(columns, first, count, gathered);
            }
            let block = Window {
                columns,
                gathered,
                first,
                count,
            };
            self.program.run(needed, self.level, &block, memory);
            for (place, register) in registers.iter().enumerate() {
                take(first, place, Program::read(*register, &block, memory));
            }
        }
    }
}

fn gather(columns: &[Column<'_>], first: usize, count: usize, gathered: &mut [f32]) {
    for (column, into) in columns.iter().zip(gathered.chunks_exact_mut(BLOCK)) {
        if column.stride > 1 {
            let values = column.values[first * column.stride..].iter();
            let values = values.step_by(column.stride);
            for (to, from) in into[..count].iter_mut().zip(values) {
                *to = *from;
            }
        }
    }
}

/// The rows of a block, in the caller's columns.
struct Window<'a> {
    columns: &'a [Column<'a>],
    gathered: &'a [f32],
    first: usize,
    count: usize,
}

impl Block for Window<'_> {
    #[inline]
    fn column(&self, number: usize) -> &[f32] {
        let column = &self.columns[number];
        match column.stride {
            1 => &column.values[self.first..self.first + self.count],
            _ => &self.gathered[number * BLOCK..][..self.count],
        }
    }

    fn rows(&self) -> usize {
        self.count
    }
}
