//! From a graph to a program, or to the first operator that stands in the way. A value of the graph is a list of lanes, the
//! numbers of a row; what operators do to single lanes is kept back, so that a weighted sum can take it into its weights and
//! most operators that converters put around a model cost nothing.

mod classes;
mod lanes;
mod ml;
mod plain;

use std::collections::HashMap;

use crate::error::Error;
use crate::kernel::{Level, TreeKernel};
use crate::onnx::{Graph, Input, Node, Tensor};
use crate::program::{Action, Program, Register, Step};
use crate::trees::{Ensemble, Fold};

pub(crate) use self::classes::{Transform, class_places};
pub(crate) use self::lanes::Lane;
use crate::Labels;

/// ONNX's number for 32-bit floats.
const FLOAT: i64 = 1;

/// More than any model has: a file's numbers must not make what it does not hold.
const MOST_COLUMNS: i64 = 1 << 17;

/// What a name of the graph stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// The numbers of a row.
    Lanes(Vec<Lane>),
    /// Which of the labels a row has.
    Label(Register, Labels),
    Constant(Tensor),
}

/// A program, what it reads and what it gives.
#[derive(Debug)]
pub(crate) struct Plan {
    pub program: Program,
    pub columns: usize,
    pub outputs: Vec<(String, PlannedOutput)>,
    pub kernels: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) enum PlannedOutput {
    Numbers(Vec<Register>, Option<Labels>),
    Label(Register, Labels),
}

/// A program in the making.
#[derive(Debug)]
pub(crate) struct Planner {
    program: Program,
    level: Level,
    kernels: Vec<&'static str>,
    values: HashMap<String, Value>,
    /// Names of classes that a ZipMap gave the numbers of an output.
    names: HashMap<String, Labels>,
}

/// The program of a graph whose inputs' lanes are fed, in their order, by the columns that `order` says.
pub(crate) fn plan(graph: &Graph, order: Option<&[usize]>, level: Level) -> Result<Plan, Error> {
    let mut planner = Planner::new(level);
    let columns = planner.inputs(&graph.inputs, order)?;
    for (name, tensor) in &graph.constants {
        let value = Value::Constant(tensor.clone());
        planner.values.insert(name.clone(), value);
    }
    for node in &graph.nodes {
        planner.node(node)?;
    }
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for name in &graph.outputs {
        let output = match planner.value(name)? {
            Value::Lanes(lanes) => {
                let registers = planner.registers(&lanes);
                PlannedOutput::Numbers(registers, planner.names.remove(name))
            }
            Value::Label(register, labels) => PlannedOutput::Label(register, labels),
            Value::Constant(_) => {
                return Err(Error::not_covered(format!("output '{name}' is a constant")));
            }
        };
        outputs.push((name.clone(), output));
    }
    Ok(planner.finish(columns, outputs))
}

impl Planner {
    pub(crate) fn new(level: Level) -> Self {
        Self {
            program: Program::default(),
            level: level.min(Level::detect()),
            kernels: Vec::new(),
            values: HashMap::new(),
            names: HashMap::new(),
        }
    }

    pub(crate) fn finish(self, columns: usize, outputs: Vec<(String, PlannedOutput)>) -> Plan {
        Plan {
            program: self.program,
            columns,
            outputs,
            kernels: self.kernels,
        }
    }

