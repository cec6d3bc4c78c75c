//! JSON as the fuzzer takes it apart and puts it together.

use super::members::{DEEPEST, Value};
use super::random::Random;
use super::text::NUMBERS;

pub(super) fn parse(file: &[u8]) -> Option<Value> {
    let mut rest = file;
    let value = value(&mut rest, DEEPEST)?;
    rest.trim_ascii().is_empty().then_some(value)
}

fn take(rest: &mut &[u8], expected: u8) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(&[expected])?;
    Some(())
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    take(rest, b'"')?;
    let mut end = 0;
    while *rest.get(end)? != b'"' {
        end += if rest[end] == b'\\' { 2 } else { 1 };
    }
    let (text, after) = rest.split_at(end);
    *rest = &after[1..];
    Some(text.to_vec())
}

fn list<T>(
    rest: &mut &[u8],
    ends: [u8; 2],
    mut item: impl FnMut(&mut &[u8]) -> Option<T>,
) -> Option<Vec<T>> {
    take(rest, ends[0])?;
    let mut list = Vec::new();
    if take(rest, ends[1]).is_some() {
        return Some(list);
    }
    loop {
        list.push(item(rest)?);
        if take(rest, ends[1]).is_some() {
            return Some(list);
        }
        take(rest, b',')?;
    }
}

fn value(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    *rest = rest.trim_ascii_start();
    Some(match rest.first()? {
        b'{' => Value::Object(list(rest, *b"{}", |rest| {
            let key = text(rest)?;
            take(rest, b':')?;
            Some((key, value(rest, depth)?))
        })?),
        b'[' => Value::Array(list(rest, *b"[]", |rest| value(rest, depth))?),
        b'"' => Value::Text(text(rest)?),
        _ => {
            let ends = |byte: &u8| b",]}:\"[{".contains(byte) || byte.is_ascii_whitespace();
            let end = rest.iter().position(ends).unwrap_or(rest.len());
            let (atom, after) = rest.split_at_checked(end).filter(|_| end > 0)?;
            *rest = after;
            Value::Atom(atom.to_vec())
        }
    })
}

/// At times with spaces between.
pub(super) fn write(random: &mut Random, value: &Value) -> Vec<u8> {
    let space: &[u8] = if random.chance(10) { b" \n\t" } else { b"" };
    let mut file = Vec::new();
    put(space, value, &mut file);
    file
}

fn quoted(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(text);
    into.push(b'"');
}

fn put(space: &[u8], value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Atom(atom) => into.extend_from_slice(atom),
        Value::Text(text) => quoted(text, into),
        Value::Numbers(..) => into.extend_from_slice(b"[]"),
        Value::Array(values) => {
            into.push(b'[');
            for (place, value) in values.iter().enumerate() {
                into.extend_from_slice(if place > 0 { b"," } else { b"" });
                into.extend_from_slice(space);
                put(space, value, into);
            }
            into.push(b']');
        }
        Value::Object(members) => {
            into.push(b'{');
            for (place, (key, value)) in members.iter().enumerate() {
                into.extend_from_slice(if place > 0 { b"," } else { b"" });
                into.extend_from_slice(space);
                quoted(key, into);
                into.push(b':');
                put(space, value, into);
            }
            into.push(b'}');
        }
    }
}

pub(super) fn atom(random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 6] = ["true", "false", "null", "NaN", "Infinity", "-Infinity"];
    let of: &[&str] = if random.chance(20) { &WORDS } else { &NUMBERS };
    random
        .pick(of)
        .map_or(Vec::new(), |atom| atom.as_bytes().to_vec())
}
