//! Aligned columns for reading. Widths are taken from the first rows; later windows keep them and widen where they must, so that
//! a result of any length is printed with the memory of one window.

use std::io::{self, Write};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Rows whose widths are measured together.
const WINDOW: usize = 1000;
/// A cell is cut here: one long text must not push every other column off the screen.
const MAX_WIDTH: usize = 80;

/// The lines of a cell: a plan has many.
type Cell = Vec<String>;

/// Prints batches as one table.
pub(super) struct TableWriter<W> {
    out: W,
    schema: SchemaRef,
    widths: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    header_printed: bool,
}

impl<W: Write> TableWriter<W> {
    pub(super) fn new(out: W, schema: SchemaRef) -> Self {
        let widths = names(&schema).iter().map(width).collect();
        Self {
            out,
            schema,
            widths,
            rows: Vec::new(),
            header_printed: false,
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let options = FormatOptions::default().with_null("NULL");
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let texts = columns
                .iter()
                .map(|column| column.value(row).try_to_string());
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            self.rows.push(cells(texts.iter().map(String::as_str)));
            if self.rows.len() >= WINDOW {
                self.print_window()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.schema.fields().is_empty() {
            self.print_window()?;
        }
        Ok(self.out)
    }

    fn print_window(&mut self) -> io::Result<()> {
        for row in &self.rows {
            for (known, text) in self.widths.iter_mut().zip(row) {
                *known = (*known).max(width(text));
            }
        }
        if !self.header_printed {
            self.header_printed = true;
            self.print_row(&names(&self.schema))?;
            let rules: Vec<String> = self
                .widths
                .iter()
                .map(|width| "-".repeat((*width).min(MAX_WIDTH)))
                .collect();
            writeln!(self.out, "{}", rules.join("-+-"))?;
        }
        for row in std::mem::take(&mut self.rows) {
            self.print_row(&row)?;
        }
        self.out.flush()
    }

    fn print_row(&mut self, cells: &[Cell]) -> io::Result<()> {
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            let mut line = String::new();
            for (column, (cell, &wide)) in cells.iter().zip(&self.widths).enumerate() {
                if column > 0 {
                    line.push_str(" | ");
                }
                let text = cell.get(number).map_or("", String::as_str);
                let padding = " ".repeat(wide.saturating_sub(text.chars().count()));
                let right = self.schema.field(column).data_type().is_numeric();
                let (before, after) = if right {
                    (padding.as_str(), "")
                } else {
                    ("", padding.as_str())
                };
                line.extend([before, text, after]);
            }
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn names(schema: &SchemaRef) -> Vec<Cell> {
    cells(schema.fields().iter().map(|field| field.name().as_str()))
}

fn width(cell: &Cell) -> usize {
    cell.iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}

/// The cells of a row, without what would move the cursor. The last may be as wide as it likes.
fn cells<'a>(texts: impl ExactSizeIterator<Item = &'a str>) -> Vec<Cell> {
    let last = texts.len().saturating_sub(1);
    let cell = |(column, text): (usize, &str)| {
        let limit = if column == last {
            usize::MAX
        } else {
            MAX_WIDTH
        };
        text.lines()
            .chain(text.is_empty().then_some(""))
            .map(|line| shown(line, limit))
            .collect()
    };
    texts.enumerate().map(cell).collect()
}

fn shown(line: &str, limit: usize) -> String {
    let visible = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    if line.chars().count() <= limit {
        return visible.collect();
    }
    visible.take(limit - 1).chain(['…']).collect()
}
