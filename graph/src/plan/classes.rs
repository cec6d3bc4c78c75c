//! How scores become probabilities and labels: what ONNX leaves open here is as ONNX Runtime does it, and what even
//! ONNX Runtime does strangely is left to it.

use super::lanes::Lane;
use super::{Planner, Value};
use crate::Labels;
use crate::changes::{Across, Change};
use crate::error::Error;
use crate::program::{Action, Register};

/// ONNX's `post_transform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

impl Transform {
    pub(super) fn named(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return Err(Error::not_covered(format!("post_transform '{text}'"))),
        })
    }

    pub(super) fn numbered(number: i64) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Logistic,
            2 => Self::Softmax,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            _ => return Err(Error::not_covered(format!("post_transform {number}"))),
        })
    }
}

/// The labels of 0, 1, ... `count`.
pub(crate) fn class_places(count: usize) -> Labels {
    Labels::Ints((0..count as i64).collect())
}

impl Planner {
    /// Numbers as an operator's output has them; a single one knows only one transform.
    pub(crate) fn transform(&mut self, lanes: Vec<Lane>, transform: Transform) -> Vec<Lane> {
        let single = lanes.len() == 1;
        let each = |change: Change| {
            let lanes = lanes.iter().cloned();
            lanes.map(|lane| lane.with(change)).collect()
        };
        match transform {
            Transform::Probit => each(Change::Probit),
            Transform::Logistic if !single => each(Change::Logistic),
            Transform::Softmax if !single => self.across(&lanes, Across::Softmax),
            Transform::SoftmaxZero if !single => self.across(&lanes, Across::SoftmaxZero),
            _ => lanes,
        }
    }

    pub(crate) fn across(&mut self, lanes: &[Lane], across: Across) -> Vec<Lane> {
        let from = self.registers(lanes);
        let slots = self.step(from, Action::Across(across), lanes.len());
        slots.into_iter().map(Lane::of).collect()
    }

    /// The place of the first of the largest.
    pub(crate) fn largest(&mut self, lanes: &[Lane]) -> Option<Register> {
        let from = self.registers(lanes);
        self.step(from, Action::Largest, 1).first().copied()
    }

    /// The label and the two numbers of a model that scores only its second class.
    pub(crate) fn second_class(
        &mut self,
        score: &Lane,
        transform: Transform,
        all_positive: bool,
        least: f32,
        labels: Labels,
    ) -> Result<(Value, Vec<Lane>), Error> {
        let score = self.settled(score);
        let (first, second) = match transform {
            Transform::Probit => return Err(Error::not_covered("PROBIT of two classes")),
            Transform::Logistic => (
                score.clone().with(Change::Negate).with(Change::Logistic),
                score.clone().with(Change::Logistic),
            ),
            _ if all_positive => (score.clone().with(Change::SubtractFrom(1.0)), score.clone()),
            _ => (score.clone().with(Change::Negate), score.clone()),
        };
        let register = self.register(&score.with(Change::IsAbove(least)));
        Ok((Value::Label(register, labels), vec![first, second]))
    }
}
