//! UBJSON as the fuzzer takes it apart and puts it together.

use super::members::{DEEPEST, Value};
use super::random::Random;

/// Of the numbers that always take as much room.
pub(super) fn width(marker: u8) -> Option<usize> {
    match marker {
        b'i' | b'U' | b'C' => Some(1),
        b'I' => Some(2),
        b'l' | b'd' => Some(4),
        b'L' | b'D' => Some(8),
        _ => None,
    }
}

pub(super) fn parse(file: &[u8]) -> Option<Value> {
    let mut rest = file;
    let value = value(&mut rest, DEEPEST)?;
    rest.is_empty().then_some(value)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let marker = take(rest, 1)?[0];
    let bytes = take(rest, width(marker)?)?;
    let length = bytes
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= rest.len())
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = length(rest)?;
    take(rest, length).map(<[u8]>::to_vec)
}

/// The items of a container that says how many it has, or that has an end.
fn list<T>(
    rest: &mut &[u8],
    close: u8,
    mut item: impl FnMut(&mut &[u8]) -> Option<T>,
) -> Option<Vec<T>> {
    let mut list = Vec::new();
    let count = match rest.first()? {
        b'#' => {
            take(rest, 1)?;
            Some(length(rest)?)
        }
        _ => None,
    };
    loop {
        match count {
            Some(count) if list.len() == count => return Some(list),
            None if *rest.first()? == close => {
                take(rest, 1)?;
                return Some(list);
            }
            Some(_) | None => list.push(item(rest)?),
        }
    }
}

fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let before = *rest;
    Some(match take(rest, 1)?[0] {
        b'{' => Value::Object(list(rest, b'}', |rest| {
            Some((text(rest)?, value(rest, depth)?))
        })?),
        b'[' if rest.first() == Some(&b'$') => {
            let marker = take(rest, 3)?[1];
            let count = length(rest)?;
            Value::Numbers(
                marker,
                take(rest, count.checked_mul(width(marker)?)?)?.to_vec(),
            )
        }
        b'[' => Value::Array(list(rest, b']', |rest| value(rest, depth))?),
        b'S' => Value::Text(text(rest)?),
        b'Z' | b'T' | b'F' | b'N' => Value::Atom(before[..1].to_vec()),
        marker => {
            let width = width(marker)?;
            take(rest, width)?;
            Value::Atom(before[..=width].to_vec())
        }
    })
}

/// Rarely a length is a lie.
pub(super) fn write(random: &mut Random, value: &Value) -> Vec<u8> {
    let lies = if random.chance(15) { 20 } else { 0 };
    let mut file = Vec::new();
    put(random, lies, value, &mut file);
    file
}

fn put_length(random: &mut Random, lies: usize, length: usize, into: &mut Vec<u8>) {
    let lie = lies > 0 && random.below(1000) < lies;
    let number = if lie { random.number() } else { length as u64 };
    match u8::try_from(number) {
        Ok(byte) if random.chance(10) => into.extend([b'U', byte]),
        _ => {
            into.push(b'L');
            into.extend(number.to_be_bytes());
        }
    }
}

fn put(random: &mut Random, lies: usize, value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Atom(atom) => into.extend_from_slice(atom),
        Value::Text(text) => {
            into.push(b'S');
            put_length(random, lies, text.len(), into);
            into.extend_from_slice(text);
        }
        Value::Numbers(marker, numbers) => {
            into.extend([b'[', b'$', *marker, b'#']);
            let count = numbers.len() / width(*marker).unwrap_or(1);
            put_length(random, lies, count, into);
            into.extend_from_slice(numbers);
        }
        Value::Array(values) => {
            let counted = random.chance(90);
            into.push(b'[');
            if counted {
                into.push(b'#');
                put_length(random, lies, values.len(), into);
            }
            for value in values {
                put(random, lies, value, into);
            }
            into.extend_from_slice(if counted { b"" } else { b"]" });
        }
        Value::Object(members) => {
            into.push(b'{');
            for (key, value) in members {
                put_length(random, lies, key.len(), into);
                into.extend_from_slice(key);
                put(random, lies, value, into);
            }
            into.push(b'}');
        }
    }
}

pub(super) fn float(random: &mut Random) -> f32 {
    let hard = [
        f32::NAN,
        f32::INFINITY,
        -f32::INFINITY,
        -0.0,
        1e-45,
        3e38,
        1.5,
    ];
    random.pick(&hard).copied().unwrap_or_default()
}

pub(super) fn atom(random: &mut Random) -> Vec<u8> {
    let marker = random.pick(b"iUIlLdDZTFNSHC[{").copied().unwrap_or(b'Z');
    let bytes = match marker {
        b'd' => float(random).to_be_bytes().to_vec(),
        _ => random.number().to_be_bytes()[8 - width(marker).unwrap_or(0)..].to_vec(),
    };
    [vec![marker], bytes].concat()
}
