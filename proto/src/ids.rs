//! Names and ids that cross process borders, each its own type and checked where it enters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let valid: fn(&str) -> bool = $check;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Error::new(ErrorCode::Invalid, format!("'{text}' is not {}", $what)).with_hint($rule))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    text.len() <= 128
        && chars
            .next()
            .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Ids become file names and path segments: no separators, no dots.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Parts of these are joined with `-`, so they hold none themselves.
fn is_plain(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

text_id!(
    /// The name a binding is called by in SQL.
    Alias, "a model alias", is_name,
    "an alias is a letter or _, then letters, digits, _ or -, 128 at most"
);
text_id!(
    /// The name of a table in the pool's catalog.
    TableName, "a table name", is_name,
    "a table name is a letter or _, then letters, digits, _ or -, 128 at most"
);
text_id!(
    /// The name of a link to a model registry.
    LinkName, "a link name", is_name,
    "a link name is a letter or _, then letters, digits, _ or -, 128 at most"
);
text_id!(
    /// The sha256 of a model's content, 64 lower-case hex digits.
    Digest, "a model digest", is_digest,
    "a digest is the 64 lower-case hex digits of a sha256"
);
text_id!(
    /// One executor process, from its start to its end.
    ExecutorId, "an executor id", is_token,
    "an executor id is letters, digits, _ or -, 64 at most"
);
text_id!(
    /// One run of a SELECT.
    QueryId, "a query id", is_token,
    "a query id is letters, digits, _ or -, 64 at most"
);
text_id!(
    /// Ballista's name of a running query.
    JobId, "an engine job id", is_token,
    "a job id is letters, digits, _ or -, 64 at most"
);

text_id!(
    /// One score job, from its submission to the end of its history.
    ScoreJobId, "a score job's id", is_plain,
    "a score job's id is lower-case letters and digits, 40 at most"
);
text_id!(
    /// A piece of a score job: what one task scores and one object holds.
    SplitId, "a split's id", is_token,
    "a split's id is letters, digits, _ or -, 64 at most"
);

impl Digest {
    /// Enough of it to tell models apart in a plan or a list.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// Counts the bindings that an alias has had; a re-bind makes the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for bad in ["", "../x", "a/b", "a.b", "/etc", "a\0b", &"x".repeat(129)] {
            assert!(bad.parse::<Alias>().is_err(), "{bad:?}");
            assert!(bad.parse::<ExecutorId>().is_err(), "{bad:?}");
        }
        assert!("fare_v2".parse::<Alias>().is_ok());
        assert!("a-b".parse::<ScoreJobId>().is_err());
        assert!("a1".parse::<ScoreJobId>().is_ok());
        assert!("AB".repeat(32).parse::<Digest>().is_err());
    }
}
