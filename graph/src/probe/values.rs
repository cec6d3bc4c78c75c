//! The values of one column, gathered.

use std::collections::HashSet;

use super::ways::Way;
use super::{Candidates, spread};
use crate::column::{Column, Element};
use crate::encode::{Encoder, Keys, Source};

const LARGE: f64 = 123_456_789.0;
/// More of them than it needs to tell kernels apart, so that NaN is rare among them.
const USUAL: [f64; 14] = [
    0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, 5.0, 10.0, 25.0, 100.0, 1000.0, 1e-6, -0.003,
];

/// The values of a type in their order, by number: 0 is zero, and there are so many on either side.
#[derive(Clone, Copy)]
struct Scale {
    element: Element,
    least: i64,
    most: i64,
}

impl Scale {
    fn of(element: Element) -> Self {
        let exact = 1_i64 << 53;
        let float = i64::from(f32::MAX.to_bits());
        let (least, most) = match element {
            Element::Float32 => (-float, float),
            // No larger ones, which floats do not hold.
            Element::Float64 => {
                let most = f64::from(f32::MAX).to_bits().cast_signed();
                (-most, most)
            }
            Element::Int64 => (-exact, exact),
            Element::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Element::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Element::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Element::UInt16 => (0, u16::MAX.into()),
            Element::UInt8 => (0, u8::MAX.into()),
            Element::Bool | Element::Text => (0, 1),
        };
        Self {
            element,
            least,
            most,
        }
    }

    fn is_float(self) -> bool {
        matches!(self.element, Element::Float32 | Element::Float64)
    }

    fn at(self, place: i64) -> f64 {
        let place = place.clamp(self.least, self.most);
        let size = place.unsigned_abs();
        let size = match self.element {
            Element::Float32 => f64::from(f32::from_bits(size as u32)),
            Element::Float64 => f64::from_bits(size),
            _ => size as f64,
        };
        if place < 0 { -size } else { size }
    }

    /// The value as the type has it, if it has it.
    fn fit(self, value: f64) -> Option<f64> {
        match self.element {
            Element::Float32 => Some(f64::from(value as f32)),
            Element::Float64 => Some(value),
            _ => {
                let inside = self.least as f64 <= value && value <= self.most as f64;
                (inside && value.fract() == 0.0).then_some(value)
            }
        }
    }

    /// The value above which, or below which, `is_above` answers otherwise.
    fn crossing(self, is_above: impl Fn(f64) -> bool) -> Option<i64> {
        [(self.least, 0), (0, self.most)]
            .into_iter()
            .find_map(|(mut low, mut high)| {
                let first = is_above(self.at(low));
                if is_above(self.at(high)) == first {
                    return None;
                }
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    match is_above(self.at(middle)) == first {
                        true => low = middle,
                        false => high = middle,
                    }
                }
                Some(high)
            })
    }
}

/// What was found for a column.
pub(super) struct Found {
    scale: Option<Scale>,
    numbers: Vec<f64>,
    texts: Vec<String>,
    /// Of how many thresholds.
    pub(super) crossings: usize,
    keys: usize,
}

impl Found {
    pub(super) fn of(element: Option<Element>) -> Self {
        let scale = element.map(Scale::of);
        let mut numbers = USUAL.to_vec();
        if let Some(scale) = scale.filter(|scale| !scale.is_float()) {
            numbers.extend(
                [scale.least as f64, scale.most as f64].map(|end| end.clamp(-LARGE, LARGE)),
            );
        } else {
            numbers.extend([LARGE, -LARGE, f64::NAN]);
        }
        let fit = |value: f64| match scale {
            Some(scale) => scale.fit(value),
            None => (value == 0.0).then_some(value),
        };
        Self {
            scale,
            numbers: numbers.into_iter().filter_map(fit).collect(),
            texts: vec![String::new()],
            crossings: 0,
            keys: 0,
        }
    }

    /// A threshold and the values beside it.
    pub(super) fn cross(&mut self, way: &Way<'_>, threshold: f32) {
        let Some(scale) = self.scale else {
            return;
        };
        self.crossings += 1;
        if let Some(place) = scale.crossing(|value| way.go(value).0 > threshold) {
            self.numbers.extend([scale.at(place - 1), scale.at(place)]);
            if scale.is_float() {
                self.numbers.push(scale.at(place - 2));
            }
        }
        // Where a change rounds, several values become the threshold.
        if !way.0.is_empty()
            && scale.is_float()
            && let Some(place) = scale.crossing(|value| way.go(value).0 >= threshold)
        {
            self.numbers.push(scale.at(place));
        }
    }

    /// Some keys, and what is none of them.
    pub(super) fn keys(&mut self, keys: &Keys, most: usize) {
        let room = most.saturating_sub(self.keys);
        if room == 0 {
            return;
        }
        let (ints, floats) = match keys {
            Keys::Texts(texts) => {
                let known = texts.keys();
                self.keys += known.len().min(room);
                self.texts.extend(spread(known, room).cloned());
                let mut other = "no such category".to_owned();
                while texts.find(other.as_bytes()) < known.len() {
                    other.push('?');
                }
                self.texts.push(other);
                return;
            }
            Keys::Ints { ints, .. } => (ints, false),
            Keys::Floats(bits) => (bits, true),
        };
        let known = ints.keys();
        self.keys += known.len().min(room);
        for key in spread(&known, room) {
            let value = match floats {
                true => f32::from_bits(*key as u32).into(),
                false => *key as f64,
            };
            let fit = |value: f64| self.scale.and_then(|scale| scale.fit(value));
            let near = [value, value + 0.5, value + 1.0].map(fit);
            self.numbers.extend(near.into_iter().flatten());
        }
    }

    /// Leaves only what the model does not fail for.
    pub(super) fn keep(&mut self, way: &Way<'_>, encoder: Option<&Encoder>) {
        if let (Some(Element::Text), Some(encoder)) =
            (self.scale.map(|scale| scale.element), encoder)
        {
            self.texts.retain(|text| {
                let end = i32::try_from(text.len()).unwrap_or(-1);
                let offsets = [0, end];
                let column = Column::text(&offsets, text.as_bytes());
                !encoder.fails_for(Source::Column(column))
            });
            return;
        }
        let is_float = matches!(
            self.scale,
            Some(Scale {
                element: Element::Float32,
                ..
            })
        );
        self.numbers.retain(|value| {
            let ((now, fits), wide) = (way.go(*value), [*value]);
            let now = [now];
            let source = match way.0.is_empty() && !is_float {
                true => Source::Column(Column::from(&wide[..])),
                false => Source::Floats(&now),
            };
            fits && !encoder.is_some_and(|encoder| encoder.fails_for(source))
        });
    }

    pub(super) fn finish(mut self) -> Candidates {
        if self
            .scale
            .is_some_and(|scale| scale.element == Element::Text)
        {
            let mut seen = HashSet::new();
            self.texts.retain(|text| seen.insert(text.clone()));
            return Candidates::Texts(self.texts);
        }
        let mut seen = HashSet::new();
        self.numbers
            .retain(|value| seen.insert((value + 0.0).to_bits()));
        Candidates::Numbers(self.numbers)
    }
}
