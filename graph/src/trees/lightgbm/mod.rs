//! LightGBM's text files (`model.lgb`, `booster.save_model`). Reading them, not their conversion to ONNX, keeps what
//! the conversion loses: thresholds are doubles, and the largest float below one splits floats exactly as it does.

mod splits;
mod sums;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use self::splits::tree;
use self::sums::Sums;
use super::{Ensemble, Fold};
use crate::changes::Change;
use crate::error::Error;
use crate::kernel::Level;
use crate::plan::{Lane, Plan, PlannedOutput, Planner, Transform};
use crate::program::Register;

/// The program of a model file.
pub(crate) fn plan(text: &[u8], order: Option<&[usize]>, level: Level) -> Result<Plan, Error> {
    let text = std::str::from_utf8(text).map_err(|_| Error::damaged("it is not text"))?;
    let file = File::of(text)?;
    let ensemble = file.ensemble()?;
    let column = |place: usize| match order {
        None => Ok(place),
        Some(order) => order.get(place).copied().ok_or_else(|| {
            Error::Call("the order has fewer columns than the model has features".to_owned())
        }),
    };
    let lanes = (0..ensemble.features).map(|place| Ok(Lane::of(Register::Column(column(place)?))));
    let lanes = lanes.collect::<Result<Vec<_>, Error>>()?;
    let mut planner = Planner::new(level);
    let parts = planner.trees(&ensemble, &lanes);
    let mut scores = file.sums(&mut planner, &parts)?;
    if file.averages {
        let iterations = (ensemble.count() / scores.len()).max(1) as f32;
        let mean = |lane: Lane| lane.with(Change::Divide(iterations));
        scores = scores.into_iter().map(mean).collect();
    }
    let scores = file.objective(&mut planner, scores)?;
    let registers = planner.registers(&scores);
    let columns = match order {
        None => ensemble.features,
        Some(order) => order.iter().max().map_or(0, |last| last + 1),
    };
    let output = PlannedOutput::Numbers(registers, None);
    let mut plan = planner.finish(columns, vec![("prediction".to_owned(), output)]);
    plan.column_names = file.column_names(ensemble.features)?;
    Ok(plan)
}

/// A file's lines: those of the model, and those of each tree.
struct File<'a> {
    head: HashMap<&'a str, &'a str>,
    averages: bool,
    trees: Vec<HashMap<&'a str, &'a str>>,
    bytes: usize,
}

fn list<T: FromStr>(of: &HashMap<&str, &str>, key: &str) -> Result<Vec<T>, Error> {
    let values = of.get(key).copied().unwrap_or("").split_ascii_whitespace();
    let values = values.map(|value| value.parse());
    values
        .collect::<Result<_, _>>()
        .map_err(|_| Error::damaged(format!("'{key}' has what is no number")))
}

fn number<T: FromStr>(of: &HashMap<&str, &str>, key: &str, default: T) -> Result<T, Error> {
    match of.get(key) {
        None => Ok(default),
        Some(value) => value
            .trim()
            .parse()
            .map_err(|_| Error::damaged(format!("'{key}' is no number"))),
    }
}

/// Whether columns of the training data were categories of a data frame: then the trees ask for the places of categories
/// in lists that Python writes behind the model, and not for what a table holds.
fn has_pandas_categories(text: &str) -> bool {
    let lists = text
        .rsplit('\n')
        .find_map(|line| line.strip_prefix("pandas_categorical:"));
    lists.is_some_and(|lists| !matches!(lists.trim(), "null" | "[]"))
}

impl<'a> File<'a> {
    fn of(text: &'a str) -> Result<Self, Error> {
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some("tree") {
            return Err(Error::damaged("it is not LightGBM's text"));
        }
        let mut file = Self {
            head: HashMap::new(),
            averages: false,
            trees: Vec::new(),
            bytes: text.len(),
        };
        let mut ended = false;
        for line in lines {
            match line.split_once('=') {
                Some(("Tree", _)) => file.trees.push(HashMap::new()),
                Some((key, value)) => {
                    let part = file.trees.last_mut().unwrap_or(&mut file.head);
                    part.insert(key, value);
                }
                None if line.trim() == "average_output" => file.averages = true,
                None if line.trim() == "end of trees" => {
                    ended = true;
                    break;
                }
                None => {}
            }
        }
        if !ended {
            return Err(Error::damaged("it was cut off"));
        }
        if has_pandas_categories(text) {
            return Err(Error::not_covered("pandas categories"));
        }
        Ok(file)
    }

