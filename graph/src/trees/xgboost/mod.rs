//! XGBoost's own files, JSON and UBJSON (`model.ubj`, `booster.save_model`), and what its predictions are: those of
//! `Booster.predict`, or those of the estimators of its scikit-learn interface. The base score is a tree of one leaf
//! before the others, so that sums of floats are made in XGBoost's order and are its, bit for bit.

mod file;
mod json;
mod objective;
mod reader;
mod splits;
#[cfg(test)]
mod tests;
mod tree;
mod ubjson;

use std::sync::Arc;

use self::file::File;
use self::json::Json;
use self::objective::Objective;
use self::ubjson::Ubjson;
use super::{Ensemble, Fold, MOST_TARGETS, Node, Tree};
use crate::changes::Change;
use crate::error::Error;
use crate::kernel::Level;
use crate::plan::{Lane, Plan, PlannedOutput, Planner, class_places};
use crate::program::Register;

/// More than anyone binds columns to: a file's numbers must not make what it does not hold.
const MOST_FEATURES: usize = 1 << 17;
/// The most that a file of fewer bytes may have.
const MOST_OF_FEW_BYTES: usize = 1 << 15;

/// Whose predictions are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Predicts {
    /// `Booster.predict`: all trees, and what the objective makes of them.
    Booster,
    /// `XGBModel.predict`: trees up to the best round, and a classifier's labels.
    Estimator,
    /// The one or the other, by what the file says saved it.
    AsSaved,
}

/// The program of a model file.
pub(crate) fn plan(
    bytes: &[u8],
    order: Option<&[usize]>,
    level: Level,
    predicts: Predicts,
) -> Result<Plan, Error> {
    let mut file = match is_json(bytes)? {
        true => File::read(Json::new(bytes))?,
        false => File::read(Ubjson::new(bytes))?,
    };
    let predicts = match predicts {
        Predicts::AsSaved if file.estimator.is_some() => Predicts::Estimator,
        Predicts::AsSaved => Predicts::Booster,
        known => known,
    };
    let shape = Shape::of(&file)?;
    if shape.features > bytes.len().max(MOST_OF_FEW_BYTES) {
        return Err(Error::not_covered("so many features in so small a file"));
    }
    let lanes = lanes(shape.features, order)?;
    let mut planner = Planner::new(level);
    let sums = match file.booster.as_str() {
        "gbtree" | "dart" => {
            let ensemble = ensemble(&mut file, &shape, predicts)?;
            planner.trees(&ensemble, &lanes)
        }
        "gblinear" => linear(&file, &shape, &mut planner, lanes)?,
        other => return Err(Error::not_covered(format!("XGBoost booster '{other}'"))),
    };
    let numbers = shape.objective.apply(&mut planner, sums);
    let outputs = match predicts {
        Predicts::Estimator if is_classifier(&file) => labels(&shape, &mut planner, numbers)?,
        _ => {
            let registers = planner.registers(&numbers);
            let output = PlannedOutput::Numbers(registers, None);
            vec![("prediction".to_owned(), output)]
        }
    };
    let columns = match order {
        None => shape.features,
        Some(order) => order.iter().max().map_or(0, |last| last + 1),
    };
    let mut plan = planner.finish(columns, outputs);
    plan.column_names = Some(file.names).filter(|names| !names.is_empty());
    Ok(plan)
}

/// JSON's members begin with a quote, UBJSON's with the type of a length.
fn is_json(bytes: &[u8]) -> Result<bool, Error> {
    let mut bytes = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (bytes.next(), bytes.next()) {
        (Some(b'{'), Some(b'"' | b'}')) => Ok(true),
        (Some(b'{'), Some(_)) => Ok(false),
        _ => Err(Error::damaged("it is neither JSON nor UBJSON")),
    }
}

/// What the file says of the whole model.
#[derive(Debug)]
struct Shape {
    features: usize,
    targets: usize,
    objective: Objective,
    /// By target: what the sums begin with.
    begin: Vec<f32>,
}

