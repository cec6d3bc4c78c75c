//! Rows that cannot be scored, where they are not to end the work: a batch that fails is halved until each of them is known, and all
//! the others are scored.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use datafusion::error::{DataFusionError, Result};
use serde_json::{Map, Value, json};
use whimbrel_proto::{Error, ErrorCode};

use crate::binding::Binding;
use crate::error::find;
use crate::exec::inputs::{From, Inputs};
use crate::sql::HIDDEN_PREFIX;

/// What becomes of a row that cannot be scored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RowErrors {
    /// It is the plan's error.
    #[default]
    Fail,
    /// Its value is NULL.
    Null,
    /// Its value is NULL, and the column of this name tells why, and what the row was.
    Told(String),
}

impl RowErrors {
    /// Whether rows are looked for at all.
    pub(super) fn is_caught(&self) -> bool {
        match self {
            Self::Fail => false,
            Self::Null | Self::Told(_) => true,
        }
    }
}

/// A row, by its place among others, and why it could not be scored.
pub(super) type Failed = (usize, Error);

/// Whether the rows may be at fault: what befalls the machine or the pool befalls any row.
fn is_of_rows(error: &Error) -> bool {
    match error.code() {
        ErrorCode::Invalid | ErrorCode::Data | ErrorCode::Model => true,
        ErrorCode::NotFound
        | ErrorCode::Exists
        | ErrorCode::Denied
        | ErrorCode::Unauthenticated
        | ErrorCode::InputChanged
        | ErrorCode::Unavailable
        | ErrorCode::Exhausted
        | ErrorCode::Cancelled
        | ErrorCode::Bug => false,
    }
}

/// The error of rows that `error` is, in words for people.
pub(super) fn of_rows(error: &DataFusionError) -> Option<Error> {
    if let Some(own) = find(error) {
        return is_of_rows(own).then(|| own.clone());
    }
    match error {
        DataFusionError::ArrowError(inner, _) => {
            Some(Error::new(ErrorCode::Data, inner.to_string()))
        }
        DataFusionError::Execution(text) => Some(Error::new(ErrorCode::Data, text.clone())),
        DataFusionError::Context(what, inner) => of_rows(inner)
            .map(|told| Error::new(told.code(), format!("{what}: {}", told.message()))),
        DataFusionError::Diagnostic(_, inner) => of_rows(inner),
        DataFusionError::Shared(inner) => of_rows(inner),
        _ => None,
    }
}

/// Arguments of the rows that have some.
pub(super) struct Caught {
    pub(super) args: Vec<ArrayRef>,
    /// Which rows of the batch these are; `None` where it is all of them.
    pub(super) chosen: Option<BooleanArray>,
    pub(super) failed: Vec<Failed>,
}

/// The arguments of the rows that `chosen` picks, but for those for which there are none.
pub(super) fn evaluate(
    inputs: &Inputs,
    batch: &RecordBatch,
    chosen: Option<BooleanArray>,
    from: From,
) -> Result<Caught> {
    let error = match inputs.evaluate(batch, chosen.as_ref(), from) {
        Ok(args) => {
            return Ok(Caught {
                args,
                chosen,
                failed: Vec::new(),
            });
        }
        Err(error) => error,
    };
    if of_rows(&error).is_none() {
        return Err(error);
    }
    let mut failed = Vec::new();
    let mut open = vec![(0, batch.num_rows())];
    while let Some((start, rows)) = open.pop() {
        let part = batch.slice(start, rows);
        let picked = chosen.as_ref().map(|chosen| chosen.slice(start, rows));
        let from = From {
            row: from.row + start,
            ..from
        };
        let Err(error) = inputs.evaluate(&part, picked.as_ref(), from) else {
            continue;
        };
        let Some(told) = of_rows(&error) else {
            return Err(error);
        };
        if rows > 1 {
            let half = rows / 2;
            open.push((start + half, rows - half));
            open.push((start, half));
        } else {
            failed.push((start, told));
        }
    }
    let mut sound: Vec<bool> = match &chosen {
        Some(chosen) => chosen.values().iter().collect(),
        None => vec![true; batch.num_rows()],
    };
    for (row, _) in &failed {
        sound[*row] = false;
    }
    let chosen = BooleanArray::from(sound);
    let args = inputs.evaluate(batch, Some(&chosen), from)?;
    Ok(Caught {
        args,
        chosen: Some(chosen),
        failed,
    })
}

/// The values of `rows` rows, NULL for those that cannot be scored; `first` is what all of them together came to.
pub(super) async fn score<F: Future<Output = Result<ArrayRef>>>(
    rows: usize,
    first: DataFusionError,
    returns: &DataType,
    ask: impl Fn(usize, usize) -> F,
) -> Result<(ArrayRef, Vec<Failed>)> {
    let (mut parts, mut failed) = (Vec::new(), Vec::new());
    let mut open = vec![(0, rows, Some(first))];
    while let Some((start, rows, known)) = open.pop() {
        let error = match known {
            Some(error) => error,
            None => match ask(start, rows).await {
                Ok(values) => {
                    parts.push(values);
                    continue;
                }
                Err(error) => error,
            },
        };
        let Some(told) = of_rows(&error) else {
            return Err(error);
        };
        if rows > 1 {
            let half = rows / 2;
            open.push((start + half, rows - half, None));
            open.push((start, half, None));
        } else {
            parts.push(new_null_array(returns, 1));
            failed.push((start, told));
        }
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok((concat(&parts)?, failed))
}

/// The column that tells of the rows that failed, of a batch whose first row is the one after `first` others.
pub(super) fn told(
    batch: &RecordBatch,
    first: usize,
    failed: &[Failed],
    binding: &Binding,
) -> ArrayRef {
    let mut texts: Vec<Option<String>> = vec![None; batch.num_rows()];
    for (row, error) in failed {
        if let Some(text) = texts.get_mut(*row) {
            *text = Some(letter(
                &batch.slice(*row, 1),
                first + row + 1,
                error,
                binding,
            ));
        }
    }
    Arc::new(StringArray::from(texts))
}

/// What was in the row, and what was wrong with it.
fn letter(row: &RecordBatch, position: usize, error: &Error, binding: &Binding) -> String {
    let element = binding
        .elements
        .iter()
        .map(|element| element.name.as_str())
        .find(|name| error.message().contains(&format!("input '{name}'")));
    let letter = json!({
        "row": values(row).unwrap_or_default(),
        "position": position,
        "model": binding.alias.as_str(),
        "column": element,
        "code": error.code().name(),
        "reason": error.message(),
    });
    letter.to_string()
}

/// The row's values but for those that planning has put beside them; `None` where JSON has no words for one.
pub(crate) fn values(row: &RecordBatch) -> Option<Map<String, Value>> {
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut text);
    writer.write(row).ok()?;
    writer.finish().ok()?;
    drop(writer);
    let mut values: Map<String, Value> = serde_json::from_slice(&text).ok()?;
    values.retain(|name, _| !name.starts_with(HIDDEN_PREFIX));
    Some(values)
}
