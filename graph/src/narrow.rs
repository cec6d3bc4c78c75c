//! What is known of the columns before a row is read, from a filter or from a file's statistics, and what it leaves of
//! a model: trees lose the branches that no such row can reach, and the results of such rows stay what they were, bit
//! for bit. A tree of which one leaf is left still adds it in its turn, because floats add up differently in another
//! order.

use std::sync::Arc;

use crate::kernel::{Level, TreeKernel};
use crate::known::Known;
use crate::program::{Action, Program, Register, Step, Trees};
use crate::trees::cut;

/// The program for rows that are within what is known of the first columns. Ensembles that lose nothing are shared.
pub(crate) fn narrow(program: &Program, columns: &[Known], level: Level) -> Program {
    let mut slots = vec![Known::NOTHING; program.slots];
    let mut steps = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let known = |register: &Register| match register {
            Register::Column(number) => columns
                .get(*number)
                .map_or(Known::NOTHING, |known| known.cleaned()),
            Register::Slot(slot) => slots[*slot],
        };
        let before = step.from.first().map_or(Known::NOTHING, known);
        let mut action = step.action.clone();
        match &step.action {
            Action::Trees(trees) => {
                let known: Vec<Known> = step.from.iter().map(known).collect();
                action = Action::Trees(narrow_trees(trees, &known, level));
            }
            Action::Change(changes) => {
                slots[step.to] = changes.iter().fold(before, |known, by| known.after(*by));
            }
            Action::Read(reading) => slots[step.to] = before.read(reading),
            Action::Encode(_)
            | Action::Pick(_)
            | Action::Choose
            | Action::Constant(_)
            | Action::Tables(_)
            | Action::Pair(_)
            | Action::Across(_)
            | Action::Linear(_)
            | Action::Largest => {}
        }
        steps.push(Step {
            from: step.from.clone(),
            action,
            to: step.to,
            count: step.count,
        });
    }
    Program {
        steps,
        slots: program.slots,
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
