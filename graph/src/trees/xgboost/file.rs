//! What of a file predictions need, whatever form it has; its members come in any order.

use super::reader::Reader;
use super::tree::Arrays;
use crate::error::Error;
use crate::trees::Tree;

#[derive(Debug, Default)]
pub(super) struct File {
    /// Major, minor.
    pub version: (i32, i32),
    pub booster: String,
    pub objective: String,
    pub base_score: String,
    pub features: String,
    pub classes: String,
    pub targets: String,
    pub names: Vec<String>,
    pub trees: Vec<Tree>,
    /// By tree: the target that it adds to.
    pub groups: Vec<i32>,
    /// By round: its first tree; and the end.
    pub rounds: Vec<i32>,
    pub parallel_trees: String,
    /// By tree, of DART.
    pub drops: Vec<f32>,
    /// Of linear models: by feature, then by target; and the constants.
    pub weights: Vec<f32>,
    pub best_round: Option<String>,
    /// What scikit-learn's interface says of itself.
    pub estimator: Option<String>,
}

impl File {
    pub(super) fn read<R: Reader>(mut reader: R) -> Result<Self, Error> {
        let mut file = Self::default();
        let mut version = Vec::new();
        let mut learner = false;
        reader.object(|reader, key| match key {
            "version" => reader.ints(&mut version),
            "learner" => {
                learner = true;
                file.learner(reader)
            }
            _ => reader.skip(),
        })?;
        reader.end()?;
        if let [major, minor, ..] = *version {
            file.version = (major, minor);
        }
        match learner {
            true => Ok(file),
            false => Err(Error::damaged("it has no 'learner'")),
        }
    }

    fn learner(&mut self, reader: &mut impl Reader) -> Result<(), Error> {
        reader.object(|reader, key| match key {
            "attributes" => reader.object(|reader, key| match key {
                "best_iteration" => {
                    self.best_round = Some(reader.text()?);
                    Ok(())
                }
                "scikit_learn" => {
                    self.estimator = Some(reader.text()?);
                    Ok(())
                }
                _ => reader.skip(),
            }),
            "feature_names" => reader.array(|reader| {
                self.names.push(reader.text()?);
                Ok(())
            }),
            "learner_model_param" => reader.object(|reader, key| {
                let into = match key {
                    "base_score" => &mut self.base_score,
                    "num_feature" => &mut self.features,
                    "num_class" => &mut self.classes,
                    "num_target" => &mut self.targets,
                    _ => return reader.skip(),
                };
                *into = reader.text()?;
                Ok(())
            }),
            "objective" => reader.object(|reader, key| match key {
                "name" => {
                    self.objective = reader.text()?;
                    Ok(())
                }
                _ => reader.skip(),
            }),
            "gradient_booster" => self.booster(reader),
            _ => reader.skip(),
        })
    }

    fn booster(&mut self, reader: &mut impl Reader) -> Result<(), Error> {
        reader.object(|reader, key| match key {
            "name" => {
                self.booster = reader.text()?;
                Ok(())
            }
            "model" => self.model(reader),
            // DART keeps its trees a level deeper.
            "gbtree" => reader.object(|reader, key| match key {
                "model" => self.model(reader),
                _ => reader.skip(),
            }),
            "weight_drop" => reader.floats(&mut self.drops),
            _ => reader.skip(),
        })
    }

    fn model(&mut self, reader: &mut impl Reader) -> Result<(), Error> {
        let mut arrays = Arrays::default();
        reader.object(|reader, key| match key {
            "trees" => reader.array(|reader| {
                self.trees.push(arrays.read(reader)?);
                Ok(())
            }),
            "tree_info" => reader.ints(&mut self.groups),
            "iteration_indptr" => reader.ints(&mut self.rounds),
            "weight_drop" => reader.floats(&mut self.drops),
            "weights" => reader.floats(&mut self.weights),
            "cats" => reader.object(|reader, key| match key {
                // Which number stands for which category, as a data frame had them.
                "enc" => reader.array(|_| Err(Error::not_covered("pandas categories"))),
                _ => reader.skip(),
            }),
            "gbtree_model_param" => reader.object(|reader, key| match key {
                "num_parallel_tree" => {
                    self.parallel_trees = reader.text()?;
                    Ok(())
                }
                _ => reader.skip(),
            }),
            _ => reader.skip(),
        })
    }
}
