//! The parts of an ONNX file that scoring needs, decoded: nodes with their attributes, constants, inputs and outputs.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::wire::{Fields, Value, each_float, each_int, each_text};
use crate::error::Error;

/// ONNX's number for each element type that constants are read in.
const FLOAT: i64 = 1;
const UINT8: i64 = 2;
const INT32: i64 = 6;
const INT64: i64 = 7;
const STRING: i64 = 8;
const DOUBLE: i64 = 11;

#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub constants: Vec<(String, Tensor)>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<String>,
    /// How long its message is.
    pub bytes: usize,
}

/// A graph input; sizes are -1 where the file leaves them open.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub name: String,
    pub element: i64,
    pub shape: Vec<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub op: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<Attribute<'a>>,
}

/// Its lists are read when they are asked for: those of trees are most of a file, and are read number by number.
#[derive(Debug, Default)]
pub(crate) struct Attribute<'a> {
    pub name: String,
    pub float: f32,
    pub int: i64,
    pub text: Vec<u8>,
    message: &'a [u8],
    /// The message of its tensor.
    tensor: Option<&'a [u8]>,
    floats: OnceCell<Vec<f32>>,
    ints: OnceCell<Vec<i64>>,
    texts: OnceCell<Vec<String>>,
}

/// ONNX's numbers for the lists of an attribute.
const FLOATS: u64 = 7;
const INTS: u64 = 8;
const TEXTS: u64 = 9;

/// A constant; values of other types than its own are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensor {
    pub dims: Vec<i64>,
    pub floats: Vec<f32>,
    /// Those of a constant of doubles; where all of them are floats too, `floats` has them as well.
    pub doubles: Vec<f64>,
    pub ints: Vec<i64>,
    pub texts: Vec<String>,
}

impl Tensor {
    /// Its numbers, whatever their type.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        match (self.doubles.as_slice(), self.floats.as_slice()) {
            ([], []) => self.ints.iter().map(|int| *int as f64).collect(),
            ([], floats) => floats.iter().map(|float| f64::from(*float)).collect(),
            (doubles, _) => doubles.to_vec(),
        }
    }

    /// Its floats; refused where they are doubles that no floats stand for.
    pub(crate) fn singles(&self) -> Result<&[f32], Error> {
        match self.floats.is_empty() && !self.doubles.is_empty() {
            true => Err(Error::not_covered("constants of double precision")),
            false => Ok(&self.floats),
        }
    }
}

