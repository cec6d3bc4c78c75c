//! What is known of the columns before a row is read, from a filter or from a file's statistics, and what it leaves of
//! a model: trees lose the branches that no such row can reach, and the results of such rows stay what they were, bit
//! for bit. A tree of which one leaf is left still adds it in its turn, because floats add up differently in another
//! order.

use std::sync::Arc;

use crate::changes::Change;
use crate::column::Element;
use crate::fact::{Fact, Held};
use crate::kernel::tables::entry;
use crate::kernel::{Level, TreeKernel};
use crate::known::Known;
use crate::program::{Action, Pair, Program, Register, Step, Trees};
use crate::trees::cut;

/// What a step becomes, and what is known of its first result. Others' results, and several, nothing is known of.
struct Narrowed<'a> {
    from: Vec<Register>,
    action: Action,
    held: Held<'a>,
}

/// The program for rows that are within what is known of the first columns. Ensembles that lose nothing are shared.
pub(crate) fn narrow(
    program: &Program,
    facts: &[Fact],
    elements: &[Option<Element>],
    level: Level,
) -> Program {
    let mut slots = vec![Held::NOTHING; program.slots];
    let mut steps = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let held = step.from.iter().map(|register| match register {
            Register::Column(number) => {
                Held::of_column(facts.get(*number), elements.get(*number).copied().flatten())
            }
            Register::Slot(slot) => slots[*slot].clone(),
        });
        let held: Vec<Held<'_>> = held.collect();
        let element = match step.from.first() {
            Some(Register::Column(number)) => elements.get(*number).copied().flatten(),
            Some(Register::Slot(_)) | None => None,
        };
        let narrowed = narrow_step(step, &held, element, level);
        if let Some(slot) = slots.get_mut(step.to) {
            *slot = narrowed.held;
        }
        steps.push(Step {
            from: narrowed.from,
            action: narrowed.action,
            to: step.to,
            count: step.count,
        });
    }
    Program {
        steps,
        slots: program.slots,
    }
}

fn narrow_step<'a>(
    step: &Step,
    held: &[Held<'a>],
    element: Option<Element>,
    level: Level,
) -> Narrowed<'a> {
    let mut made = Narrowed {
        from: step.from.clone(),
        action: step.action.clone(),
        held: Held::NOTHING,
    };
    let before = held.first().cloned().unwrap_or(Held::NOTHING);
    match &step.action {
        Action::Trees(trees) => {
            let known: Vec<Known> = held.iter().map(Held::known).collect();
            made.action = Action::Trees(narrow_trees(trees, &known, level));
            return made;
        }
        Action::Choose => {
            let [by, yes, no] = held else {
                return made;
            };
            let by = by.known();
            let is_zero = by == Known::between(0.0, 0.0);
            if is_zero || by.low > 0.0 || by.high < 0.0 {
                let place = if is_zero { 2 } else { 1 };
                made.from = vec![step.from[place]];
                made.action = Action::Change(Vec::new());
                made.held = held[place].clone();
            } else {
                made.held = Held::Within(yes.known().or(no.known()));
            }
        }
        Action::Encode(encoder) => {
            made.held = encoder.held(&before, element);
            if matches!(made.held, Held::Exactly(place) if encoder.fails_at(place)) {
                return made;
            }
        }
        Action::Pick(entries) => made.held = picked(entries, &before),
        Action::Read(reading) => made.held = Held::of(before.known().read(reading)),
        Action::Change(changes) => made.held = changed(changes, &before),
        Action::Pair(pair) => {
            if let [left, right] = held {
                made.held = Held::Within(paired(*pair, left.known(), right.known()));
            }
        }
        Action::Constant(value) => made.held = Held::Exactly(*value),
        Action::Tables(_) | Action::Across(_) | Action::Linear(_) | Action::Largest => {}
    }
    if let Held::Exactly(value) = made.held {
        made.from.clear();
        made.action = Action::Constant(value);
    }
    made
}

fn picked<'a>(entries: &[f32], places: &Held<'_>) -> Held<'a> {
    let places = match places {
        Held::Places(places) => places,
        Held::Exactly(place) => return Held::Exactly(entry(entries, *place)),
        Held::Within(_) | Held::Texts(_) => return Held::NOTHING,
    };
    let values = places.iter().map(|place| entry(entries, *place as f32));
    let mut values = values.peekable();
    let Some(first) = values.peek().copied() else {
        return Held::NOTHING;
    };
    let (mut known, mut same) = (Known::exactly(first), true);
    for value in values {
        same &= value.to_bits() == first.to_bits();
        known = known.or(Known::exactly(value));
    }
    match same {
        true => Held::Exactly(first),
        false => Held::Within(known),
    }
}

