//! Damage to protobuf that leaves the lengths of what is around it right, so that it reaches what reads the inner
//! parts.

use super::bytes;
use super::random::Random;

#[derive(Clone)]
enum Body {
    Varint(u64),
    /// Of 4 or 8 bytes.
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

#[derive(Clone)]
struct Field {
    number: u64,
    body: Body,
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// The fields, if the bytes can be a message; texts that look like one are taken for one, which does no harm.
fn parse(mut rest: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let mut take = |count: usize| {
            let (taken, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(taken)
        };
        let body = match key & 7 {
            0 => Body::Varint(varint(&mut rest)?),
            1 => Body::Fixed(take(8)?.to_vec()),
            5 => Body::Fixed(take(4)?.to_vec()),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (inner, after) = rest.split_at_checked(length)?;
                rest = after;
                let message = (depth > 0 && length > 1).then(|| parse(inner, depth - 1));
                match message.flatten() {
                    Some(fields) => Body::Message(fields),
                    None => Body::Bytes(inner.to_vec()),
                }
            }
            _ => return None,
        };
        let number = key >> 3;
        fields.push(Field { number, body });
    }
    Some(fields)
}

/// Rarely a length is a lie.
fn write(random: &mut Random, lies: usize, fields: &[Field], into: &mut Vec<u8>) {
    for field in fields {
        let key = field.number << 3;
        match &field.body {
            Body::Varint(value) => {
                put(key, into);
                put(*value, into);
            }
            Body::Fixed(bytes) => {
                put(key | if bytes.len() == 4 { 5 } else { 1 }, into);
                into.extend_from_slice(bytes);
            }
            Body::Bytes(_) | Body::Message(_) => {
                let mut inner = Vec::new();
                match &field.body {
                    Body::Message(fields) => write(random, lies, fields, &mut inner),
                    Body::Bytes(bytes) => inner.extend_from_slice(bytes),
                    Body::Varint(_) | Body::Fixed(_) => {}
                }
                put(key | 2, into);
                let lie = lies > 0 && random.below(1000) < lies;
                put(
                    if lie {
                        random.number()
                    } else {
                        inner.len() as u64
                    },
                    into,
                );
                into.append(&mut inner);
            }
        }
    }
}

/// The fields of some message within the message, not always the innermost.
fn somewhere<'a>(random: &mut Random, fields: &'a mut Vec<Field>) -> &'a mut Vec<Field> {
    let inner: Vec<usize> = (0..fields.len())
        .filter(|place| matches!(&fields[*place].body, Body::Message(of) if !of.is_empty()))
        .collect();
    match random.pick(&inner) {
        Some(place) if random.chance(85) => match &mut fields[*place].body {
            Body::Message(inner) => somewhere(random, inner),
            Body::Varint(_) | Body::Fixed(_) | Body::Bytes(_) => {
                unreachable!("picked as a message")
            }
        },
        _ => fields,
    }
}

fn damage_body(random: &mut Random, body: &mut Body, other: &[u8]) {
    match body {
        Body::Varint(value) => {
            *value = match random.below(3) {
                0 => value.wrapping_add(1),
                1 => value.wrapping_sub(1),
                _ => random.number(),
            };
        }
        Body::Fixed(bytes) => {
            let float = [f32::NAN, f32::INFINITY, -f32::INFINITY, -0.0, 1e-45, 3e38];
            match random.pick(&float) {
                Some(float) if bytes.len() == 4 && random.chance(70) => {
                    *bytes = float.to_le_bytes().to_vec();
                }
                _ => bytes::damage(random, bytes, other),
            }
        }
        Body::Bytes(bytes) => bytes::damage(random, bytes, other),
        Body::Message(fields) if random.chance(20) => fields.clear(),
        Body::Message(fields) => fields.reverse(),
    }
}

fn damage_fields(random: &mut Random, fields: &mut Vec<Field>, other: &mut Vec<Field>) {
    let place = random.below(fields.len());
    let Some(field) = fields.get(place).cloned() else {
        return;
    };
    match random.below(9) {
        0 => {
            fields.remove(place);
        }
        1 => {
            let times = if random.chance(5) { 200 } else { 1 };
            for _ in 0..times {
                fields.insert(random.below(fields.len() + 1), field.clone());
            }
        }
        2 => {
            let to = random.below(fields.len());
            fields.swap(place, to);
        }
        3 => {
            let body = random.pick(fields).map(|from| from.body.clone());
            fields[place].body = body.unwrap_or(field.body);
        }
        4 => {
            let from = somewhere(random, other);
            let taken = random.pick(from).cloned();
            fields.insert(place, taken.unwrap_or(field));
        }
        5 => fields[place].number = 1 + random.below(16) as u64,
        _ => damage_body(random, &mut fields[place].body, b"BRANCH_LEQ"),
    }
}

pub(crate) fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let (Some(mut fields), Some(mut from)) = (parse(bytes, 6), parse(other, 6)) else {
        return bytes::damage(random, bytes, other);
    };
    for _ in 0..=random.below(4) {
        let message = somewhere(random, &mut fields);
        damage_fields(random, message, &mut from);
    }
    bytes.clear();
    let lies = if random.chance(15) { 20 } else { 0 };
    write(random, lies, &fields, bytes);
}
