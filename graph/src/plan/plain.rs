//! The plain operators that converters put around a model.

use super::lanes::Lane;
use super::{Planner, Value, class_places};
use crate::Labels;
use crate::changes::{Across, Change};
use crate::error::Error;
use crate::onnx::{Node, Tensor};
use crate::program::{Action, Pair};

type Covered = Result<Option<()>, Error>;

/// The most weights of a matrix: what has more is a neural network, which ONNX Runtime does as fast as can be.
const MOST_WEIGHTS: usize = 512;

const INT32: i64 = 6;
const INT64: i64 = 7;
const STRING: i64 = 8;

impl Planner {
    /// Nothing for an operator that is not covered at all.
    pub(super) fn plain(&mut self, node: &Node) -> Covered {
        match node.op.as_str() {
            "Identity" | "Dropout" => {
                let value = self.input(node, 0)?;
                Ok(self.set(node, 0, value))
            }
            "Constant" => match node.tensor("value") {
                Some(tensor) => Ok(self.set(node, 0, Value::Constant(tensor.clone()))),
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
                let lanes = self.lanes(node, 0)?;
                is_last(node.int("axis", -1))?;
                let lanes = self.across(&lanes, Across::Softmax);
                Ok(self.set(node, 0, Value::Lanes(lanes)))
            }
            "ArgMax" => {
                let lanes = self.lanes(node, 0)?;
                is_last(node.int("axis", 0))?;
                if node.int("select_last_index", 0) != 0 {
                    return Err(Error::not_covered("the last of the largest"));
                }
                let labels = class_places(lanes.len());
                let value = self.largest(&lanes);
                let value = value.map(|register| Value::Label(register, labels));
                Ok(value.and_then(|value| self.set(node, 0, value)))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn each(&mut self, node: &Node, change: Change) -> Covered {
        let lanes = self.lanes(node, 0)?.into_iter();
        let lanes = lanes.map(|lane| lane.with(change)).collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn cast(&mut self, node: &Node) -> Covered {
        let to = node.int("to", 0);
        let value = match (self.input(node, 0)?, to) {
            (value @ Value::Lanes(_), super::FLOAT)
            | (value @ Value::Label(_, Labels::Ints(_)), INT64)
            | (value @ Value::Label(_, Labels::Texts(_)), STRING) => value,
            (Value::Label(register, Labels::Ints(ints)), INT32)
                if ints.iter().all(|label| i32::try_from(*label).is_ok()) =>
            {
                Value::Label(register, Labels::Ints(ints))
            }
            _ => return Err(Error::not_covered(format!("to element type {to}"))),
        };
        Ok(self.set(node, 0, value))
    }

    pub(super) fn concat(&mut self, node: &Node) -> Covered {
        is_last(node.int("axis", 1))?;
        let mut all = Vec::new();
        for place in 0..node.inputs.len() {
            all.extend(self.lanes(node, place)?);
        }
        Ok(self.set(node, 0, Value::Lanes(all)))
    }

    /// Only shapes that leave each row its numbers.
    fn reshape(&mut self, node: &Node) -> Covered {
        let value = self.input(node, 0)?;
        let width = match &value {
            Value::Lanes(lanes) => lanes.len(),
            Value::Label(..) => 1,
            Value::Constant(_) => return Err(Error::not_covered("of a constant")),
        };
        let fits = match node.op.as_str() {
            "Reshape" => match self.constant(node, 1)?.ints.as_slice() {
                [-1] => width == 1,
                [-1 | 0, last] => *last == width as i64 || (width == 1 && *last == -1),
                _ => false,
            },
            "Flatten" => node.int("axis", 1) == 1,
            _ => width == 1,
        };
        match fits {
            true => Ok(self.set(node, 0, value)),
            false => Err(Error::not_covered("to other rows")),
        }
    }

    fn gather(&mut self, node: &Node) -> Covered {
        let lanes = self.lanes(node, 0)?;
        is_last(node.int("axis", 0))?;
        let lanes = pick(&lanes, &self.constant(node, 1)?.ints)?;
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn pair(&mut self, node: &Node, pair: Pair) -> Covered {
        let lanes = match (self.input(node, 0)?, self.input(node, 1)?) {
            (Value::Lanes(left), Value::Lanes(right)) => {
                self.lanes_by_lanes(pair, &left, &right)?
            }
            (Value::Lanes(lanes), Value::Constant(by)) => {
                by_constant(lanes, &by, |by| match pair {
                    Pair::Add => Change::Add(by),
                    Pair::Subtract => Change::Subtract(by),
                    Pair::Multiply => Change::Multiply(by),
                    Pair::Divide => Change::Divide(by),
                })?
            }
            (Value::Constant(from), Value::Lanes(lanes)) => {
                by_constant(lanes, &from, |from| match pair {
                    Pair::Add => Change::Add(from),
                    Pair::Subtract => Change::SubtractFrom(from),
                    Pair::Multiply => Change::Multiply(from),
                    Pair::Divide => Change::DivideInto(from),
                })?
            }
            _ => return Err(Error::not_covered("of labels")),
        };
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn lanes_by_lanes(
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
        let left = self.registers(left);
        let right = self.registers(right);
        let mut lanes = Vec::with_capacity(count);
        for (left, right) in left.iter().cycle().zip(right.iter().cycle()).take(count) {
            let slots = self.step(vec![*left, *right], Action::Pair(pair), 1);
            lanes.extend(slots.into_iter().map(Lane::of));
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
        let lanes = self.lanes(node, 0)?;
        if matrix.floats.len() > MOST_WEIGHTS {
            return Err(Error::not_covered("a layer of a neural network"));
        }
        let width = lanes.len();
        let targets = match (matrix.dims.as_slice(), transposed) {
            ([rows], false) if *rows == width as i64 => 1,
            ([rows, targets], false) | ([targets, rows], true) if *rows == width as i64 => {
                usize::try_from(*targets).unwrap_or(0)
            }
            _ => 0,
        };
        if targets == 0 || width == 0 || matrix.floats.len() != width * targets {
            return Err(Error::not_covered("by a matrix of another shape"));
        }
        let weight = |target: usize, lane: usize| match transposed {
            true => alpha * matrix.floats[target * width + lane],
            false => alpha * matrix.floats[lane * targets + target],
        };
        let row = |target| (0..width).map(|lane| weight(target, lane)).collect();
        let weights: Vec<Vec<f32>> = (0..targets).map(row).collect();
        let constants = match added.map(|added| added.floats) {
            None => vec![0.0; targets],
            Some(added) if added.len() == 1 => vec![added[0]; targets],
            Some(added) if added.len() == targets => added,
            Some(_) => return Err(Error::not_covered("a summand of another shape")),
        };
        let lanes = self.linear(&lanes, &weights, &constants);
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }
}

/// Some of the lanes.
pub(super) fn pick(lanes: &[Lane], places: &[i64]) -> Result<Vec<Lane>, Error> {
    let picked = places.iter().map(|place| {
        let from_end = place + lanes.len() as i64;
        let place = if *place < 0 { from_end } else { *place };
        let lane = usize::try_from(place)
            .ok()
            .and_then(|place| lanes.get(place));
        lane.cloned()
    });
    match picked.collect::<Option<Vec<Lane>>>() {
        Some(picked) if !picked.is_empty() => Ok(picked),
        _ => Err(Error::not_covered("of places that are not there")),
    }
}

/// The second of two dimensions.
fn is_last(axis: i64) -> Result<(), Error> {
    match axis {
        1 | -1 => Ok(()),
        _ => Err(Error::not_covered(format!("along axis {axis}"))),
    }
}

fn by_constant(
    lanes: Vec<Lane>,
    constant: &Tensor,
    change: impl Fn(f32) -> Change,
) -> Result<Vec<Lane>, Error> {
    let values = &constant.floats;
    // More than one row of numbers would need as many rows here.
    let one_row = match constant.dims.as_slice() {
        [] | [_] | [1, _] => true,
        dims => dims.iter().all(|size| *size == 1),
    };
    let change_lane = |lane: &Lane, value: &f32| lane.clone().with(change(*value));
    match (values.len(), lanes.len()) {
        (1, _) => Ok(lanes
            .iter()
            .map(|lane| change_lane(lane, &values[0]))
            .collect()),
        (count, width) if one_row && count == width => Ok(lanes
            .iter()
            .zip(values)
            .map(|(lane, value)| change_lane(lane, value))
            .collect()),
        (count, 1) if one_row && count > 1 => Ok(values
            .iter()
            .map(|value| change_lane(&lanes[0], value))
            .collect()),
        _ => Err(Error::not_covered("by a constant of another shape")),
    }
}