impl<'a> Node<'a> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.find(name).map_or(default, |found| found.int)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.find(name).map_or(default, |found| found.float)
    }

    pub(crate) fn text(&self, name: &str, default: &'static str) -> &str {
        let found = self
            .find(name)
            .map(|found| std::str::from_utf8(&found.text));
        found.and_then(Result::ok).unwrap_or(default)
    }

    pub(crate) fn ints(&self, name: &str) -> &[i64] {
        self.find(name).map_or(&[], |found| {
            let read = || each_int(found.message, INTS).collect();
            found.ints.get_or_init(read)
        })
    }

    pub(crate) fn floats(&self, name: &str) -> &[f32] {
        self.find(name).map_or(&[], |found| {
            let read = || each_float(found.message, FLOATS).collect();
            found.floats.get_or_init(read)
        })
    }

    pub(crate) fn texts(&self, name: &str) -> &[String] {
        self.find(name).map_or(&[], |found| {
            let read = || each_text(found.message, TEXTS).map(str::to_owned).collect();
            found.texts.get_or_init(read)
        })
    }

    fn message(&self, name: &str) -> &'a [u8] {
        self.find(name).map_or(&[], |found| found.message)
    }

    /// As [`Node::ints`], without keeping them.
    pub(crate) fn each_int(&self, name: &str) -> impl Iterator<Item = i64> + Clone + use<'a> {
        each_int(self.message(name), INTS)
    }

    /// As [`Node::floats`], without keeping them.
    pub(crate) fn each_float(&self, name: &str) -> impl Iterator<Item = f32> + Clone + use<'a> {
        each_float(self.message(name), FLOATS)
    }

    /// As [`Node::texts`], without keeping them.
    pub(crate) fn each_text(&self, name: &str) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        each_text(self.message(name), TEXTS)
    }

    fn tensor_message(&self, name: &str) -> Option<&'a [u8]> {
        self.find(name).and_then(|found| found.tensor)
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Tensor>, Error> {
        let tensor = self.tensor_message(name).map(tensor).transpose()?;
        Ok(tensor.map(|(_, tensor)| tensor))
    }

    /// The bytes of a tensor's floats, where they lie in the file if they lie together.
    pub(crate) fn tensor_floats(&self, name: &str) -> Result<Cow<'a, [[u8; 4]]>, Error> {
        if let Some(raw) = self.raw_tensor(name, FLOAT)?
            && let (floats, []) = raw.as_chunks()
        {
            return Ok(Cow::Borrowed(floats));
        }
        let tensor = self.tensor(name)?.unwrap_or_default();
        let floats = tensor.singles()?.iter().map(|float| float.to_le_bytes());
        Ok(Cow::Owned(floats.collect()))
    }

    /// A tensor's numbers that are bytes, as [`Node::tensor_floats`].
    pub(crate) fn tensor_bytes(&self, name: &str) -> Result<Cow<'a, [u8]>, Error> {
        if let Some(raw) = self.raw_tensor(name, UINT8)? {
            return Ok(Cow::Borrowed(raw));
        }
        let tensor = self.tensor(name)?.unwrap_or_default();
        let bytes = tensor.ints.iter().map(|int| u8::try_from(*int));
        let bytes: Result<_, _> = bytes.collect();
        bytes
            .map(Cow::Owned)
            .map_err(|_| Error::damaged(format!("'{name}' has what is no byte")))
    }

    /// What is all that a tensor of this type has.
    fn raw_tensor(&self, name: &str, wanted: i64) -> Result<Option<&'a [u8]>, Error> {
        let (mut element, mut raw) = (0, None);
        for field in Fields::of(self.tensor_message(name).unwrap_or(&[])) {
            match field? {
                (2, value) => element = value.number()?,
                (9, value) => raw = Some(value.bytes()?),
                (1 | 8 | 12, _) => {}
                _ => return Ok(None),
            }
        }
        Ok(raw.filter(|_| element == wanted))
    }
}

/// The main graph of a model file.
pub(crate) fn read_graph(bytes: &[u8]) -> Result<Graph<'_>, Error> {
    let mut found = None;
    for field in Fields::of(bytes) {
        match field? {
            (7, value) => found = Some(graph(value.bytes()?)?),
            (25, _) => return Err(Error::not_covered("the model has functions of its own")),
            _ => {}
        }
    }
    found.ok_or_else(|| Error::damaged("it has no graph"))
}

fn graph(bytes: &[u8]) -> Result<Graph<'_>, Error> {
    let mut graph = Graph {
        bytes: bytes.len(),
        ..Graph::default()
    };
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => graph.nodes.push(node(value.bytes()?)?),
            (5, value) => graph.constants.push(tensor(value.bytes()?)?),
            (11, value) => graph.inputs.push(input(value.bytes()?)?),
            (12, value) => graph.outputs.push(input(value.bytes()?)?.name),
            (15, _) => return Err(Error::not_covered("the model has sparse constants")),
            _ => {}
        }
    }
    let Graph {
        inputs, constants, ..
    } = &mut graph;
    inputs.retain(|input| constants.iter().all(|(name, _)| *name != input.name));
    Ok(graph)
}

fn node(bytes: &[u8]) -> Result<Node<'_>, Error> {
    let mut node = Node::default();
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => node.inputs.push(value.text()?.to_owned()),
            (2, value) => node.outputs.push(value.text()?.to_owned()),
            (4, value) => value.text()?.clone_into(&mut node.op),
            (5, value) => node.attributes.push(attribute(value.bytes()?)?),
            (7, value) => value.text()?.clone_into(&mut node.domain),
            _ => {}
        }
    }
    Ok(node)
}

