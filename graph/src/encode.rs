//! Values by what they are: each row's text or whole number becomes the place of the key that it equals, so that
//! everything a graph makes of it is a small table. A text costs one hash, and none of its bytes is looked at twice
//! unless it is long.

use crate::column::{Column, Values};
use crate::kernel::BLOCK;
use crate::read::{Wide, doubles, to_int64};

/// More keys than any encoder has; a place is a float on its way.
pub(crate) const MOST_KEYS: usize = 1 << 22;

/// Why a row has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A value that the model says it fails for.
    Unknown,
    /// Offsets of texts that do not fit their bytes.
    Offsets,
    /// A double that no float is near to.
    Beyond,
}

/// Finds keys; what equals none of them has the place after the last.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub keys: Keys,
    /// By place: whether the model fails for it.
    pub fails: Vec<bool>,
}

#[derive(Debug)]
pub(crate) enum Keys {
    Texts(Texts),
    Ints {
        ints: Ints,
        /// What happens to a column's doubles first.
        changes: Vec<Wide>,
    },
    /// Floats by their bits; zeros of both signs are one.
    Floats(Ints),
}

impl Encoder {
    /// Sets `out` to the rows' places, none of which the model fails for.
    pub(crate) fn run(&self, from: Source<'_>, out: &mut [f32]) -> Result<(), Trouble> {
        self.places(from, out)?;
        if self.fails.contains(&true) && out.iter().any(|place| self.fails_at(*place)) {
            return Err(Trouble::Unknown);
        }
        Ok(())
    }

    /// Whether the model fails for the one value that there is.
    pub(crate) fn fails_for(&self, from: Source<'_>) -> bool {
        let mut place = [0.0];
        self.places(from, &mut place).is_err() || self.fails_at(place[0])
    }

    pub(crate) fn fails_at(&self, place: f32) -> bool {
        self.fails.get(place as usize) == Some(&true)
    }

    fn places(&self, from: Source<'_>, out: &mut [f32]) -> Result<(), Trouble> {
        match (&self.keys, from) {
            (Keys::Texts(texts), Source::Column(column)) => texts.places(&column, out)?,
            (Keys::Ints { ints, changes }, Source::Column(column)) => {
                ints.of_column(&column, changes, out);
            }
            (Keys::Ints { ints, .. }, Source::Floats(values)) => {
                ints.places(values.iter().map(|x| to_int64(f64::from(*x))), out);
            }
            (Keys::Floats(bits), Source::Floats(values)) => {
                bits.places(values.iter().map(|x| float_key(*x)), out);
            }
            (Keys::Texts(_), Source::Floats(_)) | (Keys::Floats(_), Source::Column(_)) => {
                out.fill(0.0);
            }
        }
        Ok(())
    }
}

/// Where the values are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Column(Column<'a>),
    Floats(&'a [f32]),
}

/// NaN equals no key.
pub(crate) fn float_key(x: f32) -> i64 {
    match x.is_nan() {
        true => i64::MIN,
        false => i64::from((x + 0.0).to_bits()),
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ (product >> 64) as u64
}

/// Two words that, with its length, say all of a text of at most 16 bytes.
#[inline(always)]
fn words(text: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (u64::from(first) | u64::from(last) << 32, 0);
    }
    match text {
        [] => (0, 0),
        [first, .., last] => {
            let middle = u64::from(text[text.len() / 2]);
            (u64::from(*first) | middle << 8 | u64::from(*last) << 16, 0)
        }
        [only] => (u64::from(*only), 0),
    }
}

const SHORT: usize = 16;

/// As `words` for short texts; for long ones a hash.
#[inline(always)]
fn digest(text: &[u8]) -> (u64, u64) {
    if text.len() <= SHORT {
        return words(text);
    }
    let (mut a, mut b) = (text.len() as u64, 0_u64);
    let (chunks, rest) = text.as_chunks::<SHORT>();
    for chunk in chunks {
        let (first, last) = words(chunk);
        (a, b) = (mix(a ^ first, last), b.rotate_left(29) ^ last);
    }
    let (first, last) = words(rest);
    (mix(a ^ first, last), b.rotate_left(29) ^ first)
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    a: u64,
    b: u64,
    length: u32,
    /// [`EMPTY`] where nothing is.
    place: u32,
}

const EMPTY: u32 = u32::MAX;

/// A hash table of texts, at most half full.
#[derive(Debug)]
pub(crate) struct Texts {
    slots: Vec<Slot>,
    keys: Vec<String>,
}

