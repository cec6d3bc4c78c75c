//! Records that cannot be read, where they are not to end the work: a group of records that the reader refuses is halved until each
//! of them is known. A bad one becomes a row of what can be read of it, and the last column tells why it is bad.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::error::Result;
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use whimbrel_proto::ErrorCode;

use super::cut::Cutter;
use crate::exec::values;

/// How records become rows.
pub(super) trait Parser: Send + Sync + 'static {
    /// Finds where they end.
    fn cutter(&self) -> Cutter;
    /// The columns that are read.
    fn wanted(&self) -> &SchemaRef;
    /// Whether this is no record, but something for readers of the text.
    fn is_comment(&self, record: &[u8]) -> bool;
    /// All rows of the records, or why there are none.
    fn rows(&self, records: &[u8]) -> Result<RecordBatch, ArrowError>;
    /// The fields of one record as texts, where these can be told apart: one column for each that is read.
    fn texts(&self, record: &[u8]) -> Option<Vec<ArrayRef>>;
}

/// Reads all that can be read.
struct Lenient<P> {
    parser: P,
    schema: SchemaRef,
    text: BoxStream<'static, Result<Bytes>>,
    cutter: Cutter,
    held: Vec<u8>,
    /// Where the held records end.
    ends: Vec<usize>,
    /// The first record that is none of a comment is a header.
    header: bool,
    /// Records before the held ones.
    before: u64,
    group: usize,
    is_over: bool,
}

/// The rows of `text`, its bad records among them, in groups of `group`; `told` is the column that tells of those.
pub(super) fn rows<P: Parser>(
    parser: P,
    text: BoxStream<'static, Result<Bytes>>,
    told: &str,
    header: bool,
    group: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut fields = parser.wanted().fields().to_vec();
    fields.push(Arc::new(Field::new(told, DataType::Utf8, true)));
    let lenient = Lenient {
        cutter: parser.cutter(),
        schema: Arc::new(Schema::new(fields)),
        parser,
        text,
        held: Vec::new(),
        ends: Vec::new(),
        header,
        before: 0,
        group: group.max(1),
        is_over: false,
    };
    let batches = stream::try_unfold(lenient, |mut lenient| async {
        let batch = lenient.next().await?;
        Ok(batch.map(|batch| (batch, lenient)))
    });
    batches.boxed()
}