    fn column_names(&self, features: usize) -> Result<Option<Vec<String>>, Error> {
        let Some(names) = self.head.get("feature_names") else {
            return Ok(None);
        };
        let names: Vec<String> = names.split_ascii_whitespace().map(str::to_owned).collect();
        match names.len() == features {
            true => Ok(Some(names)),
            false => Err(Error::damaged("it has not a name for each feature")),
        }
    }

    /// How many numbers it predicts.
    fn targets(&self) -> Result<usize, Error> {
        match number(&self.head, "num_tree_per_iteration", 1)? {
            0 => Err(Error::damaged("it has no trees for a number")),
            targets if targets > self.trees.len().max(1) => {
                Err(Error::damaged("it has fewer trees than numbers"))
            }
            targets => Ok(targets),
        }
    }

    /// The trees, which add to two targets for each number: see [`Sums`].
    fn ensemble(&self) -> Result<Arc<Ensemble>, Error> {
        let targets = self.targets()?;
        let last: usize = number(&self.head, "max_feature_idx", 0)?;
        // LightGBM writes something of each feature.
        if last >= self.bytes.max(1 << 12) {
            return Err(Error::damaged("it has too many features"));
        }
        let mut trees = Vec::with_capacity(self.trees.len());
        let mut leaves = Vec::with_capacity(self.trees.len());
        for lines in &self.trees {
            let (tree, values) = tree(lines)?;
            trees.push(tree);
            leaves.push(values);
        }
        for target in 0..targets {
            let sums = Sums::of(leaves.iter().skip(target).step_by(targets));
            let of_target = trees.iter_mut().zip(&leaves).skip(target).step_by(targets);
            for (tree, values) in of_target {
                sums.weigh(tree, values, [target as u32, (targets + target) as u32]);
            }
        }
        let ensemble = Ensemble::new(last + 1, 2 * targets, Fold::Sum)?;
        ensemble.with(trees).map(Arc::new)
    }

    /// What the trees add up to, number by number.
    fn sums(&self, planner: &mut Planner, parts: &[Lane]) -> Result<Vec<Lane>, Error> {
        let (coarse, fine) = parts.split_at(self.targets()?);
        Ok(coarse
            .iter()
            .zip(fine)
            .map(|(coarse, fine)| planner.sum(coarse, fine))
            .collect())
    }

    /// The prediction that the sums of the trees stand for.
    fn objective(&self, planner: &mut Planner, scores: Vec<Lane>) -> Result<Vec<Lane>, Error> {
        let objective = self.head.get("objective").copied().unwrap_or("");
        let mut words = objective.split_ascii_whitespace();
        let name = words.next().unwrap_or("");
        let options: Vec<&str> = words.collect();
        let each = |changes: &[Change]| {
            let lanes = scores.iter().cloned();
            lanes
                .map(|lane| changes.iter().fold(lane, |lane, change| lane.with(*change)))
                .collect()
        };
        let steepness = options
            .iter()
            .find_map(|option| option.strip_prefix("sigmoid:"));
        let steepness: f32 = match steepness {
            None => 1.0,
            Some(text) => text
                .parse()
                .map_err(|_| Error::damaged("'sigmoid' is no number"))?,
        };
        Ok(match name {
            "regression" if options.contains(&"sqrt") => {
                return Err(Error::not_covered("LightGBM objective 'regression sqrt'"));
            }
            "" | "regression" | "regression_l1" | "huber" | "fair" | "mape" | "quantile"
            | "lambdarank" | "rank_xendcg" | "custom" => scores,
            "binary" | "multiclassova" => each(&[Change::Multiply(steepness), Change::Sigmoid]),
            "cross_entropy" => each(&[Change::Sigmoid]),
            "poisson" | "gamma" | "tweedie" => each(&[Change::Exp]),
            "multiclass" => planner.transform(scores, Transform::Softmax),
            other => {
                return Err(Error::not_covered(format!("LightGBM objective '{other}'")));
            }
        })
    }
}
