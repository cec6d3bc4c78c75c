//! What an objective makes of the base score before the trees and of the sums after them, as XGBoost's CPU code does
//! it.

use crate::changes::{Across, Change};
use crate::error::Error;
use crate::plan::{Lane, Planner};

/// XGBoost's `kRtEps`: base scores of probabilities keep so far from 0 and 1.
const MARGIN: f32 = 1e-6;

/// What the sums become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objective {
    /// They stay what they are.
    Plain,
    /// The probability of the second class.
    Logistic,
    Exp,
    /// Which of two classes.
    Hinge,
    /// The probabilities of all classes.
    Softmax,
    /// Which of the classes.
    Largest,
}

impl Objective {
    /// By the name in a file of the version (major, minor).
    pub(super) fn named(name: &str, version: (i32, i32), targets: usize) -> Result<Self, Error> {
        Ok(match name {
            "reg:quantileerror" if targets > 1 && version > (3, 3) => {
                return Err(Error::not_covered(
                    "several quantiles of XGBoost 3.4 and later, which are sorted",
                ));
            }
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "binary:logitraw"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => Self::Plain,
            "reg:logistic" | "binary:logistic" => Self::Logistic,
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                Self::Exp
            }
            "binary:hinge" => Self::Hinge,
            "multi:softprob" => Self::Softmax,
            "multi:softmax" => Self::Largest,
            other => return Err(Error::not_covered(format!("XGBoost objective '{other}'"))),
        })
    }

    /// What the sums begin with.
    pub(super) fn begin(self, base_score: f32) -> f32 {
        match self {
            Self::Plain | Self::Hinge | Self::Softmax | Self::Largest => base_score,
            Self::Logistic => {
                let base_score = base_score.clamp(MARGIN, 1.0 - MARGIN);
                -(1.0 / base_score - 1.0).ln()
            }
            Self::Exp => base_score.ln(),
        }
    }

    pub(super) fn apply(self, planner: &mut Planner, sums: Vec<Lane>) -> Vec<Lane> {
        let each = |changes: &[Change]| {
            let lanes = sums.iter().cloned();
            let all = |lane| changes.iter().copied().fold(lane, Lane::with);
            lanes.map(all).collect()
        };
        match self {
            Self::Plain => sums,
            Self::Logistic => each(&[Change::Sigmoid]),
            Self::Exp => each(&[Change::Exp]),
            Self::Hinge => each(&[Change::IsAbove(0.0)]),
            Self::Softmax => planner.across(&sums, Across::Softmax),
            Self::Largest => planner.largest(&sums).map(Lane::of).into_iter().collect(),
        }
    }
}
