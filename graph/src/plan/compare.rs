//! Comparisons and choices between numbers, and what else converters put around discretizers and polynomials.

use super::lanes::{Lane, Source};
use super::plain::{by_constant, is_last, pick};
use super::{Planner, Value};
use crate::changes::Change;
use crate::column::Element;
use crate::error::Error;
use crate::onnx::{Node, Tensor};
use crate::program::{Action, Pair};
use crate::read::Wide;

type Covered = Result<Option<()>, Error>;

/// The left one compared with the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

impl Comparison {
    fn swapped(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::AtMost => Self::AtLeast,
            Self::Above => Self::Below,
            Self::AtLeast => Self::AtMost,
            Self::Equal => Self::Equal,
        }
    }

    fn with(self, than: f64) -> (Change, Wide) {
        let narrow = than as f32;
        match self {
            Self::Below => (Change::IsBelow(narrow), Wide::IsBelow(than)),
            Self::AtMost => (Change::IsAtMost(narrow), Wide::IsAtMost(than)),
            Self::Above => (Change::IsAbove(narrow), Wide::IsAbove(than)),
            Self::AtLeast => (Change::IsAtLeast(narrow), Wide::IsAtLeast(than)),
            Self::Equal => (Change::IsEqual(narrow), Wide::IsEqual(than)),
        }
    }
}

impl Planner {
    /// Nothing for an operator that is not covered at all.
    pub(super) fn compared(&mut self, node: &Node) -> Covered {
        match node.op.as_str() {
            "Less" => self.comparison(node, Comparison::Below),
            "LessOrEqual" => self.comparison(node, Comparison::AtMost),
            "Greater" => self.comparison(node, Comparison::Above),
            "GreaterOrEqual" => self.comparison(node, Comparison::AtLeast),
            "Equal" => self.comparison(node, Comparison::Equal),
            "Not" => {
                let lanes = self.lanes(node, 0)?;
                if lanes.iter().any(|lane| lane.element != Element::Bool) {
                    return Err(Error::not_covered("of what is not true or false"));
                }
                let lanes = lanes
                    .into_iter()
                    .map(|lane| lane.with(Change::SubtractFrom(1.0)));
                let lanes = lanes.collect();
                Ok(self.set(node, 0, Value::Lanes(lanes)))
            }
            "Where" => self.choose(node),
            "Clip" => self.clip(node),
            "Pow" => self.power(node),
            "ReduceProd" => self.reduced(node, Pair::Multiply),
            "ReduceSum" => self.reduced(node, Pair::Add),
            "Shape" => {
                let width = self.lanes(node, 0)?.len();
                match node.has("start") || node.has("end") {
                    true => Err(Error::not_covered("of some dimensions")),
                    false => Ok(self.set(node, 0, Value::Shape(width))),
                }
            }
            "ConstantOfShape" => self.constants(node),
            "Slice" => self.slice(node),
            _ => Ok(None),
        }
    }

