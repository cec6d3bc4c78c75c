//! The door: load a model once, then [score](crate::score) with it from as many threads as there are, each with a
//! [`Scratch`] of its own.

use crate::column::Element;
use crate::error::Error;
use crate::fact::Fact;
use crate::kernel::Level;
use crate::known::Known;
use crate::narrow::narrow;
use crate::onnx::read_graph;
use crate::plan::{Plan, PlannedOutput, plan};
use crate::probe::{Candidates, probes};
use crate::program::{Memory, Program, Register};
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
    pub(crate) program: Program,
    pub(crate) level: Level,
    inputs: Vec<Input>,
    /// By column: what its values are; nothing where it is not read.
    pub(crate) columns: Vec<Option<Element>>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) wanted: Vec<Wanted>,
    column_names: Option<Vec<String>>,
}

/// What it takes to have an output.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub registers: Vec<Register>,
    /// Ascending.
    pub steps: Vec<usize>,
    /// For each of the model's columns whether it is read.
    pub columns: Vec<bool>,
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
    pub(crate) memory: Memory,
    /// [`BLOCK`](crate::kernel::BLOCK) values of each column; empty until a column is strided.
    pub(crate) gathered: Vec<f32>,
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
}
