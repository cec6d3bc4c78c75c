//! What a model's file says of itself, whatever kind of file it is. What LightGBM and XGBoost wrote is only ever scored by our
//! own kernels, so what they do not cover is refused here.

use whimbrel_graph::{Element, Format, Kind, Labels, Model};
use whimbrel_predict::facts::{ModelFacts, Stated};
use whimbrel_predict::mlmodel::MlModel;
use whimbrel_predict::onnx::inspect_with;
use whimbrel_predict::signature::{ElementType, OutputSpec, RowNames, Signature, TensorSpec};
use whimbrel_proto::{Error, ErrorCode};

/// XGBoost's own class; every other is an estimator.
const XGBOOST_BOOSTER: &str = "xgboost.core.Booster";

/// Reads the model called `name`, or says why PREDICT cannot call it.
pub(super) fn inspect(
    name: &str,
    bytes: &[u8],
    beside: Option<&MlModel>,
) -> Result<ModelFacts, Error> {
    let format = Format::of(bytes);
    match format {
        Format::Onnx => return inspect_with(name, bytes, beside),
        Format::LightGbm | Format::XgBoost => {}
    }
    let model = Model::from_file(bytes).map_err(|error| unread(name, format, &error))?;
    if let (Format::XgBoost, Some(class)) = (format, beside.and_then(MlModel::class)) {
        agrees(name, bytes, &model, class)?;
    }
    let stated = Stated {
        signature: Signature {
            inputs: inputs(&model),
            outputs: outputs(&model),
        },
        names: model.column_names().unwrap_or_default().to_vec(),
        // A classifier's label, which is what its own predict gives.
        main_output: model.outputs().first().map(|output| output.name.clone()),
        size: bytes.len() as u64,
        recorded: Vec::new(),
    };
    stated.with(beside).map_err(|error| at(name, &error))
}

fn inputs(model: &Model) -> Vec<TensorSpec> {
    let spec = |input: &whimbrel_graph::Input| TensorSpec {
        name: input.name.clone(),
        element: element(input.element),
        shape: vec![-1, i64::try_from(input.width).unwrap_or(-1)],
    };
    model.inputs().iter().map(spec).collect()
}

fn outputs(model: &Model) -> Vec<OutputSpec> {
    let spec = |output: &whimbrel_graph::Output| {
        let width = match &output.kind {
            Kind::Numbers { width, .. } => *width,
            Kind::Label(Labels::Ints(_) | Labels::Texts(_)) => 1,
        };
        let shape = match width {
            1 => vec![-1],
            width => vec![-1, i64::try_from(width).unwrap_or(-1)],
        };
        OutputSpec {
            name: output.name.clone(),
            element: element(output.element),
            shape,
            names: RowNames::None,
        }
    };
    model.outputs().iter().map(spec).collect()
}

fn element(element: Element) -> ElementType {
    match element {
        Element::Float32 => ElementType::Float32,
        Element::Float64 => ElementType::Float64,
        Element::Int64 => ElementType::Int64,
        Element::Int32 => ElementType::Int32,
        Element::Int16 => ElementType::Int16,
        Element::Int8 => ElementType::Int8,
        Element::UInt16 => ElementType::UInt16,
        Element::UInt8 => ElementType::UInt8,
        Element::Bool => ElementType::Bool,
        Element::Text => ElementType::String,
    }
}

/// The file itself says whether an estimator saved it; where it is not what was logged, it would predict something else.
fn agrees(name: &str, bytes: &[u8], model: &Model, class: &str) -> Result<(), Error> {
    let other = match class {
        XGBOOST_BOOSTER => Model::from_xgboost(bytes, None),
        _ => Model::from_xgboost_estimator(bytes, None),
    };
    let other = other.map_err(|error| unread(name, Format::XgBoost, &error))?;
    let labels = |model: &Model| {
        let kinds = model.outputs().iter().map(|output| &output.kind);
        kinds.into_iter().any(|kind| matches!(kind, Kind::Label(_)))
    };
    let same = (model.outputs(), model.trees()) == (other.outputs(), other.trees());
    if same && (labels(model) || !class.ends_with("Classifier")) {
        return Ok(());
    }
    let what = format!(
        "'{name}': the MLmodel file says that it is a {class}, and the XGBoost file was saved by something else"
    );
    Err(Error::new(ErrorCode::Invalid, what).with_hint(
        "log the estimator itself, or a booster without its mark: booster.set_attr(scikit_learn=None)",
    ))
}

