//! What PREDICT means, wherever it runs: bindings and signatures, which column feeds which input, the SQL surface, and the
//! plan nodes that score. No server, no store and no ONNX Runtime live here.

pub mod binding;
pub mod codec;
mod convert;
pub mod error;
pub mod exec;
pub mod onnx;
pub mod runtime;
pub mod signature;
#[doc(hidden)]
pub mod testing;
pub mod types;
