//! How much a score job matters beside others: it says who is next, and how many slots each gets.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use whimbrel_proto::{Error, ErrorCode};

/// See the module; the greater, the sooner.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

impl Priority {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Its part of the slots, where several jobs want them. None is ever without any.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => crate::engine::WEIGHT,
            Self::High => 16,
        }
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "low" => Ok(Self::Low),
            "" | "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err(
                Error::new(ErrorCode::Invalid, format!("'{name}' is no priority"))
                    .with_hint("there are low, normal and high"),
            ),
        }
    }
}
