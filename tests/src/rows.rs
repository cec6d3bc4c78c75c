//! Rows in a form in which the answers of several engines compare: sorted unless the query orders them, floats within a
//! tolerance, since sums and matrix products may be taken in another order.

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// One value.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Text(String),
    Float(f64),
}

impl Cell {
    fn of(column: &ArrayRef, row: usize) -> Result<Self> {
        if column.is_null(row) {
            return Ok(Self::Text("NULL".to_owned()));
        }
        Ok(match column.data_type() {
            DataType::Float32 => {
                Self::Float(f64::from(column.as_primitive::<Float32Type>().value(row)))
            }
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>().value(row)),
            _ => Self::Text(
                ArrayFormatter::try_new(column, &FormatOptions::default())?
                    .value(row)
                    .to_string(),
            ),
        })
    }

    fn parse(text: &str) -> Self {
        // Only floats are written with a point and six places.
        match text.split_once('.') {
            Some((_, places)) if places.len() == 6 => text
                .parse()
                .map_or_else(|_| Self::Text(text.to_owned()), Self::Float),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            // Adding zero turns -0 into 0.
            Self::Float(value) => format!("{:.6}", value + 0.0),
        }
    }

    /// Coarse, so that values which differ in the last places sort alike.
    fn sort_key(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Float(value) => format!("{value:020.2}"),
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => {
                (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-4 * a.abs().max(1.0)
            }
            (a, b) => a == b,
        }
    }
}

/// A query's answer.
#[derive(Clone, Debug)]
pub struct Rows {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    /// Rows of a query; `ordered` keeps their order.
    pub fn new(schema: &SchemaRef, batches: &[RecordBatch], ordered: bool) -> Result<Self> {
        let header = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let mut rows = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                rows.push(
                    batch
                        .columns()
                        .iter()
                        .map(|column| Cell::of(column, row))
                        .collect::<Result<Vec<_>>>()?,
                );
            }
        }
        if !ordered {
            rows.sort_by_cached_key(|row| row.iter().map(Cell::sort_key).collect::<Vec<_>>());
        }
        Ok(Self { header, rows })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// One line per row, header first.
    pub fn to_text(&self) -> String {
        let mut text = self.header.join(" | ");
        for row in &self.rows {
            text.push('\n');
            text.push_str(&row.iter().map(Cell::text).collect::<Vec<_>>().join(" | "));
        }
        text.push('\n');
        text
    }

    /// Reads what `to_text` wrote.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let header = lines
            .next()
            .context("rows without a header")?
            .split(" | ")
            .map(str::to_owned)
            .collect();
        let rows = lines
            .map(|line| line.split(" | ").map(Cell::parse).collect())
            .collect();
        Ok(Self { header, rows })
    }

    /// Fails with the first difference. Headers are not compared: a reference may name its columns otherwise.
    pub fn must_equal(&self, other: &Self, what: &str) -> Result<()> {
        if self.rows.len() != other.rows.len() {
            bail!(
                "{what}: {} rows against {}",
                self.rows.len(),
                other.rows.len()
            );
        }
        for (number, (a, b)) in self.rows.iter().zip(&other.rows).enumerate() {
            if a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| a.same(b)) {
                bail!("{what}: row {number} differs: {a:?} against {b:?}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_and_noise_is_not() -> Result<()> {
        let rows = Rows::parse("id | p\n1 | 2.000000\n2 | NULL\n")?;
        rows.must_equal(&Rows::parse("id | q\n1 | 2.000010\n2 | NULL\n")?, "noise")?;
        assert!(
            rows.must_equal(&Rows::parse("id | p\n1 | 2.100000\n2 | NULL\n")?, "value")
                .is_err()
        );
        assert!(
            rows.must_equal(&Rows::parse("id | p\n1 | 2.000000\n")?, "count")
                .is_err()
        );
        assert_eq!(Rows::parse(&rows.to_text())?.to_text(), rows.to_text());
        Ok(())
    }
}
