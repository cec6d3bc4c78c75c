//! From a graph to a program, or to the first operator that stands in the way. A value of the graph is a list of lanes,
//! the numbers of a row; what operators do to single lanes is kept back, so that a weighted sum can take it into its
//! weights and most operators that converters put around a model cost nothing.

mod cast;
mod classes;
mod compare;
mod encoders;
mod keys;
mod lanes;
mod ml;
mod plain;
mod sums;
mod texts;

use std::collections::HashMap;
use std::sync::Arc;

use crate::column::Element;
use crate::error::Error;
use crate::kernel::{Level, TreeKernel};
use crate::onnx::{Graph, Input, Node, Tensor};
use crate::program::{Action, Program, Register, Step, Trees};
use crate::trees::{Ensemble, Fold};

pub(crate) use self::classes::{Transform, class_places};
pub(crate) use self::lanes::Lane;
use self::lanes::{Entries, Source};
use crate::Labels;
use crate::model::Input as Takes;
use crate::read::Reading;

/// The most entries of all tables together: what a file says must not make what it does not hold.
const MOST_ENTRIES: usize = 1 << 24;

/// More than any model has: a file's numbers must not make what it does not hold.
const MOST_COLUMNS: i64 = 1 << 17;

/// More than any model has; each says which columns it reads.
const MOST_OUTPUTS: usize = 256;

/// What a graph's values may weigh beside its file, in the size of about one change to a lane.
const MOST_WEIGHT: usize = 1 << 18;

/// What a name of the graph stands for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// The numbers of a row.
    Lanes(Vec<Lane>),
    /// As one-hot encoders give them: with a dimension more, all of whose others are one.
    Deep(Vec<Lane>),
    Texts(Vec<TextLane>),
    /// That of so many numbers in each row.
    Shape(usize),
    /// Which of the labels a row has.
    Label(Register, Labels),
    Constant(Tensor),
}

/// A column of texts, and what became of some of them.
#[derive(Clone, Debug)]
pub(crate) struct TextLane {
    pub column: usize,
    /// (as in the column, as it is), each of the first ones once.
    pub known: Vec<(String, String)>,
    /// What became of all others; nothing where they are what they were.
    pub other: Option<String>,
}

/// A program, what it reads and what it gives.
#[derive(Debug)]
pub(crate) struct Plan {
    pub program: Program,
    pub inputs: Vec<Takes>,
    /// By column: what its values are; nothing where it is not read.
    pub columns: Vec<Option<Element>>,
    pub outputs: Vec<(String, Element, PlannedOutput)>,
    /// What the model's file calls its columns.
    pub column_names: Option<Vec<String>>,
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
    values: HashMap<String, Value>,
    /// A small file must not make values without end: each lane of each counts, and each change that waits for it.
    weight_left: usize,
    /// Names of classes that a ZipMap gave the numbers of an output.
    names: HashMap<String, Labels>,
    inputs: Vec<Takes>,
    columns: Vec<Option<Element>>,
    /// What each column was read as already.
    readings: HashMap<usize, Vec<(Reading, Register)>>,
    /// By register of places: the column whose texts they are of, and those texts.
    coded: Vec<(Register, usize, Vec<String>)>,
    /// Entries of tables made so far.
    entries: usize,
}

/// The program of a graph whose inputs' lanes are fed, in their order, by the columns that `order` says.
pub(crate) fn plan(graph: &Graph, order: Option<&[usize]>, level: Level) -> Result<Plan, Error> {
    let mut planner = Planner::new(level);
    planner.weight_left = MOST_WEIGHT.saturating_add(graph.bytes.saturating_mul(6));
    planner.inputs(&graph.inputs, order)?;
    for (name, tensor) in &graph.constants {
        let value = Value::Constant(tensor.clone());
        planner.values.insert(name.clone(), value);
    }
    for node in &graph.nodes {
        planner.node(node)?;
    }
    if graph.outputs.len() > MOST_OUTPUTS {
        return Err(Error::not_covered("so many outputs"));
    }
    let mut outputs = Vec::with_capacity(graph.outputs.len());
    for name in &graph.outputs {
        let (element, output) = planner.output(name)?;
        outputs.push((name.clone(), element, output));
    }
    match planner.entries > MOST_ENTRIES {
        true => Err(Error::not_covered("tables of so many entries")),
        false => Ok(planner.finished(outputs)),
    }
}

