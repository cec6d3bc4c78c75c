//! Records that cannot be read, where they are not to end the work: a group of records that the reader refuses is halved until each
//! of them is known. A bad one becomes a row of what can be read of it, and the last column tells why it is bad.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::error::Result;
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value};
use whimbrel_proto::{Error, ErrorCode};

use super::cut::Cutter;
use crate::error::external;
use crate::exec::values;

/// How records become rows.
pub(super) trait Parser: Send + Sync + 'static {
    /// Finds where they end.
    fn cutter(&self) -> Cutter;
    /// The columns that are read.
    fn wanted(&self) -> &SchemaRef;
    /// Whether this is no record, but something for readers of the text.
    fn is_comment(&self, record: &[u8]) -> bool;
    /// Refuses a text whose lines are no records, as its first one shows.
    fn check(&self, first: &[u8], file: &str) -> Result<(), Error>;
    /// All rows of the records, or why there are none.
    fn rows(&self, records: &[u8]) -> Result<RecordBatch, ArrowError>;
    /// Whether it is the reader that cannot, whatever the record.
    fn is_hopeless(&self, error: &ArrowError) -> bool;
    /// One of the columns of one record.
    fn value(&self, record: &[u8], place: usize) -> Result<ArrayRef, ArrowError>;
    /// What stands there, where that can be told.
    fn said(&self, record: &[u8], place: usize) -> Option<String>;
}

/// Where the text is from, and what tells of its bad records.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// What a person calls the file.
    pub(super) file: String,
    /// The bytes of it, where they are not all.
    pub(super) range: Option<(u64, u64)>,
    /// The name of the column that tells.
    pub(super) told: String,
}

/// Reads all that can be read.
struct Lenient<P> {
    parser: P,
    origin: Origin,
    schema: SchemaRef,
    text: BoxStream<'static, Result<Bytes>>,
    cutter: Cutter,
    held: Vec<u8>,
    /// Where the held records end.
    ends: Vec<usize>,
    /// The first record that is none of a comment is a header.
    header: bool,
    is_checked: bool,
    /// Records before the held ones.
    before: u64,
    group: usize,
    is_over: bool,
}

