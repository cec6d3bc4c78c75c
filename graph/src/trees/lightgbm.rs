//! LightGBM's text files (`model.lgb`, `booster.save_model`). Reading them, not their conversion to ONNX, keeps what the
//! conversion loses: thresholds are doubles, and the largest float below one splits floats exactly as it does.

use std::collections::HashMap;
use std::str::FromStr;

use super::{Branch, Ensemble, Fold, Node, Tree};
use crate::error::Error;
use crate::kernel::Level;
use crate::plan::{Lane, Plan, PlannedOutput, Planner, Transform};
use crate::program::{Change, Register};

/// What LightGBM takes for zero.
const ZERO: f32 = 1e-35;

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
    let mut scores = planner.trees(&ensemble, &lanes);
    if file.averages {
        let iterations = (ensemble.trees.len() / ensemble.targets).max(1) as f32;
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
    Ok(planner.finish(columns, vec![("prediction".to_owned(), output)]))
}

/// A file's lines: those of the model, and those of each tree.
struct File<'a> {
    head: HashMap<&'a str, &'a str>,
    averages: bool,
    trees: Vec<HashMap<&'a str, &'a str>>,
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
        match ended {
            true => Ok(file),
            false => Err(Error::damaged("it was cut off")),
        }
    }

    fn ensemble(&self) -> Result<Ensemble, Error> {
        let targets: usize = number(&self.head, "num_tree_per_iteration", 1)?;
        let last: usize = number(&self.head, "max_feature_idx", 0)?;
        if targets == 0 || last >= 1 << 20 || targets > self.trees.len().max(1) {
            return Err(Error::damaged("it has no trees or too many features"));
        }
        let trees = self.trees.iter().enumerate();
        let trees = trees.map(|(place, lines)| tree(lines, (place % targets) as u32));
        Ensemble {
            features: last + 1,
            targets,
            fold: Fold::Sum,
            trees: trees.collect::<Result<_, _>>()?,
        }
        .check()
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
            "binary" | "multiclassova" => each(&[Change::Multiply(steepness), Change::Logistic]),
            "cross_entropy" => each(&[Change::Logistic]),
            "poisson" | "gamma" | "tweedie" => each(&[Change::Exp]),
            "multiclass" => planner.transform(scores, Transform::Softmax),
            other => {
                return Err(Error::not_covered(format!("LightGBM objective '{other}'")));
            }
        })
    }
}

/// The arrays of one tree.
struct Lines {
    features: Vec<u32>,
    thresholds: Vec<f64>,
    kinds: Vec<u8>,
    left: Vec<i64>,
    right: Vec<i64>,
    leaves: Vec<f64>,
    set_ends: Vec<usize>,
    sets: Vec<u32>,
}

fn tree(lines: &HashMap<&str, &str>, target: u32) -> Result<Tree, Error> {
    if number(lines, "is_linear", 0)? != 0 {
        return Err(Error::not_covered("LightGBM's linear trees"));
    }
    let lines = Lines {
        features: list(lines, "split_feature")?,
        thresholds: list(lines, "threshold")?,
        kinds: list(lines, "decision_type")?,
        left: list(lines, "left_child")?,
        right: list(lines, "right_child")?,
        leaves: list(lines, "leaf_value")?,
        set_ends: list(lines, "cat_boundaries")?,
        sets: list(lines, "cat_threshold")?,
    };
    let count = lines.features.len();
    let lengths = [
        lines.thresholds.len(),
        lines.kinds.len(),
        lines.left.len(),
        lines.right.len(),
        lines.leaves.len().wrapping_sub(1),
    ];
    if lengths.iter().any(|length| *length != count) {
        return Err(Error::damaged("the lines of a tree differ in length"));
    }
    // The splits keep their places, the leaves follow, and behind them what some splits need more.
    let mut tree = Tree::default();
    for place in 0..count {
        let split = Node::Leaf { first: 0, count: 0 };
        debug_assert_eq!(tree.nodes.len(), place);
        tree.nodes.push(split);
    }
    for (place, value) in lines.leaves.iter().enumerate() {
        tree.weights.push((target, *value as f32));
        tree.nodes.push(Node::Leaf {
            first: place as u32,
            count: 1,
        });
    }
    for place in 0..count {
        lines.split(place, &mut tree)?;
    }
    Ok(tree)
}

