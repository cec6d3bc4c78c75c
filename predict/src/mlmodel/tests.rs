//! Files as MLflow writes them, and graphs that agree and disagree with them.

use serde_json::{Value, json};

use super::*;
use crate::signature::{ElementType, OutputSpec, RowNames, Signature, TensorSpec};

/// As mlflow 3.17 writes it.
const ONNX_MODEL: &str = r#"
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_session_options: null
    onnx_version: 1.23.2
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
  python_function:
    data: model.onnx
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.onnx
    python_version: 3.11.7
mlflow_version: 3.17.2
model_id: null
model_uuid: 5a8c
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "double", "name":
    "b", "required": false}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]'
  params: null
utc_time_created: '2026-11-21 08:00:00.000000'
"#;

#[test]
fn a_file_of_mlflow_is_read() {
    let model = MlModel::parse(ONNX_MODEL).unwrap();
    assert_eq!(model.model_file(), Ok("model.onnx"));
    assert_eq!(model.flavors(), ["onnx", "python_function"]);
    let recorded = model.recorded();
    let recorded: Vec<String> = recorded.iter().map(|(a, b)| format!("{a} {b}")).collect();
    assert_eq!(recorded, ["mlflow 3.17.2", "onnx 1.23.2", "python 3.11.7"]);
    let signature = model.signature().unwrap();
    assert_eq!(signature.inputs.len(), 2);
    assert!(!signature.inputs[1].required);
}

#[test]
fn the_flavor_that_is_read_names_file_and_class() {
    let booster = "lightgbm: {data: model.lgb, model_class: lightgbm.basic.Booster}";
    let estimator = "xgboost: {data: model.ubj, model_class: xgboost.sklearn.XGBClassifier}";
    for (flavors, file, class) in [
        (booster, "model.lgb", Some("lightgbm.basic.Booster")),
        (
            estimator,
            "model.ubj",
            Some("xgboost.sklearn.XGBClassifier"),
        ),
        ("lightgbm: {lgb_version: 2.3.0}", "model.lgb", None),
        ("xgboost: {xgb_version: 1.3.0}", "model.xgb", None),
        (
            "xgboost: {data: model.ubj}, onnx: {data: a/m.onnx}",
            "a/m.onnx",
            None,
        ),
    ] {
        let model = MlModel::parse(&format!("flavors: {{python_function: {{}}, {flavors}}}"));
        let model = model.unwrap();
        assert_eq!((model.model_file(), model.class()), (Ok(file), class));
    }
}

