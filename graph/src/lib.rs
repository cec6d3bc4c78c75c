//! Scoring without ONNX Runtime.
mod error;
mod kernel;
mod onnx;
mod trees;
pub use error::Error;
