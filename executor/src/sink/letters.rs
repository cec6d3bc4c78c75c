//! Dead letters: the rows that cannot be scored, each as one line of JSON with what was in it, where it came from and why.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use serde_json::{Map, Value};
use whimbrel_proto::{Error, ErrorCode};

/// How letters are told from rows.
#[derive(Debug)]
pub(super) struct Sorter {
    /// The schema of what is written.
    pub(super) schema: SchemaRef,
    /// The columns that are written.
    pub(super) columns: Vec<usize>,
    /// The columns that tell of errors.
    pub(super) errors: Vec<usize>,
    pub(super) split: String,
    /// The files of the split.
    pub(super) files: Vec<String>,
    /// The bytes that the split is of its only file.
    pub(super) range: Option<(i64, i64)>,
    pub(super) max: Option<u64>,
}

/// A batch, sorted.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) rows: RecordBatch,
    /// Lines.
    pub(super) letters: Vec<u8>,
    pub(super) dead: u64,
}

impl Sorter {
    pub(super) fn sort(&self, batch: &RecordBatch) -> Result<Sorted, ArrowError> {
        let mut letters = Vec::new();
        let mut dead = 0;
        let mut sound = vec![true; batch.num_rows()];
        for &error in &self.errors {
            let texts = batch.column(error).as_string::<i32>();
            for row in (0..texts.len()).filter(|row| texts.is_valid(*row)) {
                // The first model that could not take the row says why.
                if std::mem::replace(&mut sound[row], false) {
                    letters.extend(self.letter(texts.value(row)).into_bytes());
                    letters.push(b'\n');
                    dead += 1;
                }
            }
        }
        // The engine may say of a batch what it does not say of the plan: a writer wants one schema.
        let columns = self.columns.iter().map(|&column| batch.column(column));
        let rows =
            RecordBatch::try_new(SchemaRef::clone(&self.schema), columns.cloned().collect())?;
        let rows = match dead {
            0 => rows,
            _ => filter_record_batch(&rows, &BooleanArray::from(sound))?,
        };
        Ok(Sorted {
            rows,
            letters,
            dead,
        })
    }

    fn letter(&self, text: &str) -> String {
        let mut letter = Map::new();
        letter.insert("split".to_owned(), self.split.clone().into());
        let file = match self.files.as_slice() {
            [file] => Value::from(file.clone()),
            files => Value::from(files.to_vec()),
        };
        letter.insert("file".to_owned(), file);
        if let Some((start, end)) = self.range {
            letter.insert("bytes".to_owned(), Value::from(vec![start, end]));
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(told)) => letter.extend(told),
            Ok(_) | Err(_) => drop(letter.insert("reason".to_owned(), text.into())),
        }
        Value::Object(letter).to_string()
    }

    /// Refuses more of them than the job may have: this split alone is enough to know.
    pub(super) fn check(&self, dead: u64) -> Result<(), Error> {
        match self.max {
            Some(max) if dead > max => Err(Error::new(
                ErrorCode::Invalid,
                format!("more than {max} rows cannot be scored, in split {} alone", self.split),
            )
            .with_hint("look at why: run it with a higher --max-errors, or score a few rows with `whimbrel sql`")),
            Some(_) | None => Ok(()),
        }
    }
}
