//! Rows of hard values, one column for each type.

use super::random::Random;
use whimbrel_graph::{Column, Element, Model};

pub(super) const ROWS: usize = 3;

const HARD: [f64; 10] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    0.0,
    -0.0,
    1e-45,
    3e38,
    1.0,
    2.0,
    -7.5,
];

const TEXTS: [&str; 6] = ["", "a", "blue", "green", "red", "a longer text than others"];

#[derive(Default)]
pub(super) struct Values {
    doubles: Vec<f64>,
    floats: Vec<f32>,
    ints: (Vec<i64>, Vec<i32>, Vec<i16>, Vec<i8>),
    unsigned: (Vec<u16>, Vec<u8>),
    truths: Vec<bool>,
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Values {
    pub(super) fn of(random: &mut Random) -> Self {
        let mut made = Self {
            offsets: vec![0],
            ..Self::default()
        };
        for _ in 0..ROWS {
            let value = random.pick(&HARD).copied().unwrap_or_default();
            let text = random.pick(&TEXTS).copied().unwrap_or_default();
            made.doubles.push(value);
            made.floats.push(value as f32);
            made.ints.0.push(value as i64);
            made.ints.1.push(value as i32);
            made.ints.2.push(value as i16);
            made.ints.3.push(value as i8);
            made.unsigned.0.push(value as u16);
            made.unsigned.1.push(value as u8);
            made.truths.push(value == 1.0);
            made.bytes.extend_from_slice(text.as_bytes());
            made.offsets.push(made.bytes.len() as i32);
        }
        made
    }

    /// Whatever the model takes.
    pub(super) fn columns(&self, model: &Model) -> Vec<Column<'_>> {
        let inputs = model.inputs().iter();
        let elements = inputs.flat_map(|input| vec![input.element; input.width]);
        elements.map(|element| self.column(element)).collect()
    }

    fn column(&self, element: Element) -> Column<'_> {
        match element {
            Element::Float32 => Column::from(&self.floats[..]),
            Element::Float64 => Column::from(&self.doubles[..]),
            Element::Int64 => Column::from(&self.ints.0[..]),
            Element::Int32 => Column::from(&self.ints.1[..]),
            Element::Int16 => Column::from(&self.ints.2[..]),
            Element::Int8 => Column::from(&self.ints.3[..]),
            Element::UInt16 => Column::from(&self.unsigned.0[..]),
            Element::UInt8 => Column::from(&self.unsigned.1[..]),
            Element::Bool => Column::from(&self.truths[..]),
            Element::Text => Column::text(&self.offsets, &self.bytes),
        }
    }
}
