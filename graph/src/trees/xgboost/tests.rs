//! Small files made by hand, in both forms: what XGBoost says of whole models is compared in `tests/xgboost_files.py`.

use super::{Predicts, json::Json, plan, reader::Reader, ubjson::Ubjson};
use crate::{Column, Error, Kind, Labels, Level, Model};

/// A value of either form.
#[derive(Clone)]
enum Value {
    Object(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
    Text(String),
    Floats(Vec<f32>),
    Ints(Vec<i32>),
    Bytes(Vec<u8>),
}

use Value::{Array, Bytes, Floats, Ints, Object};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn joined(open: &str, parts: Vec<String>, close: &str) -> String {
    format!("{open}{}{close}", parts.join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Value {
    fn json(&self) -> String {
        match self {
            Object(members) => {
                let member =
                    |(key, value): &(&str, Value)| format!("{}:{}", quoted(key), value.json());
                joined("{", members.iter().map(member).collect(), "}")
            }
            Array(values) => joined("[", values.iter().map(Value::json).collect(), "]"),
            Value::Text(text) => quoted(text),
            Floats(floats) => joined("[", floats.iter().map(|x| format!("{x:E}")).collect(), "]"),
            Ints(ints) => joined("[", ints.iter().map(i32::to_string).collect(), "]"),
            Bytes(bytes) => joined("[", bytes.iter().map(u8::to_string).collect(), "]"),
        }
    }

    fn ubjson(&self) -> Vec<u8> {
        let length =
            |length: usize| [b"L".to_vec(), (length as i64).to_be_bytes().to_vec()].concat();
        let string = |text: &str| [length(text.len()), text.as_bytes().to_vec()].concat();
        let typed = |marker: u8, count: usize, bytes: Vec<u8>| {
            [b"[$".to_vec(), vec![marker, b'#'], length(count), bytes].concat()
        };
        match self {
            Object(members) => {
                let members = members.iter();
                let members =
                    members.flat_map(|(key, value)| [string(key), value.ubjson()].concat());
                [b"{".to_vec(), members.collect(), b"}".to_vec()].concat()
            }
            Array(values) => {
                let bytes = values.iter().flat_map(Value::ubjson).collect();
                [b"[#".to_vec(), length(values.len()), bytes].concat()
            }
            Value::Text(text) => [b"S".to_vec(), string(text)].concat(),
            Floats(floats) => {
                let bytes = floats.iter().flat_map(|x| x.to_be_bytes()).collect();
                typed(b'd', floats.len(), bytes)
            }
            Ints(ints) => {
                let bytes = ints.iter().flat_map(|x| x.to_be_bytes()).collect();
                typed(b'l', ints.len(), bytes)
            }
            Bytes(bytes) => typed(b'U', bytes.len(), bytes.clone()),
        }
    }
}

/// A test at 1.5 whose left is -1 and whose right tests the second feature's category: 1, 2 and 5 are 4, the others are
/// 2.
fn tree(missing_left: u8, threshold: f32) -> Value {
    Object(vec![
        ("base_weights", Floats(vec![0.0; 5])),
        ("categories", Ints(vec![1, 2, 5])),
        ("categories_nodes", Ints(vec![2])),
        ("categories_segments", Ints(vec![0])),
        ("categories_sizes", Ints(vec![3])),
        ("default_left", Bytes(vec![missing_left, 0, 1, 0, 0])),
        ("id", Ints(vec![])),
        ("left_children", Ints(vec![1, -1, 3, -1, -1])),
        ("right_children", Ints(vec![2, -1, 4, -1, -1])),
        (
            "split_conditions",
            Floats(vec![threshold, -1.0, 0.0, 2.0, 4.0]),
        ),
        ("split_indices", Ints(vec![0, 0, 1, 0, 0])),
        ("split_type", Bytes(vec![0, 0, 1, 0, 0])),
        ("tree_param", Object(vec![("size_leaf_vector", text("1"))])),
    ])
}

/// Of one node.
fn leaf(value: f32) -> Value {
    Object(vec![
        ("default_left", Bytes(vec![0])),
        ("left_children", Ints(vec![-1])),
        ("right_children", Ints(vec![-1])),
        ("split_conditions", Floats(vec![value])),
        ("split_indices", Ints(vec![0])),
    ])
}

fn booster(trees: Vec<Value>, groups: Vec<i32>) -> Value {
    let rounds = (0..=groups.len() as i32).collect();
    let model = Object(vec![
        ("iteration_indptr", Ints(rounds)),
        ("tree_info", Ints(groups)),
        ("trees", Array(trees)),
    ]);
    Object(vec![("model", model), ("name", text("gbtree"))])
}

fn file(booster: Value, objective: &str, base_score: &str, outputs: &str) -> Value {
    let attributes = vec![
        ("best_iteration", text("0")),
        (
            "scikit_learn",
            text("{\"_estimator_type\": \"classifier\"}"),
        ),
    ];
    let names = vec![text("a \"b\" \\"), text("ü")];
    let counts = vec![
        ("base_score", text(base_score)),
        ("num_class", text(outputs)),
        ("num_feature", text("2")),
        ("num_target", text("1")),
    ];
    let learner = vec![
        ("attributes", Object(attributes)),
        ("feature_names", Array(names)),
        ("gradient_booster", booster),
        ("learner_model_param", Object(counts)),
        ("objective", Object(vec![("name", text(objective))])),
    ];
    Object(vec![
        ("learner", Object(learner)),
        ("version", Ints(vec![3, 2, 0])),
    ])
}

fn scored(model: &Model, output: usize, columns: [&[f32]; 2]) -> Vec<f32> {
    let Kind::Numbers { width, .. } = model.outputs()[output].kind else {
        panic!("{:?}", model.outputs());
    };
    let rows = columns[0].len();
    let mut out = vec![0.0; rows * width];
    let (columns, mut scratch) = (columns.map(Column::from), model.scratch());
    model
        .score(output, &columns, rows, &mut scratch, &mut out)
        .unwrap();
    out
}

/// What both forms of the file say of some rows.
fn both(file: &Value, columns: [&[f32]; 2]) -> Vec<f32> {
    let [first, second] = [file.json().into_bytes(), file.ubjson()].map(|bytes| {
        let model = Model::from_xgboost(&bytes, None).unwrap();
        scored(&model, 0, columns)
    });
    assert_eq!(first, second);
    first
}

fn why(file: &Value) -> String {
    Model::from_xgboost(&file.ubjson(), None)
        .unwrap_err()
        .to_string()
}

const TINY: f32 = f32::from_bits(1);

#[test]
fn tests_are_below_and_in_a_set() {
    let squared = |missing, threshold| {
        let booster = booster(vec![tree(missing, threshold)], vec![0]);
        file(booster, "reg:squarederror", "5E-1", "0")
    };
    let first = [
        1.5,
        1.5_f32.next_down(),
        f32::NEG_INFINITY,
        f32::INFINITY,
        f32::NAN,
        2.0,
    ];
    let second = [1.0, 1.0, 1.0, 5.0, 1.0, f32::NAN];
    let expected = [4.5, -0.5, -0.5, 4.5, -0.5, 2.5];
    assert_eq!(both(&squared(1, 1.5), [&first, &second]), expected);
    let expected = [4.5, -0.5, -0.5, 4.5, 4.5, 2.5];
    assert_eq!(both(&squared(0, 1.5), [&first, &second]), expected);
    let zeros = [0.0, -0.0, TINY, -TINY];
    assert_eq!(
        both(&squared(0, 0.0), [&zeros, &[1.0; 4]]),
        [4.5, 4.5, 4.5, -0.5]
    );
    let second = [
        0.999,
        1.0,
        2.9,
        3.0,
        4.9,
        5.9,
        6.0,
        -1.0,
        f32::INFINITY,
        2e9,
    ];
    let expected = [2.5, 4.5, 4.5, 2.5, 2.5, 4.5, 2.5, 2.5, 2.5, 2.5];
    assert_eq!(both(&squared(0, 1.5), [&[9.0; 10], &second]), expected);
}

#[test]
fn nothing_is_below_the_smallest() {
    for (missing, expected) in [(1, [4.0, 4.0, -1.0]), (0, [4.0, 4.0, 4.0])] {
        let booster = booster(vec![tree(missing, f32::NEG_INFINITY)], vec![0]);
        let file = file(booster, "reg:squarederror", "0", "0").ubjson();
        let model = Model::from_xgboost(&file, None).unwrap();
        let first = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
        assert_eq!(scored(&model, 0, [&first, &[1.0; 3]]), expected);
    }
}

#[test]
fn zero_is_a_category_and_what_is_below_is_none() {
    let Object(mut members) = tree(0, f32::NEG_INFINITY) else {
        panic!("no tree");
    };
    for (key, value) in &mut members {
        if *key == "categories" {
            *value = Ints(vec![0, 16_777_215, i32::MAX]);
        }
    }
    let file = file(
        booster(vec![Object(members)], vec![0]),
        "reg:squarederror",
        "0",
        "0",
    );
    let second = [
        0.0,
        -0.0,
        0.9,
        -TINY,
        16_777_215.0,
        16_777_216.0,
        2_147_483_647.0,
    ];
    let expected = [4.0, 4.0, 4.0, 2.0, 4.0, 2.0, 2.0];
    let model = Model::from_xgboost(&file.ubjson(), None).unwrap();
    assert_eq!(scored(&model, 0, [&[1.0; 7], &second]), expected);
}

#[test]
fn base_scores_have_several_forms() {
    let trees = || booster(vec![leaf(0.5), leaf(1.0), leaf(0.25)], vec![0, 1, 0]);
    let of = |objective, base_score, outputs| {
        both(
            &file(trees(), objective, base_score, outputs),
            [&[0.0], &[0.0]],
        )
    };
    assert_eq!(of("multi:softmax", "[2E0,1E0]", "2"), [0.0]);
    assert_eq!(of("multi:softmax", "5E-1", "2"), [1.0]);
    let one = |objective, base_score| {
        let trees = booster(vec![leaf(0.5)], vec![0]);
        both(&file(trees, objective, base_score, "0"), [&[0.0], &[0.0]])[0]
    };
    assert_eq!(one("reg:squarederror", "[2.5E-1]"), 0.75);
    assert_eq!(one("binary:logitraw", "2.5E-1"), 0.75);
    assert!((one("binary:logistic", "2.5E-1") - 1.0 / (1.0 + 3.0 * (-0.5_f32).exp())).abs() < 1e-7);
    assert!((one("count:poisson", "2E0") - 2.0 * 0.5_f32.exp()).abs() < 1e-6);
    assert_eq!(
        [one("binary:hinge", "-1"), one("binary:hinge", "0")],
        [0.0, 1.0]
    );
    for wrong in ["", "[]", "[1,2]", "NaN", "[1", "x"] {
        let trees = booster(vec![leaf(0.5)], vec![0]);
        assert!(why(&file(trees, "reg:squarederror", wrong, "0")).contains("base_score"));
    }
}

#[test]
fn probabilities_are_softmax() {
    let trees = booster(
        vec![leaf(0.0), leaf(2.0_f32.ln()), leaf(5.0_f32.ln())],
        vec![0, 1, 2],
    );
    let got = both(
        &file(trees, "multi:softprob", "0", "3"),
        [&[0.0; 2], &[0.0; 2]],
    );
    for (got, expected) in got.iter().zip([0.125, 0.25, 0.625, 0.125, 0.25, 0.625]) {
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }
}

#[test]
fn dart_weighs_its_trees() {
    let inner = booster(vec![leaf(1.0), leaf(10.0)], vec![0, 0]);
    let outer = |place: &'static str| {
        let mut members = vec![(place, inner.clone()), ("name", text("dart"))];
        members.push(("weight_drop", Floats(vec![0.5, 0.25])));
        both(
            &file(Object(members), "reg:squarederror", "0", "0"),
            [&[0.0], &[0.0]],
        )
    };
    assert_eq!(outer("gbtree"), [3.0]);
}

#[test]
fn leaves_may_be_vectors() {
    let vector = |extra: Vec<(&'static str, Value)>, right: Vec<i32>| {
        let mut members = vec![
            ("default_left", Bytes(vec![0; 3])),
            ("left_children", Ints(vec![1, -1, -1])),
            ("right_children", Ints(right)),
            ("split_conditions", Floats(vec![0.5; 3])),
            ("split_indices", Ints(vec![0; 3])),
            ("tree_param", Object(vec![("size_leaf_vector", text("2"))])),
        ];
        members.extend(extra);
        let booster = booster(vec![Object(members)], vec![0]);
        file(booster, "reg:squarederror", "[0,100]", "2")
    };
    let old = Floats(vec![9.0, 9.0, 1.0, 2.0, 3.0, 4.0]);
    let old = vector(vec![("base_weights", old)], vec![2, -1, -1]);
    let rows: [&[f32]; 2] = [&[0.0, 1.0], &[0.0; 2]];
    assert_eq!(both(&old, rows), [1.0, 102.0, 3.0, 104.0]);
    let leaves = Floats(vec![3.0, 4.0, 1.0, 2.0]);
    let new = vec![
        ("base_weights", Floats(vec![0.0])),
        ("leaf_weights", leaves),
    ];
    assert_eq!(
        both(&vector(new, vec![2, 1, 0]), rows),
        [1.0, 102.0, 3.0, 104.0]
    );
    let lacking = vector(vec![("leaf_weights", Floats(vec![1.0]))], vec![2, 1, 0]);
    assert!(why(&lacking).contains("lacks the weights of a leaf"));
}

#[test]
fn linear_models_leave_missing_values_out() {
    let weights = Floats(vec![2.0, 3.0, 1.0]);
    let members = vec![
        ("model", Object(vec![("weights", weights)])),
        ("name", text("gblinear")),
    ];
    let file = |features| {
        file(
            Object(members.clone()),
            "reg:squarederror",
            "5E-1",
            features,
        )
    };
    let got = both(&file("0"), [&[1.0, f32::NAN], &[1.0, 2.0]]);
    assert_eq!(got, [6.5, 7.5]);
    assert!(why(&file("2")).contains("a weight for each feature"));
}

#[test]
fn estimators_stop_at_the_best_round_and_label() {
    let trees = booster(vec![leaf(1.0), leaf(-5.0)], vec![0, 0]);
    let made = file(trees, "binary:logistic", "5E-1", "0");
    let bytes = made.ubjson();
    let model = Model::from_xgboost_estimator(&bytes, None).unwrap();
    let labels = Kind::Label(Labels::Ints(vec![0, 1]));
    assert_eq!(model.outputs()[0].kind, labels);
    let (column, mut place) = (Column::from(&[0.0][..]), [9]);
    model
        .classify(0, &[column; 2], 1, &mut model.scratch(), &mut place)
        .unwrap();
    assert_eq!(place, [1]);
    let probabilities = scored(&model, 1, [&[0.0], &[0.0]]);
    assert!(
        (probabilities[1] - 0.731_058_6).abs() < 1e-6,
        "{probabilities:?}"
    );
    let whole = Model::from_xgboost(&bytes, None).unwrap();
    assert!(scored(&whole, 0, [&[0.0], &[0.0]])[0] < 0.02);
    // The file says what saved it.
    let saved = Model::from_file(&bytes).unwrap();
    assert_eq!(saved.outputs(), model.outputs());
    let other = made.json().replace("scikit_learn", "another");
    let saved = Model::from_file(other.as_bytes()).unwrap();
    assert_eq!(saved.outputs(), whole.outputs());
}

#[test]
fn categories_of_a_data_frame_are_not_covered() {
    let with = |lists: Vec<Value>| {
        let categories = Object(vec![("enc", Array(lists)), ("sorted_idx", Ints(vec![]))]);
        let members = vec![
            ("cats", categories),
            ("tree_info", Ints(vec![0])),
            ("trees", Array(vec![leaf(0.5)])),
        ];
        let booster = Object(vec![("model", Object(members)), ("name", text("gbtree"))]);
        file(booster, "reg:squarederror", "0", "0")
    };
    assert_eq!(both(&with(vec![]), [&[0.0], &[0.0]]), [0.5]);
    assert!(why(&with(vec![Object(vec![])])).contains("pandas categories"));
}

#[test]
fn columns_have_names_and_may_be_ordered() {
    let trees = booster(vec![tree(0, 1.5)], vec![0]);
    let file = file(trees, "reg:squarederror", "0", "0");
    for bytes in [file.json().into_bytes(), file.ubjson()] {
        let model = Model::from_xgboost(&bytes, Some(&[1, 0])).unwrap();
        let names = ["a \"b\" \\", "ü"].map(str::to_owned);
        assert_eq!(model.column_names(), Some(&names[..]));
        assert_eq!(scored(&model, 0, [&[3.0], &[9.0]]), [2.0]);
    }
    let short = Model::from_xgboost(&file.ubjson(), Some(&[0]));
    assert!(matches!(short, Err(Error::Call(_))));
}

#[test]
fn what_is_not_covered_is_named() {
    let trees = || booster(vec![leaf(0.5)], vec![0]);
    assert!(why(&file(trees(), "reg:unheard_of", "0", "0")).contains("objective 'reg:unheard_of'"));
    let other = Object(vec![("name", text("gbforest"))]);
    assert!(why(&file(other, "reg:squarederror", "0", "0")).contains("booster 'gbforest'"));
    assert!(why(&file(trees(), "multi:softprob", "0", "9000")).contains("more outputs"));
    assert!(why(&Object(vec![("model", text("x"))])).contains("has no 'learner'"));
    for bytes in [&b"binf"[..], b"", b"[1]", b"  "] {
        assert!(matches!(
            Model::from_xgboost(bytes, None),
            Err(Error::Damaged(_))
        ));
    }
}

/// Not one cut or turned byte may bring the process down.
#[test]
fn damaged_files_are_refused_or_scored() {
    let inner = booster(vec![tree(1, 1.5), leaf(0.5)], vec![0, 0]);
    let dart = vec![
        ("gbtree", inner),
        ("name", text("dart")),
        ("weight_drop", Floats(vec![1.0; 2])),
    ];
    let file = file(Object(dart), "binary:logistic", "5E-1", "0");
    for bytes in [file.json().into_bytes(), file.ubjson()] {
        assert!(Model::from_xgboost(&bytes, None).is_ok());
        for end in 0..bytes.len() {
            let cut = Model::from_xgboost(&bytes[..end], None);
            assert!(matches!(cut, Err(Error::Damaged(_))), "{end}");
            for turn in [0x01, 0x08, 0x40, 0x80, 0xff] {
                let mut turned = bytes.clone();
                turned[end] ^= turn;
                for predicts in [Predicts::Booster, Predicts::Estimator] {
                    let planned = plan(&turned, None, Level::detect(), predicts);
                    if planned.is_ok_and(|plan| plan.columns.len() == 2)
                        && predicts == Predicts::Booster
                    {
                        let model = Model::from_xgboost(&turned, None).unwrap();
                        scored(&model, 0, [&[1.0, f32::NAN], &[2.0, 7.0]]);
                    }
                }
            }
        }
        let behind = [bytes.clone(), b"x".to_vec()].concat();
        assert!(Model::from_xgboost(&behind, None).is_err());
    }
}

#[test]
fn nesting_and_lengths_are_bounded() {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(200_000), close.repeat(200_000));
        format!("{{\"a\":{open}{close}}}").into_bytes()
    };
    for bytes in [deep("[", "]"), deep("{\"a\":", "}"), deep("[", "")] {
        assert!(Json::new(&bytes).skip().is_ok() || bytes.ends_with(b"[}"));
        assert!(Model::from_xgboost(&bytes, None).is_err());
    }
    for open in [&b"["[..], b"{i\x01a", b"[#i\x01", b"[$[#i\x01"] {
        let bytes = [b"{i\x01a".to_vec(), open.repeat(200_000)].concat();
        assert!(Model::from_xgboost(&bytes, None).is_err());
    }
    let huge = i64::MAX.to_be_bytes();
    for head in [
        &b"[$d#L"[..],
        b"[$l#L",
        b"[#L",
        b"[$U#L",
        b"[$T#L",
        b"[$S#L",
        b"[#",
    ] {
        let bytes = [head, &huge, &[0; 64]].concat();
        assert!(Ubjson::new(&bytes).floats(&mut Vec::new()).is_err());
        assert!(Ubjson::new(&bytes).ints(&mut Vec::new()).is_err());
        assert!(Ubjson::new(&bytes).skip().is_err());
    }
}

