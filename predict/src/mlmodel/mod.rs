//! What MLflow writes down beside a model, its `MLmodel` file: in which forms (flavors) the model was saved, what it takes
//! and gives, and with which libraries it was made. The text comes from wherever the model does, so it is read within bounds.

mod agree;
mod compare;
mod example;
mod flavor;
mod signature;
mod yaml;

use whimbrel_proto::Error;

use self::example::Example;
use self::flavor::Saved;
use self::yaml::Node;
use crate::onnx::safety::contained;

pub use agree::{Agreed, Named, agree};
pub use signature::{Field, FieldKind, MlSignature, Param, Scalar};

/// An `MLmodel` file.
#[derive(Clone, Debug, PartialEq)]
pub struct MlModel {
    flavors: Vec<String>,
    saved: Option<Saved>,
    signature: Option<MlSignature>,
    example_file: Option<String>,
    example: Example,
    recorded: Vec<(String, String)>,
}

impl MlModel {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let root = yaml::parse(text)?;
        let flavors = root
            .get("flavors")
            .ok_or_else(|| yaml::refused("it names no flavors"))?;
        let saved = Saved::of(flavors)?;
        Ok(Self {
            flavors: flavors
                .entries()
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            saved,
            signature: signature_of(&root)?,
            example_file: example_file(&root),
            example: Example::default(),
            recorded: recorded(&root, flavors),
        })
    }

    /// The path of the file that is read, relative to the folder that this file is in; else which flavors there are.
    pub fn model_file(&self) -> Result<&str, Error> {
        match &self.saved {
            Some(saved) => saved.file(),
            None => Err(flavor::unread(&self.flavors)),
        }
    }

    /// The Python class of what was logged, where the flavor that is read says so.
    pub fn class(&self) -> Option<&str> {
        self.saved.as_ref()?.class.as_deref()
    }

    /// The forms that the model was saved in, in the file's order.
    pub fn flavors(&self) -> &[String] {
        &self.flavors
    }

    /// What the model is said to take and give.
    pub fn signature(&self) -> Option<&MlSignature> {
        self.signature.as_ref()
    }

    /// The path of a JSON file with example rows, relative to the folder: see [`Self::with_example`].
    pub fn example_file(&self) -> Option<&str> {
        let path = self.example_file.as_deref()?;
        contained("the MLmodel file's input example", path).ok()
    }

    /// The same with the text of the example's file; one that is of another form says nothing.
    #[must_use]
    pub fn with_example(mut self, text: &str) -> Self {
        self.example = Example::read(text).unwrap_or_default();
        self
    }

    pub(crate) fn example(&self) -> &Example {
        &self.example
    }

    /// (library, version) of what the model was made and saved with.
    pub fn recorded(&self) -> &[(String, String)] {
        &self.recorded
    }
}

fn signature_of(root: &Node) -> Result<Option<MlSignature>, Error> {
    let Some(node) = root.get("signature") else {
        return Ok(None);
    };
    let part = |key: &str| match node.get(key) {
        None => Ok(None),
        Some(value) => value
            .text()
            .map(Some)
            .ok_or_else(|| yaml::refused(&format!("signature.{key} is not a text of JSON"))),
    };
    MlSignature::parse(part("inputs")?, part("outputs")?, part("params")?).map(Some)
}

fn example_file(root: &Node) -> Option<String> {
    let info = root.get("saved_input_example_info")?;
    let kind = info.get("type").and_then(Node::text)?;
    let path = info.get("artifact_path").and_then(Node::text)?;
    matches!(kind, "dataframe" | "ndarray").then(|| path.to_owned())
}

/// Versions that the file records: MLflow's own, and every `..._version` of the flavors.
fn recorded(root: &Node, flavors: &Node) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let all = std::iter::once(root).chain(flavors.entries().iter().map(|(_, flavor)| flavor));
    for (key, value) in all.flat_map(Node::entries) {
        if let (Some(library), Some(version)) = (key.strip_suffix("_version"), value.text())
            && !found.iter().any(|(known, _)| known == library)
        {
            found.push((library.to_owned(), version.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests;
