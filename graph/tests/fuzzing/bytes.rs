//! Damage to bytes that nobody knows the meaning of.

use super::random::Random;

/// Turns bits, and cuts, doubles, moves and takes from `other`.
pub(crate) fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let length = bytes.len();
    match random.below(8) {
        0 | 1 => {
            for _ in 0..=random.below(3) {
                let place = random.below(length);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        2 => {
            let (place, value) = (random.below(length), random.number().to_le_bytes());
            let width = 1 << random.below(4);
            for (to, from) in bytes.iter_mut().skip(place).zip(&value[..width]) {
                *to = *from;
            }
        }
        3 => {
            bytes.drain(random.range(length));
        }
        4 => {
            let piece = bytes[random.range(length)].to_vec();
            let times = if random.chance(5) { 200 } else { 1 };
            let place = random.below(length + 1);
            bytes.splice(place..place, piece.repeat(times));
        }
        5 => {
            let piece = other[random.range(other.len())].to_vec();
            bytes.splice(random.range(length), piece);
        }
        6 => bytes.truncate(random.below(length + 1)),
        _ => {
            let place = random.below(length + 1);
            let value = random.next() as u8;
            let times = 1 + random.below(9);
            bytes.splice(place..place, std::iter::repeat_n(value, times));
        }
    }
}
