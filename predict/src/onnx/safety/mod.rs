//! Refuses models that would cost more than their file's size suggests, before anything is decoded or loaded: a model comes
//! from wherever its user says. One walk over the bytes of the protobuf, which allocates next to nothing, holds every count,
//! length and declared size within bounds; what passes is decoded and later given to ONNX Runtime.
//!
//! Of a model's own doing while it runs nothing is said here: that is the executor's to bound.

mod functions;
mod paths;
mod sizes;
mod tensors;
#[cfg(test)]
mod tests;
mod walk;

use super::wire::{Fields, Malformed, Value};

pub use paths::contained;

/// Protobuf holds no more.
pub const MAX_FILE_BYTES: u64 = (1 << 31) - 1;
/// Graphs inside operators inside graphs.
const MAX_NESTED_GRAPHS: usize = 16;
/// Types inside types: a sequence of maps of sequences of ...
const MAX_NESTED_TYPES: usize = 8;
/// Nodes, of all graphs and functions together, and after functions are put in place of their calls.
const MAX_NODES: u64 = 500_000;
/// Messages of any kind: each takes more memory decoded than in the file.
const MAX_MESSAGES: u64 = 4_000_000;
/// The inputs of a graph, or the columns of one of them.
const MAX_COLUMNS: u64 = 65_536;
/// The values of one row of one input of rank 3 and more.
const MAX_ROW_VALUES: u64 = 1 << 26;
/// The values of one tensor that an operator makes out of constants: half a gigabyte of floats.
const MAX_MADE_VALUES: u64 = 1 << 27;
const MAX_RANK: usize = 8;
const MAX_NAME_BYTES: usize = 4096;
/// Operators that have ONNX Runtime read other files or run other code.
const REFUSED_OPS: [&str; 4] = ["EPContext", "PythonOp", "PythonOpGrad", "ATen"];

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not the protobuf that it should be: damaged, cut off, or something else.
    Malformed,
    /// What is wrong with it.
    Because(String),
}

impl From<Malformed> for Refusal {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// The fields of one message: their numbers and what they hold.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    Fields::of(message).map(|field| field.map(|field| (field.number, field.value)))
}

/// Checks the file; `Ok` says that it may be decoded.
pub(super) fn check(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(because("it is larger than 2 GiB, which no ONNX file is"));
    }
    walk::Walk::default().model(bytes)
}

fn because(why: impl Into<String>) -> Refusal {
    Refusal::Because(why.into())
}