impl Texts {
    /// Of equal keys the first one counts.
    pub(crate) fn of(keys: Vec<String>) -> Self {
        let empty = Slot {
            a: 0,
            b: 0,
            length: 0,
            place: EMPTY,
        };
        let mut made = Self {
            slots: vec![empty; (2 * keys.len()).next_power_of_two().max(2)],
            keys: Vec::new(),
        };
        for (place, key) in keys.iter().enumerate() {
            let (a, b) = digest(key.as_bytes());
            let mut at = made.begin(a, b, key.len());
            while made.slots[at].place != EMPTY {
                at = made.after(at);
            }
            made.slots[at] = Slot {
                a,
                b,
                length: key.len() as u32,
                place: place as u32,
            };
        }
        made.keys = keys;
        made
    }

    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    #[inline(always)]
    fn begin(&self, a: u64, b: u64, length: usize) -> usize {
        mix(a, b ^ length as u64) as usize & (self.slots.len() - 1)
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    #[inline(always)]
    pub(crate) fn find(&self, text: &[u8]) -> usize {
        let (a, b) = digest(text);
        let mut at = self.begin(a, b, text.len());
        loop {
            let slot = self.slots[at];
            if slot.place == EMPTY {
                return self.keys.len();
            }
            if (slot.a, slot.b, slot.length as usize) == (a, b, text.len()) {
                let place = slot.place as usize;
                if text.len() <= SHORT || self.keys[place].as_bytes() == text {
                    return place;
                }
            }
            at = self.after(at);
        }
    }

    fn places(&self, column: &Column<'_>, out: &mut [f32]) -> Result<(), Trouble> {
        let Values::Text { offsets, bytes } = column.values else {
            return Err(Trouble::Offsets);
        };
        for (to, ends) in out.iter_mut().zip(offsets.windows(2)) {
            // What is below zero is beyond every text as a place.
            let text = bytes.get(ends[0] as usize..ends[1] as usize);
            *to = self.find(text.ok_or(Trouble::Offsets)?) as f32;
        }
        Ok(())
    }
}

/// Whole numbers: a table where they lie close together, else as texts.
#[derive(Debug)]
pub(crate) enum Ints {
    Close {
        least: i64,
        places: Vec<f32>,
        other: f32,
    },
    Hashed {
        /// (key, place), [`EMPTY`] where nothing is.
        slots: Vec<(i64, u32)>,
        other: usize,
    },
}

impl Ints {
    /// Of equal keys the first one counts.
    pub(crate) fn of(keys: &[i64]) -> Self {
        let least = keys.iter().copied().min().unwrap_or(0);
        let most = keys.iter().copied().max().unwrap_or(0);
        let other = keys.len();
        let span = most.wrapping_sub(least).cast_unsigned();
        if span < 4 * keys.len() as u64 + 64 {
            let mut places = vec![other as f32; span as usize + 1];
            for (place, key) in keys.iter().enumerate().rev() {
                places[key.wrapping_sub(least) as usize] = place as f32;
            }
            let other = other as f32;
            return Self::Close {
                least,
                places,
                other,
            };
        }
        let mut slots = vec![(0, EMPTY); (2 * keys.len()).next_power_of_two().max(2)];
        for (place, key) in keys.iter().enumerate() {
            let mut at = begin(*key, slots.len());
            while slots[at].1 != EMPTY {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = (*key, place as u32);
        }
        Self::Hashed { slots, other }
    }

    /// The place of what is no key.
    pub(crate) fn other(&self) -> usize {
        match self {
            Self::Close { other, .. } => *other as usize,
            Self::Hashed { other, .. } => *other,
        }
    }

    /// Each of them once, ascending.
    pub(crate) fn keys(&self) -> Vec<i64> {
        let mut keys: Vec<i64> = match self {
            Self::Close {
                least,
                places,
                other,
            } => {
                let keys = (0..).zip(places).filter(|(_, place)| *place != other);
                keys.map(|(key, _)| least.wrapping_add(key)).collect()
            }
            Self::Hashed { slots, .. } => {
                let keys = slots.iter().filter(|(_, place)| *place != EMPTY);
                keys.map(|(key, _)| *key).collect()
            }
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    pub(crate) fn find(&self, key: i64) -> f32 {
        match self {
            Self::Close {
                least,
                places,
                other,
            } => {
                let place = key.wrapping_sub(*least).cast_unsigned();
                let place = usize::try_from(place).ok().and_then(|at| places.get(at));
                place.copied().unwrap_or(*other)
            }
            Self::Hashed { slots, other } => {
                let mut at = begin(key, slots.len());
                loop {
                    match slots[at] {
                        (_, EMPTY) => return *other as f32,
                        (found, place) if found == key => return place as f32,
                        _ => at = (at + 1) & (slots.len() - 1),
                    }
                }
            }
        }
    }

    fn places(&self, keys: impl Iterator<Item = i64>, out: &mut [f32]) {
        for (to, key) in out.iter_mut().zip(keys) {
            *to = self.find(key);
        }
    }

    fn of_column(&self, column: &Column<'_>, changes: &[Wide], out: &mut [f32]) {
        let step = column.stride;
        match column.values {
            Values::Int64(values) if changes.is_empty() => {
                self.places(values.iter().step_by(step).copied(), out)
            }
            Values::Int32(values) if changes.is_empty() => {
                self.places(values.iter().step_by(step).map(|x| i64::from(*x)), out);
            }
            _ => {
                let mut wide = [0.0; BLOCK];
                let wide = &mut wide[..out.len()];
                doubles(column, changes, wide);
                self.places(wide.iter().map(|x| to_int64(*x)), out);
            }
        }
    }
}

fn begin(key: i64, slots: usize) -> usize {
    mix(key.cast_unsigned(), 0) as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Ints, Keys, Source, Texts, Trouble, float_key};
    use crate::Column;

    fn keys(count: usize, length: usize) -> Vec<String> {
        let long = |at: usize| format!("{at}{}", "é".repeat(length));
        (0..count).map(long).collect()
    }

    #[test]
    fn texts_of_every_length_are_found() {
        for length in 0..20 {
            let mut known = keys(300, length);
            known.extend(["", "a", "ab", "ba", "aba"].map(str::to_owned));
            let texts = Texts::of(known.clone());
            for (place, key) in known.iter().enumerate() {
                assert_eq!(texts.find(key.as_bytes()), place, "{key}");
                for other in [format!("{key} "), format!("{key}{key}x")] {
                    assert_eq!(texts.find(other.as_bytes()), known.len(), "{other}");
                }
            }
        }
        assert_eq!(Texts::of(Vec::new()).find(b""), 0);
        assert_eq!(Texts::of(vec!["a".to_owned(); 3]).find(b"a"), 0);
        assert_eq!(
            Texts::of(vec!["a\0".to_owned(), "a".to_owned()]).find(b"a"),
            1
        );
    }

    #[test]
    fn texts_lie_as_in_arrow() {
        let encoder = |fails: Vec<bool>| Encoder {
            keys: Keys::Texts(Texts::of(vec!["b".to_owned(), String::new()])),
            fails,
        };
        let run = |encoder: &Encoder, offsets: &[i32]| {
            let mut out = vec![0.0; offsets.len() - 1];
            let column = Column::text(offsets, b"abb");
            encoder.run(Source::Column(column), &mut out).map(|()| out)
        };
        let lenient = encoder(Vec::new());
        assert_eq!(
            run(&lenient, &[0, 1, 2, 2, 3]),
            Ok(vec![2.0, 0.0, 1.0, 0.0])
        );
        let strict = encoder(vec![false, false, true]);
        assert_eq!(run(&strict, &[0, 1, 2]), Err(Trouble::Unknown));
        assert_eq!(run(&strict, &[1, 2]), Ok(vec![0.0]));
        for damaged in [[0, 4], [-1, 1], [2, 1], [0, i32::MIN]] {
            assert_eq!(run(&lenient, &damaged), Err(Trouble::Offsets));
        }
    }

    #[test]
    fn whole_numbers_are_found() {
        let sets: [&[i64]; 4] = [
            &[3, 1, 2, 3],
            &[i64::MIN, i64::MAX, 0],
            &[],
            &[1 << 40, -5, 77, 1 << 41],
        ];
        for set in sets {
            let ints = Ints::of(set);
            for key in set.iter().copied().chain([4, -1, i64::MIN + 1]) {
                let expected = set.iter().position(|known| *known == key);
                assert_eq!(
                    ints.find(key),
                    expected.unwrap_or(set.len()) as f32,
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn floats_are_cut_down_or_compared() {
        let ints = Keys::Ints {
            ints: Ints::of(&[0, 2]),
            changes: Vec::new(),
        };
        let floats = Keys::Floats(Ints::of(&[float_key(0.0), float_key(2.5)]));
        let values = [-0.0, 0.9, 2.5, f32::NAN, f32::INFINITY];
        let places = |keys| {
            let mut out = [9.0; 5];
            let fails = Vec::new();
            let encoder = Encoder { keys, fails };
            encoder.run(Source::Floats(&values), &mut out).unwrap();
            out
        };
        assert_eq!(places(ints), [0.0, 0.0, 1.0, 2.0, 2.0]);
        assert_eq!(places(floats), [0.0, 2.0, 1.0, 2.0, 2.0]);
    }
}
