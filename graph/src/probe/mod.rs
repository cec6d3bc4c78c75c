//! The values on which a wrong kernel would show, for whoever compares it with another runtime before it is trusted:
//! what trees compare with and what lies right beside it, the keys of encoders, and numbers that are at their worst.

mod values;
mod ways;

use std::collections::BTreeMap;

use self::values::Found;
use self::ways::Ways;
use crate::column::Element;
use crate::encode::Encoder;
use crate::program::{Action, Program, Register};
use crate::trees::{Ensemble, Node};

/// Values for one column; none that the model is sure to fail for.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidates {
    /// Each of them is one that the column's type has.
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

/// The most thresholds of a column, and the most keys.
const MOST: usize = 64;
/// The most of either in all columns together.
const MOST_OF_ALL: usize = 1 << 18;
/// Of how many tests of an ensemble's feature the thresholds are picked.
const SAMPLE: usize = 1 << 12;

/// For each column what a comparison should have in it; for one that is not read a zero.
pub(crate) fn probes(program: &Program, columns: &[Option<Element>]) -> Vec<Candidates> {
    let most = (MOST_OF_ALL / columns.len().max(1)).clamp(1, MOST);
    let ways = Ways::of(program);
    let mut found: Vec<Found> = columns.iter().map(|of| Found::of(*of)).collect();
    for (register, mut values) in thresholds(program) {
        let Some((column, way)) = ways.to(register) else {
            continue;
        };
        values.sort_unstable_by(f32::total_cmp);
        values.dedup();
        let room = most.saturating_sub(found[column].crossings);
        for value in spread(&values, room) {
            found[column].cross(&way, *value);
        }
    }
    for (from, encoder) in encoders(program) {
        if let Some((column, _)) = ways.to(from) {
            found[column].keys(&encoder.keys, most);
        }
    }
    for step in &program.steps {
        let (register, encoder) = match &step.action {
            Action::Read(_) => (Some(Register::Slot(step.to)), None),
            Action::Encode(encoder) => (step.from.first().copied(), Some(&**encoder)),
            _ => (None, None),
        };
        if let Some((column, way)) = register.and_then(|register| ways.to(register)) {
            found[column].keep(&way, encoder);
        }
    }
    found.into_iter().map(Found::finish).collect()
}

fn encoders(program: &Program) -> impl Iterator<Item = (Register, &Encoder)> {
    program.steps.iter().filter_map(|step| match &step.action {
        Action::Encode(encoder) => Some((*step.from.first()?, &**encoder)),
        _ => None,
    })
}

/// What tests compare each register with, of many some from all over the model.
fn thresholds(program: &Program) -> BTreeMap<Register, Vec<f32>> {
    let mut found: BTreeMap<Register, Vec<f32>> = BTreeMap::new();
    for step in &program.steps {
        let Action::Trees(trees) = &step.action else {
            continue;
        };
        let mut counts = vec![0_usize; step.from.len()];
        for (feature, _) in tests(&trees.ensemble) {
            counts[feature] += 1;
        }
        let mut seen = vec![0_usize; step.from.len()];
        for (feature, ends) in tests(&trees.ensemble) {
            if seen[feature].is_multiple_of(counts[feature].div_ceil(SAMPLE)) {
                let ends = ends.into_iter().filter(|end| end.is_finite());
                found.entry(step.from[feature]).or_default().extend(ends);
            }
            seen[feature] += 1;
        }
    }
    found
}

/// The feature and the ends of each test.
fn tests(ensemble: &Ensemble) -> impl Iterator<Item = (usize, [f32; 2])> {
    ensemble.nodes().filter_map(|node| match node {
        Node::Branch(branch) => Some((branch.feature as usize, [branch.above, branch.upto])),
        Node::Leaf { .. } => None,
    })
}

/// At most so many of them, from the first to the last.
fn spread<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = all.len().min(most);
    let last = all.len().saturating_sub(1);
    (0..count).filter_map(move |place| all.get(place * last / (count - 1).max(1)))
}