#[test]
fn the_example_is_a_file_of_the_folder() {
    let text = "flavors: {onnx: {data: m.onnx}}\nsaved_input_example_info: {artifact_path: input_example.json, type: dataframe}\n";
    let model = MlModel::parse(text).unwrap();
    assert_eq!(model.example_file(), Some("input_example.json"));
    let model = model.with_example(r#"{"columns": ["a"], "data": [[1]]}"#);
    assert_eq!(model.example().columns.len(), 1);
    let array = text.replace("dataframe", "ndarray");
    let array = MlModel::parse(&array).unwrap();
    assert_eq!(array.example_file(), Some("input_example.json"));
    let outside = text.replace("input_example.json", "../x.json");
    assert_eq!(MlModel::parse(&outside).unwrap().example_file(), None);
}

#[test]
fn what_cannot_be_bound_is_said_with_a_way_on() {
    let refused = |text: &str| {
        let read = MlModel::parse(text);
        let error = match read {
            Ok(model) => model.model_file().unwrap_err(),
            Err(error) => error,
        };
        error.to_string()
    };
    let sklearn = "flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {pickled_model: model.skops}\n";
    let cases = [
        (
            sklearn,
            "the model was saved in the flavors python_function and sklearn, of which none is onnx, lightgbm or xgboost; export it to ONNX (skl2onnx.to_onnx) and log it with mlflow.onnx.log_model; flavors that need Python are not run",
        ),
        (
            "flavors: {catboost: {data: model.cb}}",
            "the model was saved in the flavor catboost, which is none of onnx, lightgbm or xgboost; export it to ONNX (CatBoost's save_model(format=\"onnx\")) and log it with mlflow.onnx.log_model; flavors that need Python are not run",
        ),
        (
            "flavors: {lightgbm: {data: model.skops, model_class: lightgbm.sklearn.LGBMClassifier}}",
            "the model was saved in the flavor lightgbm as a lightgbm.sklearn.LGBMClassifier, an object of Python in 'model.skops'; log its booster, whose predictions are numbers or probabilities: mlflow.lightgbm.log_model(model.booster_, ...); or export it to ONNX (onnxmltools.convert_lightgbm)",
        ),
        (
            "flavors: {xgboost: {data: ../model.ubj}}",
            "the MLmodel file's flavors.xgboost.data names the file '../model.ubj', which leads out of the model's folder; a model may only name files inside its own folder: save it again, with all of its files beside it",
        ),
        (
            "flavors: {}",
            "the model was saved in no flavor at all, and none of onnx, lightgbm or xgboost; export it to ONNX (skl2onnx, onnxmltools, tf2onnx or torch.onnx.export) and log it with mlflow.onnx.log_model; flavors that need Python are not run",
        ),
        (
            "a: 1",
            "the MLmodel file cannot be read: it names no flavors; log the model again with MLflow, or bind the model's own file",
        ),
        (
            "flavors: {onnx: {data: [x]}}",
            "the MLmodel file cannot be read: flavors.onnx.data is not a text; log the model again with MLflow, or bind the model's own file",
        ),
        (
            "flavors: {onnx: {data: ../../other/model.onnx}}",
            "the MLmodel file's flavors.onnx.data names the file '../../other/model.onnx', which leads out of the model's folder; a model may only name files inside its own folder: save it again, with all of its files beside it",
        ),
        (
            "flavors: {onnx: {}}\nsignature: {inputs: [1]}",
            "the MLmodel file cannot be read: signature.inputs is not a text of JSON; log the model again with MLflow, or bind the model's own file",
        ),
        (
            "flavors: {onnx: {}}\nsignature: {inputs: '[{}]'}",
            "the MLmodel file's signature cannot be read: inputs: number 1: it has no type; log the model again with a signature from mlflow.models.infer_signature, or none",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(refused(text), want);
    }
}

fn tensor(name: &str, element: ElementType, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
    }
}

fn graph(inputs: Vec<TensorSpec>) -> Signature {
    Signature {
        inputs,
        outputs: vec![OutputSpec {
            name: "y".to_owned(),
            element: ElementType::Float32,
            shape: vec![-1, 2],
            names: RowNames::None,
        }],
    }
}

fn matrix(width: i64) -> Signature {
    graph(vec![tensor("X", ElementType::Float32, &[-1, width])])
}

fn columns() -> Signature {
    graph(vec![
        tensor("trip_distance", ElementType::Float32, &[-1, 1]),
        tensor("borough", ElementType::String, &[-1, 1]),
    ])
}

fn logged(inputs: Value) -> MlModel {
    said(inputs, json!(null), json!(null))
}

fn said(inputs: Value, outputs: Value, params: Value) -> MlModel {
    let text = |value: Value| json!(value.to_string());
    let file = json!({"flavors": {"onnx": {}}, "signature": {"inputs": text(inputs), "outputs": text(outputs), "params": text(params)}});
    MlModel::parse(&file.to_string()).unwrap()
}

fn column(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind, "required": true})
}

fn said_tensor(name: Value, dtype: &str, shape: &[i64]) -> Value {
    json!({"name": name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}})
}

fn meet(mut graph: Signature, own: &[&str], model: &MlModel) -> (Result<Agreed, Error>, Signature) {
    let own = own.iter().map(|name| (*name).to_owned()).collect();
    let agreed = agree(&mut graph, own, model);
    (agreed, graph)
}