impl<P: Parser> Lenient<P> {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while !self.is_over && self.ends.len() < self.group {
                match self.text.try_next().await? {
                    Some(bytes) => {
                        self.cutter.cut(&bytes, self.held.len(), &mut self.ends);
                        self.held.extend_from_slice(&bytes);
                    }
                    None => {
                        self.is_over = true;
                        if self.ends.last().copied().unwrap_or_default() < self.held.len() {
                            self.ends.push(self.held.len());
                        }
                    }
                }
            }
            if self.ends.is_empty() {
                return Ok(None);
            }
            let batch = self.take()?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }

    /// The rows of the next group.
    fn take(&mut self) -> Result<RecordBatch> {
        let count = self.ends.len().min(self.group);
        let rest = self.ends.split_off(count);
        let ends = std::mem::replace(&mut self.ends, rest);
        let length = ends.last().copied().unwrap_or_default();
        let rest = self.held.split_off(length);
        let bytes = std::mem::replace(&mut self.held, rest);
        self.ends.iter_mut().for_each(|end| *end -= length);
        let mut first = 0;
        let start = |place: usize| if place == 0 { 0 } else { ends[place - 1] };
        while self.header && first < ends.len() {
            let record = &bytes[start(first)..ends[first]];
            first += 1;
            self.header = is_empty(record) || self.parser.is_comment(record);
        }
        let mut parts = Vec::new();
        let mut open = vec![(first, ends.len())];
        while let Some((from, to)) = open.pop() {
            if from == to {
                continue;
            }
            let records = &bytes[start(from)..ends[to - 1]];
            match self.parser.rows(records) {
                Ok(rows) => parts.push(self.sound(&rows)?),
                Err(_) if to - from > 1 => {
                    let half = from + (to - from) / 2;
                    open.push((half, to));
                    open.push((from, half));
                }
                Err(error) => {
                    parts.push(self.bad(
                        records,
                        self.before + (from - first) as u64 + 1,
                        &error,
                    )?);
                }
            }
        }
        self.before += (ends.len() - first) as u64;
        Ok(concat_batches(&self.schema, &parts)?)
    }

    fn sound(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        columns.push(new_null_array(&DataType::Utf8, rows.num_rows()));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// A record as a row of what can be read of it.
    fn bad(&self, record: &[u8], position: u64, error: &ArrowError) -> Result<RecordBatch> {
        let wanted = self.parser.wanted();
        let texts = self.parser.texts(record);
        let mut misfits = Vec::new();
        let mut columns = Vec::with_capacity(wanted.fields().len() + 1);
        for (place, field) in wanted.fields().iter().enumerate() {
            let text = texts.as_ref().and_then(|texts| texts.get(place));
            let value = text.and_then(|text| {
                let value = cast_with_options(text, field.data_type(), &CastOptions::default());
                let (value, said) = (value.ok()?, said(text));
                if let (true, Some(said)) = (value.is_null(0), said) {
                    misfits.push((field, said));
                }
                Some(value)
            });
            columns.push(value.unwrap_or_else(|| new_null_array(field.data_type(), 1)));
        }
        let mut row = RecordBatch::try_new(Arc::clone(wanted), columns.clone())
            .ok()
            .and_then(|row| values(&row))
            .unwrap_or_default();
        for (field, said) in &misfits {
            row.insert(field.name().clone(), said.clone().into());
        }
        let letter = json!({
            "row": match texts {
                Some(_) => Value::Object(row),
                None => String::from_utf8_lossy(record).trim_end().into(),
            },
            "position": position,
            "column": misfits.first().map(|(field, _)| field.name().clone()),
            "code": ErrorCode::Data.name(),
            "reason": match misfits.first() {
                Some((field, said)) => format!("'{said}' is no {}", field.data_type()),
                None => error.to_string(),
            },
        });
        columns.push(Arc::new(StringArray::from(vec![letter.to_string()])) as ArrayRef);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// What a field of text says, if anything.
fn said(text: &ArrayRef) -> Option<String> {
    let text = text
        .as_string_opt::<i32>()
        .filter(|text| text.is_valid(0))?;
    Some(text.value(0).to_owned()).filter(|text| !text.is_empty())
}

fn is_empty(record: &[u8]) -> bool {
    record.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use datafusion::datasource::physical_plan::CsvSource;

    use super::super::csv::CsvReader;
    use super::super::json::JsonReader;
    use super::*;

    fn columns() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    async fn read<P: Parser>(parser: P, text: &str, header: bool, group: usize) -> RecordBatch {
        let pieces: Vec<Result<Bytes>> = text
            .as_bytes()
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let text = stream::iter(pieces).boxed();
        let rows = rows(parser, text, "told", header, group);
        let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    }

    /// The ids of all rows, and the letters.
    fn seen(rows: &RecordBatch) -> (Vec<Option<i64>>, Vec<Value>) {
        let ids = rows
            .column(0)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap();
        let told = rows.column(2).as_string::<i32>();
        let letters = told.iter().flatten();
        (
            ids.iter().collect(),
            letters
                .map(|text| serde_json::from_str(text).unwrap())
                .collect(),
        )
    }

    #[tokio::test]
    async fn bad_csv_records_are_rows_that_tell_of_themselves_and_all_others_are_as_ever() {
        let source = CsvSource::new(columns());
        let text = "id,name\n1,a\nx,\"b\nb\"\n3,c\n4\n5,e\n";
        for group in [1, 2, 3, 100] {
            let csv = CsvReader::new(&source, &columns(), &[0, 1], None, group).unwrap();
            let (ids, letters) = seen(&read(csv, text, true, group).await);
            assert_eq!(ids, [Some(1), None, Some(3), None, Some(5)]);
            assert_eq!(letters.len(), 2);
            let row = json!({"id": "x", "name": "b\nb"});
            assert_eq!(
                (&letters[0]["row"], &letters[0]["column"]),
                (&row, &"id".into())
            );
            assert_eq!(letters[0]["reason"], "'x' is no Int64");
            assert_eq!(letters[0]["position"], 2);
            assert_eq!(letters[1]["row"], "4");
        }
    }

    #[tokio::test]
    async fn bad_json_lines_too() {
        let text = "{\"id\": 1}\n{\"id\": \"x\"}\n{\n\n{\"id\": 4, \"name\": \"d\"}";
        for batch_rows in [1, 2, 100] {
            let json = JsonReader {
                wanted: columns(),
                batch_rows,
            };
            let (ids, letters) = seen(&read(json, text, false, batch_rows).await);
            assert_eq!(ids, [Some(1), None, None, Some(4)]);
            assert_eq!(letters[0]["row"], "{\"id\": \"x\"}");
            assert_eq!(letters[1]["position"], 3);
        }
    }
}
