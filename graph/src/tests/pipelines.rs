//! Operators over texts, whole numbers and doubles, one by one and as pipelines have them.

use super::{ML, classes, field, floats, ints, model, node, number, score, texts, varint, why};
use crate::{Column, Element, Error, Input, Kind, Labels, Model};

/// A model of one input of one column for each (name, element type).
fn of_inputs(inputs: &[(&str, u64)], nodes: &[Vec<u8>], outputs: &[&str]) -> Vec<u8> {
    let input = |(name, element): &(&str, u64)| {
        let shape = [field(1, &field(2, b"N")), field(1, &number(1, 1))].concat();
        let tensor = [number(1, *element), field(2, &shape)].concat();
        field(
            11,
            &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat(),
        )
    };
    let outputs = outputs
        .iter()
        .map(|name| field(12, &field(1, name.as_bytes())));
    let parts: Vec<Vec<u8>> = inputs.iter().map(input).chain(outputs).collect();
    field(7, &[nodes.concat(), parts.concat()].concat())
}

pub(super) fn int(name: &str, value: i64) -> Vec<u8> {
    field(
        5,
        &[field(1, name.as_bytes()), number(3, value as u64)].concat(),
    )
}

fn float(name: &str, value: f32) -> Vec<u8> {
    let value = [varint(2 << 3 | 5), value.to_le_bytes().to_vec()].concat();
    field(5, &[field(1, name.as_bytes()), value].concat())
}

/// A node that gives a constant of doubles, or of whole numbers or texts.
fn constant(name: &str, element: u64, count: u64, raw: &[u8]) -> Vec<u8> {
    let values = match element {
        8 => field(6, raw),
        _ => field(9, raw),
    };
    let tensor = [number(1, count), number(2, element), values].concat();
    let value = field(5, &[field(1, b"value"), field(5, &tensor)].concat());
    node("Constant", "", &[], &[name], &[value])
}

pub(super) fn doubles_of(name: &str, values: &[f64]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    constant(name, 11, values.len() as u64, &raw)
}

fn ints_of(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    constant(name, 7, values.len() as u64, &raw)
}

fn floats_of(name: &str, values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    constant(name, 1, values.len() as u64, &raw)
}

fn one_hot(cats: &[&str], zeros: i64) -> Vec<Vec<u8>> {
    let hot = node(
        "OneHotEncoder",
        ML,
        &["x"],
        &["hot"],
        &[texts("cats_strings", cats), int("zeros", zeros)],
    );
    let shape = ints_of("shape", &[-1, cats.len() as i64]);
    vec![
        hot,
        shape,
        node("Reshape", "", &["hot", "shape"], &["flat"], &[]),
    ]
}

fn weighted(from: &str, weights: &[f32]) -> Vec<u8> {
    let attributes = [
        floats("coefficients", weights),
        floats("intercepts", &[100.0]),
    ];
    node("LinearRegressor", ML, &[from], &["y"], &attributes)
}

/// Texts and a float, one-hot and scaled, into a weighted sum; empty texts are first filled.
pub(super) fn texts_and_floats(zeros: i64) -> Vec<u8> {
    let label = [
        texts("keys_strings", &[""]),
        ints("values_int64s", &[1]),
        int("default_int64", 0),
    ];
    let mut nodes = vec![
        constant("fill", 8, 1, b"missing"),
        node("LabelEncoder", ML, &["t"], &["gap"], &label),
        node("Cast", "", &["gap"], &["gaps"], &[int("to", 9)]),
        node("Where", "", &["gaps", "fill", "t"], &["x"], &[]),
    ];
    nodes.extend(one_hot(&["a", "missing", "é"], zeros));
    nodes.push(node(
        "Scaler",
        ML,
        &["f"],
        &["scaled"],
        &[floats("offset", &[1.0]), floats("scale", &[2.0])],
    ));
    nodes.push(node(
        "Concat",
        "",
        &["flat", "scaled"],
        &["all"],
        &[int("axis", 1)],
    ));
    nodes.push(weighted("all", &[1.0, 2.0, 3.0, 10.0]));
    of_inputs(&[("t", 8), ("f", 1)], &nodes, &["y"])
}

pub(super) fn texts_model() -> Vec<u8> {
    texts_and_floats(1)
}

