//! Models as a caller meets them, made byte by byte: what ONNX Runtime says of the same is compared in
//! `tests/parity.py`.

mod fifth;
mod narrowed;
mod pipelines;
mod probes;

use crate::{Column, Element, Error, Kind, Labels, Level, Model, Out};

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn field(number: u64, body: &[u8]) -> Vec<u8> {
    [
        varint(number << 3 | 2),
        varint(body.len() as u64),
        body.to_vec(),
    ]
    .concat()
}

fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

fn floats(name: &str, values: &[f32]) -> Vec<u8> {
    let packed: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    field(5, &[field(1, name.as_bytes()), field(7, &packed)].concat())
}

fn ints(name: &str, values: &[u64]) -> Vec<u8> {
    let packed: Vec<u8> = values.iter().flat_map(|value| varint(*value)).collect();
    field(5, &[field(1, name.as_bytes()), field(8, &packed)].concat())
}

fn texts(name: &str, values: &[&str]) -> Vec<u8> {
    let values = values.iter().flat_map(|value| field(9, value.as_bytes()));
    let values: Vec<u8> = values.collect();
    field(5, &[field(1, name.as_bytes()), values].concat())
}

fn node(op: &str, domain: &str, from: &[&str], to: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let from = from.iter().flat_map(|name| field(1, name.as_bytes()));
    let to = to.iter().flat_map(|name| field(2, name.as_bytes()));
    let names: Vec<u8> = from.chain(to).collect();
    let rest = [
        field(4, op.as_bytes()),
        field(7, domain.as_bytes()),
        attributes.concat(),
    ];
    field(1, &[names, rest.concat()].concat())
}

/// A model of one input `x` of `width` numbers of type `element`.
fn model(element: u64, width: u64, nodes: &[Vec<u8>], outputs: &[&str]) -> Vec<u8> {
    let shape = [field(1, &field(2, b"N")), field(1, &number(1, width))].concat();
    let tensor = [number(1, element), field(2, &shape)].concat();
    let input = [field(1, b"x"), field(2, &field(1, &tensor))].concat();
    let outputs = outputs
        .iter()
        .flat_map(|name| field(12, &field(1, name.as_bytes())));
    let outputs: Vec<u8> = outputs.collect();
    field(7, &[nodes.concat(), field(11, &input), outputs].concat())
}

const ML: &str = "ai.onnx.ml";

/// 2 (a - 1) + 3 (b - 2) + 1
fn scaled_sum() -> Vec<u8> {
    let offsets = [floats("offset", &[1.0, 2.0]), floats("scale", &[2.0, 3.0])];
    let ones = [
        floats("coefficients", &[1.0, 1.0]),
        floats("intercepts", &[1.0]),
    ];
    let nodes = [
        node("Scaler", ML, &["x"], &["scaled"], &offsets),
        node("LinearRegressor", ML, &["scaled"], &["y"], &ones),
    ];
    model(1, 2, &nodes, &["y"])
}

fn classes() -> Vec<u8> {
    let attributes = [
        floats("coefficients", &[1.0, 0.0, 0.0, 1.0, -1.0, -1.0]),
        floats("intercepts", &[0.0, 0.0, 0.0]),
        texts("classlabels_strings", &["a", "b", "neither"]),
    ];
    let nodes = [node(
        "LinearClassifier",
        ML,
        &["x"],
        &["l", "p"],
        &attributes,
    )];
    model(1, 2, &nodes, &["l", "p"])
}

/// One tree: 10 where the first number is at most 0.5, else 20.
fn stump() -> Vec<u8> {
    model(1, 1, &[test("x", 0.5)], &["y"])
}