fn changed<'a>(changes: &[Change], before: &Held<'a>) -> Held<'a> {
    match before {
        Held::Exactly(value) => Held::Exactly(
            changes
                .iter()
                .fold(*value, |value, change| change.of(value)),
        ),
        other if changes.is_empty() => other.clone(),
        other => {
            let known = other.known();
            Held::Within(changes.iter().fold(known, |known, by| known.after(*by)))
        }
    }
}

/// Rounding keeps the order; what may be no number is not followed.
fn paired(pair: Pair, left: Known, right: Known) -> Known {
    let ends = [left.low, left.high, right.low, right.high];
    let is_finite = ends.iter().all(|end| end.is_finite()) && !left.nan && !right.nan;
    let truth = |never: bool| Known::between(0.0, if never { 0.0 } else { 1.0 });
    match pair {
        Pair::IsBelow => truth(left.low >= right.high),
        Pair::IsAtMost => truth(left.low > right.high),
        Pair::IsEqual => truth(left.low > right.high || left.high < right.low),
        Pair::Add if is_finite => Known::between(left.low + right.low, left.high + right.high),
        Pair::Subtract if is_finite => Known::between(left.low - right.high, left.high - right.low),
        Pair::Multiply if is_finite => {
            let products = [left.low, left.high].map(|x| [x * right.low, x * right.high]);
            let products = products.as_flattened();
            Known::between(
                products.iter().copied().fold(f32::INFINITY, f32::min),
                products.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            )
        }
        Pair::Add | Pair::Subtract | Pair::Multiply | Pair::Divide => Known::NOTHING,
    }
}

fn narrow_trees(trees: &Arc<Trees>, known: &[Known], level: Level) -> Arc<Trees> {
    match cut(&trees.ensemble, known) {
        None => Arc::clone(trees),
        Some(ensemble) => Arc::new(Trees {
            kernel: TreeKernel::new(&ensemble, level),
            ensemble: Arc::new(ensemble),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Model};

    const TEXT: &str = "tree
num_class=1
num_tree_per_iteration=1
max_feature_idx=2
objective=regression

Tree=0
num_leaves=3
num_cat=0
split_feature=0 2
threshold=2.5 7
decision_type=10 8
left_child=-1 -2
right_child=1 -3
leaf_value=0.125 0.25 0.375

Tree=1
num_leaves=2
num_cat=0
split_feature=2
threshold=5
decision_type=8
left_child=-1
right_child=-2
leaf_value=100.5 1000.0625

end of trees
";

    fn score(model: &Model, columns: [&[f32]; 3], rows: usize) -> Vec<u32> {
        let mut out = vec![0.0; rows];
        let columns = columns.map(Column::from);
        let scratch = &mut model.scratch();
        model.score(0, &columns, rows, scratch, &mut out).unwrap();
        out.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_model_says_what_it_reads_and_what_is_left() {
        let model = Model::from_lightgbm(TEXT.as_bytes(), None).unwrap();
        assert_eq!(model.used_columns(&[0]), [true, false, true]);
        assert_eq!(model.used_columns(&[]), [false; 3]);
        assert_eq!((model.trees(), model.nodes()), (2, 8));
        let third = [4.0, 5.0, 5.5, 7.0, 8.0, f32::NAN];
        let rows = third.len();
        // NaN goes left at the first split.
        for (low, high, nan) in [(2.6, 9.0, false), (-1.0, 2.5, true), (-1.0, 2.5, false)] {
            let less = model.narrowed(&[Known { low, high, nan }]);
            assert_eq!(less.used_columns(&[0]), [false, false, true]);
            let first = vec![high; rows];
            let expected = score(&model, [&first, &[], &third], rows);
            assert_eq!(score(&less, [&[], &[], &third], rows), expected);
            assert_eq!(less.trees(), if low > 0.0 { 2 } else { 1 });
        }
        let same = model.narrowed(&[]);
        assert_eq!((same.trees(), same.nodes()), (2, 8));
        let bounds = [Known::NOTHING, Known::NOTHING, Known::between(7.5, 8.0)];
        let none = model
            .narrowed(&bounds)
            .narrowed(&[Known::between(3.0, 3.0)]);
        assert_eq!((none.trees(), none.nodes()), (0, 0));
        assert_eq!(none.used_columns(&[0]), [false; 3]);
        let expected = score(&model, [&[3.0], &[], &[8.0]], 1);
        assert_eq!(score(&none, [&[], &[], &[]], 1), expected);
        // What is not within the bounds must not bring anything down.
        score(&none, [&[-5.0; 9], &[], &[f32::NAN; 9]], 9);
    }
}
