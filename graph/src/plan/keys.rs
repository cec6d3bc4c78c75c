//! Operators that look values up: what encoders make of a text or a whole number is a table over the places of their keys.
//! Texts themselves are never made: a text is a column, and what becomes of some of its values.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::lanes::{Entries, Lane, Source};
use super::{Planner, TextLane, Value};
use crate::Labels;
use crate::column::Element;
use crate::encode::{Encoder, Ints, Keys, MOST_KEYS, Texts, float_key};
use crate::error::Error;
use crate::onnx::Node;
use crate::program::{Action, Register};
use crate::read::Wide;

type Covered = Result<Option<()>, Error>;

/// What an operator looks for; of equal ones the first counts.
enum Wanted<'a> {
    Texts(&'a [String]),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
}

impl Wanted<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Texts(keys) => keys.len(),
            Self::Ints(keys) => keys.len(),
            Self::Floats(keys) => keys.len(),
        }
    }
}

/// A register of places, and which of the keys each place is, if any.
struct Found {
    places: Register,
    keys: Vec<Option<usize>>,
}

/// One of the things that an operator's input may be, one by one.
enum One {
    Text(TextLane),
    Number(Lane),
    Label(Register, Labels),
}

impl Planner {
    /// The columns of an operator's input.
    fn ones(&self, node: &Node) -> Result<Vec<One>, Error> {
        Ok(match self.input(node, 0)? {
            Value::Texts(lanes) => lanes.into_iter().map(One::Text).collect(),
            Value::Lanes(lanes) => lanes.into_iter().map(One::Number).collect(),
            Value::Label(register, labels) => vec![One::Label(register, labels)],
            Value::Deep(_) | Value::Constant(_) | Value::Shape(_) => {
                return Err(Error::not_covered("of what is no column"));
            }
        })
    }

    pub(super) fn one_hot(&mut self, node: &Node) -> Covered {
        let (texts, ints) = (node.texts("cats_strings"), node.ints("cats_int64s"));
        let wanted = match (texts, ints) {
            ([], [_, ..]) => Wanted::Ints(ints),
            ([_, ..], []) => Wanted::Texts(texts),
            _ => {
                return Err(Error::damaged(
                    "a one-hot encoder has not one kind of categories",
                ));
            }
        };
        let [one] = self
            .ones(node)?
            .try_into()
            .map_err(|_| Error::not_covered("of several columns at once"))?;
        let found = self.find(one, &wanted, node.int("zeros", 1) == 0, true)?;
        let mut places = vec![Vec::new(); wanted.len()];
        for (place, key) in (0..).zip(&found.keys) {
            if let Some(key) = key {
                places[*key].push((place, 1.0));
            }
        }
        let lanes = places.into_iter().map(|others| {
            let entries = Entries {
                places: found.keys.len(),
                usual: 0.0,
                others: others.into(),
            };
            let places = found.places;
            Lane::from(Source::Pick { places, entries }, Element::Float32)
        });
        let lanes = lanes.collect();
        Ok(self.set(node, 0, Value::Deep(lanes)))
    }