#[test]
fn the_signature_names_the_columns_of_a_matrix_and_gives_its_width() {
    let model = logged(json!([column("a", "double"), column("b", "long")]));
    for width in [2, -1] {
        let (agreed, graph) = meet(matrix(width), &[], &model);
        let agreed = agreed.unwrap();
        assert_eq!(agreed.names, ["a", "b"]);
        assert_eq!(graph.inputs[0].shape, [-1, 2]);
        assert_eq!(
            agreed.notes,
            [
                "the MLmodel file gives other types than the model, whose are used: 'a' (double, model float32), 'b' (long, model float32)"
            ]
        );
    }
    let (agreed, _) = meet(matrix(2), &["x", "y"], &model);
    assert!(agreed.unwrap().notes[1].contains("own feature names differ"));
}

#[test]
fn optional_columns_and_params_may_be_missing() {
    let optional = json!({"name": "borough", "type": "string", "required": false});
    let mut inputs = columns().inputs;
    inputs.push(tensor("thr", ElementType::Float32, &[-1, 1]));
    let model = said(
        json!([column("trip distance", "float"), optional]),
        json!(null),
        json!([{"name": "thr", "default": 0.5, "type": "double", "shape": null}]),
    );
    let agreed = meet(graph(inputs), &[], &model).0.unwrap();
    assert_eq!(agreed.names, ["trip distance", "borough", "thr"]);
    let named = |name: &str, default| Named {
        name: name.to_owned(),
        default,
    };
    assert_eq!(
        agreed.named,
        [named("borough", Value::Null), named("thr", json!(0.5))]
    );
    assert_eq!(agreed.notes, Vec::<String>::new());
}

#[test]
fn inputs_of_other_names_are_matched_by_position_and_that_is_said() {
    let model = logged(json!([column("a", "float"), column("b", "string")]));
    let agreed = meet(columns(), &[], &model).0.unwrap();
    assert_eq!(agreed.names, ["a", "b"]);
    assert!(agreed.notes[0].ends_with("they are matched by position"));
}

#[test]
fn a_matrix_among_single_inputs_takes_the_rest_of_the_columns() {
    let mut inputs = columns().inputs;
    inputs.insert(0, tensor("numbers", ElementType::Float32, &[-1, 2]));
    let model = logged(json!([
        column("p", "float"),
        column("trip_distance", "float"),
        column("q", "float"),
        column("borough", "string")
    ]));
    let agreed = meet(graph(inputs), &[], &model).0.unwrap();
    assert_eq!(agreed.names, ["p", "q", "trip_distance", "borough"]);
}

#[test]
fn tensors_keep_the_files_own_names() {
    let model = logged(json!([said_tensor(Value::Null, "float64", &[-1, 2])]));
    let (agreed, signature) = meet(matrix(-1), &["a", "b"], &model);
    let agreed = agreed.unwrap();
    assert_eq!(agreed.names, ["a", "b"]);
    assert_eq!(signature.inputs[0].shape, [-1, 2]);
    assert!(
        agreed.notes[0].contains("its input (float64[N,2], model float32)"),
        "{:?}",
        agreed.notes
    );
}

#[test]
fn one_model_may_be_described_in_its_other_shape() {
    let matrix_said = logged(json!([said_tensor(Value::Null, "float64", &[-1, 2])]));
    let inputs = ["a", "b"].map(|name| tensor(name, ElementType::Float32, &[-1, 1]));
    let agreed = meet(graph(inputs.to_vec()), &[], &matrix_said).0.unwrap();
    assert!(agreed.notes[0].contains("tensors of another shape"));
    assert_eq!(agreed.names, Vec::<String>::new());
    let columns_said = logged(json!([
        said_tensor(json!("a"), "float32", &[-1, 1]),
        said_tensor(json!("b"), "float32", &[-1])
    ]));
    let (agreed, graph) = meet(matrix(-1), &[], &columns_said);
    assert_eq!(agreed.unwrap().names, ["a", "b"]);
    assert_eq!(graph.inputs[0].shape, [-1, 2]);
}

