//! Cast: between types of numbers as ONNX Runtime has it on processors of the x86 family, and only where no number is
//! lost on the way that it would keep.

use super::lanes::{Lane, Source};
use super::{Planner, Value};
use crate::Labels;
use crate::changes::Change;
use crate::column::Element;
use crate::error::Error;
use crate::onnx::Node;
use crate::read::{Wide, to_int64};

type Covered = Result<Option<()>, Error>;

impl Planner {
    pub(super) fn cast(&mut self, node: &Node) -> Covered {
        let to = node.int("to", 0);
        let refused = || Error::not_covered(format!("to element type {to}"));
        let element = Element::numbered(to).ok_or_else(refused)?;
        let value = match (self.input(node, 0)?, element) {
            (value @ Value::Label(_, Labels::Ints(_)), Element::Int64)
            | (value @ (Value::Label(_, Labels::Texts(_)) | Value::Texts(_)), Element::Text) => {
                value
            }
            (Value::Label(register, Labels::Ints(ints)), Element::Int32)
                if ints.iter().all(|label| i32::try_from(*label).is_ok()) =>
            {
                Value::Label(register, Labels::Ints(ints))
            }
            (Value::Deep(lanes), to) => Value::Deep(self.cast_all(&lanes, to)?),
            (Value::Lanes(_) | Value::Label(_, Labels::Ints(_)), to) => {
                let lanes = self.lanes(node, 0)?;
                Value::Lanes(self.cast_all(&lanes, to)?)
            }
            _ => return Err(refused()),
        };
        Ok(self.set(node, 0, value))
    }

    pub(super) fn cast_all(&mut self, lanes: &[Lane], to: Element) -> Result<Vec<Lane>, Error> {
        lanes.iter().map(|lane| self.cast_one(lane, to)).collect()
    }

    pub(super) fn cast_one(&mut self, lane: &Lane, to: Element) -> Result<Lane, Error> {
        let from = lane.element;
        if from == to {
            return Ok(lane.clone());
        }
        if let Some(lane) = cast_entries(lane, to) {
            return lane.ok_or_else(|| refused(from, to));
        }
        let column = matches!(lane.source, Source::Column { .. }) && lane.changes.is_empty();
        match (from, to) {
            // From here on the doubles or integers are not asked for any more.
            (_, Element::Float32) => Ok(self.settled(lane).typed(to)),
            (_, Element::Float64) => Ok(lane.clone().typed(to)),
            (Element::Float64, Element::Int64) if column => Ok(lane
                .clone()
                .with_either(Change::Whole(64), Wide::Whole)
                .typed(to)),
            (Element::Float32, Element::Int64) => {
                Ok(lane.clone().with(Change::Whole(64)).typed(to))
            }
            (Element::Float32, Element::Int32) => {
                Ok(lane.clone().with(Change::Whole(32)).typed(to))
            }
            (Element::Float32, Element::Int16) => {
                Ok(lane.clone().with(Change::Whole(16)).typed(to))
            }
            (Element::Float32, Element::Int8) => Ok(lane.clone().with(Change::Whole(8)).typed(to)),
            (Element::Float32, Element::Bool) => Ok(lane.clone().with(Change::IsNotZero).typed(to)),
            (from, Element::Bool) if from.is_whole() && !column => {
                Ok(lane.clone().with(Change::IsNotZero).typed(to))
            }
            (Element::Bool, to) if to.is_whole() => Ok(lane.clone().typed(to)),
            (from, Element::Int64) if from.is_whole() => Ok(lane.clone().typed(to)),
            _ => Err(refused(from, to)),
        }
    }
}

fn refused(from: Element, to: Element) -> Error {
    Error::not_covered(format!("{from:?} to {to:?}"))
}

/// Tables are cast entry by entry; nothing inside where an entry would be another.
fn cast_entries(lane: &Lane, to: Element) -> Option<Option<Lane>> {
    let (places, entries) = lane.picked()?;
    let fits = |x: f64| match to {
        Element::Float32 => f64::from(x as f32) == x || lane.element != Element::Float32,
        Element::Float64 | Element::Bool => true,
        Element::Int64 => x.is_finite() && x.abs() < 9e15,
        Element::Int32 => x.is_finite() && x.abs() < 2_147_483_648.0,
        Element::Int16 | Element::Int8 | Element::UInt16 | Element::UInt8 | Element::Text => false,
    };
    let change = |x: f64| match to {
        Element::Float32 => f64::from(x as f32),
        Element::Bool => f64::from(u8::from(x != 0.0)),
        to if to.is_whole() => to_int64(x) as f64,
        _ => x,
    };
    let all = entries
        .others
        .iter()
        .map(|(_, x)| *x)
        .chain([entries.usual]);
    let changed = || {
        Lane::from(
            Source::Pick {
                places,
                entries: entries.map(change),
            },
            to,
        )
    };
    let nan = |x: f64| x.is_nan() && !to.is_whole();
    Some(all.into_iter().all(|x| fits(x) || nan(x)).then(changed))
}
