//! ONNX files: what is in them, before anything of it is understood.

mod messages;
mod wire;

pub(crate) use self::messages::{Graph, Input, Node, Tensor, read_graph};
