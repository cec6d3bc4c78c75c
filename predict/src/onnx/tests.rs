//! Two files that skl2onnx wrote show that the fields are where ONNX has them; the rest is built here, one trait each.

use arrow::datatypes::DataType;

use super::messages::*;
use super::*;
use crate::types::returns_name;

const COLUMNS: &[u8] = include_bytes!("fixtures/columns.onnx");
const ZIPMAP: &[u8] = include_bytes!("fixtures/classifier_zipmap.onnx");

fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfo {
    let dim = |extent: &i64| Dimension {
        extent: Some(match extent {
            ..0 => Extent::Symbol("N".to_owned()),
            value => Extent::Value(*value),
        }),
    };
    let shape = Some(Shape {
        dim: dims.iter().map(dim).collect(),
    });
    let kind = Some(Kind::Tensor(TensorType { elem_type, shape }));
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type { kind }),
    }
}

fn node(domain: &str, op_type: &str) -> Node {
    Node {
        op_type: op_type.to_owned(),
        attribute: Vec::new(),
        domain: domain.to_owned(),
    }
}

fn entry(key: &str, value: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// `[N,3]` floats to `[N,1]` floats by one operator.
fn model() -> Model {
    Model {
        ir_version: 8,
        producer_name: "test".to_owned(),
        producer_version: "1".to_owned(),
        graph: Some(Graph {
            node: vec![node("", "Gemm")],
            initializer: Vec::new(),
            input: vec![value("X", 1, &[-1, 3])],
            output: vec![value("y", 1, &[-1, 1])],
        }),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: 15,
        }],
        metadata_props: Vec::new(),
        functions: Vec::new(),
    }
}

fn changed(change: impl FnOnce(&mut Model, &mut Graph)) -> Result<ModelFacts, Error> {
    let mut model = model();
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    model.graph = Some(graph);
    inspect_named("m.onnx", &model.encode_to_vec())
}

fn refusal(change: impl FnOnce(&mut Model, &mut Graph)) -> String {
    let error = changed(change).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Invalid);
    error.to_string()
}

fn names(facts: &ModelFacts) -> Vec<(&str, bool)> {
    facts
        .elements
        .iter()
        .map(|element| (element.name.as_str(), element.named))
        .collect()
}

#[test]
fn a_model_of_skl2onnx_is_read_as_it_was_written() {
    let facts = inspect(COLUMNS).unwrap();
    let inputs: Vec<_> = facts
        .elements
        .iter()
        .map(|e| (e.name.as_str(), e.element, e.input))
        .collect();
    let expected = [
        ("trip_distance", ElementType::Float32, 0),
        ("duration_min", ElementType::Float32, 1),
        ("passenger_count", ElementType::Int64, 2),
        ("payment_type", ElementType::Int64, 3),
        ("borough", ElementType::String, 4),
    ];
    assert_eq!(inputs, expected);
    assert_eq!(facts.returns, DataType::Float32);
    assert_eq!(facts.size, COLUMNS.len() as u64);
    let recorded = |library: &str| facts.recorded.iter().any(|(known, _)| known == library);
    for library in ["skl2onnx", "opset ai.onnx.ml"] {
        assert!(recorded(library), "{:?}", facts.recorded);
    }
}

#[test]
fn a_classifier_returns_its_label_and_a_map_from_class_to_probability() {
    let facts = inspect(ZIPMAP).unwrap();
    assert_eq!(
        returns_name(&facts.returns).unwrap(),
        "STRUCT<output_label: STRING, output_probability: MAP<STRING, FLOAT>>"
    );
    let [label, probability] = facts.signature.outputs.as_slice() else {
        panic!("{:?}", facts.signature.outputs);
    };
    assert_eq!((label.element, label.row()), (ElementType::String, &[][..]));
    assert_eq!(
        (probability.element, probability.row()),
        (ElementType::Float32, &[2][..])
    );
    assert!(probability.is_zipmap());
    assert_eq!(facts.elements.len(), 9);
    assert!(facts.elements.iter().all(|element| element.named));
}

