//! In which of its forms a logged model is read, and the file that has it: an ONNX file before any other, else what LightGBM
//! or XGBoost wrote themselves.

use whimbrel_proto::{Error, ErrorCode};

use super::yaml::{self, Node};
use crate::onnx::safety::contained;

/// The flavors that are read, with what MLflow calls the file where the flavor does not say.
const READ: [(&str, &str); 3] = [
    ("onnx", "model.onnx"),
    ("lightgbm", "model.lgb"),
    ("xgboost", "model.xgb"),
];
/// What LightGBM writes as text; its estimators are objects of Python.
const LIGHTGBM_BOOSTER: &str = "lightgbm.basic.Booster";

/// The one of a model's flavors that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    name: &'static str,
    file: String,
    /// The Python class of what was logged.
    pub(super) class: Option<String>,
}

impl Saved {
    pub(super) fn of(flavors: &Node) -> Result<Option<Self>, Error> {
        let found = READ
            .into_iter()
            .find_map(|(name, file)| Some((name, file, flavors.get(name)?)));
        let Some((name, file, flavor)) = found else {
            return Ok(None);
        };
        let text = |key: &str| match flavor.get(key) {
            None => Ok(None),
            Some(value) => match value.text() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(yaml::refused(&format!(
                    "flavors.{name}.{key} is not a text"
                ))),
            },
        };
        Ok(Some(Self {
            name,
            file: text("data")?.unwrap_or_else(|| file.to_owned()),
            class: text("model_class")?,
        }))
    }

    /// The file's path, relative to the folder; an error where only Python can read it.
    pub(super) fn file(&self) -> Result<&str, Error> {
        match &self.class {
            Some(class) if self.name == "lightgbm" && class != LIGHTGBM_BOOSTER => {
                let what = format!(
                    "the model was saved in the flavor lightgbm as a {class}, an object of Python in '{}'",
                    self.file
                );
                Err(Error::new(ErrorCode::Invalid, what).with_hint(
                    "log its booster, whose predictions are numbers or probabilities: mlflow.lightgbm.log_model(model.booster_, ...); \
                     or export it to ONNX (onnxmltools.convert_lightgbm)",
                ))
            }
            _ => contained(
                &format!("the MLmodel file's flavors.{}.data", self.name),
                &self.file,
            ),
        }
    }
}

/// None of the flavors is read.
pub(super) fn unread(flavors: &[String]) -> Error {
    let (names, verb) = match flavors {
        [] => ("no flavor at all".to_owned(), "and none of"),
        [only] => (format!("the flavor {only}"), "which is none of"),
        [some @ .., last] => (
            format!("the flavors {} and {last}", some.join(", ")),
            "of which none is",
        ),
    };
    let tool = flavors.iter().find_map(|flavor| exporter(flavor));
    Error::new(
        ErrorCode::Invalid,
        format!("the model was saved in {names}, {verb} onnx, lightgbm or xgboost"),
    )
    .with_hint(format!(
        "export it to ONNX ({}) and log it with mlflow.onnx.log_model; flavors that need Python are not run",
        tool.unwrap_or("skl2onnx, onnxmltools, tf2onnx or torch.onnx.export")
    ))
}

/// What turns a model of this flavor into ONNX.
fn exporter(flavor: &str) -> Option<&'static str> {
    match flavor {
        "sklearn" => Some("skl2onnx.to_onnx"),
        "catboost" => Some("CatBoost's save_model(format=\"onnx\")"),
        "pytorch" => Some("torch.onnx.export"),
        "tensorflow" | "keras" => Some("tf2onnx"),
        "spark" => Some("onnxmltools.convert_sparkml"),
        _ => None,
    }
}
