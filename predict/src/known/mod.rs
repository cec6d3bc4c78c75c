//! What a plan promises of the values that feed a model: from filters, constants and the files that are read. Executors leave
//! out the branches of trees that no such row reaches, so a promise must hold for every row that is scored; where nothing is
//! sure, nothing is known.

mod conditions;
mod of_plan;
mod range;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use whimbrel_graph::Fact;

pub use conditions::number;
pub use of_plan::{Scanned, either, of_inputs};
pub use range::Range;
pub use rule::{KnownInputs, with_scoring};

/// What is known of the values of one column, or of one input of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Known {
    #[default]
    Anything,
    /// Numbers of the range, and what its flags let in besides.
    Numbers(Range),
    /// One of these texts, which are in their order.
    Texts(Vec<String>),
}

/// More texts than this are not told apart: they travel with the plan.
const MOST_TEXTS: usize = 64;

impl Known {
    /// What is known where both hold.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anything, known) | (known, Self::Anything) => known,
            (Self::Numbers(one), Self::Numbers(other)) => Self::Numbers(one.and(other)),
            (Self::Texts(one), Self::Texts(other)) => {
                let both: Vec<String> = one
                    .iter()
                    .filter(|text| other.contains(text))
                    .cloned()
                    .collect();
                // Where no text is left there is no row at all: anything is right.
                Self::Texts(if both.is_empty() { one } else { both })
            }
            (known, _) => known,
        }
    }

    /// What is known where one of the two holds.
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Numbers(one), Self::Numbers(other)) => Self::Numbers(one.or(other)),
            (Self::Texts(one), Self::Texts(other)) => {
                let all: BTreeSet<String> = one.into_iter().chain(other).collect();
                match all.len() <= MOST_TEXTS {
                    true => Self::Texts(all.into_iter().collect()),
                    false => Self::Anything,
                }
            }
            _ => Self::Anything,
        }
    }

    /// Whether it tells anything.
    pub fn tells(&self) -> bool {
        match self {
            Self::Anything => false,
            Self::Numbers(range) => range.tells(),
            Self::Texts(_) => true,
        }
    }

    /// As a condition on an input of this name; none where nothing is known.
    pub fn shown(&self, name: &str) -> Option<String> {
        match self {
            Self::Anything => None,
            Self::Numbers(range) => range.shown(name),
            Self::Texts(texts) => Some(match texts.as_slice() {
                [text] => format!("{name} = '{text}'"),
                texts => format!("{name} in ('{}')", texts.join("', '")),
            }),
        }
    }
}

/// As the kernels are told.
impl From<&Known> for Fact {
    fn from(known: &Known) -> Self {
        match known {
            Known::Numbers(range) => Self::Within(whimbrel_graph::Known {
                low: range.low as f32,
                high: range.high as f32,
                nan: range.nan(),
            }),
            Known::Texts(texts) => Self::OneOf(texts.clone()),
            Known::Anything => Self::Within(whimbrel_graph::Known::NOTHING),
        }
    }
}

/// What a model has left of its trees when they are cut by what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trees {
    pub trees: usize,
    pub nodes: usize,
    pub all_trees: usize,
    pub all_nodes: usize,
}

impl fmt::Display for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trees,
            nodes,
            all_trees,
            all_nodes,
        } = self;
        match (trees, nodes) == (all_trees, all_nodes) {
            true => write!(f, "trees={trees}, nodes={nodes}"),
            false => write!(
                f,
                "trees={trees} of {all_trees}, nodes={nodes} of {all_nodes}"
            ),
        }
    }
}
