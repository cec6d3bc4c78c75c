//! What PREDICT means, wherever it runs: bindings and signatures, which column feeds which input, the SQL surface, and the
//! plan nodes that score. No server, no store and no ONNX Runtime live here.

pub mod binding;
pub mod error;
pub mod exec;
pub mod runtime;
pub mod signature;
#[doc(hidden)]
pub mod testing;