fn number(text: &str, what: &str) -> Result<usize, Error> {
    match text {
        "" => Ok(0),
        text => text
            .trim()
            .parse()
            .map_err(|_| Error::damaged(format!("'{what}' is no number"))),
    }
}

impl Shape {
    fn of(file: &File) -> Result<Self, Error> {
        let features = number(&file.features, "num_feature")?;
        let classes = number(&file.classes, "num_class")?;
        let targets = classes.max(number(&file.targets, "num_target")?).max(1);
        let leaves = file.trees.iter().map(|tree| tree.weights.len()).sum();
        // Every target has a tree, or a place in the leaves of one.
        if targets > 1 && targets > file.weights.len().max(leaves) {
            return Err(Error::not_covered("more outputs than leaves"));
        }
        if features == 0 || features > MOST_FEATURES || targets > MOST_TARGETS {
            let what = format!("{features} features and {targets} outputs");
            return Err(Error::not_covered(what));
        }
        if !file.names.is_empty() && file.names.len() != features {
            return Err(Error::damaged("it has not a name for each feature"));
        }
        let objective = Objective::named(&file.objective, file.version, targets)?;
        let begin = base_scores(&file.base_score, targets)?;
        let begin = begin.into_iter().map(|base| objective.begin(base));
        Ok(Self {
            features,
            targets,
            objective,
            begin: begin.collect(),
        })
    }
}

/// One number, or a list of one for each target or for all of them.
fn base_scores(text: &str, targets: usize) -> Result<Vec<f32>, Error> {
    let damaged = || Error::damaged("'base_score' is not as many numbers as it should be");
    let text = text.trim();
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let scores = inner
        .unwrap_or(text)
        .split(',')
        .map(|score| score.trim().parse());
    let scores: Vec<f32> = scores.collect::<Result<_, _>>().map_err(|_| damaged())?;
    if !scores.iter().all(|score| score.is_finite()) {
        return Err(damaged());
    }
    match scores.as_slice() {
        [all] => Ok(vec![*all; targets]),
        each if each.len() == targets => Ok(scores),
        _ => Err(damaged()),
    }
}

fn lanes(features: usize, order: Option<&[usize]>) -> Result<Vec<Lane>, Error> {
    let column = |place: usize| match order {
        None => Ok(place),
        Some(order) => order.get(place).copied().ok_or_else(|| {
            Error::Call("the order has fewer columns than the model has features".to_owned())
        }),
    };
    (0..features)
        .map(|place| Ok(Lane::of(Register::Column(column(place)?))))
        .collect()
}

fn ensemble(file: &mut File, shape: &Shape, predicts: Predicts) -> Result<Arc<Ensemble>, Error> {
    let mut trees = std::mem::take(&mut file.trees);
    if file.groups.len() != trees.len() || file.drops.len() > trees.len() {
        return Err(Error::damaged("its lists of trees differ in length"));
    }
    for (place, (tree, group)) in trees.iter_mut().zip(&file.groups).enumerate() {
        let target = u32::try_from(*group).unwrap_or(u32::MAX);
        let drop = file.drops.get(place).copied().unwrap_or(1.0);
        let is_vector = tree.weights.iter().any(|(target, _)| *target != 0);
        for (of, weight) in &mut tree.weights {
            *weight *= drop;
            if !is_vector {
                *of = target;
            }
        }
    }
    if predicts == Predicts::Estimator
        && let Some(best) = &file.best_round
    {
        trees.truncate(trees_until(number(best, "best_iteration")?, file, shape)?);
    }
    if trees.is_empty() || shape.begin.iter().any(|begin| *begin != 0.0) {
        let count = shape.targets as u32;
        let base = Tree {
            root: 0,
            nodes: vec![Node::Leaf { first: 0, count }],
            weights: (0..).zip(shape.begin.iter().copied()).collect(),
        };
        trees.insert(0, base);
    }
    let ensemble = Ensemble::new(shape.features, shape.targets, Fold::Sum)?;
    ensemble.with(trees).map(Arc::new)
}

