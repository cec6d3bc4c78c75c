//! Scores classic models without ONNX Runtime: ONNX graphs of trees, linear models and what converters put around them,
//! LightGBM's own text, and XGBoost's JSON and UBJSON. Columns are read where they lie; a model that has any part that is not covered is refused
//! as a whole, with the first such part; a graph is then ONNX Runtime's.
//!
//! Results are those of ONNX Runtime: bit for bit for sums of trees, and within rounding where sums of products,
//! exponentials and divisions come in.

mod changes;
mod column;
mod encode;
mod error;
mod fact;
mod format;
mod kernel;
mod known;
mod math;
mod model;
mod narrow;
mod onnx;
mod places;
mod plan;
mod probe;
mod program;
mod read;
mod score;
#[cfg(test)]
mod tests;
mod trees;

pub use column::{Column, Element};
pub use error::Error;
pub use fact::Fact;
pub use format::Format;
pub use kernel::Level;
pub use known::Known;
pub use model::{Input, Kind, Labels, Model, Output, Scratch};
pub use probe::Candidates;
pub use score::Out;
