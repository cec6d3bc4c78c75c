//! What an ONNX file says about its model, read without ONNX Runtime: a model that cannot be called is refused when it is
//! bound, with the reason, and the scheduler never loads the library.
//!
//! Operators of the domains that ONNX Runtime knows are not checked one by one: which of them a library has is known when
//! it loads the model.

mod external;
mod graph;
mod messages;
mod names;
pub mod safety;
mod sniff;
#[cfg(test)]
mod tests;
mod wire;
mod zipmap;

use std::collections::{BTreeSet, HashSet};

use prost::Message;
use whimbrel_proto::{Error, ErrorCode};

use self::graph::{Walk, domain};
use self::messages::{Extent, Graph, Kind, Model, TensorType, ValueInfo};
use self::names::{class_names, feature_names, widen};
use self::safety::Refusal;
use self::sniff::{UNKNOWN, sniff};
use self::zipmap::ZipMap;
pub use self::zipmap::cut_zipmaps;
use crate::facts::{ModelFacts, Stated, name_classes};
use crate::mlmodel::MlModel;
use crate::signature::{ElementType, OutputSpec, RowNames, Signature, TensorSpec};

pub use self::external::{MAX_BYTES, embed, external_files};

/// Reads the model, or says why PREDICT cannot call it.
pub fn inspect(bytes: &[u8]) -> Result<ModelFacts, Error> {
    Subject("the file".to_owned()).inspect(bytes, None)
}

/// As [`inspect`], with the model's name or uri in messages.
pub fn inspect_named(name: &str, bytes: &[u8]) -> Result<ModelFacts, Error> {
    inspect_with(name, bytes, None)
}

/// As [`inspect_named`], with the `MLmodel` file beside the model, where there is one: it names columns and says which may be
/// missing. Where the two contradict each other, the error names both sides.
pub fn inspect_with(
    name: &str,
    bytes: &[u8],
    beside: Option<&MlModel>,
) -> Result<ModelFacts, Error> {
    Subject(format!("'{name}'")).inspect(bytes, beside)
}

/// What messages call the model.
struct Subject(String);

impl Subject {
    fn inspect(&self, bytes: &[u8], beside: Option<&MlModel>) -> Result<ModelFacts, Error> {
        self.check(bytes)?;
        let model = Model::decode(bytes).ok();
        // A file cut off between two fields decodes; exporters write the operator sets last, and no model is without.
        let model = model.filter(|model| model.ir_version > 0 && !model.opset_import.is_empty());
        let Some((model, graph)) = model
            .as_ref()
            .and_then(|model| Some((model, model.graph.as_ref()?)))
        else {
            return Err(self.not_onnx(bytes));
        };
        let walk = Walk::of(model);
        if let Some((domain, op)) = walk.unknown() {
            return Err(self
                .refused(&format!(
                    "operator '{op}' of domain '{domain}' is not one that ONNX Runtime has"
                ))
                .with_hint(
                    "models with operators of their own cannot be run: export without them",
                ));
        }
        if let Some(file) = walk.external_file {
            return Err(self
                .refused(&format!("its weights are in another file ('{file}')"))
                .with_hint(
                    "save it as one file: onnx.save(model, path, save_as_external_data=False)",
                ));
        }
        let mut inputs = self.inputs(graph)?;
        let names = feature_names(model);
        widen(&mut inputs, &names);
        let mut outputs = self.outputs(graph, &zipmap::find(bytes)?)?;
        name_classes(&mut outputs, class_names(model));
        let stated = Stated {
            signature: Signature { inputs, outputs },
            names,
            main_output: None,
            size: bytes.len() as u64,
            recorded: recorded(model),
        };
        stated.with(beside).map_err(|error| self.refused_as(&error))
    }

    /// Nothing of a file is decoded that could cost more than it shows.
    fn check(&self, bytes: &[u8]) -> Result<(), Error> {
        match safety::check(bytes) {
            Ok(()) => Ok(()),
            // What is not protobuf at all may look like some.
            Err(Refusal::Because(why)) if sniff(bytes).is_none() => Err(self
                .refused(&why)
                .with_hint("no exporter writes such a model: get it again from where it was made")),
            Err(Refusal::Because(_) | Refusal::Malformed) => Err(self.not_onnx(bytes)),
        }
    }

