//! The plain operators that converters put around a model.

use super::compare::{is_float, one_row};
use super::lanes::Lane;
use super::{MOST_COLUMNS, Planner, Value, class_places};
use crate::changes::{Across, Change};
use crate::column::Element;
use crate::error::Error;
use crate::onnx::{Node, Tensor};
use crate::program::{Action, Pair};
use crate::read::Wide;

type Covered = Result<Option<()>, Error>;

/// The most weights of a matrix: what has more is a neural network, which ONNX Runtime does as fast as can be.
const MOST_WEIGHTS: usize = 512;

impl Planner {
    /// Nothing for an operator that is not covered at all.
    pub(super) fn plain(&mut self, node: &Node) -> Covered {
        match node.op.as_str() {
            "Identity" | "Dropout" => {
                let value = self.input(node, 0)?;
                Ok(self.set(node, 0, value))
            }
            "Constant" => match node.tensor("value")? {
                Some(tensor) => Ok(self.set(node, 0, Value::Constant(tensor))),
                None => Ok(None),
            },
            "Cast" => self.cast(node),
            "Concat" => self.concat(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Gather" => self.gather(node),
            "Add" => self.pair(node, Pair::Add),
            "Sub" => self.pair(node, Pair::Subtract),
            "Mul" => self.pair(node, Pair::Multiply),
            "Div" => self.pair(node, Pair::Divide),
            "MatMul" => {
                let weights = self.constant(node, 1)?;
                self.matrix(node, &weights, false, None, 1.0)
            }
            "Gemm" => self.gemm(node),
            "Sigmoid" => self.each(node, Change::Logistic),
            "Exp" => self.each(node, Change::Exp),
            "Log" => self.each(node, Change::Log),
            "Sqrt" => self.each(node, Change::Sqrt),
            "Abs" => self.each(node, Change::Abs),
            "Neg" => self.each(node, Change::Negate),
            "Softmax" => {
                let lanes = self.float_lanes(node, 0)?;
                let element = element_of(&lanes);
                is_last(node.int("axis", -1))?;
                let lanes = self.across(&lanes, Across::Softmax);
                let lanes = lanes.into_iter().map(|lane| lane.typed(element)).collect();
                Ok(self.set(node, 0, Value::Lanes(lanes)))
            }
            "ArgMax" => {
                let lanes = self.float_lanes(node, 0)?;
                is_last(node.int("axis", 0))?;
                if node.int("select_last_index", 0) != 0 {
                    return Err(Error::not_covered("the last of the largest"));
                }
                let labels = class_places(lanes.len());
                let value = self.largest(&lanes);
                let value = value.map(|register| Value::Label(register, labels));
                Ok(value.and_then(|value| self.set(node, 0, value)))
            }
            _ => self.compared(node),
        }
    }

    /// Lanes of floats or doubles.
    pub(super) fn float_lanes(&self, node: &Node, place: usize) -> Result<Vec<Lane>, Error> {
        let lanes = self.lanes(node, place)?;
        match lanes.iter().all(is_float) {
            true => Ok(lanes),
            false => Err(Error::not_covered("of what are no floats")),
        }
    }

    pub(super) fn each(&mut self, node: &Node, change: Change) -> Covered {
        let lanes = self.float_lanes(node, 0)?.into_iter();
        let lanes = lanes.map(|lane| lane.with(change)).collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    /// Columns side by side; those of one-hot encoders along what they added.
    pub(super) fn concat(&mut self, node: &Node) -> Covered {
        let axis = node.int("axis", 1);
        let first = self.input(node, 0)?;
        let mut all = Vec::new();
        let value = match first {
            Value::Texts(_) => {
                is_last(axis)?;
                let mut all = Vec::new();
                for place in 0..node.inputs.len() {
                    match self.input(node, place)? {
                        Value::Texts(lanes) => all.extend(lanes),
                        _ => return Err(Error::not_covered("of texts and others")),
                    }
                    is_row(&all)?;
                }
                Value::Texts(all)
            }
            Value::Deep(_) => {
                if !matches!(axis, 2 | -1) {
                    return Err(Error::not_covered(format!("along axis {axis}")));
                }
                for place in 0..node.inputs.len() {
                    match self.input(node, place)? {
                        Value::Deep(lanes) => all.extend(lanes),
                        _ => return Err(Error::not_covered("of different dimensions")),
                    }
                    is_row(&all)?;
                }
                Value::Deep(all)
            }
            Value::Lanes(_) | Value::Label(..) | Value::Constant(_) | Value::Shape(_) => {
                is_last(axis)?;
                for place in 0..node.inputs.len() {
                    all.extend(self.lanes(node, place)?);
                    is_row(&all)?;
                }
                if all.windows(2).any(|two| two[0].element != two[1].element) {
                    return Err(Error::damaged("columns of different types side by side"));
                }
                Value::Lanes(all)
            }
        };
        Ok(self.set(node, 0, value))
    }

    /// Only shapes that leave each row its numbers.
    fn reshape(&mut self, node: &Node) -> Covered {
        let value = self.input(node, 0)?;
        let width = match &value {
            Value::Lanes(lanes) | Value::Deep(lanes) => lanes.len(),
            Value::Texts(lanes) => lanes.len(),
            Value::Label(..) => 1,
            Value::Constant(_) | Value::Shape(_) => {
                return Err(Error::not_covered("of a constant"));
            }
        };
        let deep = matches!(value, Value::Deep(_));
        let fits = match node.op.as_str() {
            "Reshape" => match self.constant(node, 1)?.ints.as_slice() {
                [-1] => width == 1,
                [-1 | 0, last] => *last == width as i64 || (width == 1 && *last == -1),
                _ => false,
            },
            "Flatten" => node.int("axis", 1) == 1,
            _ => width == 1 && !deep,
        };
        let value = match value {
            Value::Deep(lanes) => Value::Lanes(lanes),
            value => value,
        };
        match fits {
            true => Ok(self.set(node, 0, value)),
            false => Err(Error::not_covered("to other rows")),
        }
    }

    fn gather(&mut self, node: &Node) -> Covered {
        let axis = node.int("axis", 0);
        let places = self.constant(node, 1)?.ints;
        let value = match self.input(node, 0)? {
            Value::Deep(lanes) if matches!(axis, 2 | -1) => Value::Deep(pick(&lanes, &places)?),
            Value::Texts(lanes) => {
                is_last(axis)?;
                Value::Texts(pick(&lanes, &places)?)
            }
            _ => {
                let lanes = self.lanes(node, 0)?;
                is_last(axis)?;
                Value::Lanes(pick(&lanes, &places)?)
            }
        };
        Ok(self.set(node, 0, value))
    }

    fn pair(&mut self, node: &Node, pair: Pair) -> Covered {
        let with = |lane: Lane, by: f64| {
            let narrow = by as f32;
            let (narrow, wide) = match pair {
                Pair::Add => (Change::Add(narrow), Wide::Add(by)),
                Pair::Subtract => (Change::Subtract(narrow), Wide::Subtract(by)),
                Pair::Multiply => (Change::Multiply(narrow), Wide::Multiply(by)),
                _ => (Change::Divide(narrow), Wide::Divide(by)),
            };
            lane.with_either(narrow, wide)
        };
        let into = |lane: Lane, from: f64| {
            let narrow = from as f32;
            let (narrow, wide) = match pair {
                Pair::Add => (Change::Add(narrow), Wide::Add(from)),
                Pair::Subtract => (Change::SubtractFrom(narrow), Wide::SubtractFrom(from)),
                Pair::Multiply => (Change::Multiply(narrow), Wide::Multiply(from)),
                _ => (Change::DivideInto(narrow), Wide::DivideInto(from)),
            };
            lane.with_either(narrow, wide)
        };
        let lanes = match (self.input(node, 0)?, self.input(node, 1)?) {
            (_, Value::Constant(by)) => by_constant(self.float_lanes(node, 0)?, &by, with)?,
            (Value::Constant(from), _) => by_constant(self.float_lanes(node, 1)?, &from, into)?,
            _ => {
                let (left, right) = (self.float_lanes(node, 0)?, self.float_lanes(node, 1)?);
                self.lanes_by_lanes(pair, &left, &right)?
            }
        };
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    pub(super) fn lanes_by_lanes(
        &mut self,
        pair: Pair,
        left: &[Lane],
        right: &[Lane],
    ) -> Result<Vec<Lane>, Error> {
        let count = left.len().max(right.len());
        if [left, right]
            .iter()
            .any(|lanes| lanes.len() != 1 && lanes.len() != count)
        {
            return Err(Error::not_covered("of different widths"));
        }
        let element = element_of(left);
        let left = self.registers(left);
        let right = self.registers(right);
        let mut lanes = Vec::with_capacity(count);
        for (left, right) in left.iter().cycle().zip(right.iter().cycle()).take(count) {
            let register = self.one(vec![*left, *right], Action::Pair(pair));
            lanes.push(Lane::of(register).typed(element));
        }
        Ok(lanes)
    }

    fn gemm(&mut self, node: &Node) -> Covered {
        if node.int("transA", 0) != 0 || node.float("beta", 1.0) != 1.0 {
            return Err(Error::not_covered("with transA or beta"));
        }
        let weights = self.constant(node, 1)?;
        let added = match node.inputs.get(2).is_some_and(|name| !name.is_empty()) {
            true => Some(self.constant(node, 2)?),
            false => None,
        };
        let transposed = node.int("transB", 0) != 0;
        self.matrix(node, &weights, transposed, added, node.float("alpha", 1.0))
    }

    fn matrix(
        &mut self,
        node: &Node,
        matrix: &Tensor,
        transposed: bool,
        added: Option<Tensor>,
        alpha: f32,
    ) -> Covered {
        let lanes = self.float_lanes(node, 0)?;
        let matrix_values = matrix.numbers();
        let width = lanes.len();
        let targets = match (matrix.dims.as_slice(), transposed) {
            ([rows], false) if *rows == width as i64 => 1,
            ([rows, targets], false) | ([targets, rows], true) if *rows == width as i64 => {
                usize::try_from(*targets).unwrap_or(0)
            }
            _ => 0,
        };
        if targets == 0 || width == 0 || Some(matrix_values.len()) != width.checked_mul(targets) {
            return Err(Error::not_covered("by a matrix of another shape"));
        }
        if Self::dense(&lanes) * targets > MOST_WEIGHTS {
            return Err(Error::not_covered("a layer of a neural network"));
        }
        let weight = |target: usize, lane: usize| match transposed {
            true => f64::from(alpha) * matrix_values[target * width + lane],
            false => f64::from(alpha) * matrix_values[lane * targets + target],
        };
        let row = |target| (0..width).map(|lane| weight(target, lane)).collect();
        let weights: Vec<Vec<f64>> = (0..targets).map(row).collect();
        let constants = match added.map(|added| added.numbers()) {
            None => vec![0.0; targets],
            Some(added) if added.len() == 1 => vec![added[0]; targets],
            Some(added) if added.len() == targets => added,
            Some(_) => return Err(Error::not_covered("a summand of another shape")),
        };
        let element = element_of(&lanes);
        let lanes = self.linear(&lanes, &weights, &constants);
        let lanes = lanes.into_iter().map(|lane| lane.typed(element)).collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }
}

fn element_of(lanes: &[Lane]) -> Element {
    lanes.first().map_or(Element::Float32, |lane| lane.element)
}

fn is_row<T>(all: &[T]) -> Result<(), Error> {
    match all.len() as i64 > MOST_COLUMNS {
        true => Err(Error::not_covered("so many numbers")),
        false => Ok(()),
    }
}

/// Some of the lanes.
pub(super) fn pick<T: Clone>(lanes: &[T], places: &[i64]) -> Result<Vec<T>, Error> {
    let picked = places.iter().map(|place| {
        let from_end = place + lanes.len() as i64;
        let place = if *place < 0 { from_end } else { *place };
        let lane = usize::try_from(place)
            .ok()
            .and_then(|place| lanes.get(place));
        lane.cloned()
    });
    match picked.collect::<Option<Vec<T>>>() {
        Some(picked) if !picked.is_empty() => Ok(picked),
        _ => Err(Error::not_covered("of places that are not there")),
    }
}

/// The second of two dimensions.
pub(super) fn is_last(axis: i64) -> Result<(), Error> {
    match axis {
        1 | -1 => Ok(()),
        _ => Err(Error::not_covered(format!("along axis {axis}"))),
    }
}

/// Each lane with its number of a constant.
pub(super) fn by_constant(
    lanes: Vec<Lane>,
    constant: &Tensor,
    change: impl Fn(Lane, f64) -> Lane,
) -> Result<Vec<Lane>, Error> {
    let values = constant.numbers();
    match (values.len(), lanes.len()) {
        (1, _) => {
            let lanes = lanes.into_iter();
            Ok(lanes.map(|lane| change(lane, values[0])).collect())
        }
        (count, width) if one_row(constant) && count == width => {
            let lanes = lanes.into_iter().zip(values);
            Ok(lanes.map(|(lane, value)| change(lane, value)).collect())
        }
        (count, 1) if one_row(constant) && count > 1 => {
            let values = values.into_iter();
            Ok(values
                .map(|value| change(lanes[0].clone(), value))
                .collect())
        }
        _ => Err(Error::not_covered("by a constant of another shape")),
    }
}
