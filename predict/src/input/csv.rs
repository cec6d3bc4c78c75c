//! How a CSV file becomes rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::csv::reader::Decoder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::datasource::physical_plan::CsvSource;
use datafusion::error::Result;
use whimbrel_proto::{Error, ErrorCode};

use super::cut::Cutter;
use super::header::Marks;
use super::lenient::Parser;
use crate::error::external;

/// See the module.
#[derive(Clone)]
pub(super) struct CsvReader {
    pub(super) source: CsvSource,
    /// Of the file.
    pub(super) columns: SchemaRef,
    /// Those that are read, and their fields.
    projection: Vec<usize>,
    wanted: SchemaRef,
    nulls: Option<regex::Regex>,
    pub(super) batch_rows: usize,
}

impl CsvReader {
    pub(super) fn new(
        source: &CsvSource,
        columns: &SchemaRef,
        projection: &[usize],
        nulls: Option<String>,
        batch_rows: usize,
    ) -> Result<Self> {
        let nulls = nulls.map(|text| regex::Regex::new(&text));
        let nulls = nulls.transpose().map_err(|error| {
            let text = format!("the texts that stand for NULL are too many: {error}");
            external(Error::new(ErrorCode::Invalid, text))
        })?;
        Ok(Self {
            source: source.clone(),
            columns: Arc::clone(columns),
            wanted: Arc::new(columns.project(projection)?),
            projection: projection.to_vec(),
            nulls,
            batch_rows,
        })
    }

    /// The reader of a text of so many bytes. A decoder makes room for all rows that it may give at once; each of them has at least
    /// a mark after every column.
    pub(super) fn of_size(&self, bytes: u64) -> Self {
        let columns = self.columns.fields().len().max(1);
        let rows = usize::try_from(bytes).unwrap_or(usize::MAX) / columns;
        Self {
            batch_rows: self.batch_rows.min(rows + 1),
            ..self.clone()
        }
    }

    pub(super) fn marks(&self) -> Marks {
        Marks {
            delimiter: self.source.delimiter(),
            quote: self.source.quote(),
            comment: self.source.comment(),
        }
    }

    pub(super) fn decoder(&self, has_header: bool) -> Decoder {
        self.decoder_of(Arc::clone(&self.columns), has_header)
    }

    fn decoder_of(&self, columns: SchemaRef, has_header: bool) -> Decoder {
        let mut builder = arrow::csv::ReaderBuilder::new(columns)
            .with_header(has_header)
            .with_delimiter(self.source.delimiter())
            .with_quote(self.source.quote())
            .with_batch_size(self.batch_rows)
            .with_truncated_rows(self.source.truncate_rows())
            .with_projection(self.projection.clone());
        if let Some(escape) = self.source.escape() {
            builder = builder.with_escape(escape);
        }
        if let Some(comment) = self.source.comment() {
            builder = builder.with_comment(comment);
        }
        if let Some(nulls) = &self.nulls {
            builder = builder.with_null_regex(nulls.clone());
        }
        builder.build_decoder()
    }
}

impl Parser for CsvReader {
    fn cutter(&self) -> Cutter {
        Cutter::csv(self.marks())
    }

    fn wanted(&self) -> &SchemaRef {
        &self.wanted
    }

    fn is_comment(&self, record: &[u8]) -> bool {
        self.source.comment().is_some() && record.first().copied() == self.source.comment()
    }

    fn rows(&self, records: &[u8]) -> Result<RecordBatch, ArrowError> {
        let rows = decoded(self.decoder(false), records)?;
        Ok(rows.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.wanted))))
    }

    fn check(&self, _first: &[u8], _file: &str) -> Result<(), Error> {
        Ok(())
    }

    fn is_hopeless(&self, error: &ArrowError) -> bool {
        matches!(error, ArrowError::ParseError(text) if text.contains("Unsupported data type"))
    }

    fn value(&self, record: &[u8], place: usize) -> Result<ArrayRef, ArrowError> {
        self.alone(record, place, &self.columns)
    }

    fn said(&self, record: &[u8], place: usize) -> Option<String> {
        let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
        let columns: Vec<Field> = self.columns.fields().iter().map(text).collect();
        let said = self.alone(record, place, &Arc::new(Schema::new(columns)));
        let said = said.ok()?;
        let said = said
            .as_string_opt::<i32>()
            .filter(|said| said.is_valid(0))?;
        Some(said.value(0).to_owned()).filter(|said| !said.is_empty())
    }
}

impl CsvReader {
    /// One of the columns that are read, of one record.
    fn alone(
        &self,
        record: &[u8],
        place: usize,
        columns: &SchemaRef,
    ) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::CsvError("there is no such column".to_owned());
        let at = self.projection.get(place).ok_or_else(missing)?;
        let only = Self {
            projection: vec![*at],
            ..self.clone()
        };
        let row = decoded(only.decoder_of(Arc::clone(columns), false), record)?;
        let row = row.filter(|row| row.num_rows() == 1).ok_or_else(missing)?;
        Ok(Arc::clone(row.column(0)))
    }
}

/// All rows of the bytes, which are whole records and no more than the decoder takes at once.
fn decoded(mut decoder: Decoder, bytes: &[u8]) -> Result<Option<RecordBatch>, ArrowError> {
    let mut taken = 0;
    loop {
        match decoder.decode(&bytes[taken..])? {
            0 => break,
            more => taken += more,
        }
    }
    if bytes[taken..]
        .iter()
        .any(|byte| !byte.is_ascii_whitespace())
    {
        return Err(ArrowError::CsvError("more records than lines".to_owned()));
    }
    decoder.flush()
}
