//! The operators of `ai.onnx.ml`.

use std::sync::Arc;

use super::classes::Transform;
use super::lanes::{Lane, Source};
use super::{Planner, Value, is_certain};
use crate::Labels;
use crate::changes::{Across, Change};
use crate::column::Element;
use crate::error::Error;
use crate::onnx::Node;
use crate::read::{Rounding, Wide};
use crate::trees::{Ensemble, MOST_TARGETS, Spoken, read_classes, read_regressor, read_v5};

type Covered = Result<Option<()>, Error>;

impl Planner {
    /// Nothing for an operator that is not covered at all.
    pub(super) fn ml(&mut self, node: &Node) -> Covered {
        match node.op.as_str() {
            "TreeEnsembleRegressor" => {
                let lanes = self.tree_lanes(node)?;
                let ensemble = read_regressor(node, lanes.len())?;
                let transform = Transform::named(node.text("post_transform", "NONE"))?;
                let mean = node.text("aggregate_function", "SUM") == "AVERAGE";
                self.regression(node, &ensemble, &lanes, mean, transform)
            }
            "TreeEnsemble" => {
                let lanes = self.tree_lanes(node)?;
                let ensemble = read_v5(node, lanes.len())?;
                let transform = Transform::numbered(node.int("post_transform", 0))?;
                let mean = node.int("aggregate_function", 1) == 0;
                self.regression(node, &ensemble, &lanes, mean, transform)
            }
            "TreeEnsembleClassifier" => self.tree_classes(node),
            "LinearRegressor" => self.linear_regressor(node),
            "LinearClassifier" => self.linear_classes(node),
            "Scaler" => self.scaler(node),
            "Imputer" => self.imputer(node),
            "Normalizer" => {
                let lanes = self.converted(node)?;
                let across = match node.text("norm", "MAX") {
                    "MAX" => Across::NormMax,
                    "L1" => Across::NormL1,
                    "L2" => Across::NormL2,
                    other => return Err(Error::not_covered(format!("norm '{other}'"))),
                };
                let lanes = self.across(&lanes, across);
                Ok(self.set(node, 0, Value::Lanes(lanes)))
            }
            "Binarizer" => {
                let above = Change::IsAbove(node.float("threshold", 0.0));
                self.only_floats(node)?;
                self.each(node, above)
            }
            "OneHotEncoder" => self.one_hot(node),
            "LabelEncoder" => self.label_encoder(node),
            "FeatureVectorizer" => self.vectorized(node),
            "ArrayFeatureExtractor" => self.extract(node),
            "ZipMap" => {
                let (value, labels) = (self.input(node, 0)?, labels(node));
                if let (Some(name), Some(labels)) = (node.outputs.first(), labels) {
                    self.names.insert(name.clone(), labels);
                }
                Ok(self.set(node, 0, value))
            }
            _ => Ok(None),
        }
    }