    pub(super) fn label_encoder(&mut self, node: &Node) -> Covered {
        let tensors = ["keys_tensor", "values_tensor", "default_tensor"];
        if let Some(name) = tensors.iter().find(|name| node.has(name)) {
            return Err(Error::not_covered(format!("with '{name}'")));
        }
        let classes = node.texts("classes_strings");
        let counted: Vec<i64> = (0..classes.len() as i64).collect();
        let wanted = match (
            node.texts("keys_strings"),
            node.ints("keys_int64s"),
            node.floats("keys_floats"),
        ) {
            ([], [], []) if !classes.is_empty() => Wanted::Texts(classes),
            (keys, [], []) => Wanted::Texts(keys),
            ([], keys, []) => Wanted::Ints(keys),
            ([], [], keys) if keys.iter().any(|key| key.is_nan()) => {
                return Err(Error::not_covered("NaN as a key"));
            }
            ([], [], keys) => Wanted::Floats(keys),
            _ => return Err(Error::damaged("a label encoder has keys of several kinds")),
        };
        let ints = match classes {
            [] => node.ints("values_int64s"),
            _ => &counted,
        };
        let (texts, floats) = (node.texts("values_strings"), node.floats("values_floats"));
        let count = wanted.len();
        if count == 0
            || [texts.len(), ints.len(), floats.len()]
                .iter()
                .sum::<usize>()
                != count
        {
            return Err(Error::damaged(
                "keys and values of a label encoder differ in number",
            ));
        }
        if let Value::Constant(tensor) = self.input(node, 0)? {
            return self.constant_label(node, &tensor.ints, &wanted, texts);
        }
        let mut lanes = Vec::new();
        for one in self.ones(node)? {
            let Found { places, keys } = self.find(one, &wanted, false, false)?;
            if !self.affords(keys.len()) {
                return Err(Error::not_covered("so many keys"));
            }
            if !texts.is_empty() {
                let other = node.text("default_string", "_Unused");
                let text = |key: &Option<usize>| key.map_or(other, |key| &texts[key]).to_owned();
                let labels = Labels::Texts(keys.iter().map(text).collect());
                return match self.ones(node)?.len() {
                    1 => Ok(self.set(node, 0, Value::Label(places, labels))),
                    _ => Err(Error::not_covered("of several columns at once")),
                };
            }
            let (element, values) = match floats {
                [] => {
                    let other = node.int("default_int64", -1);
                    let int = |key: &Option<usize>| exact(key.map_or(other, |key| ints[key]));
                    (
                        Element::Int64,
                        keys.iter().map(int).collect::<Result<Vec<f64>, Error>>()?,
                    )
                }
                floats => {
                    let other = node.float("default_float", -0.0);
                    let float =
                        |key: &Option<usize>| f64::from(key.map_or(other, |key| floats[key]));
                    (Element::Float32, keys.iter().map(float).collect())
                }
            };
            let entries = Entries::of(&values);
            lanes.push(Lane::from(Source::Pick { places, entries }, element));
        }
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    /// A text by a constant number, as converters write the texts that fill gaps.
    fn constant_label(
        &mut self,
        node: &Node,
        of: &[i64],
        wanted: &Wanted<'_>,
        texts: &[String],
    ) -> Covered {
        let (Wanted::Ints(keys), [one], [_, ..]) = (wanted, of, texts) else {
            return Err(Error::not_covered("of a constant"));
        };
        let found = keys.iter().position(|key| key == one);
        let text = found.map_or_else(|| node.text("default_string", "_Unused"), |key| &texts[key]);
        let tensor = crate::onnx::Tensor {
            dims: vec![1],
            texts: vec![text.to_owned()],
            ..crate::onnx::Tensor::default()
        };
        Ok(self.set(node, 0, Value::Constant(tensor)))
    }

    /// Where the keys are in a column; `last`: of equal keys the last counts.
    fn find(
        &mut self,
        one: One,
        wanted: &Wanted<'_>,
        strict: bool,
        last: bool,
    ) -> Result<Found, Error> {
        if wanted.len() > MOST_KEYS {
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

    /// Texts of which some are replaced by a constant one; nothing where it is not about texts.
    pub(super) fn choose_text(&mut self, node: &Node) -> Covered {
        let (by, yes, no) = (
            self.input(node, 0)?,
            self.input(node, 1)?,
            self.input(node, 2)?,
        );
        let (Value::Lanes(by), Value::Constant(yes), Value::Texts(no)) = (by, yes, no) else {
            return Ok(None);
        };
        let ([by], [yes], [no]) = (by.as_slice(), yes.texts.as_slice(), no.as_slice()) else {
            return Err(Error::not_covered("of several texts at once"));
        };
        let foreign = || Error::not_covered("of texts by what is not the same text");
        let (places, entries) = by.picked().ok_or_else(foreign)?;
        let coded = self.coded.iter().find(|(of, ..)| *of == places).cloned();
        let (_, _, originals) = coded
            .filter(|(_, column, _)| *column == no.column)
            .ok_or_else(foreign)?;
        if !self.affords(originals.len() + no.known.len()) {
            return Err(Error::not_covered("so many keys"));
        }
        let mut before: HashMap<&str, &str> = no
            .known
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        let (mut known, mut seen) = (Vec::new(), HashSet::new());
        for (place, original) in originals.iter().enumerate() {
            if !seen.insert(original.as_str()) {
                continue;
            }
            let stays = before.remove(original.as_str());
            let stays = stays.or(no.other.as_deref()).unwrap_or(original);
            let text = if entries.at(place) == 0.0 { stays } else { yes };
            known.push((original.clone(), text.to_owned()));
        }
        let replaced = entries.at(originals.len()) != 0.0;
        for (from, to) in &no.known {
            if before.contains_key(from.as_str()) {
                let text = if replaced { yes } else { to };
                known.push((from.clone(), text.clone()));
            }
        }
        let other = if replaced {
            Some(yes.clone())
        } else {
            no.other.clone()
        };
        let lane = TextLane {
            column: no.column,
            known,
            other,
        };
        Ok(self.set(node, 0, Value::Texts(vec![lane])))
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

/// Whole numbers that a double holds.
fn exact(int: i64) -> Result<f64, Error> {
    match int.unsigned_abs() <= 1 << 53 {
        true => Ok(int as f64),
        false => Err(Error::not_covered("values of more than 53 bits")),
    }
}