impl Planner {
    pub(crate) fn new(level: Level) -> Self {
        Self {
            program: Program::default(),
            level: level.min(Level::detect()),
            values: HashMap::new(),
            weight_left: usize::MAX,
            names: HashMap::new(),
            inputs: Vec::new(),
            columns: Vec::new(),
            readings: HashMap::new(),
            coded: Vec::new(),
            entries: 0,
        }
    }

    /// The program of a model of one input of floats.
    pub(crate) fn finish(mut self, columns: usize, outputs: Vec<(String, PlannedOutput)>) -> Plan {
        let element = Element::Float32;
        self.inputs.push(Takes {
            name: "features".to_owned(),
            element,
            width: columns,
        });
        self.columns = vec![Some(element); columns];
        let outputs = outputs.into_iter().map(|(name, output)| match output {
            PlannedOutput::Numbers(..) => (name, element, output),
            PlannedOutput::Label(_, ref labels) => (name, labels.element(), output),
        });
        let outputs = outputs.collect();
        self.finished(outputs)
    }

    fn finished(self, outputs: Vec<(String, Element, PlannedOutput)>) -> Plan {
        Plan {
            program: self.program,
            inputs: self.inputs,
            columns: self.columns,
            outputs,
            column_names: None,
        }
    }

    fn weigh(&mut self, weight: usize) {
        self.weight_left = self.weight_left.saturating_sub(weight);
    }

    /// Whether tables of so many entries more may be made.
    fn affords(&mut self, entries: usize) -> bool {
        self.entries = self.entries.saturating_add(entries);
        self.entries <= MOST_ENTRIES
    }

    fn output(&mut self, name: &str) -> Result<(Element, PlannedOutput), Error> {
        let lanes = match self.value(name)? {
            Value::Lanes(lanes) | Value::Deep(lanes) => lanes,
            Value::Label(register, labels) => {
                return Ok((labels.element(), PlannedOutput::Label(register, labels)));
            }
            Value::Constant(_) | Value::Shape(_) => {
                return Err(Error::not_covered(format!("output '{name}' is a constant")));
            }
            Value::Texts(_) => {
                return Err(Error::not_covered(format!("output '{name}' has texts")));
            }
        };
        let element = lanes.first().map_or(Element::Float32, |lane| lane.element);
        if let ([lane], true) = (lanes.as_slice(), element.is_whole())
            && let Some((places, entries)) = lane.picked()
            && self.affords(entries.places)
        {
            let ints = (0..entries.places).map(|place| entries.at(place) as i64);
            let labels = Labels::Ints(ints.collect());
            return Ok((element, PlannedOutput::Label(places, labels)));
        }
        match element {
            Element::Float32 | Element::Float64 => {
                let registers = self.registers(&lanes);
                let names = self.names.remove(name);
                Ok((element, PlannedOutput::Numbers(registers, names)))
            }
            _ => Err(Error::not_covered(format!(
                "output '{name}' has whole numbers"
            ))),
        }
    }

    /// Gives the inputs their lanes, each fed by a column.
    fn inputs(&mut self, inputs: &[Input], order: Option<&[usize]>) -> Result<(), Error> {
        let last = order.and_then(|order| order.iter().copied().max());
        let mut places = 0;
        for input in inputs {
            let name = &input.name;
            let Some(element) = Element::numbered(input.element) else {
                return Err(Error::not_covered(format!(
                    "input '{name}' is of element type {}",
                    input.element
                )));
            };
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
            let mut columns = Vec::with_capacity(width);
            for place in places..places + width {
                columns.push(self.column(place, element, order, last)?);
            }
            places += width;
            let value = of_columns(&columns, element);
            self.weigh(value.weight());
            self.values.insert(name.clone(), value);
            self.inputs.push(Takes {
                name: name.clone(),
                element,
                width,
            });
            if self.weight_left == 0 || places as i64 > MOST_COLUMNS {
                return Err(Error::not_covered("so many columns"));
            }
        }
        Ok(())
    }