    fn regression(
        &mut self,
        node: &Node,
        ensemble: &Arc<Ensemble>,
        lanes: &[Lane],
        mean: bool,
        transform: Transform,
    ) -> Covered {
        if ensemble.targets == 0 || ensemble.count() == 0 {
            return Err(Error::not_covered("without trees or targets"));
        }
        if !is_certain(ensemble) {
            return Err(Error::not_covered("a leaf without weight"));
        }
        let base = node.floats("base_values");
        let mut lanes = self.trees(ensemble, lanes);
        for (place, lane) in lanes.iter_mut().enumerate() {
            if mean {
                let count = ensemble.count() as f32;
                *lane = lane.clone().with(Change::Divide(count));
            }
            if base.len() == ensemble.targets {
                *lane = lane.clone().with(Change::Add(base[place]));
            }
        }
        let lanes = self.transform(lanes, transform);
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn tree_classes(&mut self, node: &Node) -> Covered {
        let doubles = self
            .lanes(node, 0)?
            .iter()
            .any(|lane| lane.element == Element::Float64);
        let lanes = self.tree_lanes(node)?;
        let Some(labels) = labels(node).filter(|labels| labels.len() >= 2) else {
            return Err(Error::not_covered("fewer than two classes"));
        };
        let ensemble = read_classes(node, lanes.len(), labels.len())?;
        let transform = Transform::named(node.text("post_transform", "NONE"))?;
        let base = node.floats("base_values");
        let spoken = ensemble.spoken();
        if doubles && ensemble.count() > 1 {
            // ONNX Runtime sums as doubles then, and a label may hang on the last bit.
            return Err(Error::not_covered("classes by sums of doubles"));
        }
        if spoken.contains(&Spoken::Sometimes) || ensemble.count() == 0 {
            return Err(Error::not_covered("a leaf without weight"));
        }
        let mut scores = self.trees(&ensemble, &lanes);
        let (label, numbers) = match (spoken.as_slice(), base.len()) {
            ([Spoken::Always, Spoken::Never], 0 | 1) => {
                let all_positive = !node.floats("class_weights").iter().any(|of| *of < 0.0);
                let least = if all_positive { 0.5 } else { 0.0 };
                let mut score = scores.swap_remove(0);
                if let [base] = base {
                    score = score.with(Change::Add(*base));
                }
                self.second_class(&score, transform, all_positive, least, labels)?
            }
            ([Spoken::Always, Spoken::Always], 0) => {
                let scores: Vec<Lane> = scores.iter().map(|lane| self.settled(lane)).collect();
                let register = self.register(&scores[1].clone().with(Change::IsAbove(0.0)));
                // ONNX Runtime then calls the classes 0 and 1, whatever their numbers are.
                let labels = match labels {
                    Labels::Ints(_) => Labels::Ints(vec![0, 1]),
                    texts => texts,
                };
                let numbers = self.transform(scores, transform);
                (Value::Label(register, labels), numbers)
            }
            ([_, _], _) => return Err(Error::not_covered("two classes scored this way")),
            (spoken, given) => {
                if given > spoken.len() {
                    return Err(Error::damaged("more base values than classes"));
                }
                for (lane, base) in scores.iter_mut().zip(base) {
                    *lane = lane.clone().with(Change::Add(*base));
                }
                let known = |place: usize| place < given || spoken[place] == Spoken::Always;
                if !(0..spoken.len()).all(known) {
                    return Err(Error::not_covered("a class without weights"));
                }
                let scores: Vec<Lane> = scores.iter().map(|lane| self.settled(lane)).collect();
                let Some(register) = self.largest(&scores) else {
                    return Ok(None);
                };
                let numbers = self.transform(scores, transform);
                (Value::Label(register, labels), numbers)
            }
        };
        self.set(node, 0, label);
        Ok(self.set(node, 1, Value::Lanes(numbers)))
    }

    fn linear_regressor(&mut self, node: &Node) -> Covered {
        self.only_floats(node)?;
        let lanes = self.lanes(node, 0)?;
        let targets = usize::try_from(node.int("targets", 1)).unwrap_or(0);
        let constants = match node.floats("intercepts") {
            _ if targets > MOST_TARGETS => return Err(Error::not_covered("so many targets")),
            [] => vec![0.0; targets],
            given => given.to_vec(),
        };
        let scores = self.weighted(node, &lanes, &constants, targets)?;
        let transform = Transform::named(node.text("post_transform", "NONE"))?;
        let lanes = self.transform(scores, transform);
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    fn linear_classes(&mut self, node: &Node) -> Covered {
        let lanes = self.converted(node)?;
        let constants = node.floats("intercepts").to_vec();
        let scores = self.weighted(node, &lanes, &constants, constants.len())?;
        let transform = Transform::named(node.text("post_transform", "NONE"))?;
        let ints = node.ints("classlabels_ints");
        let labels = match node.texts("classlabels_strings") {
            [] => Labels::Ints(ints.to_vec()),
            texts => Labels::Texts(texts.to_vec()),
        };
        let (label, numbers) = match scores.as_slice() {
            [score] if labels.len() == 2 => {
                self.second_class(score, transform, true, 0.0, labels)?
            }
            scores if scores.len() >= 2 && labels.len() == scores.len() => {
                let Some(register) = self.largest(scores) else {
                    return Ok(None);
                };
                let numbers = self.transform(scores.to_vec(), transform);
                (Value::Label(register, labels), numbers)
            }
            _ => return Err(Error::not_covered("classes and labels differ in number")),
        };
        self.set(node, 0, label);
        Ok(self.set(node, 1, Value::Lanes(numbers)))
    }

    fn weighted(
        &mut self,
        node: &Node,
        lanes: &[Lane],
        constants: &[f32],
        targets: usize,
    ) -> Result<Vec<Lane>, Error> {
        let weights = node.floats("coefficients");
        if targets == 0
            || lanes.is_empty()
            || constants.len() != targets
            || weights.len() != targets * lanes.len()
        {
            return Err(Error::damaged("weights and inputs differ in number"));
        }
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        let weights: Vec<Vec<f64>> = weights.chunks(lanes.len()).map(wide).collect();
        let constants: Vec<f64> = wide(constants);
        Ok(self.linear(lanes, &weights, &constants))
    }

    fn scaler(&mut self, node: &Node) -> Covered {
        let lanes = self.lanes(node, 0)?;
        let offsets = for_each(node.floats("offset"), lanes.len())?;
        let scales = for_each(node.floats("scale"), lanes.len())?;
        let changes = offsets.into_iter().zip(scales);
        let mut scaled = Vec::with_capacity(lanes.len());
        for (lane, (by, scale)) in lanes.into_iter().zip(changes) {
            // Doubles are scaled as doubles, and are floats then; whole numbers are floats before.
            let lane = match lane.element {
                Element::Float64 => lane,
                _ => self.cast_one(&lane, Element::Float32)?,
            };
            let lane = lane
                .with_either(Change::Subtract(by), Wide::Subtract(by.into()))
                .with_either(Change::Multiply(scale), Wide::Multiply(scale.into()));
            scaled.push(self.cast_one(&lane, Element::Float32)?);
        }
        Ok(self.set(node, 0, Value::Lanes(scaled)))
    }

    /// Numbers of any type as floats.
    fn converted(&mut self, node: &Node) -> Result<Vec<Lane>, Error> {
        let lanes = self.lanes(node, 0)?;
        self.cast_all(&lanes, Element::Float32)
    }

    fn vectorized(&mut self, node: &Node) -> Covered {
        let mut all = Vec::new();
        for place in 0..node.inputs.len() {
            let lanes = self.lanes(node, place)?;
            all.extend(self.cast_all(&lanes, Element::Float32)?);
        }
        Ok(self.set(node, 0, Value::Lanes(all)))
    }

    /// What ONNX Runtime has no other kernels for.
    fn only_floats(&self, node: &Node) -> Result<(), Error> {
        let lanes = self.lanes(node, 0)?;
        match lanes.iter().all(|lane| lane.element == Element::Float32) {
            true => Ok(()),
            false => Err(Error::not_covered("of what are no 32-bit floats")),
        }
    }

    /// Numbers as trees compare them: doubles become floats that answer every test as they do.
    fn tree_lanes(&mut self, node: &Node) -> Result<Vec<Lane>, Error> {
        let rounding = rounding(node)?;
        let mut lanes = Vec::new();
        for lane in self.lanes(node, 0)? {
            lanes.push(match (&lane.source, lane.element) {
                (Source::Column { number, changes }, Element::Float64)
                    if lane.changes.is_empty() =>
                {
                    let mixed = || Error::not_covered("doubles compared both ways");
                    let register = self.read(*number, changes, rounding.ok_or_else(mixed)?);
                    Lane::of(register)
                }
                (Source::Pick { .. } | Source::Constant(_), Element::Float64) => lane,
                (_, Element::Float64) => {
                    return Err(Error::not_covered("of doubles that were computed"));
                }
                _ => self.cast_one(&lane, Element::Float32)?,
            });
        }
        Ok(lanes)
    }

    fn imputer(&mut self, node: &Node) -> Covered {
        self.only_floats(node)?;
        let lanes = self.lanes(node, 0)?;
        let values = for_each(node.floats("imputed_value_floats"), lanes.len())?;
        let missing = node.float("replaced_value_float", 0.0);
        let lanes = lanes.into_iter().zip(values);
        let lanes = lanes.map(|(lane, value)| lane.with(Change::Impute { missing, value }));
        let lanes = lanes.collect();
        Ok(self.set(node, 0, Value::Lanes(lanes)))
    }

    /// Some of the lanes, or some of the labels.
    fn extract(&mut self, node: &Node) -> Covered {
        match (self.input(node, 0)?, self.input(node, 1)?) {
            (Value::Texts(lanes), Value::Constant(places)) => {
                let lanes = super::plain::pick(&lanes, &places.ints)?;
                Ok(self.set(node, 0, Value::Texts(lanes)))
            }
            (Value::Lanes(lanes), Value::Constant(places)) => {
                let lanes = super::plain::pick(&lanes, &places.ints)?;
                Ok(self.set(node, 0, Value::Lanes(lanes)))
            }
            (Value::Constant(names), Value::Label(register, Labels::Ints(places))) => {
                let all: Vec<i64> = (0..places.len() as i64).collect();
                let count = names.texts.len().max(names.ints.len());
                if places != all || count < places.len() {
                    return Err(Error::not_covered("of labels by other numbers than places"));
                }
                let labels = match names.texts.as_slice() {
                    [] => Labels::Ints(names.ints),
                    texts => Labels::Texts(texts.to_vec()),
                };
                Ok(self.set(node, 0, Value::Label(register, labels)))
            }
            _ => Ok(None),
        }
    }
}

/// How doubles must be rounded for every test of the trees; nothing where they differ in that.
fn rounding(node: &Node) -> Result<Option<Rounding>, Error> {
    let names = node.each_text("nodes_modes").map(|mode| match mode {
        "LEAF" => None,
        "BRANCH_LEQ" | "BRANCH_GT" => Some(Some(Rounding::Up)),
        "BRANCH_LT" | "BRANCH_GTE" => Some(Some(Rounding::Down)),
        _ => Some(None),
    });
    let numbers = node.tensor_bytes("nodes_modes")?;
    let numbers = numbers.iter().map(|mode| match mode {
        0 | 3 => Some(Some(Rounding::Up)),
        1 | 2 => Some(Some(Rounding::Down)),
        _ => Some(None),
    });
    let mut all = names.chain(numbers).flatten();
    let first = all.next().unwrap_or(Some(Rounding::Nearest));
    Ok(first.filter(|_| all.all(|other| other == first)))
}

fn labels(node: &Node) -> Option<Labels> {
    match (
        node.texts("classlabels_strings"),
        node.ints("classlabels_int64s"),
    ) {
        ([], []) => None,
        ([], ints) => Some(Labels::Ints(ints.to_vec())),
        (texts, _) => Some(Labels::Texts(texts.to_vec())),
    }
}

/// One number for each lane, given one by one or once for all.
fn for_each(values: &[f32], count: usize) -> Result<Vec<f32>, Error> {
    match values {
        [one] => Ok(vec![*one; count]),
        values if values.len() == count => Ok(values.to_vec()),
        _ => Err(Error::not_covered("numbers and inputs differ in number")),
    }
}
