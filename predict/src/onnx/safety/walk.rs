//! The walk over a model's protobuf, message by message, by the field numbers of ONNX.

use std::collections::HashSet;

use super::functions::{Functions, Operator};
use super::sizes::{Call, Known, Sizes};
use super::tensors::{self, entry, product, shorten};
use super::{
    MAX_COLUMNS, MAX_MESSAGES, MAX_NAME_BYTES, MAX_NESTED_GRAPHS, MAX_NESTED_TYPES, MAX_NODES,
    MAX_RANK, MAX_ROW_VALUES, REFUSED_OPS, Refusal, because, fields,
};
use crate::onnx::wire::{Value, numbers};

/// Metadata is small but for lists of column names.
const MAX_METADATA_BYTES: usize = 8 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    messages: u64,
    nodes: u64,
    graphs_open: usize,
    sizes: Sizes<'a>,
    functions: Functions<'a>,
    /// Every operator that the main graph calls, those in its subgraphs included.
    called: Vec<Operator<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn model(mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let mut graphs = 0;
        for field in fields(bytes) {
            match field? {
                (7, value) => {
                    graphs += 1;
                    if graphs > 1 {
                        return Err(because("it holds more than one main graph"));
                    }
                    self.graph(value.bytes()?)?;
                }
                (14, value) => self.metadata(value.bytes()?)?,
                (20, value) => {
                    self.message()?;
                    value.bytes()?;
                    return Err(because("it is a model for training, not for predicting"));
                }
                (25, value) => self.function(value.bytes()?)?,
                (8, value) => {
                    self.message()?;
                    value.bytes()?;
                }
                _ => {}
            }
        }
        self.functions.check(&self.called)
    }

    fn message(&mut self) -> Result<(), Refusal> {
        self.messages += 1;
        if self.messages > MAX_MESSAGES {
            return Err(because(format!("it has more than {MAX_MESSAGES} parts")));
        }
        Ok(())
    }

    fn metadata(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        let (key, value) = entry(bytes)?;
        if key.len() > MAX_NAME_BYTES || value.len() > MAX_METADATA_BYTES {
            return Err(because("an entry of its metadata is larger than 8 MiB"));
        }
        Ok(())
    }

    fn function(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        let mut own = ("", "");
        let outer = std::mem::take(&mut self.called);
        self.sizes.enter();
        for field in fields(bytes) {
            match field? {
                (1, value) => own.1 = name(value)?,
                (7, value) => self.node(value.bytes()?)?,
                (10, value) => own.0 = domain(name(value)?),
                (11, value) => self.attribute(value.bytes()?, &mut Call::default())?,
                (12, value) => self.value(value.bytes()?).map(drop)?,
                _ => {}
            }
        }
        self.sizes.leave();
        let nodes = std::mem::replace(&mut self.called, outer);
        self.functions.add(own, nodes);
        Ok(())
    }

    fn graph(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        self.graphs_open += 1;
        if self.graphs_open > MAX_NESTED_GRAPHS {
            return Err(because(format!(
                "its graphs are nested deeper than {MAX_NESTED_GRAPHS} levels"
            )));
        }
        self.sizes.enter();
        // The file's order is not that of use: nodes use the values of tensors that may come after them.
        for field in fields(bytes) {
            match field? {
                (5, value) => self.initializer(value.bytes()?)?,
                (15, value) => self.sparse(value.bytes()?)?,
                _ => {}
            }
        }
        self.ends(bytes)?;
        for field in fields(bytes) {
            if let (1, value) = field? {
                self.node(value.bytes()?)?;
            }
        }
        self.sizes.leave();
        self.graphs_open -= 1;
        Ok(())
    }

    fn initializer(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        let tensor = tensors::check(bytes)?;
        self.sizes.note(tensor.name, tensor.into());
        Ok(())
    }

    fn sparse(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        let mut dims = Vec::new();
        for field in fields(bytes) {
            match field? {
                (1 | 2, value) => {
                    self.message()?;
                    tensors::check(value.bytes()?)?;
                }
                (3, value) => numbers(value, &mut dims, MAX_RANK)?,
                _ => {}
            }
        }
        let values = product(&dims, "a sparse tensor")?;
        if values > super::MAX_MADE_VALUES {
            return Err(because(format!(
                "a sparse tensor stands for {values} values"
            )));
        }
        Ok(())
    }

    /// Inputs, outputs and the values between.
    fn ends(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let (mut inputs, mut outputs) = (HashSet::new(), HashSet::new());
        for field in fields(bytes) {
            let (number, value) = field?;
            let (seen, what) = match number {
                11 => (&mut inputs, "inputs"),
                12 => (&mut outputs, "outputs"),
                13 => {
                    self.value(value.bytes()?)?;
                    continue;
                }
                _ => continue,
            };
            let (own, dims) = self.value(value.bytes()?)?;
            if own.chars().any(char::is_control) {
                return Err(because(format!(
                    "the name '{}' holds control characters",
                    shorten(own)
                )));
            }
            if !seen.insert(own) {
                return Err(because(format!(
                    "two of its {what} are called '{}'",
                    shorten(own)
                )));
            }
            if seen.len() as u64 > MAX_COLUMNS {
                return Err(because(format!("it has more than {MAX_COLUMNS} {what}")));
            }
            width(own, &dims)?;
        }
        Ok(())
    }

    /// The name and shape of a value; -1 where the shape is open.
    fn value(&mut self, bytes: &'a [u8]) -> Result<(&'a str, Vec<i64>), Refusal> {
        self.message()?;
        let (mut own, mut dims) = ("", Vec::new());
        for field in fields(bytes) {
            match field? {
                (1, value) => own = name(value)?,
                (2, value) => self.value_type(value.bytes()?, 0, &mut dims)?,
                _ => {}
            }
        }
        Ok((own, dims))
    }

    fn value_type(
        &mut self,
        bytes: &'a [u8],
        depth: usize,
        dims: &mut Vec<i64>,
    ) -> Result<(), Refusal> {
        self.message()?;
        if depth > MAX_NESTED_TYPES {
            return Err(because(format!(
                "its types are nested deeper than {MAX_NESTED_TYPES} levels"
            )));
        }
        for field in fields(bytes) {
            match field? {
                (1 | 8, tensor) => {
                    for field in fields(tensor.bytes()?) {
                        if let (2, shape) = field? {
                            self.shape(shape.bytes()?, dims)?;
                        }
                    }
                }
                // A sequence or an optional has its element's type as field 1, a map its value's as field 2.
                (kind @ (4 | 5 | 9), inner) => {
                    let place = if kind == 5 { 2 } else { 1 };
                    for field in fields(inner.bytes()?) {
                        let (number, value) = field?;
                        if number == place {
                            self.value_type(value.bytes()?, depth + 1, &mut Vec::new())?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&mut self, bytes: &'a [u8], dims: &mut Vec<i64>) -> Result<(), Refusal> {
        for field in fields(bytes) {
            let (1, dim) = field? else {
                continue;
            };
            self.message()?;
            if dims.len() >= MAX_RANK {
                return Err(because(format!(
                    "a value of it has more than {MAX_RANK} dimensions"
                )));
            }
            let mut extent = -1;
            for field in fields(dim.bytes()?) {
                match field? {
                    (1, size) => extent = size.number()?,
                    (2, symbol) => drop(name(symbol)?),
                    _ => {}
                }
            }
            dims.push(extent);
        }
        Ok(())
    }

    fn node(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        self.message()?;
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(because(format!("it has more than {MAX_NODES} nodes")));
        }
        let mut call = Call::default();
        let mut own_domain = "";
        for field in fields(bytes) {
            match field? {
                (1, value) => call.inputs.push(name(value)?),
                (2, value) => call.outputs.push(name(value)?),
                (3, value) => drop(name(value)?),
                (4, value) => call.op = name(value)?,
                (5, value) => self.attribute(value.bytes()?, &mut call)?,
                (7, value) => own_domain = domain(name(value)?),
                _ => {}
            }
        }
        if REFUSED_OPS.contains(&call.op) {
            return Err(because(format!(
                "operator '{}' runs code or reads files from outside of the model",
                call.op
            )));
        }
        self.called.push((own_domain, call.op));
        if own_domain.is_empty() {
            self.sizes.call(call)?;
        }
        Ok(())
    }

    fn attribute(&mut self, bytes: &'a [u8], call: &mut Call<'a>) -> Result<(), Refusal> {
        self.message()?;
        let mut own = "";
        let (mut ints, mut int) = (Vec::new(), None);
        let mut tensor = None;
        for field in fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => own = name(value)?,
                3 => int = Some(value.number()?),
                5 | 10 => {
                    self.message()?;
                    tensor = Some(Known::from(tensors::check(value.bytes()?)?));
                }
                6 | 11 => self.graph(value.bytes()?)?,
                // Trees have millions; only shapes are short enough to matter.
                8 if ints.len() <= MAX_RANK => numbers(value, &mut ints, MAX_RANK)?,
                14 | 15 => self.value_type(value.bytes()?, 0, &mut Vec::new())?,
                22 | 23 => self.sparse(value.bytes()?)?,
                _ => {}
            }
        }
        match own {
            "value" => call.constant = tensor,
            "value_int" => call.constant = int.map(|value| constant(&[value])),
            "value_ints" => call.constant = Some(constant(&ints)),
            "shape" => call.shape = ints,
            _ => {}
        }
        Ok(())
    }
}

fn constant(values: &[i64]) -> Known {
    Known {
        values: values.len() as u64,
        numbers: Some(values.iter().map(|value| *value as f64).collect()),
    }
}

/// A name of any kind.
fn name(value: Value<'_>) -> Result<&str, Refusal> {
    let text = value.text()?;
    if text.len() > MAX_NAME_BYTES {
        return Err(because(format!(
            "the name '{}...' has more than {MAX_NAME_BYTES} bytes",
            shorten(text)
        )));
    }
    Ok(text)
}

/// The default domain is written as nothing or by its name.
fn domain(text: &str) -> &str {
    if text == "ai.onnx" { "" } else { text }
}

/// How much one row takes.
fn width(own: &str, dims: &[i64]) -> Result<(), Refusal> {
    let own = shorten(own);
    if let Some(dim) = dims.iter().find(|dim| **dim < -1) {
        return Err(because(format!("'{own}' has a dimension of {dim}")));
    }
    let most = if dims.len() > 2 {
        MAX_ROW_VALUES
    } else {
        MAX_COLUMNS
    };
    let row = dims.iter().skip(1).filter(|dim| **dim > 0);
    let row = row.fold(1_u64, |row, dim| row.saturating_mul(dim.unsigned_abs()));
    if row > most {
        return Err(because(format!(
            "'{own}' has {row} values a row, more than {most}"
        )));
    }
    Ok(())
}
