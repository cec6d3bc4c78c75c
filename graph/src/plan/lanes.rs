//! Lanes: where a number of a row is, and what is still to be done to it.

use super::Planner;
use crate::changes::Change;
use crate::kernel::linear::Linear;
use crate::program::{Action, Register};

/// A register and changes to its numbers that were not made yet.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    register: Register,
    changes: Vec<Change>,
}

impl Lane {
    pub(crate) fn of(register: Register) -> Self {
        Self {
            register,
            changes: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// The last changes that are a factor and a summand, as these two.
    fn split(&self) -> (&[Change], f64, f64) {
        let (mut factor, mut summand) = (1.0_f64, 0.0_f64);
        let mut kept = self.changes.as_slice();
        while let [before @ .., last] = kept {
            let (by, add) = match *last {
                Change::Add(value) => (1.0, f64::from(value)),
                Change::Subtract(value) => (1.0, -f64::from(value)),
                Change::Multiply(value) => (f64::from(value), 0.0),
                Change::Divide(value) => (1.0 / f64::from(value), 0.0),
                Change::SubtractFrom(value) => (-1.0, f64::from(value)),
                Change::Negate => (-1.0, 0.0),
                _ => break,
            };
            // What comes later applies to all of what comes before.
            summand += factor * add;
            factor *= by;
            kept = before;
        }
        (kept, factor, summand)
    }
}

impl Planner {
    pub(crate) fn register(&mut self, lane: &Lane) -> Register {
        self.changed(lane.register, &lane.changes)
    }

    pub(crate) fn registers(&mut self, lanes: &[Lane]) -> Vec<Register> {
        lanes.iter().map(|lane| self.register(lane)).collect()
    }

    fn changed(&mut self, register: Register, changes: &[Change]) -> Register {
        if changes.is_empty() {
            return register;
        }
        let to = self.step(vec![register], Action::Change(changes.to_vec()), 1);
        to.first().copied().unwrap_or(register)
    }

    /// For each target the sum of the lanes times `weights[target]`, and a constant.
    pub(crate) fn linear(
        &mut self,
        lanes: &[Lane],
        weights: &[Vec<f32>],
        constants: &[f32],
    ) -> Vec<Lane> {
        let mut from = Vec::with_capacity(lanes.len());
        let mut parts = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let (kept, factor, summand) = lane.split();
            from.push(self.changed(lane.register, kept));
            parts.push((factor, summand));
        }
        let mut linear = Linear {
            weights: Vec::new(),
            constants: Vec::new(),
            width: lanes.len(),
        };
        for (weights, constant) in weights.iter().zip(constants) {
            let mut sum = f64::from(*constant);
            for (weight, (factor, summand)) in weights.iter().zip(&parts) {
                let weight = f64::from(*weight);
                linear.weights.push((weight * factor) as f32);
                sum += weight * summand;
            }
            linear.constants.push(sum as f32);
        }
        let count = linear.constants.len();
        let slots = self.step(from, Action::Linear(linear), count);
        slots.into_iter().map(Lane::of).collect()
    }

    /// The lane with nothing left to do, so that several may read it.
    pub(crate) fn settled(&mut self, lane: &Lane) -> Lane {
        Lane::of(self.register(lane))
    }
}
