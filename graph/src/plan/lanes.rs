//! Lanes: where a number of a row is, and what is still to be done to it. What depends on which of some keys a value is
//! stays a small table for as long as it can: scaled, imputed or compared it is a table still, and a weighted sum takes
//! it in.

use std::rc::Rc;

use super::{Planner, TextLane, Value};
use crate::changes::Change;
use crate::column::Element;
use crate::program::{Action, Register};
use crate::read::{Reading, Rounding, Wide};

/// Numbers by place, most of them one and the same.
#[derive(Clone, Debug)]
pub(crate) struct Entries {
    pub places: usize,
    pub usual: f64,
    /// The places that have another, ascending.
    pub others: Rc<[(u32, f64)]>,
}

impl Entries {
    /// One for each place; the last is the usual one.
    pub(crate) fn of(values: &[f64]) -> Self {
        let usual = values.last().copied().unwrap_or(0.0);
        let others = (0..).zip(values).map(|(place, value)| (place, *value));
        let others = others.filter(|(_, value)| value.to_bits() != usual.to_bits());
        Self {
            places: values.len(),
            usual,
            others: others.collect(),
        }
    }

    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        let others = self.others.iter();
        Self {
            places: self.places,
            usual: change(self.usual),
            others: others.map(|(place, x)| (*place, change(*x))).collect(),
        }
    }

    pub(crate) fn at(&self, place: usize) -> f64 {
        let found = self
            .others
            .binary_search_by_key(&place, |(at, _)| *at as usize);
        found.map_or(self.usual, |at| self.others[at].1)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Register(Register),
    /// A column that is none of floats, and what happens to its numbers as doubles.
    Column {
        number: usize,
        changes: Vec<Wide>,
    },
    /// One of the entries, by the register's place.
    Pick {
        places: Register,
        entries: Entries,
    },
    Constant(f32),
}

/// Numbers from a source, and changes to them, as floats, that were not made yet.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(super) source: Source,
    pub(super) changes: Vec<Change>,
    /// What ONNX Runtime has there.
    pub(super) element: Element,
}

impl Lane {
    pub(crate) fn of(register: Register) -> Self {
        Self::from(Source::Register(register), Element::Float32)
    }

    pub(super) fn from(source: Source, element: Element) -> Self {
        Self {
            source,
            changes: Vec::new(),
            element,
        }
    }

    pub(super) fn typed(mut self, element: Element) -> Self {
        self.element = element;
        self
    }

    pub(crate) fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Either change: to doubles as doubles, where they still are.
    pub(super) fn with_either(mut self, narrow: Change, wide: Wide) -> Self {
        match &mut self.source {
            Source::Column { changes, .. }
                if self.changes.is_empty() && self.element != Element::Float32 =>
            {
                changes.push(wide);
                self
            }
            _ => self.with(narrow),
        }
    }

    /// The entries with all changes made.
    pub(super) fn picked(&self) -> Option<(Register, Entries)> {
        let Source::Pick { places, entries } = &self.source else {
            return None;
        };
        let change = |x: f64| f64::from(changed(x as f32, &self.changes));
        match self.changes.is_empty() {
            true => Some((*places, entries.clone())),
            false => Some((*places, entries.map(change))),
        }
    }

    /// About how much memory it takes, in the size of a change; tables are their owners' together.
    fn weight(&self) -> usize {
        let source = match &self.source {
            Source::Register(_) | Source::Constant(_) => 0,
            Source::Column { changes, .. } => 2 * changes.capacity(),
            Source::Pick { entries, .. } => {
                let others = &entries.others;
                others.len() / Rc::strong_count(others)
            }
        };
        8 + source + self.changes.capacity()
    }

    /// The last changes that are a factor and a summand, as these two.
    pub(super) fn split(&self) -> (&[Change], f64, f64) {
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

impl Value {
    /// About how much memory it takes, in the size of a change.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Lanes(lanes) | Self::Deep(lanes) => lanes.iter().map(Lane::weight).sum(),
            Self::Texts(lanes) => lanes.iter().map(TextLane::weight).sum(),
            Self::Shape(_) | Self::Label(..) | Self::Constant(_) => 0,
        }
    }
}

impl TextLane {
    fn weight(&self) -> usize {
        let texts = self.known.iter().map(|(from, to)| from.len() + to.len());
        8 + 4 * self.known.len() + texts.sum::<usize>() / 12
    }
}

fn changed(x: f32, changes: &[Change]) -> f32 {
    changes.iter().fold(x, |x, change| change.of(x))
}

impl Planner {
    pub(crate) fn register(&mut self, lane: &Lane) -> Register {
        self.changed(&lane.source, &lane.changes)
    }

    pub(crate) fn registers(&mut self, lanes: &[Lane]) -> Vec<Register> {
        lanes.iter().map(|lane| self.register(lane)).collect()
    }

    pub(super) fn changed(&mut self, source: &Source, changes: &[Change]) -> Register {
        let register = match source {
            Source::Register(register) => *register,
            Source::Column { number, changes } => self.read(*number, changes, Rounding::Nearest),
            Source::Pick { places, entries } => {
                // A table of their own needs no loop for the changes.
                let entries = entries.map(|x| f64::from(changed(x as f32, changes)));
                return self.pick(*places, &entries);
            }
            Source::Constant(value) => {
                let value = changed(*value, changes);
                return self.one(Vec::new(), Action::Constant(value));
            }
        };
        if changes.is_empty() {
            return register;
        }
        self.one(vec![register], Action::Change(changes.to_vec()))
    }

    /// Adds a step with one result.
    pub(super) fn one(&mut self, from: Vec<Register>, action: Action) -> Register {
        let slot = self.program.slots;
        self.step(from, action, 1);
        Register::Slot(slot)
    }

    fn pick(&mut self, places: Register, entries: &Entries) -> Register {
        if !self.affords(entries.places) {
            return places;
        }
        let mut table = vec![entries.usual as f32; entries.places];
        for (place, value) in entries.others.iter() {
            table[*place as usize] = *value as f32;
        }
        self.one(vec![places], Action::Pick(table.into()))
    }

    /// The column as floats; only once, however often it is asked for.
    pub(super) fn read(&mut self, number: usize, changes: &[Wide], rounding: Rounding) -> Register {
        let reading = Reading {
            changes: changes.to_vec(),
            rounding,
        };
        let mut known = self.readings.get(&number).into_iter().flatten();
        if let Some((_, register)) = known.find(|(as_this, _)| *as_this == reading) {
            return *register;
        }
        let action = Action::Read(reading.clone());
        let register = self.one(vec![Register::Column(number)], action);
        let known = self.readings.entry(number).or_default();
        known.push((reading, register));
        register
    }

    /// The lane with nothing left to do, so that several may read it.
    pub(crate) fn settled(&mut self, lane: &Lane) -> Lane {
        Lane::of(self.register(lane)).typed(lane.element)
    }
}
