//! How a file of JSON objects becomes rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::reader::Decoder;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use whimbrel_proto::{Error, ErrorCode};

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

    /// The engine reads objects of many lines too, but nobody could tell where a broken one ends.
    fn check(&self, first: &[u8], file: &str) -> Result<(), Error> {
        match serde_json::from_slice::<IgnoredAny>(first) {
            Err(error) if error.is_eof() => {
                let text = format!("json file '{file}' has objects of several lines");
                Err(Error::new(ErrorCode::Data, text)
                    .with_hint("write one object a line, or leave --on-error out"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn is_hopeless(&self, error: &ArrowError) -> bool {
        matches!(error, ArrowError::NotYetImplemented(_))
    }

    fn value(&self, record: &[u8], place: usize) -> Result<ArrayRef, ArrowError> {
        let only = Self {
            wanted: Arc::new(self.wanted.project(&[place])?),
            ..self.clone()
        };
        let row = only.rows(record)?;
        match row.num_rows() {
            1 => Ok(Arc::clone(row.column(0))),
            rows => Err(ArrowError::JsonError(format!("{rows} objects in a line"))),
        }
    }

    fn said(&self, record: &[u8], place: usize) -> Option<String> {
        let object: Map<String, Value> = serde_json::from_slice(record).ok()?;
        let value = object.get(self.wanted.field(place).name())?;
        Some(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}
