//! The door: load a model once, then score with it from as many threads as there are, each with a [`Scratch`] of its
//! own.

use crate::column::{Column, Element, Values, fill};
use crate::encode::Trouble;
use crate::error::Error;
use crate::fact::Fact;
use crate::kernel::{BLOCK, Level};
use crate::known::Known;
use crate::narrow::narrow;
use crate::onnx::read_graph;
use crate::plan::{Plan, PlannedOutput, plan};
use crate::probe::{Candidates, probes};
use crate::program::{Block, Memory, Program, Register};
use crate::trees::{lightgbm, xgboost};

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

    pub(crate) fn element(&self) -> Element {
        match self {
            Self::Ints(_) => Element::Int64,
            Self::Texts(_) => Element::Text,
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
    /// What ONNX Runtime would give: numbers are given as 32-bit floats, though they may be doubles there.
    pub element: Element,
}

/// One input of a model: so many columns of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: String,
    pub element: Element,
    pub width: usize,
}

/// A model made ready; it is only read while it scores.
#[derive(Debug)]
pub struct Model {
    program: Program,
    level: Level,
    inputs: Vec<Input>,
    /// By column: what its values are; nothing where it is not read.
    columns: Vec<Option<Element>>,
    outputs: Vec<Output>,
    wanted: Vec<Wanted>,
    column_names: Option<Vec<String>>,
}

/// What it takes to have an output.
#[derive(Debug)]
struct Wanted {
    registers: Vec<Register>,
    steps: Vec<usize>,
    /// For each of the model's columns whether it is read.
    columns: Vec<bool>,
}

impl Wanted {
    fn of(registers: Vec<Register>, program: &Program, columns: usize) -> Self {
        let steps = program.needed(&registers);
        let columns = program.columns_of(&registers, &steps, columns);
        Self {
            registers,
            steps,
            columns,
        }
    }
}

/// What scoring writes to; one for each thread, made by [`Model::scratch`].
#[derive(Debug, Default)]
pub struct Scratch {
    memory: Memory,
    /// [`BLOCK`] values of each column; empty until a column is strided.
    gathered: Vec<f32>,
}

impl Model {
    /// The model of an ONNX file. `order` says for each place of the model's inputs, all of the first one and then all
    /// of the next, which of the columns feeds it; without it they are fed in their order.
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

    /// The model of an XGBoost file, JSON or UBJSON, which predicts what `Booster.predict` does; `order` as in
    /// [`Model::from_onnx`].
    pub fn from_xgboost(bytes: &[u8], order: Option<&[usize]>) -> Result<Self, Error> {
        let level = Level::detect();
        let predicts = xgboost::Predicts::Booster;
        Ok(Self::new(
            xgboost::plan(bytes, order, level, predicts)?,
            level,
        ))
    }

    /// As [`Model::from_xgboost`], but it predicts what the estimator of XGBoost's scikit-learn interface does that
    /// saved it: with the trees up to the best round where training stopped early, and a classifier gives labels.
    pub fn from_xgboost_estimator(bytes: &[u8], order: Option<&[usize]>) -> Result<Self, Error> {
        let level = Level::detect();
        let predicts = xgboost::Predicts::Estimator;
        Ok(Self::new(
            xgboost::plan(bytes, order, level, predicts)?,
            level,
        ))
    }

    pub(crate) fn new(plan: Plan, level: Level) -> Self {
        let Plan {
            program,
            inputs,
            columns,
            outputs: planned,
            column_names,
        } = plan;
        let (mut outputs, mut wanted) = (Vec::new(), Vec::new());
        for (name, element, output) in planned {
            let (registers, kind) = match output {
                PlannedOutput::Numbers(registers, names) => {
                    let width = registers.len();
                    (registers, Kind::Numbers { width, names })
                }
                PlannedOutput::Label(register, labels) => (vec![register], Kind::Label(labels)),
            };
            outputs.push(Output {
                name,
                kind,
                element,
            });
            wanted.push(Wanted::of(registers, &program, columns.len()));
        }
        Self {
            program,
            level,
            inputs,
            columns,
            outputs,
            wanted,
            column_names,
        }
    }

    /// The model for rows of which something is known, by column; of more columns than given nothing is. For rows that
    /// are within it the results stay the same, bit for bit; for others they may be anything.
    pub fn narrowed(&self, known: &[Known]) -> Self {
        let facts: Vec<Fact> = known.iter().copied().map(Fact::from).collect();
        self.narrowed_by(&facts)
    }

    /// As [`Model::narrowed`], where texts may be known, too.
    pub fn narrowed_by(&self, facts: &[Fact]) -> Self {
        let program = narrow(&self.program, facts, &self.columns, self.level);
        let wanted = self.wanted.iter().map(|wanted| {
            let registers = wanted.registers.clone();
            Wanted::of(registers, &program, self.columns.len())
        });
        Self {
            wanted: wanted.collect(),
            program,
            level: self.level,
            inputs: self.inputs.clone(),
            columns: self.columns.clone(),
            outputs: self.outputs.clone(),
            column_names: self.column_names.clone(),
        }
    }