    /// Gives the inputs their lanes; returns how many columns feed them.
    fn inputs(&mut self, inputs: &[Input], order: Option<&[usize]>) -> Result<usize, Error> {
        let mut places = 0;
        for input in inputs {
            let name = &input.name;
            if input.element != FLOAT {
                return Err(Error::not_covered(format!("input '{name}' is not float")));
            }
            let width = match input.shape.as_slice() {
                [_] => 1,
                [_, width] if (1..=MOST_COLUMNS).contains(width) => {
                    usize::try_from(*width).unwrap_or(0)
                }
                _ => {
                    return Err(Error::not_covered(format!(
                        "input '{name}' is not of shape [N,k]"
                    )));
                }
            };
            let mut lanes = Vec::new();
            for place in places..places + width {
                let column = match order {
                    None => place,
                    Some(order) => *order
                        .get(place)
                        .ok_or_else(|| Error::Call("the order has too few columns".to_owned()))?,
                };
                lanes.push(Lane::of(Register::Column(column)));
            }
            places += width;
            self.values.insert(name.clone(), Value::Lanes(lanes));
        }
        match order {
            None => Ok(places),
            Some(order) => Ok(order.iter().max().map_or(0, |last| last + 1)),
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), Error> {
        let domain = node.domain.as_str();
        let covered = match domain {
            "ai.onnx.ml" => self.ml(node),
            "" | "ai.onnx" => self.plain(node),
            _ => Ok(None),
        };
        let op = &node.op;
        match covered {
            Ok(Some(())) => Ok(()),
            Ok(None) if domain.is_empty() => Err(Error::not_covered(format!(
                "operator '{op}' is not covered"
            ))),
            Ok(None) => Err(Error::not_covered(format!(
                "operator '{op}' of '{domain}' is not covered"
            ))),
            Err(Error::NotCovered(why)) => Err(Error::not_covered(format!("{op}: {why}"))),
            Err(error) => Err(error),
        }
    }

    fn value(&self, name: &str) -> Result<Value, Error> {
        let found = self.values.get(name).cloned();
        found.ok_or_else(|| Error::damaged(format!("nothing gives '{name}'")))
    }

    fn input(&self, node: &Node, place: usize) -> Result<Value, Error> {
        match node.inputs.get(place) {
            Some(name) => self.value(name),
            None => Err(Error::damaged(format!("'{}' lacks an input", node.op))),
        }
    }

    fn lanes(&self, node: &Node, place: usize) -> Result<Vec<Lane>, Error> {
        match self.input(node, place)? {
            Value::Lanes(lanes) => Ok(lanes),
            Value::Label(..) => Err(Error::not_covered("of labels")),
            Value::Constant(_) => Err(Error::not_covered("of a constant")),
        }
    }

    fn constant(&self, node: &Node, place: usize) -> Result<Tensor, Error> {
        match self.input(node, place)? {
            Value::Constant(tensor) => Ok(tensor),
            Value::Lanes(_) | Value::Label(..) => Err(Error::not_covered("by what is no constant")),
        }
    }

    fn set(&mut self, node: &Node, place: usize, value: Value) -> Option<()> {
        // An output without a name is one that nobody asks for.
        if let Some(name) = node.outputs.get(place) {
            self.values.insert(name.clone(), value);
        }
        Some(())
    }

    /// Adds a step; returns the lanes of its results.
    pub(crate) fn step(
        &mut self,
        from: Vec<Register>,
        action: Action,
        count: usize,
    ) -> Vec<Register> {
        let to = self.program.slots;
        self.program.slots += count;
        self.program.steps.push(Step {
            from,
            action,
            to,
            count,
        });
        (to..to + count).map(Register::Slot).collect()
    }

    /// The folded weights of the ensemble, one lane for each target.
    pub(crate) fn trees(&mut self, ensemble: &Ensemble, lanes: &[Lane]) -> Vec<Lane> {
        let from = self.registers(lanes);
        let kernel = TreeKernel::new(ensemble, self.level);
        self.kernels.push(kernel.name());
        let slots = self.step(from, Action::Trees(kernel), ensemble.targets);
        slots.into_iter().map(Lane::of).collect()
    }
}

/// Smallest and largest are only known here where every row has one.
fn is_certain(ensemble: &Ensemble) -> bool {
    use crate::trees::Spoken;
    ensemble.fold == Fold::Sum || ensemble.spoken().iter().all(|of| *of == Spoken::Always)
}