pub(super) fn doubles_model() -> Vec<u8> {
    let nodes = [
        doubles_of("mean", &[1e9, 0.1]),
        doubles_of("deviation", &[0.1, 1.0 / 3.0]),
        node("Sub", "", &["x", "mean"], &["centred"], &[]),
        node("Div", "", &["centred", "deviation"], &["scaled"], &[]),
        doubles_of("weights", &[1.0, 3.0]),
        node("MatMul", "", &["scaled", "weights"], &["y"], &[]),
    ];
    model(11, 2, &nodes, &["y"])
}

fn scored(bytes: &[u8], columns: &[Column<'_>], rows: usize) -> Vec<f32> {
    score(&Model::from_onnx(bytes, None).unwrap(), columns, rows)
}

#[test]
fn texts_become_entries_of_a_table() {
    let model = Model::from_onnx(&texts_model(), None).unwrap();
    let input = |name: &str, element| Input {
        name: name.to_owned(),
        element,
        width: 1,
    };
    assert_eq!(
        model.inputs(),
        [input("t", Element::Text), input("f", Element::Float32)]
    );
    let (offsets, bytes) = ([0, 1, 1, 3, 4, 11], "aébmissing".as_bytes());
    let floats = [1.0_f32, 1.5, 1.0, 2.0, f32::INFINITY];
    let columns = [Column::text(&offsets, bytes), Column::from(&floats[..])];
    let expected = [101.0, 112.0, 103.0, 120.0, f32::INFINITY];
    assert_eq!(score(&model, &columns, 5), expected);
    assert_eq!(model.outputs()[0].element, Element::Float32);
}

#[test]
fn a_category_that_no_one_knows_may_be_an_error() {
    let model = Model::from_onnx(&texts_and_floats(0), None).unwrap();
    let run = |bytes: &[u8]| {
        let floats = [1.0_f32, 1.0];
        let columns = [Column::text(&[0, 1, 2], bytes), Column::from(&floats[..])];
        let mut out = [0.0; 2];
        model
            .score(0, &columns, 2, &mut model.scratch(), &mut out)
            .map(|()| out)
    };
    assert_eq!(run(b"aa"), Ok([101.0, 101.0]));
    let Err(Error::Rows(why)) = run(b"ab") else {
        panic!("no error");
    };
    assert!(why.contains("column 0 has a category"), "{why}");
    let float = [1.0_f32];
    let columns = [Column::text(&[0, 9], b"a"), Column::from(&float[..])];
    let broken = model.score(0, &columns, 1, &mut model.scratch(), &mut [0.0]);
    assert!(matches!(broken, Err(Error::Rows(_))), "{broken:?}");
    let columns = [Column::from(&float[..]), Column::from(&float[..])];
    let other = model.score(0, &columns, 1, &mut model.scratch(), &mut [0.0]);
    assert!(matches!(other, Err(Error::Call(_))), "{other:?}");
}

#[test]
fn doubles_are_scaled_as_doubles() {
    let (a, b) = ([1e9 + 0.5, 1e9], [0.1, 1.1]);
    let columns = [Column::from(&a[..]), Column::from(&b[..])];
    let got = scored(&doubles_model(), &columns, 2);
    for (got, expected) in got.iter().zip([5.0, 9.0]) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
    let huge = [1e300, 0.0];
    let model = Model::from_onnx(&doubles_model(), None).unwrap();
    let columns = [Column::from(&huge[..]), Column::from(&b[..])];
    let beyond = model.score(0, &columns, 2, &mut model.scratch(), &mut [0.0; 2]);
    assert!(matches!(beyond, Err(Error::Rows(_))), "{beyond:?}");
}

#[test]
fn whole_numbers_are_looked_up_and_labelled() {
    let encode =
        |attributes: &[Vec<u8>], to: &str| node("LabelEncoder", ML, &["x"], &[to], attributes);
    let keys = ints("keys_int64s", &[5, 7, 5]);
    let values = [-1_i64, 1 << 40, 3].map(|value| value as u64);
    let ints_to_ints = [encode(&[keys.clone(), ints("values_int64s", &values)], "y")];
    let bytes = model(7, 1, &ints_to_ints, &["y"]);
    let model = Model::from_onnx(&bytes, None).unwrap();
    let Kind::Label(Labels::Ints(labels)) = &model.outputs()[0].kind else {
        panic!("{:?}", model.outputs());
    };
    let rows = [7_i64, 5, i64::MIN, 6];
    let mut places = [9; 4];
    let columns = [Column::from(&rows[..])];
    model
        .classify(0, &columns, 4, &mut model.scratch(), &mut places)
        .unwrap();
    let got = places.map(|place| labels[place as usize]);
    assert_eq!(got, [1 << 40, -1, -1, -1]);
    let floats_of_ints = [encode(
        &[
            keys,
            floats("values_floats", &[0.5, 1.5, 2.5]),
            float("default_float", -2.0),
        ],
        "y",
    )];
    let bytes = super::model(7, 1, &floats_of_ints, &["y"]);
    assert_eq!(scored(&bytes, &columns, 4), [1.5, 0.5, -2.0, -2.0]);
    let from_floats = [encode(
        &[
            floats("keys_floats", &[0.0, 1.5]),
            floats("values_floats", &[7.0, 8.0]),
        ],
        "y",
    )];
    let rows = [-0.0_f32, 1.5, f32::NAN, 1.0];
    let got = scored(
        &super::model(1, 1, &from_floats, &["y"]),
        &[Column::from(&rows[..])],
        4,
    );
    assert_eq!(got, [7.0, 8.0, -0.0, -0.0]);
}

#[test]
fn comparisons_of_whole_numbers_are_looked_up() {
    let key = [ints("keys_int64s", &[1]), floats("values_floats", &[5.0])];
    let nodes = [
        ints_of("three", &[3]),
        node("Less", "", &["x", "three"], &["below"], &[]),
        node("Cast", "", &["below"], &["int"], &[int("to", 7)]),
        node("LabelEncoder", ML, &["int"], &["y"], &key),
    ];
    let rows = [2_i64, 3, i64::MIN, i64::MAX];
    let got = scored(&model(7, 1, &nodes, &["y"]), &[Column::from(&rows[..])], 4);
    assert_eq!(got, [5.0, -0.0, 5.0, -0.0]);
}

/// Of equal categories a one-hot encoder takes the last, and cuts floats down.
#[test]
fn one_hot_columns_are_numbers_too() {
    let hot = node(
        "OneHotEncoder",
        ML,
        &["x"],
        &["hot"],
        &[ints("cats_int64s", &[0, 1, 0])],
    );
    let flat = node("Flatten", "", &["hot"], &["flat"], &[int("axis", 1)]);
    let pick = node("Gather", "", &["flat", "last"], &["y"], &[int("axis", 1)]);
    let nodes = [hot, flat, ints_of("last", &[2]), pick];
    let rows = [0.9_f32, -0.9, 1.0, f32::NAN];
    let got = scored(&model(1, 1, &nodes, &["y"]), &[Column::from(&rows[..])], 4);
    assert_eq!(got, [1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn numbers_are_cast_as_by_onnx_runtime() {
    let cast = |from: &str, by: &str, to: i64| node("Cast", "", &[from], &[by], &[int("to", to)]);
    let rows = [1.9_f32, -1.9, 3e9, f32::NAN, 300.0];
    let through = |to: i64| {
        let nodes = [cast("x", "i", to), cast("i", "y", 1)];
        scored(&model(1, 1, &nodes, &["y"]), &[Column::from(&rows[..])], 5)
    };
    let least = i64::MIN as f32;
    assert_eq!(through(7), [1.0, -1.0, 3e9, least, 300.0]);
    let least = i32::MIN as f32;
    assert_eq!(through(6), [1.0, -1.0, least, least, 300.0]);
    assert_eq!(through(3), [1.0, -1.0, 0.0, 0.0, 44.0]);
    assert_eq!(through(9), [1.0; 5]);
    let nodes = [cast("x", "i", 12)];
    assert!(why(&model(1, 1, &nodes, &["i"])).contains("Cast: to element type 12"));
    let nodes = [cast("x", "i", 6)];
    assert!(why(&model(7, 1, &nodes, &["i"])).contains("Cast: Int64 to Int32"));
}

#[test]
fn comparisons_and_choices() {
    let nodes = [
        floats_of("ends", &[0.0, 1.0]),
        floats_of("one", &[1.0]),
        floats_of("two", &[2.0]),
        node("Less", "", &["x", "ends"], &["below"], &[]),
        node("Not", "", &["below"], &["above"], &[]),
        node("Where", "", &["above", "two", "x"], &["some"], &[]),
        node("Where", "", &["below", "one", "two"], &["all"], &[]),
        node("Concat", "", &["some", "all"], &["y"], &[int("axis", -1)]),
    ];
    let rows = [-1.0_f32, 0.5, 1.0, f32::NAN];
    let model = Model::from_onnx(&model(1, 1, &nodes, &["y"]), None).unwrap();
    let mut out = [0.0; 16];
    let columns = [Column::from(&rows[..])];
    model
        .score(0, &columns, 4, &mut model.scratch(), &mut out)
        .unwrap();
    assert_eq!(out[..8], [-1.0, -1.0, 1.0, 1.0, 2.0, 0.5, 2.0, 1.0]);
    assert_eq!(out[8..], [2.0; 8]);
}

#[test]
fn products_powers_and_ends() {
    let nodes = [
        ints_of("both", &[0, 1]),
        ints_of("axes", &[1]),
        floats_of("least", &[-1.0]),
        floats_of("cube", &[3.0]),
        node("Gather", "", &["x", "both"], &["two"], &[int("axis", 1)]),
        node(
            "ReduceProd",
            "",
            &["two"],
            &["product"],
            &[ints("axes", &[1])],
        ),
        node("ReduceSum", "", &["two", "axes"], &["sum"], &[]),
        node("Clip", "", &["sum", "least"], &["clipped"], &[]),
        node("Pow", "", &["product", "cube"], &["cubed"], &[]),
        node("Shape", "", &["product"], &["shape"], &[]),
        node("ConstantOfShape", "", &["shape"], &["zero"], &[]),
        node(
            "Concat",
            "",
            &["product", "clipped", "cubed", "zero"],
            &["y"],
            &[int("axis", 1)],
        ),
    ];
    let model = Model::from_onnx(&model(1, 2, &nodes, &["y"]), None).unwrap();
    let (a, b) = ([2.0_f32], [-4.0_f32]);
    let mut out = [9.0; 4];
    let columns = [Column::from(&a[..]), Column::from(&b[..])];
    model
        .score(0, &columns, 1, &mut model.scratch(), &mut out)
        .unwrap();
    assert_eq!(out, [-8.0, -1.0, -512.0, 0.0]);
}

#[test]
fn damaged_attributes_are_refused() {
    let encoder = |op: &str, attributes: &[Vec<u8>]| {
        why(&model(
            8,
            1,
            &[node(op, ML, &["x"], &["y"], attributes)],
            &["y"],
        ))
    };
    let cats = texts("cats_strings", &["a"]);
    assert!(encoder("OneHotEncoder", &[]).contains("damaged"));
    assert!(encoder("OneHotEncoder", &[cats, ints("cats_int64s", &[1])]).contains("damaged"));
    assert!(
        encoder("OneHotEncoder", &[ints("cats_int64s", &[1])]).contains("keys of another type")
    );
    let keys = texts("keys_strings", &["a", "b"]);
    assert!(encoder("LabelEncoder", std::slice::from_ref(&keys)).contains("differ in number"));
    assert!(
        encoder("LabelEncoder", &[keys.clone(), ints("values_int64s", &[1])])
            .contains("differ in number")
    );
    assert!(
        encoder(
            "LabelEncoder",
            &[
                keys,
                ints("keys_int64s", &[1]),
                ints("values_int64s", &[1, 2])
            ]
        )
        .contains("damaged")
    );
    assert!(encoder("Scaler", &[]).contains("of texts"));
    let nan = [
        floats("keys_floats", &[f32::NAN]),
        floats("values_floats", &[1.0]),
    ];
    let nodes = [node("LabelEncoder", ML, &["x"], &["y"], &nan)];
    assert!(why(&model(1, 1, &nodes, &["y"])).contains("NaN as a key"));
    let nodes = [node(
        "Imputer",
        ML,
        &["x"],
        &["y"],
        &[floats("imputed_value_floats", &[1.0])],
    )];
    assert!(why(&model(11, 1, &nodes, &["y"])).contains("Imputer: of what are no 32-bit floats"));
    assert!(Model::from_onnx(&classes(), None).is_ok());
}

/// Many small operators over one large table must not make as many large tables.
#[test]
fn tables_do_not_outgrow_the_file() {
    let keys: Vec<String> = (0..5_000).map(|key| format!("key {key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let values: Vec<u64> = (0..5_000).collect();
    let attributes = [texts("keys_strings", &keys), ints("values_int64s", &values)];
    let all = vec![0_i64; 5_000];
    let nodes = [
        node("LabelEncoder", ML, &["x"], &["place"], &attributes),
        node("Cast", "", &["place"], &["float"], &[int("to", 1)]),
        ints_of("all", &all),
        node("Gather", "", &["float", "all"], &["y"], &[int("axis", 1)]),
    ];
    assert!(why(&model(8, 1, &nodes, &["y"])).contains("tables of so many entries"));
}