    /// For each column whether some of these outputs needs it. The others may be handed over empty.
    pub fn used_columns(&self, outputs: &[usize]) -> Vec<bool> {
        let mut used = vec![false; self.columns.len()];
        for wanted in outputs.iter().filter_map(|output| self.wanted.get(*output)) {
            for (used, read) in used.iter_mut().zip(&wanted.columns) {
                *used |= read;
            }
        }
        used
    }

    /// For each column whether no output needs it.
    pub fn unused_columns(&self) -> Vec<bool> {
        let outputs: Vec<usize> = (0..self.outputs.len()).collect();
        let used = self.used_columns(&outputs);
        used.into_iter().map(|used| !used).collect()
    }

    /// By column the values on which a wrong kernel would show.
    pub fn probes(&self) -> Vec<Candidates> {
        probes(&self.program, &self.columns)
    }

    /// How many trees ask for anything.
    pub fn trees(&self) -> usize {
        let ensembles = self.program.trees().map(|trees| &trees.ensemble);
        ensembles.map(|ensemble| ensemble.size().0).sum()
    }

    /// How many nodes these trees have, leaves included.
    pub fn nodes(&self) -> usize {
        let ensembles = self.program.trees().map(|trees| &trees.ensemble);
        ensembles.map(|ensemble| ensemble.size().1).sum()
    }

    /// How many columns it takes.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// What it takes, in the order in which its columns are numbered.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What the model's file calls its columns, in the order that it takes them in where no other is given.
    pub fn column_names(&self) -> Option<&[String]> {
        self.column_names.as_deref()
    }

    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What scores its trees, for people.
    pub fn kernels(&self) -> Vec<&'static str> {
        self.program.trees().map(|of| of.kernel.name()).collect()
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
        self.fits(output, columns, rows, out.len(), *width)?;
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
        })
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
        self.fits(output, columns, rows, out.len(), 1)?;
        self.run(output, columns, rows, scratch, |first, _, values| {
            for (to, from) in out[first..].iter_mut().zip(values) {
                *to = *from as u32;
            }
        })
    }

    fn fits(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        places: usize,
        width: usize,
    ) -> Result<(), Error> {
        if columns.len() != self.columns.len() {
            let (given, takes) = (columns.len(), self.columns.len());
            return Err(Error::Call(format!("{given} columns, not {takes}")));
        }
        for (number, read) in self.wanted[output].columns.iter().enumerate() {
            let (column, takes) = (&columns[number], self.columns[number]);
            if !read {
                continue;
            }
            if let Some(takes) = takes.filter(|takes| *takes != column.element()) {
                return Err(Error::Call(format!("column {number} is not {takes:?}")));
            }
            if !column.holds(rows) {
                return Err(Error::Call(format!(
                    "column {number} has fewer than {rows} rows"
                )));
            }
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
    ) -> Result<(), Error> {
        let Scratch { memory, gathered } = scratch;
        // Nothing to do, but for the scratch of another model.
        self.program.fit(memory);
        let strided = columns.iter().any(|column| column.stride > 1);
        if strided && gathered.len() < columns.len() * BLOCK {
            gathered.resize(columns.len() * BLOCK, 0.0);
        }
        let wanted = &self.wanted[output];
        for first in (0..rows).step_by(BLOCK) {
            let count = (rows - first).min(BLOCK);
            if strided {
                gather(columns, &wanted.columns, first, count, gathered);
            }
            let block = Window {
                columns,
                gathered,
                first,
                count,
            };
            self.program.run(&wanted.steps, self.level, &block, memory);
            if let Some((step, trouble)) = memory.trouble {
                return Err(self.trouble(step, trouble));
            }
            for (place, register) in wanted.registers.iter().enumerate() {
                take(first, place, Program::read(*register, &block, memory));
            }
        }
        Ok(())
    }

    fn trouble(&self, step: usize, trouble: Trouble) -> Error {
        let from = self
            .program
            .steps
            .get(step)
            .and_then(|step| step.from.first());
        let of = match from {
            Some(Register::Column(number)) => format!("column {number}"),
            Some(Register::Slot(_)) | None => "what is made of the columns".to_owned(),
        };
        Error::Rows(match trouble {
            Trouble::Unknown => format!("{of} has a category that the model does not know"),
            Trouble::Offsets => format!("{of} has offsets beyond its bytes"),
            Trouble::Beyond => format!("{of} has a number that is too large for a 32-bit float"),
        })
    }
}

fn gather(columns: &[Column<'_>], read: &[bool], first: usize, count: usize, gathered: &mut [f32]) {
    let read = columns.iter().zip(read);
    for ((column, read), into) in read.zip(gathered.chunks_exact_mut(BLOCK)) {
        if let (true, Values::Float32(values), 2..) = (read, column.values, column.stride) {
            let values = &values[first * column.stride..];
            fill(values, column.stride, &mut into[..count], |x| x);
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
        match (column.values, column.stride) {
            (Values::Float32(values), 1) => &values[self.first..self.first + self.count],
            _ => &self.gathered[number * BLOCK..][..self.count],
        }
    }

    fn any_column(&self, number: usize) -> Column<'_> {
        self.columns[number].skip(self.first)
    }

    fn rows(&self) -> usize {
        self.count
    }
}
