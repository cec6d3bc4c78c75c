//! How files are read where the engine's own readers fall short: compressed and foreign text, values that stand for NULL, CSV
//! files whose header is another, Arrow files of several shapes, Parquet columns whose type is another than the table's.
//! The scheduler looks into files through the same code as executors read them.

mod arrow_files;
mod csv;
mod cut;
mod encoding;
mod header;
mod json;
mod lenient;
mod local;
mod reading;
mod source;
mod strict;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod unpack;

pub use arrow_files::arrow_schema;
pub use reading::{Compression, Encoding, Reading, ReadingNode};
pub use source::InputSource;
pub use strict::{StrictColumns, strict};
pub use text::{Piece, open, sniffed};
pub use types::widens;

pub(crate) use strict::unfit_column;
pub(crate) use types::fits;
