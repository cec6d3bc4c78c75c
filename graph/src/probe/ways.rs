//! Which registers are made of one column alone, and how.

use crate::column::Column;
use crate::program::{Action, Program, Register};

/// More steps or changes than these between a column and what is made of it are not followed.
const LONGEST: usize = 16;

/// By slot the step that fills it.
pub(super) struct Ways<'a> {
    program: &'a Program,
    makers: Vec<usize>,
}

impl<'a> Ways<'a> {
    pub(super) fn of(program: &'a Program) -> Self {
        let mut makers = vec![0; program.slots];
        for (number, step) in program.steps.iter().enumerate() {
            makers[step.to..step.to + step.count].fill(number);
        }
        Self { program, makers }
    }

    /// The column of which alone a register is made, and how; nothing where it is not as simple.
    pub(super) fn to(&self, register: Register) -> Option<(usize, Way<'a>)> {
        let (mut at, mut actions) = (register, Vec::new());
        loop {
            let slot = match at {
                Register::Column(column) => {
                    actions.reverse();
                    return Some((column, Way(actions)));
                }
                Register::Slot(slot) => slot,
            };
            let step = self.program.steps.get(*self.makers.get(slot)?)?;
            let length = match &step.action {
                Action::Read(reading) => reading.changes.len(),
                Action::Change(changes) => changes.len(),
                _ => return None,
            };
            if actions.len() >= LONGEST || length > LONGEST {
                return None;
            }
            actions.push(&step.action);
            at = *step.from.first()?;
        }
    }
}

/// What happens to a column's values, one after the other.
pub(super) struct Way<'a>(pub(super) Vec<&'a Action>);

impl Way<'_> {
    /// What becomes of a value, and whether a float holds it on its way.
    pub(super) fn go(&self, value: f64) -> (f32, bool) {
        let (mut now, mut fits) = (value as f32, true);
        for action in &self.0 {
            match action {
                Action::Read(reading) => {
                    let mut out = [0.0];
                    fits &= reading.run(&Column::from(&[value][..]), &mut out);
                    now = out[0];
                }
                Action::Change(changes) => {
                    now = changes.iter().fold(now, |now, change| change.of(now));
                }
                _ => {}
            }
        }
        (now, fits)
    }
}