fn attribute(bytes: &[u8]) -> Result<Attribute<'_>, Error> {
    let mut attribute = Attribute {
        message: bytes,
        ..Attribute::default()
    };
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => value.text()?.clone_into(&mut attribute.name),
            (2, value) => attribute.float = value.float()?,
            (3, value) => attribute.int = value.number()?,
            (4, value) => attribute.text = value.bytes()?.to_vec(),
            (5, value) => attribute.tensor = Some(value.bytes()?),
            (FLOATS, value) => value.are_floats()?,
            (INTS, value) => value.are_numbers()?,
            (TEXTS, value) => value.text().map(|_| ())?,
            _ => {}
        }
    }
    Ok(attribute)
}

fn tensor(bytes: &[u8]) -> Result<(String, Tensor), Error> {
    let (mut name, mut element, mut raw) = (String::new(), 0, None);
    let mut tensor = Tensor::default();
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => value.numbers(&mut tensor.dims)?,
            (2, value) => element = value.number()?,
            (4, value) => value.floats(&mut tensor.floats)?,
            (5 | 7, value) => value.numbers(&mut tensor.ints)?,
            (6, value) => tensor.texts.push(value.text()?.to_owned()),
            (8, value) => value.text()?.clone_into(&mut name),
            (9, value) => raw = Some(value.bytes()?),
            (10, Value::Bytes(packed)) => doubles(packed, &mut tensor.doubles)?,
            (13 | 14, _) => return Err(Error::not_covered("weights are in another file")),
            _ => {}
        }
    }
    if let Some(raw) = raw {
        from_raw(element, raw, &mut tensor)?;
    }
    let same = |value: &f64| f64::from(*value as f32) == *value || value.is_nan();
    if tensor.floats.is_empty() && tensor.doubles.iter().all(same) {
        tensor.floats = tensor.doubles.iter().map(|value| *value as f32).collect();
    }
    match element {
        FLOAT | UINT8 | INT32 | INT64 | STRING | DOUBLE => Ok((name, tensor)),
        _ => Err(Error::not_covered(format!(
            "constant '{name}' is of element type {element}"
        ))),
    }
}

fn from_raw(element: i64, raw: &[u8], tensor: &mut Tensor) -> Result<(), Error> {
    let whole = |rest: &[u8]| match rest {
        [] => Ok(()),
        _ => Err(Error::damaged("a constant ends within a value")),
    };
    match element {
        FLOAT => Value::Bytes(raw).floats(&mut tensor.floats),
        DOUBLE => doubles(raw, &mut tensor.doubles),
        UINT8 => {
            tensor.ints.extend(raw.iter().map(|byte| i64::from(*byte)));
            Ok(())
        }
        INT32 => {
            let (values, rest) = raw.as_chunks::<4>();
            let values = values.iter().map(|bytes| i32::from_le_bytes(*bytes));
            tensor.ints.extend(values.map(i64::from));
            whole(rest)
        }
        INT64 => {
            let (values, rest) = raw.as_chunks::<8>();
            let values = values.iter().map(|bytes| i64::from_le_bytes(*bytes));
            tensor.ints.extend(values);
            whole(rest)
        }
        _ => Ok(()),
    }
}

fn doubles(raw: &[u8], into: &mut Vec<f64>) -> Result<(), Error> {
    let (values, []) = raw.as_chunks::<8>() else {
        return Err(Error::damaged("a constant ends within a value"));
    };
    into.extend(values.iter().map(|bytes| f64::from_le_bytes(*bytes)));
    Ok(())
}

fn input(bytes: &[u8]) -> Result<Input, Error> {
    let mut input = Input::default();
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => value.text()?.clone_into(&mut input.name),
            (2, value) => {
                for field in Fields::of(value.bytes()?) {
                    if let (1, value) = field? {
                        tensor_type(value.bytes()?, &mut input)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

fn tensor_type(bytes: &[u8], input: &mut Input) -> Result<(), Error> {
    for field in Fields::of(bytes) {
        match field? {
            (1, value) => input.element = value.number()?,
            (2, value) => {
                for field in Fields::of(value.bytes()?) {
                    let (1, dimension) = field? else { continue };
                    let mut size = -1;
                    for field in Fields::of(dimension.bytes()?) {
                        if let (1, value) = field? {
                            size = value.number()?;
                        }
                    }
                    input.shape.push(if size > 0 { size } else { -1 });
                }
            }
            _ => {}
        }
    }
    Ok(())
}