#[test]
fn the_names_of_a_matrix_come_from_the_metadata() {
    let with = |text: &str| {
        changed(|model, _| model.metadata_props.push(entry("feature_names", text))).unwrap()
    };
    let named = vec![("a", true), ("b", true), ("c d", true)];
    assert_eq!(names(&with(r#"["a", "b", "c d"]"#)), named);
    assert_eq!(names(&with("a, b,c d")), named);
    let unnamed = vec![("X", false); 3];
    for other in ["", "a,b", "a,b,c,d", "a,a,b"] {
        assert_eq!(names(&with(other)), unnamed, "{other}");
    }
    let mixed = changed(|model, graph| {
        graph.input.insert(0, value("id", 7, &[-1]));
        model.metadata_props.push(entry("feature_names", "a,b,c"));
    });
    assert_eq!(
        names(&mixed.unwrap()),
        [("id", true), ("a", true), ("b", true), ("c", true)]
    );
}

#[test]
fn a_matrix_without_a_width_takes_lists_unless_it_has_names() {
    let open = |graph: &mut Graph| graph.input = vec![value("X", 1, &[-1, -1])];
    let lists = changed(|_, graph| open(graph)).unwrap();
    assert_eq!(names(&lists), [("X", true)]);
    assert_eq!(lists.elements[0].shape, [-1]);
    let named = changed(|model, graph| {
        open(graph);
        model.metadata_props.push(entry("feature_names", "a,b"));
    });
    let named = named.unwrap();
    assert_eq!(
        (
            names(&named).len(),
            named.signature.inputs[0].shape.as_slice()
        ),
        (2, &[-1, 2][..])
    );
}

#[test]
fn inputs_with_a_value_in_the_file_are_not_asked_for() {
    let facts = changed(|_, graph| {
        graph.input.push(value("w", 1, &[3, 1]));
        graph.initializer.push(Tensor {
            name: "w".to_owned(),
            external_data: Vec::new(),
            data_location: 0,
        });
    });
    assert_eq!(facts.unwrap().signature.inputs.len(), 1);
}

#[test]
fn models_that_cannot_be_fed_or_read_are_refused_with_the_reason() {
    let sequence = |graph: &mut Graph| {
        graph.output[0].r#type = Some(Type {
            kind: Some(Kind::Sequence(Opaque {})),
        })
    };
    let refused = [
        (
            refusal(|_, g| g.output = vec![value("p", 1, &[])]),
            "output 'p' is a single value, not one per row; export the model with an output of shape",
        ),
        (
            refusal(|_, g| sequence(g)),
            "output 'y' is a sequence, not a tensor",
        ),
        (
            refusal(|_, g| g.output = vec![value("p", 16, &[-1])]),
            "output 'p' is a tensor of bfloat16, which cannot be fed or returned",
        ),
        (refusal(|_, g| g.output.clear()), "the model has no outputs"),
        (refusal(|_, g| g.input.clear()), "the model takes no inputs"),
        (
            refusal(|_, g| g.input = vec![value("X", 10, &[-1, 3])]),
            "input 'X' is a tensor of float16",
        ),
        (
            refusal(|_, g| g.input = vec![value("X", 1, &[1, 3])]),
            "input 'X' takes exactly 1 rows a call; export it with a dynamic",
        ),
        (
            refusal(|_, g| g.input = vec![value("X", 1, &[])]),
            "input 'X' is a single value",
        ),
    ];
    for (error, want) in refused {
        assert!(
            error.starts_with("'m.onnx': ") && error.contains(want),
            "{error}"
        );
    }
}

#[test]
fn an_input_of_more_dimensions_takes_one_list_per_row() {
    let facts = changed(|_, graph| {
        graph.input = vec![value("id", 7, &[-1]), value("image", 1, &[-1, 3, 224])];
    });
    let facts = facts.unwrap();
    assert_eq!(names(&facts), [("id", true), ("image", true)]);
    assert_eq!(facts.elements[1].shape, [3, 224]);
}

#[test]
fn outputs_without_a_value_per_row_are_left_out_and_rows_of_classes_named() {
    let facts = changed(|model, graph| {
        graph.output = vec![
            value("loss", 1, &[]),
            value("p", 1, &[-1, 2]),
            value("y", 7, &[-1]),
        ];
        model.metadata_props.push(entry("class_names", "no,yes"));
    });
    assert_eq!(
        returns_name(&facts.unwrap().returns).unwrap(),
        "STRUCT<p: STRUCT<no: FLOAT, yes: FLOAT>, y: BIGINT>"
    );
}

#[test]
fn an_operator_of_an_unknown_domain_is_named_wherever_it_hides() {
    let want = "operator 'Teleport' of domain 'com.example' is not one that ONNX Runtime has";
    let inner = Graph {
        node: vec![node("com.example", "Teleport")],
        ..Graph::default()
    };
    let error = refusal(|_, graph| {
        let branch = Attribute {
            g: Some(inner),
            ..Attribute::default()
        };
        graph.node.push(Node {
            attribute: vec![branch],
            ..node("", "If")
        });
    });
    assert!(error.contains(want), "{error}");
    let defined = changed(|model, graph| {
        graph.node.push(node("com.example", "Teleport"));
        model.functions.push(Function {
            name: "Teleport".to_owned(),
            node: vec![node("", "Identity")],
            domain: "com.example".to_owned(),
        });
    });
    assert!(defined.is_ok(), "{defined:?}");
}

#[test]
fn weights_in_another_file_are_refused_by_its_name() {
    let error = refusal(|_, graph| {
        let tensor = Tensor {
            name: "w".to_owned(),
            external_data: vec![entry("location", "w.data")],
            data_location: 1,
        };
        graph.initializer.push(tensor);
    });
    assert!(
        error.contains("its weights are in another file ('w.data'); save it as one file"),
        "{error}"
    );
}

#[test]
fn what_is_not_onnx_is_told_for_what_it_is() {
    let files: [(&[u8], &str); 6] = [
        (
            b"",
            "is not an ONNX, LightGBM or XGBoost model: it is empty",
        ),
        (
            b"This is a text file that calls itself a model.\n",
            "it is text",
        ),
        (b"\x80\x04\x95", "it is a Python pickle"),
        (b"PK\x03\x04rest", "it is a zip archive"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "it is a Git LFS pointer",
        ),
        (
            &COLUMNS[..COLUMNS.len() - 7],
            "it does not decode as one; it is damaged, cut off",
        ),
    ];
    for (bytes, want) in files {
        let error = inspect_named("x", bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("'x' is not an ONNX, LightGBM or XGBoost model: ")
                && error.contains(want),
            "{error}"
        );
    }
}

#[test]
fn no_prefix_and_no_flipped_byte_makes_it_panic() {
    for end in 0..ZIPMAP.len() {
        let _ = inspect(&ZIPMAP[..end]);
        let mut bytes = ZIPMAP.to_vec();
        bytes[end] ^= 0xff;
        let _ = inspect(&bytes);
    }
}