    fn comparison(&mut self, node: &Node, comparison: Comparison) -> Covered {
        let (lanes, constant, comparison) = match (self.input(node, 0)?, self.input(node, 1)?) {
            (_, Value::Constant(constant)) => (self.lanes(node, 0)?, constant, comparison),
            (Value::Constant(constant), _) => {
                (self.lanes(node, 1)?, constant, comparison.swapped())
            }
            _ => return self.compared_lanes(node, comparison),
        };
        let values = constant.numbers();
        let whole = |lane: &Lane| lane.element.is_whole() || lane.element == Element::Bool;
        // Beyond that doubles do not tell whole numbers apart, and in registers floats not those beyond 24 bits.
        let exact = |lane: &Lane| match (&lane.source, whole(lane)) {
            (Source::Column { .. }, true) => values.iter().all(|x| x.abs() < 9e15),
            (_, true) => values.iter().all(|x| f64::from(*x as f32) == *x),
            (Source::Column { .. }, false) => true,
            (_, false) => lane.element == Element::Float32,
        };
        if !lanes.iter().all(exact) {
            return Err(Error::not_covered("of doubles that were computed"));
        }
        let lanes = by_constant(lanes, &constant, |lane, than| {
            let (narrow, wide) = comparison.with(than);
            lane.with_either(narrow, wide).typed(Element::Bool)
        })?;
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn compared_lanes(&mut self, node: &Node, comparison: Comparison) -> Covered {
        let (left, right) = (self.lanes(node, 0)?, self.lanes(node, 1)?);
        let (left, right, pair) = match comparison {
            Comparison::Below => (left, right, Pair::IsBelow),
            Comparison::AtMost => (left, right, Pair::IsAtMost),
            Comparison::Above => (right, left, Pair::IsBelow),
            Comparison::AtLeast => (right, left, Pair::IsAtMost),
            Comparison::Equal => (left, right, Pair::IsEqual),
        };
        if left
            .iter()
            .chain(&right)
            .any(|lane| lane.element != Element::Float32)
        {
            return Err(Error::not_covered("of what are no 32-bit floats"));
        }
        let lanes = self.lanes_by_lanes(pair, &left, &right)?;
        let lanes = lanes.into_iter().map(|lane| lane.typed(Element::Bool));
        let lanes = lanes.collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn choose(&mut self, node: &Node) -> Covered {
        if let Some(done) = self.choose_text(node)? {
            return Ok(Some(done));
        }
        let by = self.lanes(node, 0)?;
        let width = by.len();
        if by.iter().any(|lane| lane.element != Element::Bool) {
            return Err(Error::not_covered("by what is not true or false"));
        }
        let yes = self.either(node, 1, width)?;
        let no = self.either(node, 2, width)?;
        let mut lanes = Vec::with_capacity(width);
        for (by, (yes, no)) in by.iter().zip(yes.iter().zip(&no)) {
            if yes.element != no.element || !is_float(yes) {
                return Err(Error::not_covered("between values that are no floats"));
            }
            let lane = match (&yes.source, &no.source) {
                (Source::Constant(other), Source::Constant(zero)) => {
                    let (zero, other) = (*zero, *other);
                    by.clone().with(Change::Choose { zero, other })
                }
                _ => {
                    let from = [by, yes, no].map(|lane| self.register(lane));
                    Lane::of(self.one(from.to_vec(), Action::Choose))
                }
            };
            lanes.push(lane.typed(yes.element));
        }
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    /// So many lanes, or a constant as such.
    fn either(&self, node: &Node, place: usize, width: usize) -> Result<Vec<Lane>, Error> {
        let lanes = match self.input(node, place)? {
            Value::Constant(tensor) => {
                let element = match tensor.doubles.is_empty() {
                    true => Element::Float32,
                    false => Element::Float64,
                };
                if !tensor.ints.is_empty() || !tensor.texts.is_empty() || !one_row(&tensor) {
                    return Err(Error::not_covered("between values that are no floats"));
                }
                let lane = |x: &f64| Lane::from(Source::Constant(*x as f32), element);
                tensor.numbers().iter().map(lane).collect()
            }
            _ => self.lanes(node, place)?,
        };
        match lanes.len() {
            1 => Ok(vec![lanes[0].clone(); width]),
            count if count == width => Ok(lanes),
            _ => Err(Error::not_covered("of different widths")),
        }
    }

    fn clip(&mut self, node: &Node) -> Covered {
        let lanes = self.float_lanes(node, 0)?;
        let mut ends = [
            f64::from(node.float("min", f32::MIN)),
            f64::from(node.float("max", f32::MAX)),
        ];
        if !node.has("min") && !node.has("max") {
            ends = [f64::NEG_INFINITY, f64::INFINITY];
        }
        for (place, end) in ends.iter_mut().enumerate() {
            if node
                .inputs
                .get(place + 1)
                .is_some_and(|name| !name.is_empty())
            {
                let [one] = self.constant(node, place + 1)?.numbers()[..] else {
                    return Err(Error::not_covered("between several ends"));
                };
                *end = one;
            }
        }
        let [least, most] = ends;
        let wide = Wide::Clip { least, most };
        let (least, most) = (least as f32, most as f32);
        let narrow = Change::Clip { least, most };
        let lanes = lanes.into_iter().map(|lane| lane.with_either(narrow, wide));
        let lanes = lanes.collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn power(&mut self, node: &Node) -> Covered {
        let lanes = self.float_lanes(node, 0)?;
        let constant = self.constant(node, 1)?;
        let lanes = by_constant(lanes, &constant, |lane, of| {
            lane.with(Change::Power(of as f32))
        })?;
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    /// All of a row's numbers made one, from the first on.
    fn reduced(&mut self, node: &Node, pair: Pair) -> Covered {
        let lanes = self.float_lanes(node, 0)?;
        let mut axes = node.ints("axes").to_vec();
        if node.inputs.get(1).is_some_and(|name| !name.is_empty()) {
            axes = self.constant(node, 1)?.ints;
        }
        let [axis] = axes[..] else {
            return Err(Error::not_covered("along other axes"));
        };
        is_last(axis)?;
        if node.int("keepdims", 1) == 0 {
            return Err(Error::not_covered("to one dimension"));
        }
        let element = lanes.first().map_or(Element::Float32, |lane| lane.element);
        let mut lanes = lanes.into_iter();
        let Some(mut all) = lanes.next() else {
            return Ok(None);
        };
        for lane in lanes {
            let from = vec![self.register(&all), self.register(&lane)];
            all = Lane::of(self.one(from, Action::Pair(pair))).typed(element);
        }
        Ok(self.set(node, 0, Value::Lanes(vec![all])))
    }

    fn constants(&mut self, node: &Node) -> Covered {
        let Value::Shape(width) = self.input(node, 0)? else {
            return Err(Error::not_covered("of a shape that is not a row's"));
        };
        let (value, element) = match node.tensor("value")? {
            None => (0.0, Element::Float32),
            Some(Tensor {
                floats, doubles, ..
            }) => match (floats.as_slice(), doubles.as_slice()) {
                ([value], []) => (*value, Element::Float32),
                (_, [value]) => (*value as f32, Element::Float64),
                _ => return Err(Error::not_covered("of values that are no floats")),
            },
        };
        let lane = Lane::from(Source::Constant(value), element);
        Ok(self.set(node, 0, Value::Lanes(vec![lane; width])))
    }

    fn slice(&mut self, node: &Node) -> Covered {
        let lanes = self.lanes(node, 0)?;
        let width = lanes.len() as i64;
        let one = |place: usize, default: Option<i64>| match node.inputs.get(place) {
            None => default.ok_or_else(|| Error::not_covered("without axes")),
            Some(_) => match self.constant(node, place)?.ints[..] {
                [one] => Ok(one),
                _ => Err(Error::not_covered("along several axes")),
            },
        };
        let (start, end, axis, step) = (
            one(1, None)?,
            one(2, None)?,
            one(3, None)?,
            one(4, Some(1))?,
        );
        is_last(axis)?;
        let from = |place: i64| {
            if place < 0 {
                place.saturating_add(width)
            } else {
                place
            }
        };
        let [start, end] = [start, end].map(|place| from(place).clamp(0, width));
        if step != 1 {
            return Err(Error::not_covered("with steps"));
        }
        let places: Vec<i64> = (start..end).collect();
        let lanes = pick(&lanes, &places)?;
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }
}

pub(super) fn is_float(lane: &Lane) -> bool {
    matches!(lane.element, Element::Float32 | Element::Float64)
}

/// More than one row of numbers would need as many rows here.
pub(super) fn one_row(constant: &Tensor) -> bool {
    match constant.dims.as_slice() {
        [] | [_] | [1, _] => true,
        dims => dims.iter().all(|size| *size == 1),
    }
}
