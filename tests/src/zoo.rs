//! The models that `make` trains with the usual libraries, the rows they score, and what the libraries themselves say about
//! those rows. A row is compared number by number, whatever shape PREDICT gives it: a struct, a list or a map is its numbers
//! in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::checkout::checkout;

/// Something in the folder that `make` filled.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = checkout(".dev/zoo").join(name);
    if !path.exists() {
        bail!("{} is missing: `make zoo` makes it", path.display());
    }
    path.canonicalize().context("resolve the path")
}

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Label(String),
    Number(f64),
}

/// Answers by `row_id`.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<i64, Vec<Cell>>);

impl Answers {
    /// The original library's answers for one model.
    pub fn expected(name: &str) -> Result<Self> {
        let file = File::open(path(&format!("{name}.expected.parquet"))?)?;
        let batches: Vec<RecordBatch> = ParquetRecordBatchReaderBuilder::try_new(file)?
            .build()?
            .collect::<Result<_, _>>()?;
        Self::of(&batches)
    }

    /// Rows whose first column is `row_id` and whose others are the answer.
    pub fn of(batches: &[RecordBatch]) -> Result<Self> {
        let mut answers = BTreeMap::new();
        for batch in batches {
            let ids = cast(batch.column(0), &DataType::Int64)?;
            let ids = ids.as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let mut cells = Vec::new();
                for column in &batch.columns()[1..] {
                    append(column, row, &mut cells)?;
                }
                let id = ids.value(row);
                ensure!(
                    answers.insert(id, cells).is_none(),
                    "row {id} is there twice"
                );
            }
        }
        Ok(Self(answers))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest difference of two numbers, relative where they are above 1. Labels, gaps and the number of values must be
    /// equal, and so must the rows.
    pub fn distance(&self, other: &Self) -> Result<f64> {
        ensure!(
            self.len() == other.len(),
            "{} rows against {}",
            self.len(),
            other.len()
        );
        let mut worst = 0.0_f64;
        for ((id, ours), (other_id, theirs)) in self.0.iter().zip(&other.0) {
            ensure!(id == other_id, "row {id} against row {other_id}");
            let apart = apart(ours, theirs)
                .with_context(|| format!("row {id}: {ours:?} against {theirs:?}"))?;
            worst = worst.max(apart);
        }
        Ok(worst)
    }
}

fn apart(ours: &[Cell], theirs: &[Cell]) -> Result<f64> {
    ensure!(ours.len() == theirs.len(), "another number of values");
    let mut worst = 0.0_f64;
    for pair in ours.iter().zip(theirs) {
        match pair {
            (Cell::Number(a), Cell::Number(b)) if a.is_nan() && b.is_nan() => {}
            (Cell::Number(a), Cell::Number(b)) => {
                let apart = (a - b).abs() / b.abs().max(1.0);
                ensure!(apart.is_finite(), "{a} against {b}");
                worst = worst.max(apart);
            }
            (a, b) => ensure!(a == b, "{a:?} against {b:?}"),
        }
    }
    Ok(worst)
}

/// The values of one row of a column, in order.
fn append(column: &dyn Array, row: usize, cells: &mut Vec<Cell>) -> Result<()> {
    if column.is_null(row) {
        cells.push(Cell::Null);
        return Ok(());
    }
    match column.data_type() {
        DataType::Struct(_) => {
            for field in column.as_struct().columns() {
                append(field, row, cells)?;
            }
        }
        DataType::List(_) => append_all(&column.as_list::<i32>().value(row), cells)?,
        DataType::LargeList(_) => append_all(&column.as_list::<i64>().value(row), cells)?,
        DataType::FixedSizeList(_, _) => {
            append_all(&column.as_fixed_size_list().value(row), cells)?;
        }
        // The keys are classes: that each stands at its place is what the suites check by name.
        DataType::Map(_, _) => append_all(column.as_map().value(row).column(1), cells)?,
        // Labels of int must be equal to the last digit, so they are not numbers here.
        kind if kind.is_integer() || kind == &DataType::Boolean => {
            let text = cast(&column.slice(row, 1), &DataType::Utf8)?;
            cells.push(Cell::Label(text.as_string::<i32>().value(0).to_owned()));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = cast(&column.slice(row, 1), &DataType::Utf8)?;
            cells.push(Cell::Label(text.as_string::<i32>().value(0).to_owned()));
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let number = cast(&column.slice(row, 1), &DataType::Float64)?;
            cells.push(Cell::Number(number.as_primitive::<Float64Type>().value(0)));
        }
        other => bail!("an answer of type {other} is not compared"),
    }
    Ok(())
}

fn append_all(values: &dyn Array, cells: &mut Vec<Cell>) -> Result<()> {
    for place in 0..values.len() {
        append(values, place, cells)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray, StructArray};

    use super::*;

    fn answers(ids: &[i64], label: &str, number: f32) -> Result<Answers> {
        let label: ArrayRef = Arc::new(StringArray::from(vec![label; ids.len()]));
        let number: ArrayRef = Arc::new(Float32Array::from(vec![number; ids.len()]));
        let both = StructArray::try_from(vec![("label", label), ("p", number)])?;
        let batch = RecordBatch::try_from_iter(vec![
            (
                "row_id",
                Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef,
            ),
            ("answer", Arc::new(both)),
        ])?;
        Answers::of(&[batch])
    }

    #[test]
    fn differences_are_measured_and_wrong_rows_are_named() -> Result<()> {
        let right = answers(&[1, 2], "dear", 0.5)?;
        assert!(right.distance(&answers(&[2, 1], "dear", 0.5)?)? == 0.0);
        assert!((right.distance(&answers(&[1, 2], "dear", 0.25)?)? - 0.25).abs() < 1e-9);
        assert!(right.distance(&answers(&[1, 2], "fair", 0.5)?).is_err());
        assert!(right.distance(&answers(&[1, 3], "dear", 0.5)?).is_err());
        assert!(right.distance(&answers(&[1], "dear", 0.5)?).is_err());
        assert!(
            right
                .distance(&answers(&[1, 2], "dear", f32::NAN)?)
                .is_err()
        );
        assert!(answers(&[1, 1], "dear", 0.5).is_err());
        Ok(())
    }
}
