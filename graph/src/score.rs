//! Scoring: blocks of rows go through the steps that the wanted outputs are made of, each step once.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::column::{Column, Values, fill};
use crate::encode::Trouble;
use crate::error::Error;
use crate::kernel::BLOCK;
use crate::model::{Kind, Model, Scratch, Wanted};
use crate::program::{Block, Program, Register};

/// Where the values of an output go, row by row.
#[derive(Debug)]
pub enum Out<'a> {
    /// `rows * width` places for numbers.
    Numbers(&'a mut [f32]),
    /// `rows` places for those of the rows' labels.
    Labels(&'a mut [u32]),
}

impl Out<'_> {
    /// Takes in the values of rows from `first` on, which are number `place` of `width` in each row.
    fn take(&mut self, first: usize, place: usize, width: usize, values: &[f32]) {
        match self {
            Self::Numbers(out) if width == 1 => {
                out[first..first + values.len()].copy_from_slice(values);
            }
            Self::Numbers(out) => {
                let places = out[first * width..].iter_mut().skip(place).step_by(width);
                for (to, from) in places.zip(values) {
                    *to = *from;
                }
            }
            Self::Labels(out) => {
                for (to, from) in out[first..].iter_mut().zip(values) {
                    *to = *from as u32;
                }
            }
        }
    }
}

impl Model {
    /// The numbers of an output.
    pub fn score(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), Error> {
        self.score_all(&mut [(output, Out::Numbers(out))], columns, rows, scratch)
    }

    /// The labels of an output.
    pub fn classify(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
        out: &mut [u32],
    ) -> Result<(), Error> {
        self.score_all(&mut [(output, Out::Labels(out))], columns, rows, scratch)
    }

    /// Several outputs at once: what they have in common is done once.
    pub fn score_all(
        &self,
        outputs: &mut [(usize, Out<'_>)],
        columns: &[Column<'_>],
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        for (output, out) in &*outputs {
            self.fits(*output, columns, rows, out)?;
        }
        let wanted: Vec<&Wanted> = outputs
            .iter()
            .map(|(place, _)| &self.wanted[*place])
            .collect();
        let steps = steps_of(&wanted);
        let places: Vec<usize> = outputs.iter().map(|(place, _)| *place).collect();
        let Scratch { memory, gathered } = scratch;
        // Nothing to do, but for the scratch of another model.
        self.program.fit(memory);
        let strided = columns.iter().any(|column| column.stride > 1);
        if strided && gathered.len() < columns.len() * BLOCK {
            gathered.resize(columns.len() * BLOCK, 0.0);
        }
        let read = self.used_columns(&places);
        for first in (0..rows).step_by(BLOCK) {
            let count = (rows - first).min(BLOCK);
            if strided {
                gather(columns, &read, first, count, gathered);
            }
            let block = Window {
                columns,
                gathered,
                first,
                count,
            };
            self.program.run(&steps, self.level, &block, memory);
            if let Some((step, trouble)) = memory.trouble {
                return Err(self.trouble(step, trouble));
            }
            for ((_, out), wanted) in outputs.iter_mut().zip(&wanted) {
                let width = wanted.registers.len();
                for (place, register) in wanted.registers.iter().enumerate() {
                    let values = Program::read(*register, &block, memory);
                    out.take(first, place, width, values);
                }
            }
        }
        Ok(())
    }

    fn fits(
        &self,
        output: usize,
        columns: &[Column<'_>],
        rows: usize,
        out: &Out<'_>,
    ) -> Result<(), Error> {
        let kind = self.outputs.get(output).map(|output| &output.kind);
        let (width, places) = match (kind, out) {
            (Some(Kind::Numbers { width, .. }), Out::Numbers(out)) => (*width, out.len()),
            (Some(Kind::Label(_)), Out::Labels(out)) => (1, out.len()),
            (_, Out::Numbers(_)) => {
                return Err(Error::Call(format!("output {output} has no numbers")));
            }
            (_, Out::Labels(_)) => {
                return Err(Error::Call(format!("output {output} has no labels")));
            }
        };
        if columns.len() != self.columns.len() {
            let (given, takes) = (columns.len(), self.columns.len());
            return Err(Error::Call(format!("{given} columns, not {takes}")));
        }
        for (number, read) in self.wanted[output].columns.iter().enumerate() {
            let (column, takes) = (&columns[number], self.columns[number]);
            if !read {
                continue;
            }
            if let Some(takes) = takes.filter(|takes| *takes != column.element()) {
                return Err(Error::Call(format!("column {number} is not {takes:?}")));
            }
            if !column.holds(rows) {
                return Err(Error::Call(format!(
                    "column {number} has fewer than {rows} rows"
                )));
            }
        }
        if rows.checked_mul(width) != Some(places) {
            return Err(Error::Call(format!("{places} places for {rows} rows")));
        }
        Ok(())
    }

    fn trouble(&self, step: usize, trouble: Trouble) -> Error {
        let from = self
            .program
            .steps
            .get(step)
            .and_then(|step| step.from.first());
        let of = match from {
            Some(Register::Column(number)) => format!("column {number}"),
            Some(Register::Slot(_)) | None => "what is made of the columns".to_owned(),
        };
        Error::Rows(match trouble {
            Trouble::Unknown => format!("{of} has a category that the model does not know"),
            Trouble::Offsets => format!("{of} has offsets beyond its bytes"),
            Trouble::Beyond => format!("{of} has a number that is too large for a 32-bit float"),
        })
    }
}

/// What any of them is made of, ascending.
fn steps_of<'a>(wanted: &[&'a Wanted]) -> Cow<'a, [usize]> {
    match wanted {
        [one] => Cow::Borrowed(&one.steps),
        several => {
            let steps = several
                .iter()
                .flat_map(|wanted| wanted.steps.iter().copied());
            let steps: BTreeSet<usize> = steps.collect();
            Cow::Owned(steps.into_iter().collect())
        }
    }
}

fn gather(columns: &[Column<'_>], read: &[bool], first: usize, count: usize, gathered: &mut [f32]) {
    let read = columns.iter().zip(read);
    for ((column, read), into) in read.zip(gathered.chunks_exact_mut(BLOCK)) {
        if let (true, Values::Float32(values), 2..) = (read, column.values, column.stride) {
            let values = &values[first * column.stride..];
            fill(values, column.stride, &mut into[..count], |x| x);
        }
    }
}

/// The rows of a block, in the caller's columns.
struct Window<'a> {
    columns: &'a [Column<'a>],
    gathered: &'a [f32],
    first: usize,
    count: usize,
}

impl Block for Window<'_> {
    #[inline]
    fn column(&self, number: usize) -> &[f32] {
        let column = &self.columns[number];
        match (column.values, column.stride) {
            (Values::Float32(values), 1) => &values[self.first..self.first + self.count],
            _ => &self.gathered[number * BLOCK..][..self.count],
        }
    }

    fn any_column(&self, number: usize) -> Column<'_> {
        self.columns[number].skip(self.first)
    }

    fn rows(&self) -> usize {
        self.count
    }
}
