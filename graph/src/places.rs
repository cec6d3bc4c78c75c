//! Which places an encoder gives where something is known of the values that it sees.

use std::rc::Rc;

use crate::column::Element;
use crate::encode::{Encoder, Ints, Keys, float_key};
use crate::fact::Held;
use crate::known::Known;
use crate::read::Wide;

/// More than these are as good as all: every table of the encoder would be looked through for each.
const MOST: usize = 256;

/// From here on floats stand for several whole numbers.
const EXACT: f32 = 16_777_216.0;

impl Encoder {
    /// What the places are for a column of the type, or for floats that a step made.
    pub(crate) fn held<'a>(&self, values: &Held<'_>, element: Option<Element>) -> Held<'a> {
        let places = match (&self.keys, values) {
            (Keys::Texts(keys), Held::Texts(texts)) if texts.len() <= MOST => Some(
                texts
                    .iter()
                    .map(|text| keys.find(text.as_bytes()))
                    .collect(),
            ),
            (Keys::Ints { ints, changes }, _) => whole_ends(values.known(), changes, element)
                .and_then(|(ends, nan)| of_ints(ints, ends, nan)),
            (Keys::Floats(bits), _) => of_floats(bits, values.known()),
            (Keys::Texts(_), _) => None,
        };
        let mut places: Vec<usize> = places.unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        match *places {
            [] => Held::NOTHING,
            [place] => Held::Exactly(place as f32),
            _ => Held::Places(Rc::from(places)),
        }
    }
}

/// Between which doubles the values are before they are cut down to whole numbers, and whether NaN is among them.
fn whole_ends(
    known: Known,
    changes: &[Wide],
    element: Option<Element>,
) -> Option<([f64; 2], bool)> {
    let Known { low, high, nan } = known;
    if known == Known::NOTHING {
        return None;
    }
    let is_whole = element.is_some_and(|element| element != Element::Float64);
    let ends = match (changes, element) {
        ([], None | Some(Element::Float32)) => ([low, high].map(f64::from), nan),
        ([], _) if is_whole && low.abs() < EXACT && high.abs() < EXACT => {
            ([low.ceil(), high.floor()].map(f64::from), nan)
        }
        ([before @ .., Wide::Whole] | before, _) => known.wide(before)?,
    };
    Some(ends)
}

/// Nothing where it is too many.
fn of_ints(ints: &Ints, ends: [f64; 2], nan: bool) -> Option<Vec<usize>> {
    const END: f64 = 9_223_372_036_854_775_808.0;
    let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
    // What is no such number is the least of them.
    let least = nan || low < -END || high >= END;
    let (first, last) = (low as i64, high as i64);
    let keys = ints.keys();
    let keys = &keys[keys.partition_point(|key| *key < first)..];
    let keys = &keys[..keys.partition_point(|key| *key <= last)];
    if keys.len() > MOST {
        return None;
    }
    let find = |key: i64| ints.find(key) as usize;
    let mut places: Vec<usize> = keys.iter().map(|key| find(*key)).collect();
    if i128::from(last) - i128::from(first) >= keys.len() as i128 {
        places.push(ints.other());
    }
    if least {
        places.push(find(i64::MIN));
    }
    Some(places)
}

fn of_floats(bits: &Ints, known: Known) -> Option<Vec<usize>> {
    let Known { low, high, nan } = known;
    let keys = bits.keys().into_iter().filter(|key| {
        let value = u32::try_from(*key).map(f32::from_bits);
        value.is_ok_and(|value| low <= value && value <= high)
    });
    let keys: Vec<i64> = keys.take(MOST + 1).collect();
    if known == Known::NOTHING || keys.len() > MOST {
        return None;
    }
    let find = |key: i64| bits.find(key) as usize;
    let is_key = low == high && find(float_key(low)) != bits.other();
    let mut places: Vec<usize> = keys.into_iter().map(find).collect();
    if !is_key {
        places.push(bits.other());
    }
    if nan {
        places.push(find(i64::MIN));
    }
    Some(places)
}
