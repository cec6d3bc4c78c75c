//! Sizes and spans of time as people write them in a configuration: "512MiB" or 536870912, "90s" or 90.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Error, ErrorCode};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u64);

impl Bytes {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The plain number as an index; where memory cannot hold it, the largest there is.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZE_UNITS: [(&str, u64); 11] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("b", 1),
];

impl FromStr for Bytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        scaled(text, &SIZE_UNITS, 1).map(Self).ok_or_else(|| {
            Error::new(ErrorCode::Invalid, format!("'{text}' is not a size"))
                .with_hint("write 512MiB, 2GiB or a number of bytes")
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS[..4]
            .iter()
            .find(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{}iB", self.0 / size, name[..1].to_uppercase()),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// So many seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The span as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

const SPAN_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        scaled(text, &SPAN_UNITS, 1_000)
            .map(Self::millis)
            .ok_or_else(|| {
                Error::new(
                    ErrorCode::Invalid,
                    format!("'{text}' is not a span of time"),
                )
                .with_hint("write 90s, 5m, 6h or a number of seconds")
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let fits = |unit: &&(&str, u64)| millis.is_multiple_of(u128::from(unit.1));
        match SPAN_UNITS.iter().rev().find(fits) {
            Some((name, size)) if millis > 0 => write!(f, "{}{name}", millis / u128::from(*size)),
            Some(_) | None => f.write_str("0s"),
        }
    }
}

/// `text` is a whole number and one of `units`, or none, which means `plain`.
fn scaled(text: &str, units: &[(&str, u64)], plain: u64) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let scale = if unit.is_empty() {
        plain
    } else {
        units.iter().find(|(name, _)| *name == unit)?.1
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

macro_rules! text_or_number {
    ($name:ident, $what:literal, $from_number:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl Visitor<'_> for Either {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        Ok($from_number(number))
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        u64::try_from(number)
                            .map($from_number)
                            .map_err(|_| E::custom(concat!($what, " is not negative")))
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

text_or_number!(
    Bytes,
    "a size such as \"512MiB\" or a number of bytes",
    Bytes::new
);
text_or_number!(
    Span,
    "a span such as \"90s\" or a number of seconds",
    Span::secs
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same_size() {
        for bytes in [0, 1, 1000, 1024, 3 << 20, (1 << 40) + 1, 5 << 40] {
            let bytes = Bytes::new(bytes);
            assert_eq!(bytes.to_string().parse::<Bytes>(), Ok(bytes), "{bytes}");
        }
        for (span, text) in [
            (Span::secs(0), "0s"),
            (Span::millis(250), "250ms"),
            (Span::secs(90), "90s"),
            (Span::secs(900), "15m"),
            (Span::secs(7200), "2h"),
        ] {
            assert_eq!(span.to_string(), text);
            assert_eq!(text.parse::<Span>(), Ok(span));
        }
    }

    #[test]
    fn nonsense_and_overflow_are_refused() {
        for bad in ["", "MiB", "-1", "1.5GiB", "9 parsecs", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad:?}");
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