/// The rows of `text`, its bad records among them, in groups of `group`.
pub(super) fn rows<P: Parser>(
    parser: P,
    text: BoxStream<'static, Result<Bytes>>,
    origin: Origin,
    header: bool,
    group: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut fields = parser.wanted().fields().to_vec();
    fields.push(Arc::new(Field::new(&origin.told, DataType::Utf8, true)));
    let lenient = Lenient {
        cutter: parser.cutter(),
        schema: Arc::new(Schema::new(fields)),
        parser,
        origin,
        text,
        held: Vec::new(),
        ends: Vec::new(),
        header,
        is_checked: false,
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
                    None => self.end()?,
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

    /// The text is over. What a quote holds that is never closed may be any number of records.
    fn end(&mut self) -> Result<()> {
        self.is_over = true;
        if self.cutter.is_open() {
            let text = format!("file '{}' ends within a quoted value", self.origin.file);
            return Err(external(
                Error::new(ErrorCode::Data, text)
                    .with_hint("a quote is opened and never closed: repair its row"),
            ));
        }
        if self.ends.last().copied().unwrap_or_default() < self.held.len() {
            self.ends.push(self.held.len());
        }
        Ok(())
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
        let start = |place: usize| if place == 0 { 0 } else { ends[place - 1] };
        let record = |place: usize| &bytes[start(place)..ends[place]];
        let counts =
            |place: &usize| !is_empty(record(*place)) && !self.parser.is_comment(record(*place));
        let first = match (0..ends.len()).find(counts) {
            Some(header) if self.header => header + 1,
            Some(_) | None => 0,
        };
        self.header = self.header && first == 0;
        if let Some(one) = (first..ends.len()).find(counts)
            && !self.is_checked
        {
            let checked = self.parser.check(record(one), &self.origin.file);
            checked.map_err(external)?;
            self.is_checked = true;
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
                Err(error) if self.parser.is_hopeless(&error) => return Err(error.into()),
                Err(_) if to - from > 1 => {
                    let half = from + (to - from) / 2;
                    open.push((half, to));
                    open.push((from, half));
                }
                Err(error) => {
                    let before = (first..from).filter(counts).count() as u64;
                    parts.push(self.bad(records, self.before + before + 1, &error)?);
                }
            }
        }
        self.before += (first..ends.len()).filter(counts).count() as u64;
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
        let mut misfits = Vec::new();
        let mut columns = Vec::with_capacity(wanted.fields().len() + 1);
        for (place, field) in wanted.fields().iter().enumerate() {
            let value = self.parser.value(record, place);
            if value.is_err()
                && let Some(said) = self.parser.said(record, place)
            {
                misfits.push((field, said));
            }
            columns.push(value.unwrap_or_else(|_| new_null_array(field.data_type(), 1)));
        }
        let row = RecordBatch::try_new(Arc::clone(wanted), columns.clone());
        let mut row = row.ok().and_then(|row| values(&row)).unwrap_or_default();
        for (field, said) in &misfits {
            row.insert(field.name().clone(), said.clone().into());
        }
        let is_told_apart = !misfits.is_empty();
        let mut letter = Map::new();
        letter.insert("file".to_owned(), self.origin.file.clone().into());
        if let Some((start, end)) = self.origin.range {
            letter.insert("bytes".to_owned(), vec![start, end].into());
        }
        let raw = String::from_utf8_lossy(record).trim_end().to_owned();
        let row = if is_told_apart {
            Value::Object(row)
        } else {
            raw.into()
        };
        letter.insert("row".to_owned(), row);
        letter.insert("position".to_owned(), position.into());
        let blamed = misfits.first();
        let column = blamed.map(|(field, _)| field.name().clone());
        letter.insert("column".to_owned(), column.into());
        letter.insert("code".to_owned(), ErrorCode::Data.name().into());
        let reason = match blamed {
            Some((field, said)) => format!("'{said}' is no {}", field.data_type()),
            None => error.to_string(),
        };
        letter.insert("reason".to_owned(), reason.into());
        let letter = Value::Object(letter).to_string();
        columns.push(Arc::new(StringArray::from(vec![letter])) as ArrayRef);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn is_empty(record: &[u8]) -> bool {
    record.iter().all(|byte| matches!(byte, b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use datafusion::common::config::CsvOptions;
    use datafusion::datasource::physical_plan::CsvSource;

    use serde_json::json;

    use super::super::csv::CsvReader;
    use super::super::json::JsonReader;
    use super::*;

    fn columns() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]))
    }

    fn origin() -> Origin {
        Origin {
            file: "/a".to_owned(),
            range: Some((0, 9)),
            told: "told".to_owned(),
        }
    }

    async fn read<P: Parser>(parser: P, text: &str, header: bool, group: usize) -> RecordBatch {
        let pieces: Vec<Result<Bytes>> = text
            .as_bytes()
            .chunks(7)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let text = stream::iter(pieces).boxed();
        let rows = rows(parser, text, origin(), header, group);
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
            assert_eq!(letters[1]["bytes"], json!([0, 9]));
        }
    }

    #[tokio::test]
    async fn positions_count_records_whatever_ends_lines_and_stands_between() {
        let options = CsvOptions {
            comment: Some(b'#'),
            ..CsvOptions::default()
        };
        let source = CsvSource::new(columns()).with_csv_options(options);
        let text = "#,\"\nid,name\n\n1,a\n# x,\"y\nx,b\n3,c\n\n4,\n5\n6,f";
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            for group in [1, 2, 5, 100] {
                let csv = CsvReader::new(&source, &columns(), &[0, 1], None, group).unwrap();
                let (ids, letters) = seen(&read(csv, &text, true, group).await);
                assert_eq!(ids, [Some(1), None, Some(3), Some(4), None, Some(6)]);
                let positions = [&letters[0]["position"], &letters[1]["position"]];
                assert_eq!(positions, [2, 5], "{text:?} in groups of {group}");
            }
        }
    }

    #[tokio::test]
    async fn what_hides_the_borders_of_records_is_damage_and_no_bad_record() {
        let source = CsvSource::new(columns());
        let csv = CsvReader::new(&source, &columns(), &[0, 1], None, 100).unwrap();
        let text = stream::iter([Ok(Bytes::from_static(b"1,a\n2,\"b\n3,c\n"))]).boxed();
        let open = rows(csv, text, origin(), false, 100);
        let error = open.try_collect::<Vec<_>>().await.unwrap_err();
        assert!(
            error.to_string().contains("within a quoted value"),
            "{error}"
        );

        let json = JsonReader {
            wanted: columns(),
            batch_rows: 100,
        };
        let text = stream::iter([Ok(Bytes::from_static(b"{\n\"id\": 1\n}\n"))]).boxed();
        let many = rows(json, text, origin(), false, 100);
        let error = many.try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.to_string().contains("several lines"), "{error}");
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
            assert_eq!(letters[0]["row"], json!({"id": "x", "name": null}));
            assert_eq!(letters[0]["column"], "id");
            assert_eq!(
                (&letters[1]["row"], &letters[1]["position"]),
                (&"{".into(), &3.into())
            );
        }
    }
}
