//! How a file of JSON objects becomes rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::reader::Decoder;

use super::cut::Cutter;
use super::lenient::Parser;

/// See the module.
#[derive(Clone)]
pub(super) struct JsonReader {
    pub(super) wanted: SchemaRef,
    pub(super) batch_rows: usize,
}

impl JsonReader {
    pub(super) fn decoder(&self) -> Result<Decoder, ArrowError> {
        arrow::json::ReaderBuilder::new(Arc::clone(&self.wanted))
            .with_batch_size(self.batch_rows)
            .with_coerce_primitive(true)
            .build_decoder()
    }
}

impl Parser for JsonReader {
    fn cutter(&self) -> Cutter {
        Cutter::lines()
    }

    fn wanted(&self) -> &SchemaRef {
        &self.wanted
    }

    fn is_comment(&self, _record: &[u8]) -> bool {
        false
    }

    fn rows(&self, records: &[u8]) -> Result<RecordBatch, ArrowError> {
        let mut decoder = self.decoder()?;
        let mut taken = 0;
        while taken < records.len() {
            match decoder.decode(&records[taken..])? {
                0 => break,
                more => taken += more,
            }
        }
        let left = records[taken..].iter();
        if left.into_iter().any(|byte| !byte.is_ascii_whitespace()) {
            let text = "a line holds more than one object".to_owned();
            return Err(ArrowError::JsonError(text));
        }
        let rows = decoder.flush()?;
        Ok(rows.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.wanted))))
    }

    /// Its values have kinds: what does not fit one is told as it stands there.
    fn texts(&self, _record: &[u8]) -> Option<Vec<ArrayRef>> {
        None
    }
}
