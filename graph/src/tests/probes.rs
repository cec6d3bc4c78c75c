//! What a model offers for a comparison with another runtime.

use super::pipelines::{doubles_of, int, texts_and_floats};
use super::{ML, floats, ints, model, node, scaled_sum, stump, test};
use crate::{Candidates, Model};

fn probes(bytes: &[u8]) -> Vec<Candidates> {
    Model::from_onnx(bytes, None).unwrap().probes()
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    match probes(bytes).swap_remove(0) {
        Candidates::Numbers(numbers) => numbers,
        Candidates::Texts(texts) => panic!("{texts:?}"),
    }
}

fn have(numbers: &[f64], wanted: &[f64]) {
    for wanted in wanted {
        assert!(numbers.contains(wanted), "{wanted} in {numbers:?}");
    }
}

#[test]
fn thresholds_and_what_lies_beside_them() {
    let beside = |x: f32| [x, x.next_up(), x.next_down()].map(f64::from);
    let floats_of_stump = numbers(&stump());
    have(&floats_of_stump, &beside(0.5));
    have(&floats_of_stump, &[0.0, 1.0, -1.0]);
    assert_eq!(floats_of_stump.iter().filter(|x| x.is_nan()).count(), 1);
    assert!(!floats_of_stump.iter().any(|x| x.is_infinite()));
    let scaled = node(
        "Scaler",
        ML,
        &["x"],
        &["s"],
        &[floats("offset", &[1.0]), floats("scale", &[-3.0])],
    );
    let scaled = model(1, 1, &[scaled, test("s", 6.0)], &["y"]);
    let scaled = numbers(&scaled);
    let is_above = |x: f64| (x as f32 - 1.0) * -3.0 > 6.0;
    let is_edge = |x: &&f64| !is_above(**x) && is_above((**x as f32).next_down().into());
    let edge = scaled.iter().find(is_edge).unwrap();
    have(&scaled, &[(*edge as f32).next_down().into()]);
    // Doubles are compared as doubles.
    let doubles = numbers(&model(11, 1, &[test("x", 0.1)], &["y"]));
    let x = f64::from(0.1_f32);
    have(&doubles, &[x, x.next_up(), x.next_down()]);
    let scale = [
        doubles_of("d", &[1024.0]),
        node("Div", "", &["x", "d"], &["s"], &[]),
    ];
    let cast = node("Cast", "", &["s"], &["f"], &[int("to", 1)]);
    let divided = model(
        11,
        1,
        &[&scale[..], &[cast, test("f", 0.5)]].concat(),
        &["y"],
    );
    let divided = numbers(&divided);
    assert!(
        divided.iter().any(|x| (511.9..=512.0).contains(x)),
        "{divided:?}"
    );
    assert!(
        divided.iter().any(|x| (512.0..512.1).contains(x)),
        "{divided:?}"
    );
}

#[test]
fn whole_numbers_stay_whole_and_within_their_type() {
    for (element, least, most) in [(7, -1e16, 1e16), (5, -32768.0, 32767.0), (2, 0.0, 255.0)] {
        let values = numbers(&model(element, 1, &[test("x", 77.5)], &["y"]));
        have(&values, &[77.0, 78.0, 0.0, 1.0]);
        let inside = |x: &f64| x.fract() == 0.0 && (least..=most).contains(x);
        assert!(values.iter().all(inside), "{values:?}");
    }
}

#[test]
fn keys_and_what_is_none_of_them() {
    let texts = |zeros| match probes(&texts_and_floats(zeros)).swap_remove(0) {
        Candidates::Texts(texts) => texts,
        Candidates::Numbers(numbers) => panic!("{numbers:?}"),
    };
    let lenient = texts(1);
    for text in ["", "a", "missing", "é", "no such category"] {
        assert!(lenient.iter().any(|of| of == text), "{text} in {lenient:?}");
    }
    let mut strict = texts(0);
    strict.sort();
    assert_eq!(strict, ["", "a", "missing", "é"]);
    // Numbers that the model fails for are none either.
    let categories = [ints("cats_int64s", &[4, 1000]), int("zeros", 0)];
    let hot = node("OneHotEncoder", ML, &["x"], &["hot"], &categories);
    let flat = node("Flatten", "", &["hot"], &["flat"], &[]);
    let sum = node(
        "LinearRegressor",
        ML,
        &["flat"],
        &["y"],
        &[
            floats("coefficients", &[1.0, 2.0]),
            floats("intercepts", &[0.0]),
        ],
    );
    let mut values = numbers(&model(7, 1, &[hot, flat, sum], &["y"]));
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [4.0, 1000.0]);
}

#[test]
fn each_column_has_some() {
    let made = probes(&scaled_sum());
    assert_eq!(made.len(), 2);
    for candidates in made {
        let Candidates::Numbers(numbers) = candidates else {
            panic!("{candidates:?}");
        };
        have(&numbers, &[0.0, 1.0, -1.0, 0.5, 1000.0]);
        assert!(numbers.iter().any(|x| x.is_nan()));
    }
    let model = Model::from_onnx(&stump(), Some(&[2])).unwrap();
    let made = model.probes();
    assert_eq!(made[..2], [0, 1].map(|_| Candidates::Numbers(vec![0.0])));
    assert_eq!(made.len(), 3);
}