/// The same with another value.
fn test(from: &str, value: f32) -> Vec<u8> {
    let attributes = [
        ints("nodes_treeids", &[0, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_featureids", &[0, 0, 0]),
        texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        floats("nodes_values", &[value, 0.0, 0.0]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        ints("target_treeids", &[0, 0]),
        ints("target_nodeids", &[1, 2]),
        ints("target_ids", &[0, 0]),
        floats("target_weights", &[10.0, 20.0]),
    ];
    node("TreeEnsembleRegressor", ML, &[from], &["y"], &attributes)
}

fn score(model: &Model, columns: &[Column<'_>], rows: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows];
    let mut scratch = model.scratch();
    model
        .score(0, columns, rows, &mut scratch, &mut out)
        .unwrap();
    out
}

fn why(bytes: &[u8]) -> String {
    Model::from_onnx(bytes, None).unwrap_err().to_string()
}

#[test]
fn columns_may_come_in_any_order_and_lie_apart() {
    let rows = 1_000;
    let a: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    let b: Vec<f32> = (0..rows).map(|row| 7.0 - row as f32 / 4.0).collect();
    let expected: Vec<f32> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| 2.0 * (a - 1.0) + 3.0 * (b - 2.0) + 1.0)
        .collect();
    let in_order = Model::from_onnx(&scaled_sum(), None).unwrap();
    let columns = [Column::from(&a[..]), Column::from(&b[..])];
    assert_eq!(score(&in_order, &columns, rows), expected);
    let swapped = Model::from_onnx(&scaled_sum(), Some(&[2, 0])).unwrap();
    assert_eq!(swapped.columns(), 3);
    let unused = Column::from(&a[..]);
    let columns = [Column::from(&b[..]), unused, Column::from(&a[..])];
    assert_eq!(score(&swapped, &columns, rows), expected);
    let pairs: Vec<f32> = a.iter().zip(&b).flat_map(|(a, b)| [*a, *b]).collect();
    let columns = [Column::strided(&pairs, 2), Column::strided(&pairs[1..], 2)];
    assert_eq!(score(&in_order, &columns, rows), expected);
}

#[test]
fn a_call_that_does_not_fit_is_refused() {
    let model = Model::from_onnx(&scaled_sum(), None).unwrap();
    let (values, mut scratch) = ([0.0_f32; 4], model.scratch());
    let column = Column::from(&values[..]);
    let mut call = |columns: &[Column<'_>], rows, places: usize| {
        let mut out = vec![0.0; places];
        model.score(0, columns, rows, &mut scratch, &mut out)
    };
    let refused = |result| matches!(result, Err(Error::Call(_)));
    assert!(refused(call(&[column], 4, 4)));
    assert!(refused(call(&[column, column], 5, 5)));
    assert!(refused(call(&[column, column], 4, 3)));
    assert!(refused(call(&[column, Column::strided(&values, 2)], 3, 3)));
    assert!(call(&[column, Column::strided(&values, 2)], 2, 2).is_ok());
    assert!(call(&[column, column], 0, 0).is_ok());
    let label = model.classify(0, &[column, column], 4, &mut scratch, &mut [0; 4]);
    assert!(refused(label));
    let short = Model::from_onnx(&scaled_sum(), Some(&[0]));
    assert!(matches!(short, Err(Error::Call(_))));
}

#[test]
fn one_scratch_serves_several_models() {
    let (sum, stump) = (scaled_sum(), stump());
    let [sum, stump] = [sum, stump].map(|bytes| Model::from_onnx(&bytes, None).unwrap());
    let values = [0.5_f32, 0.75, f32::NAN];
    let column = Column::from(&values[..]);
    let mut scratch = sum.scratch();
    let mut out = [0.0; 3];
    stump
        .score(0, &[column], 3, &mut scratch, &mut out)
        .unwrap();
    assert_eq!(out, [10.0, 20.0, 20.0]);
}

#[test]
fn labels_and_numbers_are_outputs_of_their_own() {
    let model = Model::from_onnx(&classes(), None).unwrap();
    let [label, numbers] = model.outputs() else {
        panic!("{:?}", model.outputs());
    };
    let names = ["a", "b", "neither"].map(str::to_owned).to_vec();
    assert_eq!(label.kind, Kind::Label(Labels::Texts(names)));
    assert_eq!(
        numbers.kind,
        Kind::Numbers {
            width: 3,
            names: None
        }
    );
    let (a, b) = ([3.0_f32, 1.0, -1.0, 2.0], [1.0_f32, 4.0, -1.0, 2.0]);
    let columns = [Column::from(&a[..]), Column::from(&b[..])];
    let (mut places, mut out) = ([9; 4], [0.0; 12]);
    let mut scratch = model.scratch();
    model
        .classify(0, &columns, 4, &mut scratch, &mut places)
        .unwrap();
    assert_eq!(places, [0, 1, 2, 0]);
    model.score(1, &columns, 4, &mut scratch, &mut out).unwrap();
    assert_eq!(out[3..6], [1.0, 4.0, -5.0]);
    let (mut labels, mut numbers) = ([9; 4], [0.0; 12]);
    let mut both = [
        (1, Out::Numbers(&mut numbers)),
        (0, Out::Labels(&mut labels)),
    ];
    model
        .score_all(&mut both, &columns, 4, &mut scratch)
        .unwrap();
    assert_eq!((labels, numbers), (places, out));
    let mut wrong = [
        (0, Out::Labels(&mut labels)),
        (0, Out::Numbers(&mut numbers)),
    ];
    let why = model.score_all(&mut wrong, &columns, 4, &mut scratch);
    assert!(
        why.unwrap_err()
            .to_string()
            .contains("output 0 has no numbers")
    );
}

#[test]
fn what_is_not_covered_is_named() {
    let relu = node("Relu", "", &["x"], &["y"], &[]);
    let nodes = [relu, node("Frobnicate", "", &["y"], &["z"], &[])];
    assert!(why(&model(1, 2, &nodes, &["z"])).contains("operator 'Relu' is not covered"));
    let own = [node("Own", "com.example", &["x"], &["y"], &[])];
    assert!(why(&model(1, 2, &own, &["y"])).contains("'Own' of 'com.example'"));
    let same = [node("Identity", "", &["x"], &["y"], &[])];
    assert!(why(&model(14, 2, &same, &["y"])).contains("input 'x' is of element type 14"));
    assert!(why(&model(8, 2, &same, &["y"])).contains("output 'y' has texts"));
    assert!(why(&model(7, 2, &same, &["y"])).contains("output 'y' has whole numbers"));
    assert!(why(&model(1, 2, &same, &["z"])).contains("nothing gives 'z'"));
    assert!(Model::from_onnx(&model(1, 2, &same, &["y"]), None).is_ok());
}

/// Three rows of whatever the model takes.
fn columns_of(model: &Model) -> Vec<Column<'static>> {
    let inputs = model.inputs().iter();
    let elements = inputs.flat_map(|input| vec![input.element; input.width]);
    let column = |element| match element {
        Element::Float32 => Column::from(&[1.0_f32; 3][..]),
        Element::Float64 => Column::from(&[1.0_f64; 3][..]),
        Element::Int64 => Column::from(&[1_i64; 3][..]),
        Element::Int32 => Column::from(&[1_i32; 3][..]),
        Element::Int16 => Column::from(&[1_i16; 3][..]),
        Element::Int8 => Column::from(&[1_i8; 3][..]),
        Element::UInt16 => Column::from(&[1_u16; 3][..]),
        Element::UInt8 => Column::from(&[1_u8; 3][..]),
        Element::Bool => Column::from(&[true; 3][..]),
        Element::Text => Column::text(&[0, 1, 1, 3], b"abc"),
    };
    elements.map(column).collect()
}

/// Not one cut or turned byte may bring the process down.
#[test]
fn damaged_files_are_refused_or_scored() {
    for bytes in [
        scaled_sum(),
        classes(),
        stump(),
        pipelines::texts_model(),
        pipelines::doubles_model(),
    ] {
        for end in 0..bytes.len() {
            let _ = Model::from_onnx(&bytes[..end], None);
            for turn in [0x01, 0x08, 0x80, 0xff] {
                let mut turned = bytes.clone();
                turned[end] ^= turn;
                let Ok(model) = Model::from_onnx_at(&turned, None, Level::detect()) else {
                    continue;
                };
                let columns = columns_of(&model);
                for (place, output) in model.outputs().iter().enumerate() {
                    let mut scratch = model.scratch();
                    if let Kind::Numbers { width, .. } = output.kind {
                        let mut out = vec![0.0; 3 * width];
                        let scored = model.score(place, &columns, 3, &mut scratch, &mut out);
                        assert!(matches!(scored, Ok(()) | Err(Error::Rows(_))), "{scored:?}");
                    }
                }
            }
        }
    }
}

const TEXT: &str = "tree
version=v4
num_class=1
num_tree_per_iteration=1
max_feature_idx=1
feature_names=one two
objective=binary sigmoid:1

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
threshold=0.1 0
decision_type=10 1
left_child=-1 -2
right_child=1 -3
leaf_value=-1 2 4
cat_boundaries=0 1
cat_threshold=11

end of trees
";

#[test]
fn lightgbm_text_is_read() {
    let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
    let model = Model::from_lightgbm(TEXT.as_bytes(), None).unwrap();
    let names = ["one", "two"].map(str::to_owned);
    assert_eq!(model.column_names(), Some(&names[..]));
    // The float nearest to 0.1 is above it.
    let first = [0.1, 0.1_f32.next_down(), f32::NAN, 1.0, 1.0, 1.0, 1.0];
    // Categories 0, 1 and 3 go left; numbers are cut down to them.
    let second = [3.0, 3.0, 3.0, 1.9, 2.0, -0.5, f32::NAN];
    let columns = [Column::from(&first[..]), Column::from(&second[..])];
    let expected = [2.0, -1.0, -1.0, 2.0, 4.0, 2.0, 4.0].map(logistic);
    for (got, expected) in score(&model, &columns, 7).iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }
    // Small probabilities are as near.
    for sum in [-7.0_f64, -17.5, -40.0, -87.0] {
        let text = TEXT.replace("leaf_value=-1 2 4", &format!("leaf_value=-1 2 {sum}"));
        let model = Model::from_lightgbm(text.as_bytes(), None).unwrap();
        let got = f64::from(score(&model, &columns.map(|column| column.skip(4)), 1)[0]);
        let expected = 1.0 / (1.0 + (-sum).exp());
        assert!((got / expected - 1.0).abs() < 1e-6, "{got} {expected}");
    }
    for end in 0..TEXT.len() {
        if !TEXT[..end].contains("end of trees") {
            assert!(Model::from_lightgbm(&TEXT.as_bytes()[..end], None).is_err());
        }
    }
    let other = TEXT.replace("objective=binary", "objective=unheard_of");
    let error = Model::from_lightgbm(other.as_bytes(), None).unwrap_err();
    assert!(error.to_string().contains("'unheard_of'"), "{error}");
    for (lists, covered) in [("null", true), ("[]", true), ("[[\"a\", \"b\"]]", false)] {
        let file =
            format!("{TEXT}\nparameters:\nend of parameters\n\npandas_categorical:{lists}\n");
        let model = Model::from_file(file.as_bytes());
        match covered {
            true => assert!(model.is_ok(), "{lists}"),
            false => assert_eq!(model.unwrap_err(), Error::not_covered("pandas categories")),
        }
    }
}
