//! Damage to members and lists that leaves what is around them right, so that it reaches what reads the inner parts; of
//! JSON and UBJSON alike.

use super::bytes;
use super::random::Random;
use super::text::NUMBERS;
use super::{json, ubjson};

/// Deeper than any model nests, so that what reads the damage again nests no deeper than its stack.
pub(super) const DEEPEST: usize = 90;

const WORDS: [&str; 14] = [
    "binary:logistic",
    "multi:softprob",
    "multi:softmax",
    "binary:hinge",
    "count:poisson",
    "reg:squarederror",
    "gbtree",
    "gblinear",
    "dart",
    "[5E-1,1E0,-2E0]",
    "[]",
    "1E-1",
    "{\"_estimator_type\": \"classifier\"}",
    "",
];

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number, a truth or nothing, as it lies in the file.
    Atom(Vec<u8>),
    /// Without quotes, but with its escapes.
    Text(Vec<u8>),
    /// Of UBJSON: numbers of one kind, by its marker, one after the other.
    Numbers(u8, Vec<u8>),
    Array(Vec<Value>),
    Object(Vec<(Vec<u8>, Value)>),
}

/// What JSON and UBJSON do not have in common.
struct Form {
    parse: fn(&[u8]) -> Option<Value>,
    write: fn(&mut Random, &Value) -> Vec<u8>,
    atom: fn(&mut Random) -> Vec<u8>,
}

pub(super) fn damage_json(random: &mut Random, file: &mut Vec<u8>, other: &[u8]) {
    let form = Form {
        parse: json::parse,
        write: json::write,
        atom: json::atom,
    };
    damage(random, &form, file, other);
}

pub(super) fn damage_ubjson(random: &mut Random, file: &mut Vec<u8>, other: &[u8]) {
    let form = Form {
        parse: ubjson::parse,
        write: ubjson::write,
        atom: ubjson::atom,
    };
    damage(random, &form, file, other);
}

fn damage(random: &mut Random, form: &Form, file: &mut Vec<u8>, other: &[u8]) {
    let (Some(mut value), Some(mut from)) = ((form.parse)(file), (form.parse)(other)) else {
        return bytes::damage(random, file, other);
    };
    for _ in 0..=random.below(4) {
        let taken = somewhere(random, &mut from).clone();
        let place = somewhere(random, &mut value);
        one(random, form, place, taken);
    }
    *file = (form.write)(random, &value);
}

/// Some value within the value, not always an innermost one.
fn somewhere<'a>(random: &mut Random, value: &'a mut Value) -> &'a mut Value {
    let count = match value {
        Value::Array(values) => values.len(),
        Value::Object(members) => members.len(),
        Value::Atom(_) | Value::Text(_) | Value::Numbers(..) => 0,
    };
    if count == 0 || random.chance(12) {
        return value;
    }
    let place = random.below(count);
    match value {
        Value::Array(values) => somewhere(random, &mut values[place]),
        Value::Object(members) => somewhere(random, &mut members[place].1),
        Value::Atom(_) | Value::Text(_) | Value::Numbers(..) => value,
    }
}

fn one(random: &mut Random, form: &Form, value: &mut Value, taken: Value) {
    if random.chance(10) {
        *value = taken;
        return;
    }
    match value {
        Value::Atom(_) if random.chance(5) => *value = nested(random),
        Value::Atom(atom) => *atom = (form.atom)(random),
        Value::Text(text) => match random.below(3) {
            0 => *text = pick(random, &NUMBERS),
            1 => *text = pick(random, &WORDS),
            _ => bytes::damage(random, text, b"\\u00e9"),
        },
        Value::Numbers(marker, numbers) => damage_numbers(random, marker, numbers),
        Value::Array(values) => damage_list(random, values, taken),
        Value::Object(members) if random.chance(30) => {
            let (to, from) = (random.below(members.len()), random.below(members.len()));
            if let Some(key) = members.get(from).map(|(key, _)| key.clone()) {
                members[to].0 = key;
            }
        }
        Value::Object(members) => {
            let key = random.pick(members).map(|(key, _)| key.clone());
            damage_list(random, members, (key.unwrap_or_default(), taken));
        }
    }
}

fn pick(random: &mut Random, of: &[&str]) -> Vec<u8> {
    random
        .pick(of)
        .map_or(Vec::new(), |text| text.as_bytes().to_vec())
}

fn nested(random: &mut Random) -> Value {
    let mut value = Value::Array(Vec::new());
    for _ in 0..random.below(DEEPEST) {
        value = match random.chance(50) {
            true => Value::Array(vec![value]),
            false => Value::Object(vec![(b"a".to_vec(), value)]),
        };
    }
    value
}

/// One of the numbers becomes another, or there is one more or less, or they are of another kind.
fn damage_numbers(random: &mut Random, marker: &mut u8, numbers: &mut Vec<u8>) {
    let width = ubjson::width(*marker).unwrap_or(1);
    let place = random.below(numbers.len() / width) * width;
    let number = random.number().to_be_bytes();
    match random.below(8) {
        0..=3 => {
            let hard = match *marker {
                b'd' => ubjson::float(random).to_be_bytes().to_vec(),
                _ => number[8 - width..].to_vec(),
            };
            for (to, from) in numbers[place..].iter_mut().zip(hard) {
                *to = from;
            }
        }
        4 => numbers.truncate(place),
        5 => {
            let times = if random.chance(5) { 2000 } else { 1 };
            numbers.extend(number[8 - width..].repeat(times));
        }
        6 => *marker = random.pick(b"iUCIlLdDZTFNS[{x").copied().unwrap_or(b'U'),
        _ => bytes::damage(random, numbers, &number),
    }
}

fn damage_list<T: Clone>(random: &mut Random, list: &mut Vec<T>, taken: T) {
    let place = random.below(list.len());
    match random.below(7) {
        0 if !list.is_empty() => {
            list.remove(place);
        }
        1 => {
            let times = if random.chance(5) { 200 } else { 1 };
            if let Some(item) = list.get(place).cloned() {
                list.extend(std::iter::repeat_n(item, times));
            }
        }
        2 if !list.is_empty() => {
            let to = random.below(list.len());
            list.swap(place, to);
        }
        3 => list.insert(place, taken),
        4 => list.truncate(place),
        5 => list.reverse(),
        _ => list.push(taken),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{READERS, seeds};
    use super::*;

    /// Else all damage would be damage to bytes.
    #[test]
    fn seeds_are_written_as_they_are_read() {
        for reader in READERS {
            let parse = match reader.ending {
                "json" => json::parse,
                "ubj" => ubjson::parse,
                _ => continue,
            };
            for seed in seeds(reader) {
                let value = parse(&seed).unwrap();
                let written = match reader.ending {
                    "json" => json::write(&mut Random(0), &value),
                    _ => ubjson::write(&mut Random(0), &value),
                };
                assert_eq!(parse(&written), Some(value));
            }
        }
    }
}