fn unread(name: &str, format: Format, error: &whimbrel_graph::Error) -> Error {
    let (library, tool) = (format.name(), converter(format));
    let (what, hint) = match error {
        whimbrel_graph::Error::Damaged(why) => (
            format!("'{name}' cannot be read as a model of {library}: {why}"),
            "save it again with the booster's save_model, or copy it again".to_owned(),
        ),
        whimbrel_graph::Error::NotCovered(why) => (
            format!("'{name}' cannot be scored: the native kernels do not cover {why}"),
            format!("train it without, or export it to ONNX ({tool}) for ONNX Runtime"),
        ),
        whimbrel_graph::Error::Call(why) | whimbrel_graph::Error::Rows(why) => {
            return Error::new(ErrorCode::Bug, format!("'{name}': {why}"));
        }
    };
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

/// What makes ONNX of such a model.
pub(super) fn converter(format: Format) -> &'static str {
    match format {
        Format::Onnx => "it is ONNX",
        Format::LightGbm => "onnxmltools.convert_lightgbm",
        Format::XgBoost => "onnxmltools.convert_xgboost",
    }
}

fn at(name: &str, error: &Error) -> Error {
    let told = Error::new(error.code(), format!("'{name}': {}", error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIGHT: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\nfeature_names=age fare\n\
        objective=regression\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=1.5\ndecision_type=10\n\
        left_child=-1\nright_child=-2\nleaf_value=-1 2\n\nend of trees\n\npandas_categorical:[]\n";

    fn extreme(attributes: &str) -> String {
        let tree = r#"{"default_left":[0],"left_children":[-1],"right_children":[-1],"split_conditions":[0.5],"split_indices":[0]}"#;
        format!(
            r#"{{"learner":{{"attributes":{{{attributes}}},"feature_names":["age"],"gradient_booster":{{"model":{{"iteration_indptr":[0,1],"tree_info":[0],"trees":[{tree}]}},"name":"gbtree"}},"learner_model_param":{{"base_score":"5E-1","num_class":"0","num_feature":"1","num_target":"1"}},"objective":{{"name":"binary:logistic"}}}},"version":[3,2,0]}}"#
        )
    }

    const CLASSIFIER: &str = r#""scikit_learn":"{\"_estimator_type\": \"classifier\"}""#;

    fn logged(flavor: &str) -> MlModel {
        MlModel::parse(&format!("flavors: {{{flavor}}}")).unwrap()
    }

    #[test]
    fn a_file_of_a_library_says_what_it_takes_and_gives() {
        let facts = inspect("m", LIGHT.as_bytes(), None).unwrap();
        let names = facts.elements.iter().map(|element| element.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["age", "fare"]);
        assert_eq!(facts.returns.to_string(), "Float32");
        let facts = inspect("m", extreme(CLASSIFIER).as_bytes(), None).unwrap();
        assert_eq!(facts.returns.to_string(), "Int64");
        let outputs = facts.signature.outputs.iter();
        let outputs: Vec<_> = outputs.map(|output| output.name.as_str()).collect();
        assert_eq!(outputs, ["prediction", "probabilities"]);
    }

    #[test]
    fn what_cannot_be_scored_is_refused_in_one_line() {
        let cut = &LIGHT[..200];
        let linear = LIGHT.replace("num_cat=0", "num_cat=0\nis_linear=1");
        let pandas = LIGHT.replace("categorical:[]", "categorical:[[\"a\"]]");
        for (file, want) in [
            (
                cut,
                "'m' cannot be read as a model of LightGBM: it was cut off; save it again with the booster's save_model, or copy it again",
            ),
            (
                &linear,
                "'m' cannot be scored: the native kernels do not cover LightGBM's linear trees; train it without, or export it to ONNX (onnxmltools.convert_lightgbm) for ONNX Runtime",
            ),
            (
                &pandas,
                "'m' cannot be scored: the native kernels do not cover pandas categories; train it without, or export it to ONNX (onnxmltools.convert_lightgbm) for ONNX Runtime",
            ),
            (
                "{\"a\": 1}",
                "'m' cannot be read as a model of XGBoost: it has no 'learner'; save it again with the booster's save_model, or copy it again",
            ),
        ] {
            let error = inspect("m", file.as_bytes(), None).unwrap_err();
            assert_eq!(
                (error.code(), error.to_string().as_str()),
                (ErrorCode::Invalid, want)
            );
        }
    }

    #[test]
    fn a_file_of_something_else_than_was_logged_is_refused() {
        let booster = logged("xgboost: {model_class: xgboost.core.Booster}");
        let classifier = logged("xgboost: {model_class: xgboost.sklearn.XGBClassifier}");
        let (plain, marked) = (extreme(""), extreme(CLASSIFIER));
        for (file, beside, fits) in [
            (&plain, &booster, true),
            (&marked, &classifier, true),
            (&plain, &classifier, false),
            (&marked, &booster, false),
        ] {
            let read = inspect("m", file.as_bytes(), Some(beside));
            assert_eq!(read.is_ok(), fits, "{read:?}");
        }
    }
}