/// How many trees the rounds up to the best one have.
fn trees_until(best: usize, file: &File, shape: &Shape) -> Result<usize, Error> {
    let end = match file.rounds.is_empty() {
        false => file.rounds.get(best.saturating_add(1)).copied(),
        true => {
            let parallel = number(&file.parallel_trees, "num_parallel_tree")?.max(1);
            let rounds = i32::try_from(best.saturating_add(1)).ok();
            let trees = i32::try_from(parallel.saturating_mul(shape.targets)).ok();
            rounds
                .zip(trees)
                .and_then(|(rounds, trees)| rounds.checked_mul(trees))
        }
    };
    end.and_then(|end| usize::try_from(end).ok())
        .filter(|end| *end <= file.groups.len())
        .ok_or_else(|| Error::damaged("its best round is none of its rounds"))
}

/// Missing values count nothing; a list of base scores is only heard at its first.
fn linear(
    file: &File,
    shape: &Shape,
    planner: &mut Planner,
    lanes: Vec<Lane>,
) -> Result<Vec<Lane>, Error> {
    let Shape {
        features, targets, ..
    } = *shape;
    let (weights, constants) = match file.weights.split_at_checked(features * targets) {
        Some((weights, constants)) if constants.len() == targets => (weights, constants),
        _ => return Err(Error::damaged("it has not a weight for each feature")),
    };
    let begin = shape.begin.first().copied().unwrap_or(0.0);
    let by_target = |target: usize| {
        let weights = weights.iter().skip(target).step_by(targets);
        weights.map(|weight| f64::from(*weight)).collect()
    };
    let weights: Vec<Vec<f64>> = (0..targets).map(by_target).collect();
    let constants = constants.iter().map(|constant| f64::from(constant + begin));
    let constants: Vec<f64> = constants.collect();
    let missing = Change::Impute {
        missing: f32::NAN,
        value: 0.0,
    };
    let lanes: Vec<Lane> = lanes.into_iter().map(|lane| lane.with(missing)).collect();
    Ok(planner.linear(&lanes, &weights, &constants))
}

fn is_classifier(file: &File) -> bool {
    let estimator = file.estimator.as_deref();
    estimator.is_some_and(|text| text.contains("\"classifier\""))
}

/// A classifier's labels, which are the places of its classes, and where its objective gives them, their probabilities.
fn labels(
    shape: &Shape,
    planner: &mut Planner,
    numbers: Vec<Lane>,
) -> Result<Vec<(String, PlannedOutput)>, Error> {
    let numbers: Vec<Lane> = numbers.iter().map(|lane| planner.settled(lane)).collect();
    let (register, probabilities) = match (shape.objective, numbers.as_slice()) {
        (Objective::Softmax, _) => (planner.largest(&numbers), numbers),
        (Objective::Largest, [label]) => (Some(planner.register(label)), Vec::new()),
        (Objective::Logistic, [second]) => {
            let first = second.clone().with(Change::SubtractFrom(1.0));
            let label = second.clone().with(Change::IsAbove(0.5));
            (Some(planner.register(&label)), vec![first, second.clone()])
        }
        (_, [number]) => {
            let label = number.clone().with(Change::IsAbove(0.5));
            (Some(planner.register(&label)), Vec::new())
        }
        _ => return Err(Error::not_covered("a classifier of several labels at once")),
    };
    let register = register.ok_or_else(|| Error::not_covered("a classifier of no classes"))?;
    let names = class_places(shape.targets.max(2));
    let mut outputs = vec![(
        "prediction".to_owned(),
        PlannedOutput::Label(register, names),
    )];
    if !probabilities.is_empty() {
        let registers = planner.registers(&probabilities);
        let output = PlannedOutput::Numbers(registers, None);
        outputs.push(("probabilities".to_owned(), output));
    }
    Ok(outputs)
}
