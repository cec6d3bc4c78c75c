//! Encoders: what they make of a text or a whole number is a table over the places of their keys.

use std::borrow::Cow;

use super::keys::{Found, Wanted};
use super::lanes::{Entries, Lane, Source};
use super::{Planner, Value};
use crate::Labels;
use crate::column::Element;
use crate::error::Error;
use crate::onnx::{Node, Tensor};

type Covered = Result<Option<()>, Error>;

/// What a label encoder gives for its keys, one by one.
enum Values<'a> {
    Texts(&'a [String]),
    Ints(Cow<'a, [i64]>),
    Floats(&'a [f32]),
}

/// As many keys as values.
struct Mapping<'a> {
    wanted: Wanted<'a>,
    values: Values<'a>,
}

impl<'a> Mapping<'a> {
    fn of(node: &'a Node) -> Result<Self, Error> {
        let tensors = ["keys_tensor", "values_tensor", "default_tensor"];
        if let Some(name) = tensors.iter().find(|name| node.has(name)) {
            return Err(Error::not_covered(format!("with '{name}'")));
        }
        let of_texts = match node.texts("classes_strings") {
            [] => node.texts("keys_strings"),
            // Those of the first version are numbered.
            classes => {
                let values = Values::Ints((0..classes.len() as i64).collect());
                let wanted = Wanted::Texts(classes);
                return Ok(Self { wanted, values });
            }
        };
        let wanted = match (
            of_texts,
            node.ints("keys_int64s"),
            node.floats("keys_floats"),
        ) {
            (keys, [], []) => Wanted::Texts(keys),
            ([], keys, []) => Wanted::Ints(keys),
            ([], [], keys) if keys.iter().any(|key| key.is_nan()) => {
                return Err(Error::not_covered("NaN as a key"));
            }
            ([], [], keys) => Wanted::Floats(keys),
            _ => return Err(Error::damaged("a label encoder has keys of several kinds")),
        };
        let (texts, floats) = (node.texts("values_strings"), node.floats("values_floats"));
        let (values, count) = match (texts, node.ints("values_int64s"), floats) {
            (texts, [], []) => (Values::Texts(texts), texts.len()),
            ([], ints, []) => (Values::Ints(ints.into()), ints.len()),
            ([], [], floats) => (Values::Floats(floats), floats.len()),
            _ => {
                return Err(Error::damaged(
                    "a label encoder has values of several kinds",
                ));
            }
        };
        match count == wanted.len() && count > 0 {
            true => Ok(Self { wanted, values }),
            false => Err(Error::damaged(
                "keys and values of a label encoder differ in number",
            )),
        }
    }
}

impl Planner {
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
        let Mapping { wanted, values } = Mapping::of(node)?;
        if let Value::Constant(tensor) = self.input(node, 0)? {
            return self.constant_label(node, &tensor.ints, &wanted, &values);
        }
        let ones = self.ones(node)?;
        let single = ones.len() == 1;
        let mut lanes = Vec::new();
        for one in ones {
            let Found { places, keys } = self.find(one, &wanted, false, false)?;
            if !self.affords(keys.len()) {
                return Err(Error::not_covered("so many keys"));
            }
            let (element, entries) = match &values {
                Values::Texts(texts) if single => {
                    let other = node.text("default_string", "_Unused");
                    let text =
                        |key: &Option<usize>| key.map_or(other, |key| &texts[key]).to_owned();
                    let labels = Labels::Texts(keys.iter().map(text).collect());
                    return Ok(self.set(node, 0, Value::Label(places, labels)));
                }
                Values::Texts(_) => return Err(Error::not_covered("of several columns at once")),
                Values::Ints(ints) => {
                    let other = node.int("default_int64", -1);
                    let int = |key: &Option<usize>| exact(key.map_or(other, |key| ints[key]));
                    let values: Result<Vec<f64>, Error> = keys.iter().map(int).collect();
                    (Element::Int64, Entries::of(&values?))
                }
                Values::Floats(floats) => {
                    let other = node.float("default_float", -0.0);
                    let float =
                        |key: &Option<usize>| f64::from(key.map_or(other, |key| floats[key]));
                    let values: Vec<f64> = keys.iter().map(float).collect();
                    (Element::Float32, Entries::of(&values))
                }
            };
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
        values: &Values<'_>,
    ) -> Covered {
        let (Wanted::Ints(keys), [one], Values::Texts(texts)) = (wanted, of, values) else {
            return Err(Error::not_covered("of a constant"));
        };
        let found = keys.iter().position(|key| key == one);
        let text = found.map_or_else(|| node.text("default_string", "_Unused"), |key| &texts[key]);
        let tensor = Tensor {
            dims: vec![1],
            texts: vec![text.to_owned()],
            ..Tensor::default()
        };
        Ok(self.set(node, 0, Value::Constant(tensor)))
    }
}

/// Whole numbers that a double holds.
fn exact(int: i64) -> Result<f64, Error> {
    match int.unsigned_abs() <= 1 << 53 {
        true => Ok(int as f64),
        false => Err(Error::not_covered("values of more than 53 bits")),
    }
}
