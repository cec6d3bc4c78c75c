//! The end of a score job's plan: what writes, as which objects, and which rows are one piece of work. The writing itself is the
//! host's, as the scoring is in [`crate::runtime`].

mod catching;
mod exec;
mod host;
mod scan;
mod spec;
mod split;
#[cfg(test)]
mod tests;

pub use catching::catching;
pub use exec::{ScoreSinkExec, report_schema};
pub use host::{SinkHost, SinkHostRef, SinkReport, SinkTask, Times};
pub use spec::{OnError, OutputMode, ParquetCompression, SinkFormat, SinkSpec, TextCompression};
pub use split::{is_split_wise, placed, splits, with_spec, without};