    /// The column of a place; `last` is the last one of the order.
    fn column(
        &mut self,
        place: usize,
        element: Element,
        order: Option<&[usize]>,
        last: Option<usize>,
    ) -> Result<usize, Error> {
        let column = match order {
            None => place,
            Some(order) => *order
                .get(place)
                .ok_or_else(|| Error::Call("the order has too few columns".to_owned()))?,
        };
        let count = last.unwrap_or(column) + 1;
        if self.columns.len() < count {
            self.columns.resize(count, None);
        }
        match self.columns[column].replace(element) {
            Some(other) if other != element => Err(Error::Call(format!(
                "column {column} feeds inputs of several types"
            ))),
            _ => Ok(column),
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
            Ok(Some(())) if self.weight_left == 0 => Err(Error::not_covered(format!(
                "{op}: too many numbers for so small a file"
            ))),
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
            Value::Label(places, Labels::Ints(ints)) => {
                let exact = |int: &i64| int.unsigned_abs() <= 1 << 53;
                if !ints.iter().all(exact) {
                    return Err(Error::not_covered("of labels of more than 53 bits"));
                }
                let values: Vec<f64> = ints.iter().map(|int| *int as f64).collect();
                let entries = Entries::of(&values);
                let source = Source::Pick { places, entries };
                Ok(vec![Lane::from(source, Element::Int64)])
            }
            Value::Label(..) | Value::Texts(_) => Err(Error::not_covered("of texts")),
            Value::Deep(_) => Err(Error::not_covered("of three dimensions")),
            Value::Constant(_) | Value::Shape(_) => Err(Error::not_covered("of a constant")),
        }
    }

    fn constant(&self, node: &Node, place: usize) -> Result<Tensor, Error> {
        match self.input(node, place)? {
            Value::Constant(tensor) => Ok(tensor),
            _ => Err(Error::not_covered("by what is no constant")),
        }
    }

    fn set(&mut self, node: &Node, place: usize, value: Value) -> Option<()> {
        // An output without a name is one that nobody asks for.
        if let Some(name) = node.outputs.get(place) {
            self.weigh(value.weight());
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
        self.weigh(16 + from.len());
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
    pub(crate) fn trees(&mut self, ensemble: &Arc<Ensemble>, lanes: &[Lane]) -> Vec<Lane> {
        let from = self.tree_registers(ensemble, lanes);
        let kernel = TreeKernel::new(ensemble, self.level);
        let trees = Trees {
            kernel,
            ensemble: Arc::clone(ensemble),
        };
        let slots = self.step(from, Action::Trees(Arc::new(trees)), ensemble.targets);
        slots.into_iter().map(Lane::of).collect()
    }
}

impl Planner {
    /// Those of the lanes that the trees ask for; any one of them for the others.
    fn tree_registers(&mut self, ensemble: &Ensemble, lanes: &[Lane]) -> Vec<Register> {
        let mut asked = ensemble.asks();
        asked.resize(lanes.len(), false);
        if !asked.contains(&true) {
            asked.iter_mut().take(1).for_each(|first| *first = true);
        }
        let asked = lanes.iter().zip(asked);
        let registers = asked.map(|(lane, asked)| asked.then(|| self.register(lane)));
        let registers: Vec<Option<Register>> = registers.collect();
        let any = registers.iter().flatten().next().copied();
        let any = any.unwrap_or(Register::Slot(0));
        registers
            .into_iter()
            .map(|register| register.unwrap_or(any))
            .collect()
    }
}

/// What an operator finds in columns of this type.
fn of_columns(columns: &[usize], element: Element) -> Value {
    let changes = Vec::new;
    match element {
        Element::Text => Value::Texts(
            columns
                .iter()
                .map(|column| TextLane {
                    column: *column,
                    known: Vec::new(),
                    other: None,
                })
                .collect(),
        ),
        Element::Float32 => {
            let columns = columns
                .iter()
                .map(|column| Lane::of(Register::Column(*column)));
            Value::Lanes(columns.collect())
        }
        _ => {
            let lane = |number: &usize| {
                let (number, changes) = (*number, changes());
                Lane::from(Source::Column { number, changes }, element)
            };
            Value::Lanes(columns.iter().map(lane).collect())
        }
    }
}

/// Smallest and largest are only known here where every row has one.
fn is_certain(ensemble: &Ensemble) -> bool {
    use crate::trees::Spoken;
    ensemble.fold == Fold::Sum || ensemble.spoken().iter().all(|of| *of == Spoken::Always)
}
