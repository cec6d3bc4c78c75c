//! Looking for keys: in texts, whole numbers or floats, and in what is a table already. Texts themselves are never
//! made: a text is a column, and what became of some of its values.

use std::collections::HashMap;
use std::sync::Arc;

use super::lanes::{Lane, Source};
use super::{Planner, TextLane, Value};
use crate::Labels;
use crate::column::Element;
use crate::encode::{Encoder, Ints, Keys, MOST_KEYS, Texts, float_key};
use crate::error::Error;
use crate::onnx::Node;
use crate::program::{Action, Register};
use crate::read::Wide;

/// What an operator looks for; of equal ones the first counts.
pub(super) enum Wanted<'a> {
    Texts(&'a [String]),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
}

impl Wanted<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Texts(keys) => keys.len(),
            Self::Ints(keys) => keys.len(),
            Self::Floats(keys) => keys.len(),
        }
    }
}

/// A register of places, and which of the keys each place is, if any.
pub(super) struct Found {
    pub places: Register,
    pub keys: Vec<Option<usize>>,
}

/// One of the things that an operator's input may be, one by one.
pub(super) enum One {
    Text(TextLane),
    Number(Lane),
    Label(Register, Labels),
}

impl Planner {
    /// The columns of an operator's input.
    pub(super) fn ones(&self, node: &Node) -> Result<Vec<One>, Error> {
        Ok(match self.input(node, 0)? {
            Value::Texts(lanes) => lanes.into_iter().map(One::Text).collect(),
            Value::Lanes(lanes) => lanes.into_iter().map(One::Number).collect(),
            Value::Label(register, labels) => vec![One::Label(register, labels)],
            Value::Deep(_) | Value::Constant(_) | Value::Shape(_) => {
                return Err(Error::not_covered("of what is no column"));
            }
        })
    }

    /// Where the keys are in a column; `last`: of equal keys the last counts.
    pub(super) fn find(
        &mut self,
        one: One,
        wanted: &Wanted<'_>,
        strict: bool,
        last: bool,
    ) -> Result<Found, Error> {
        if wanted.len() > MOST_KEYS || self.weight_left == 0 {
            return Err(Error::not_covered("so many keys"));
        }
        match (one, wanted) {
            (One::Text(lane), Wanted::Texts(keys)) => self.find_texts(lane, keys, strict, last),
            (One::Label(places, Labels::Texts(texts)), Wanted::Texts(keys)) => {
                let index = index(keys.iter().map(String::as_str), last);
                let keys = texts.iter().map(|text| index.get(text.as_str()).copied());
                known(places, keys.collect(), strict)
            }
            (One::Label(places, Labels::Ints(ints)), Wanted::Ints(keys)) => {
                let index = index(keys.iter().copied(), last);
                let keys = ints.iter().map(|int| index.get(int).copied());
                known(places, keys.collect(), strict)
            }
            (One::Number(lane), Wanted::Ints(keys)) => self.find_ints(&lane, keys, strict, last),
            (One::Number(lane), Wanted::Floats(keys)) if lane.element == Element::Float32 => {
                let index = index(keys.iter().map(|key| float_key(*key)), last);
                if let Some((places, entries)) = lane.picked() {
                    let key = |place| index.get(&float_key(entries.at(place) as f32)).copied();
                    return known(places, (0..entries.places).map(key).collect(), strict);
                }
                let bits: Vec<i64> = keys.iter().map(|key| float_key(*key)).collect();
                let from = self.register(&lane);
                Ok(self.encode(
                    from,
                    Keys::Floats(Ints::of(&bits)),
                    numbered(&bits, &index),
                    strict,
                ))
            }
            _ => Err(Error::not_covered("keys of another type")),
        }
    }

    fn find_ints(
        &mut self,
        lane: &Lane,
        keys: &[i64],
        strict: bool,
        last: bool,
    ) -> Result<Found, Error> {
        let index = index(keys.iter().copied(), last);
        if let Some((places, entries)) = lane.picked() {
            let key = |place| {
                let value = crate::read::to_int64(entries.at(place));
                index.get(&value).copied()
            };
            return known(places, (0..entries.places).map(key).collect(), strict);
        }
        let (from, changes) = match (&lane.source, lane.element) {
            (Source::Column { number, changes }, Element::Float64) if lane.changes.is_empty() => {
                let mut changes = changes.clone();
                changes.push(Wide::Whole);
                (Register::Column(*number), changes)
            }
            (Source::Column { number, changes }, element)
                if element.is_whole() && lane.changes.is_empty() =>
            {
                (Register::Column(*number), changes.clone())
            }
            (_, Element::Float64) => {
                return Err(Error::not_covered("of doubles that were computed"));
            }
            _ => (self.register(lane), Vec::new()),
        };
        let ints = Ints::of(keys);
        Ok(self.encode(
            from,
            Keys::Ints { ints, changes },
            numbered(keys, &index),
            strict,
        ))
    }

    /// By what the texts were before anything became of them.
    fn find_texts(
        &mut self,
        lane: TextLane,
        keys: &[String],
        strict: bool,
        last: bool,
    ) -> Result<Found, Error> {
        let TextLane {
            column,
            known,
            other,
        } = lane;
        let index = index(keys.iter().map(String::as_str), last);
        let changed: HashMap<&str, &str> = known
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        let mut originals: Vec<String> = known.iter().map(|(from, _)| from.clone()).collect();
        if !self.affords(originals.len()) {
            return Err(Error::not_covered("so many keys"));
        }
        if other.is_none() {
            originals.extend(
                keys.iter()
                    .filter(|key| !changed.contains_key(key.as_str()))
                    .cloned(),
            );
        }
        let mut found: Vec<Option<usize>> = Vec::with_capacity(originals.len() + 1);
        for original in &originals {
            let text = changed.get(original.as_str()).copied().unwrap_or(original);
            found.push(index.get(text).copied());
        }
        found.push(other.and_then(|other| index.get(other.as_str()).copied()));
        self.coded.push((
            Register::Slot(self.program.slots),
            column,
            originals.clone(),
        ));
        let texts = Keys::Texts(Texts::of(originals));
        Ok(self.encode(Register::Column(column), texts, found, strict))
    }

    fn encode(
        &mut self,
        from: Register,
        keys: Keys,
        found: Vec<Option<usize>>,
        strict: bool,
    ) -> Found {
        // A table, the keys themselves, and what each of them is.
        self.weigh(32 + 12 * found.len());
        let fails = match strict {
            true => found.iter().map(Option::is_none).collect(),
            false => Vec::new(),
        };
        let encoder = Arc::new(Encoder { keys, fails });
        let places = self.one(vec![from], Action::Encode(encoder));
        Found {
            places,
            keys: found,
        }
    }
}

/// What was found at planning.
fn known(places: Register, keys: Vec<Option<usize>>, strict: bool) -> Result<Found, Error> {
    match strict && keys.contains(&None) {
        true => Err(Error::not_covered("what may fail for labels")),
        false => Ok(Found { places, keys }),
    }
}

fn index<K: std::hash::Hash + Eq>(keys: impl Iterator<Item = K>, last: bool) -> HashMap<K, usize> {
    let mut index = HashMap::new();
    for (place, key) in keys.enumerate() {
        match last {
            true => index.insert(key, place),
            false => Some(*index.entry(key).or_insert(place)),
        };
    }
    index
}

/// By place of the keys, and of what is none of them.
fn numbered(keys: &[i64], index: &HashMap<i64, usize>) -> Vec<Option<usize>> {
    let found = keys.iter().map(|key| index.get(key).copied());
    found.chain([None]).collect()
}