/// The largest float that is not above `value`, where what LightGBM takes for zero is all on one side: it drops such values
/// before it looks at thresholds, of which some are the smallest that it does not drop.
fn at_most(value: f64) -> f32 {
    let float = value as f32;
    let below = if f64::from(float) > value {
        float.next_down()
    } else {
        float
    };
    match value {
        0.0.. if below < ZERO => ZERO,
        ..0.0 if below >= -ZERO => (-ZERO).next_down(),
        _ => below,
    }
}

impl Lines {
    /// Leaves are written as what is below zero.
    fn child(&self, child: i64) -> Result<u32, Error> {
        let place = match child {
            0.. => usize::try_from(child).ok(),
            _ => usize::try_from(!child)
                .ok()
                .map(|leaf| self.features.len() + leaf),
        };
        let most = self.features.len() + self.leaves.len();
        let place = place.filter(|place| *place < most);
        place
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| Error::damaged("a tree points to a node that it has not"))
    }

    fn split(&self, place: usize, tree: &mut Tree) -> Result<(), Error> {
        let (feature, kind) = (self.features[place], self.kinds[place]);
        let left = self.child(self.left[place])?;
        let right = self.child(self.right[place])?;
        if kind & 1 != 0 {
            return self.set(place, left, right, tree);
        }
        let upto = at_most(self.thresholds[place]);
        if upto.is_nan() {
            return Err(Error::damaged("a threshold is not a number"));
        }
        let default_left = kind & 2 != 0;
        let plain = Branch {
            feature,
            above: f32::NAN,
            upto,
            nan_left: default_left,
            left,
            right,
        };
        let zero_goes_left = upto >= 0.0;
        tree.nodes[place] = match kind >> 2 & 3 {
            // Nothing is missing: NaN is zero.
            0 => Node::Branch(Branch {
                nan_left: zero_goes_left,
                ..plain
            }),
            // Zero is missing, and so is NaN.
            1 => {
                let all_left = upto >= ZERO && default_left;
                let all_right = upto < -ZERO && !default_left;
                if all_left || all_right {
                    Node::Branch(plain)
                } else {
                    let next = tree.nodes.len() as u32;
                    tree.nodes.push(Node::Branch(plain));
                    Node::Branch(Branch {
                        feature,
                        above: (-ZERO).next_down(),
                        upto: ZERO,
                        nan_left: true,
                        left: if default_left { left } else { right },
                        right: next,
                    })
                }
            }
            2 => Node::Branch(plain),
            _ => return Err(Error::damaged("a split has an unknown kind of missing")),
        };
        Ok(())
    }

    /// Categories that go left: each run of neighbours is one interval of what is cut down to them.
    fn set(&self, place: usize, left: u32, right: u32, tree: &mut Tree) -> Result<(), Error> {
        let lacks = || Error::damaged("a split lacks its categories");
        let number = self.thresholds[place] as usize;
        let first = *self.set_ends.get(number).ok_or_else(lacks)?;
        let end = *self
            .set_ends
            .get(number.saturating_add(1))
            .ok_or_else(lacks)?;
        let words = self.sets.get(first..end).ok_or_else(lacks)?;
        if words.len() > 1 << 18 {
            return Err(Error::not_covered("LightGBM's categories above 8 millions"));
        }
        let has = |category: usize| {
            let word = words.get(category / 32);
            word.is_some_and(|word| word >> (category % 32) & 1 != 0)
        };
        let mut runs = Vec::new();
        let mut category = 0;
        while category < words.len() * 32 {
            if has(category) {
                let from = category;
                while has(category) {
                    category += 1;
                }
                runs.push((from, category));
            }
            category += 1;
        }
        let mut place = place;
        let mut branch = Branch {
            feature: self.features[place],
            above: f32::NAN,
            upto: f32::NAN,
            nan_left: false,
            left,
            right,
        };
        let last = runs.len().saturating_sub(1);
        for (number, (from, to)) in runs.into_iter().enumerate() {
            // Cutting down takes what is just above -1 to 0.
            branch.above = match from {
                0 => -1.0,
                from => (from as f32).next_down(),
            };
            branch.upto = (to as f32).next_down();
            let next = tree.nodes.len() as u32;
            branch.right = if number == last { right } else { next };
            tree.nodes[place] = Node::Branch(branch);
            if number < last {
                tree.nodes.push(Node::Leaf { first: 0, count: 0 });
                place = next as usize;
            }
        }
        if last == 0 && matches!(tree.nodes[place], Node::Leaf { .. }) {
            tree.nodes[place] = Node::Branch(branch);
        }
        Ok(())
    }
}
