//! What PREDICT means, wherever it runs: bindings and signatures, which column feeds which input, the SQL surface, and the
//! plan nodes that score. No server, no store and no ONNX Runtime live here.

pub mod binding;
pub mod codec;
mod convert;
pub mod error;
pub mod exec;
pub mod facts;
pub mod input;
pub mod known;
pub mod locate;
pub mod lower;
pub mod mapping;
pub mod mlmodel;
pub mod node;
pub mod onnx;
pub mod options;
pub mod planner;
pub mod runtime;
pub mod session;
pub mod signature;
pub mod sink;
pub mod sql;
#[doc(hidden)]
pub mod testing;
pub mod types;
pub mod value;