    /// The graph's inputs but for those that have a value in the file.
    fn inputs(&self, graph: &Graph) -> Result<Vec<TensorSpec>, Error> {
        let given: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name.as_str())
            .collect();
        let asked = graph
            .input
            .iter()
            .filter(|input| !given.contains(input.name.as_str()));
        let inputs: Vec<TensorSpec> = asked
            .map(|input| self.input(input))
            .collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            return Err(self.refused("the model takes no inputs"));
        }
        Ok(inputs)
    }

    fn input(&self, input: &ValueInfo) -> Result<TensorSpec, Error> {
        let what = format!("input '{}'", input.name);
        let tensor = self.tensor(&what, input)?;
        let Some(shape) = shape(tensor) else {
            return Err(self
                .refused(&format!("{what} does not say its shape"))
                .with_hint("export it with a shape such as [N, 9]"));
        };
        if let Some(rows) = shape.first().filter(|rows| **rows > 0) {
            return Err(self
                .refused(&format!("{what} takes exactly {rows} rows a call"))
                .with_hint("export it with a dynamic first dimension (dynamic_axes in PyTorch, None in skl2onnx)"));
        }
        Ok(TensorSpec {
            name: input.name.clone(),
            element: self.element(&what, tensor)?,
            shape,
        })
    }

    /// The outputs that have something for each row. One that has not is no obstacle, unless it is the only one.
    fn outputs(&self, graph: &Graph, zipmaps: &[ZipMap]) -> Result<Vec<OutputSpec>, Error> {
        let mut outputs = Vec::with_capacity(graph.output.len());
        let mut first_refusal = None;
        for output in &graph.output {
            match self.output(output, zipmaps) {
                Ok(output) => outputs.push(output),
                Err(error) => first_refusal = first_refusal.or(Some(error)),
            }
        }
        match (outputs.is_empty(), first_refusal) {
            (false, _) => Ok(outputs),
            (true, Some(refusal)) => Err(refusal),
            (true, None) => Err(self.refused("the model has no outputs")),
        }
    }

    fn output(&self, output: &ValueInfo, zipmaps: &[ZipMap]) -> Result<OutputSpec, Error> {
        let what = format!("output '{}'", output.name);
        if let Some(ZipMap { classes, .. }) = zipmaps.iter().find(|map| map.output == output.name)
            && let Some(names) = classes.texts()
        {
            return Ok(OutputSpec {
                name: output.name.clone(),
                element: ElementType::Float32,
                shape: vec![-1, i64::try_from(names.len()).unwrap_or(-1)],
                names: classes.clone(),
            });
        }
        let tensor = self.tensor(&what, output)?;
        let shape = match shape(tensor) {
            Some(shape) if shape.is_empty() => {
                return Err(self
                    .refused(&format!("{what} is a single value, not one per row"))
                    .with_hint("export the model with an output of shape [N], [N,1] or [N,k]"));
            }
            shape => shape.unwrap_or_default(),
        };
        Ok(OutputSpec {
            name: output.name.clone(),
            element: self.element(&what, tensor)?,
            shape,
            names: RowNames::None,
        })
    }

    fn tensor<'a>(&self, what: &str, value: &'a ValueInfo) -> Result<&'a TensorType, Error> {
        let found = match kind(value) {
            Some(Kind::Tensor(tensor)) => return Ok(tensor),
            Some(Kind::Sequence(_)) => "a sequence",
            Some(Kind::Map(_)) => "a map",
            Some(Kind::SparseTensor(_)) => "a sparse tensor",
            Some(Kind::Optional(_)) => "an optional",
            None => "of a type that is not given",
        };
        Err(self.refused(&format!("{what} is {found}, not a tensor")))
    }

    fn element(&self, what: &str, tensor: &TensorType) -> Result<ElementType, Error> {
        element(tensor.elem_type).map_err(|found| {
            self.refused(&format!(
                "{what} is a tensor of {found}, which cannot be fed or returned"
            ))
            .with_hint("export the model with float, double, integer, boolean or string tensors")
        })
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(ErrorCode::Invalid, format!("{}: {why}", self.0))
    }

    fn refused_as(&self, error: &Error) -> Error {
        let refused = self.refused(error.message());
        match error.hint() {
            Some(hint) => refused.with_hint(hint),
            None => refused,
        }
    }

    fn not_onnx(&self, bytes: &[u8]) -> Error {
        let (why, hint) = sniff(bytes).unwrap_or(UNKNOWN);
        let error = Error::new(
            ErrorCode::Invalid,
            format!(
                "{} is not an ONNX, LightGBM or XGBoost model: {why}",
                self.0
            ),
        );
        error.with_hint(hint)
    }
}

/// What the model was made with: exporter and operator sets.
fn recorded(model: &Model) -> Vec<(String, String)> {
    let mut recorded = Vec::new();
    if !model.producer_name.is_empty() {
        recorded.push((model.producer_name.clone(), model.producer_version.clone()));
    }
    let opsets = opsets(model).into_iter();
    recorded
        .extend(opsets.map(|(domain, version)| (format!("opset {domain}"), version.to_string())));
    recorded
}

/// Some exporters write a set twice, once by its name and once without.
fn opsets(model: &Model) -> Vec<(String, i64)> {
    let sets = model
        .opset_import
        .iter()
        .map(|set| (domain(&set.domain), set.version));
    sets.collect::<BTreeSet<_>>().into_iter().collect()
}

fn kind(value: &ValueInfo) -> Option<&Kind> {
    value.r#type.as_ref()?.kind.as_ref()
}

/// -1 stands for every dimension that is not a number.
fn shape(tensor: &TensorType) -> Option<Vec<i64>> {
    let dims = tensor.shape.as_ref()?.dim.iter();
    let extents = dims.map(|dim| match &dim.extent {
        Some(Extent::Value(value)) if *value > 0 => *value,
        Some(Extent::Value(_) | Extent::Symbol(_)) | None => -1,
    });
    Some(extents.collect())
}

/// The element type by ONNX's number, or the name of one that has no place here.
fn element(number: i32) -> Result<ElementType, &'static str> {
    match number {
        1 => Ok(ElementType::Float32),
        2 => Ok(ElementType::UInt8),
        3 => Ok(ElementType::Int8),
        4 => Ok(ElementType::UInt16),
        5 => Ok(ElementType::Int16),
        6 => Ok(ElementType::Int32),
        7 => Ok(ElementType::Int64),
        8 => Ok(ElementType::String),
        9 => Ok(ElementType::Bool),
        11 => Ok(ElementType::Float64),
        12 => Ok(ElementType::UInt32),
        13 => Ok(ElementType::UInt64),
        10 => Err("float16"),
        14 | 15 => Err("complex numbers"),
        16 => Err("bfloat16"),
        17..=20 => Err("float8"),
        21 | 22 => Err("4-bit integers"),
        _ => Err("an unknown element type"),
    }
}