#[test]
fn both_forms_may_be_written_otherwise() {
    let json = br#" { "version" : [ 1 , 7 ] , "x" : null, "y": true, "learner" : {
        "objective": {"name": "reg:squarederror"}, "feature_names": [],
        "learner_model_param": {"base_score": "0.25", "num_class": "0", "num_feature": "2"},
        "gradient_booster": {"name": "gbtree", "model": {"tree_info": [0], "trees": [{
            "default_left": [true, false, false], "left_children": [1, -1, -1], "right_children": [2, -1, -1],
            "split_conditions": [1, 1e1, -Infinity], "split_indices": [0, 0, 0]}]}}}}
        "#;
    let model = Model::from_xgboost(json, None).unwrap();
    let got = scored(&model, 0, [&[f32::NAN, 0.5, 1.0], &[0.0; 3]]);
    assert_eq!(got, [10.25, 10.25, f32::NEG_INFINITY]);
    assert_eq!(model.column_names(), None);
    let mut floats = Vec::new();
    Ubjson::new(b"[Ni\x01NU\xffd\x3f\0\0\0D\x3f\xe0\0\0\0\0\0\0]")
        .floats(&mut floats)
        .unwrap();
    Ubjson::new(b"[$I#i\x02\0\x07\xff\xff")
        .floats(&mut floats)
        .unwrap();
    assert_eq!(floats, [1.0, 255.0, 0.5, 0.5, 7.0, -1.0]);
    let mut ints = Vec::new();
    Ubjson::new(b"[#i\x03TFl\0\0\0\x09")
        .ints(&mut ints)
        .unwrap();
    Json::new(b"[true,false,-3]").ints(&mut ints).unwrap();
    assert_eq!(ints, [1, 0, 9, 1, 0, -3]);
    assert!(
        Ubjson::new(b"[$L#i\x01\x7f\0\0\0\0\0\0\0")
            .ints(&mut ints)
            .is_err()
    );
    let text = Json::new(br#""a\n\u00fc\ud83d\ude00\/""#).text().unwrap();
    assert_eq!(text, "a\nü😀/");
    for wrong in [
        &br#""\q""#[..],
        br#""\ud83d""#,
        br#""\ud83dxx""#,
        br#""\u12""#,
        b"\"\xff\"",
    ] {
        assert!(Json::new(wrong).text().is_err());
    }
}