#[test]
fn the_outputs_of_a_signature_name_a_models_columns() {
    let outputs = json!([column("no", "float"), column("yes", "float")]);
    let model = said(json!(null), outputs, json!(null));
    let agreed = meet(matrix(2), &[], &model).0.unwrap();
    assert_eq!(agreed.output_columns, ["no", "yes"]);
}

#[test]
fn an_example_names_columns_where_nothing_else_does() {
    let plain = MlModel::parse("flavors: {onnx: {}}").unwrap();
    let model = plain.with_example(r#"{"columns": ["a", "b"], "data": [[1, 2]]}"#);
    let (agreed, graph) = meet(matrix(-1), &[], &model);
    assert_eq!(agreed.unwrap().names, ["a", "b"]);
    assert_eq!(graph.inputs[0].shape, [-1, 2]);
    let agreed = meet(matrix(3), &[], &model).0.unwrap();
    assert_eq!(agreed.names, Vec::<String>::new());
    assert!(agreed.notes[0].contains("the example is not used"));
    assert_eq!(
        meet(matrix(2), &["x", "y"], &model).0.unwrap().names,
        ["x", "y"]
    );
}

#[test]
fn a_contradiction_names_both_sides() {
    let numbers =
        |names: &[&str]| -> Value { names.iter().map(|name| column(name, "float")).collect() };
    let cases = [
        (
            matrix(3),
            &[][..],
            logged(numbers(&["a", "b"])),
            "names 2 input columns, the model takes 3 in 'X' as float32[N,3]",
        ),
        (
            matrix(2),
            &[],
            logged(json!([column("a", "float"), column("b", "string")])),
            "says 'b' is string, the model takes 'X' as float32[N,2]",
        ),
        (
            columns(),
            &[],
            logged(json!([
                column("trip_distance", "float"),
                column("borough", "long")
            ])),
            "says 'borough' is long, the model takes 'borough' as string[N,1]",
        ),
        (
            matrix(2),
            &["b", "a"],
            logged(numbers(&["a", "b"])),
            "orders its columns 'a', 'b', the model takes them as 'b', 'a', by the names in its metadata",
        ),
        (
            columns(),
            &[],
            logged(json!([
                column("trip_distance", "float"),
                column("borough", "string"),
                column("zone", "string")
            ])),
            "has an input 'zone', the model takes 'trip_distance', 'borough'",
        ),
        (
            columns(),
            &[],
            logged(json!([column("borough", "string")])),
            "names only 'borough', the model takes 'trip_distance' as float32[N,1] as well",
        ),
        (
            matrix(2),
            &[],
            logged(json!([said_tensor(json!("X"), "float32", &[-1, 5])])),
            "says 'X' is float32[N,5], the model takes 'X' as float32[N,2]",
        ),
        (
            matrix(2),
            &[],
            logged(json!([said_tensor(Value::Null, "str", &[-1, 2])])),
            "says its input is str[N,2], the model takes 'X' as float32[N,2]",
        ),
        (
            matrix(2),
            &[],
            logged(json!([
                said_tensor(json!("A"), "float32", &[-1, 2]),
                said_tensor(json!("B"), "float32", &[-1, 2])
            ])),
            "has an input 'A', the model takes 'X'",
        ),
        (
            matrix(2),
            &[],
            logged(json!([
                column("a", "float"),
                said_tensor(json!("B"), "float32", &[-1, 1])
            ])),
            "mixes columns and tensors, the model takes one kind",
        ),
        (
            matrix(2),
            &[],
            logged(json!([column("a", "binary"), column("b", "float")])),
            "says 'a' is binary, the model takes 'X' as float32[N,2]",
        ),
    ];
    for (graph, own, model, want) in cases {
        let error = meet(graph, own, &model).0.unwrap_err();
        assert_eq!(
            error.message(),
            format!("signature and model disagree: the MLmodel file {want}")
        );
        assert!(error.hint().is_some());
    }
}
