//! The sizes of values that follow from constants alone. ONNX Runtime computes such values when it loads the model, so that a
//! graph of a few bytes can ask for any amount of memory.

use std::collections::HashMap;

use super::tensors::{Tensor, shorten};
use super::{MAX_MADE_VALUES, Refusal, because};

/// A value that is known before the model runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub values: u64,
    pub numbers: Option<Vec<f64>>,
}

impl From<Tensor<'_>> for Known {
    fn from(tensor: Tensor<'_>) -> Self {
        Self {
            values: tensor.values,
            numbers: tensor.numbers,
        }
    }
}

/// The values known in a graph and in those around it.
#[derive(Debug, Default)]
pub(super) struct Sizes<'a> {
    scopes: Vec<HashMap<&'a str, Known>>,
}

/// A node as far as sizes go.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub op: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    /// The value of a Constant.
    pub constant: Option<Known>,
    /// The attribute `shape`.
    pub shape: Vec<i64>,
}

impl<'a> Sizes<'a> {
    pub(super) fn enter(&mut self) {
        self.scopes.push(HashMap::new());
    }

    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn note(&mut self, name: &'a str, known: Known) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, known);
        }
    }

    fn get(&self, name: &str) -> Option<&Known> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    /// Works out what the node makes, and refuses what is beyond all measure.
    pub(super) fn call(&mut self, call: Call<'a>) -> Result<(), Refusal> {
        let Some(made) = self.made(&call) else {
            return Ok(());
        };
        if made.values > MAX_MADE_VALUES {
            return Err(because(format!(
                "operator '{}' makes a tensor of {} values, and more than {MAX_MADE_VALUES} are not made",
                shorten(call.op),
                made.values
            )));
        }
        if let Some(output) = call.outputs.first() {
            self.note(output, made);
        }
        Ok(())
    }

    fn made(&self, call: &Call<'a>) -> Option<Known> {
        let input = |place: usize| call.inputs.get(place).and_then(|name| self.get(name));
        let numbers = |place: usize| input(place).and_then(|known| known.numbers.as_deref());
        let values = |place: usize| input(place).map_or(1, |known| known.values);
        let sized = |values: u64| {
            Some(Known {
                values,
                numbers: None,
            })
        };
        match call.op {
            "Constant" => call.constant.clone(),
            "ConstantOfShape" => sized(product(numbers(0)?)),
            "Expand" => sized(product(numbers(1)?).max(values(0))),
            "Tile" => sized(product(numbers(1)?).saturating_mul(values(0))),
            "Range" => sized(range(numbers(0)?, numbers(1)?, numbers(2)?)?),
            "OneHot" => sized(product(numbers(1)?).saturating_mul(values(0))),
            "Pad" => sized(sum(numbers(1)?)),
            "BlackmanWindow" | "HannWindow" | "HammingWindow" => sized(product(numbers(0)?)),
            "Resize" => {
                let scales = numbers(2).filter(|scales| !scales.is_empty());
                scales
                    .or_else(|| numbers(3))
                    .and_then(|all| sized(product(all)))
            }
            "Upsample" => sized(product(numbers(1)?)),
            "RandomNormal" | "RandomUniform" => {
                let dims: Vec<f64> = call.shape.iter().map(|dim| *dim as f64).collect();
                sized(product(&dims))
            }
            "Concat" => {
                let known = call.inputs.iter().filter_map(|name| self.get(name));
                let total = known.fold(0_u64, |sum, known| sum.saturating_add(known.values));
                (total > 0).then_some(Known {
                    values: total,
                    numbers: None,
                })
            }
            "Identity" | "Cast" | "Squeeze" | "Unsqueeze" => input(0).cloned(),
            "Reshape" | "Flatten" | "Transpose" | "Neg" | "Abs" | "Relu" | "Sigmoid" => {
                sized(input(0)?.values)
            }
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" => {
                let known = call.inputs.iter().filter_map(|name| self.get(name));
                sized(known.map(|known| known.values).max()?)
            }
            _ => None,
        }
    }
}

/// Negative sizes stand for what is there already.
fn product(sizes: &[f64]) -> u64 {
    let product: f64 = sizes.iter().filter(|size| **size > 0.0).product();
    product as u64
}

fn sum(sizes: &[f64]) -> u64 {
    sizes.iter().filter(|size| **size > 0.0).sum::<f64>() as u64
}

fn range(start: &[f64], limit: &[f64], delta: &[f64]) -> Option<u64> {
    let steps = ((limit.first()? - start.first()?) / delta.first()?).ceil();
    (!steps.is_nan()).then_some(steps.max(0.0) as u64)
}
