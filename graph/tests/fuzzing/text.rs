//! Damage to text: its numbers become others, its words and lines go, come twice and change places.

use super::bytes;
use super::random::Random;

pub(super) const NUMBERS: [&str; 25] = [
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3.5",
    "255",
    "256",
    "1e-45",
    "1e-35",
    "-1e-35",
    "3.4e38",
    "1e39",
    "-1e308",
    "nan",
    "inf",
    "-inf",
    "2147483647",
    "-2147483648",
    "4294967296",
    "65535",
    "131071",
    "1000000",
    "18446744073709551615",
    "9223372036854775808",
];

/// Where the numbers, or the words, of the text are.
fn pieces(text: &[u8], is_part: impl Fn(u8) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut pieces = Vec::new();
    let mut first = None;
    for (place, byte) in text.iter().chain(b"\n").enumerate() {
        match (is_part(*byte), first) {
            (true, None) => first = Some(place),
            (false, Some(begin)) => {
                pieces.push(begin..place);
                first = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    pieces
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e')
}

pub(crate) fn damage(random: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    let numbers = pieces(text, is_of_number);
    let words = pieces(text, |byte| !byte.is_ascii_whitespace());
    let lines = pieces(text, |byte| byte != b'\n');
    let take = |place: Option<&std::ops::Range<usize>>| place.cloned().unwrap_or(0..0);
    match random.below(9) {
        0..=2 => {
            let place = take(random.pick(&numbers));
            let number = random.pick(&NUMBERS).copied().unwrap_or("0");
            text.splice(place, number.bytes());
        }
        3 => {
            let (place, from) = (take(random.pick(&numbers)), take(random.pick(&numbers)));
            let number = text[from].to_vec();
            text.splice(place, number);
        }
        4 => {
            text.drain(take(random.pick(&words)));
        }
        5 => {
            let (place, from) = (take(random.pick(&words)), take(random.pick(&words)));
            let word = [b" ", &text[from], b" "].concat();
            text.splice(place.start..place.start, word);
        }
        6 => {
            let (place, from) = (take(random.pick(&lines)), take(random.pick(&lines)));
            let line = [&text[from], b"\n"].concat();
            let end = if random.chance(50) {
                place.start
            } else {
                (place.end + 1).min(text.len())
            };
            text.splice(place.start..end, line);
        }
        7 => {
            let place = take(random.pick(&lines));
            let from = take(random.pick(&pieces(other, |byte| byte != b'\n')));
            text.splice(place, other[from].to_vec());
        }
        _ => bytes::damage(random, text, other),
    }
}
