//! Every row for which a condition is true is within what the condition says, whatever is in it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::{cast, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::DFSchema;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::prelude::SessionContext;

use super::conditions::{hold, of_expr};
use super::{Known, Range};

/// Values on the bounds of the conditions below, next to them, and those that comparisons treat in ways of their own.
fn rows() -> RecordBatch {
    let near = |x: f64| [x, x.next_up(), x.next_down()];
    let mut numbers: Vec<Option<f64>> = [-1e300, -3.0, 0.0, 0.1, 2.5, 3.0, 7.0, 1e9]
        .into_iter()
        .flat_map(near)
        .map(Some)
        .collect();
    let odd = [-0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    numbers.extend(odd.map(Some));
    numbers.push(None);
    let count = numbers.len();
    let turned = |by: usize| (0..count).map(move |row| (row * by) % count);
    let whole = |row: usize| (!row.is_multiple_of(11)).then_some(row as i64 - 6);
    let floats = numbers.iter().map(|x| x.map(|x| x as f32));
    let texts = turned(5).map(|row| ["cash", "card", "", "Cash"].get(row % 5).copied());
    let columns: [(&str, ArrayRef); 5] = [
        ("x", Arc::new(Float32Array::from_iter(floats))),
        (
            "y",
            Arc::new(Float64Array::from_iter(turned(7).map(|row| numbers[row]))),
        ),
        ("k", Arc::new(Int64Array::from_iter(turned(11).map(whole)))),
        (
            "i",
            Arc::new(Int32Array::from_iter(
                turned(13).map(whole).map(|k| k.map(|k| k as i32)),
            )),
        ),
        ("s", Arc::new(StringArray::from_iter(texts))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn expr(sql: &str, batch: &RecordBatch) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(batch.schema()).unwrap();
    let expr = context.parse_sql_expr(sql, &schema).unwrap();
    context.create_physical_expr(expr, &schema).unwrap()
}

fn known(sql: &str) -> (Vec<Known>, RecordBatch) {
    let batch = rows();
    let condition = expr(sql, &batch);
    let mut known = vec![Known::Anything; batch.num_columns()];
    hold(&condition, &batch.schema(), &mut known);
    let truth = condition.evaluate(&batch).unwrap();
    let truth = truth.into_array(batch.num_rows()).unwrap();
    let truth = truth.as_boolean();
    let truth = match truth.null_count() {
        0 => truth.clone(),
        _ => prep_null_mask_filter(truth),
    };
    (known, filter_record_batch(&batch, &truth).unwrap())
}

fn texts(texts: &[&str]) -> Known {
    Known::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn within(known: &Known, column: &ArrayRef) -> bool {
    match known {
        Known::Anything => true,
        Known::Texts(texts) => {
            let of_column = column.as_string::<i32>().iter();
            let one_of = |text: &str| texts.iter().any(|one| one == text);
            of_column.into_iter().all(|text| text.is_some_and(one_of))
        }
        Known::Numbers(range) => {
            let wide = cast(column, &DataType::Float64).unwrap();
            let numbers = wide.as_primitive::<Float64Type>().iter();
            numbers.into_iter().all(|x| match x {
                None => range.nan(),
                Some(x) if x.is_nan() => range.nan(),
                Some(x) => range.low <= x && x <= range.high,
            })
        }
    }
}

const COMPARED: [&str; 22] = [
    "x < 3.0",
    "x <= 3.0",
    "x > 0.0",
    "x >= 0.1",
    "x = 2.5",
    "x < 0.1",
    "x < -0.0",
    "x > -0.0",
    "3.0 > x",
    "x <> 3",
    "y < 3.0",
    "y >= 0.1",
    "y = 7.0",
    "y BETWEEN 0.0 AND 3.0",
    "k < 3",
    "k > 2.5",
    "k <= 2.5",
    "k IN (1, 3, 5)",
    "i >= 4",
    "s = 'cash'",
    "s IN ('cash')",
    "s IN ('cash', 'card')",
];

#[test]
fn rows_that_pass_are_within_what_the_condition_says() {
    let others = [
        "k IS NULL",
        "y IS NULL",
        "k IS NOT NULL",
        "NOT (x < 3)",
        "x + 1 < 3",
        "k = i",
    ];
    let singles = COMPARED.iter().chain(&others);
    let mut conditions: Vec<String> = singles.map(|one| (*one).to_owned()).collect();
    for one in COMPARED {
        for other in COMPARED.iter().chain(&others) {
            conditions.push(format!("{one} AND {other}"));
            conditions.push(format!("{one} OR {other}"));
            conditions.push(format!("CASE WHEN {one} THEN {other} ELSE false END"));
        }
    }
    let mut passed = 0;
    for sql in conditions {
        let (known, rows) = known(&sql);
        passed += rows.num_rows();
        for (place, known) in known.iter().enumerate() {
            let column = rows.column(place);
            assert!(within(known, column), "{sql}: {known:?} {column:?}");
        }
    }
    assert!(passed > 1000, "{passed}");
}

#[test]
fn a_condition_says_as_much_as_it_can() {
    let all = Range::ALL;
    let cases = [
        ("k = 2", 2, Known::Numbers(Range::between(2.0, 2.0))),
        (
            "k < 3",
            2,
            Known::Numbers(Range::between(f64::NEG_INFINITY, 2.0)),
        ),
        (
            "k > 2.5 AND k < 9",
            2,
            Known::Numbers(Range::between(3.0, 8.0)),
        ),
        (
            "i IN (1, 7, 3)",
            3,
            Known::Numbers(Range::between(1.0, 7.0)),
        ),
        (
            "y BETWEEN 1.0 AND 2.0",
            1,
            Known::Numbers(Range::between(1.0, 2.0)),
        ),
        (
            "y < 3.0",
            1,
            Known::Numbers(Range {
                high: 3_f64.next_down(),
                nan_above: false,
                ..all
            }),
        ),
        (
            "x >= 3.0",
            0,
            Known::Numbers(Range {
                low: 3.0,
                nan_below: false,
                ..all
            }),
        ),
        (
            "x < 3.0",
            0,
            Known::Numbers(Range {
                high: f64::from(3_f32.next_down()),
                nan_above: false,
                ..all
            }),
        ),
        (
            "x > 1.0 AND x < 2.0 OR x = 9.0",
            0,
            Known::Numbers(Range::between(f64::from(1_f32.next_up()), 9.0)),
        ),
        ("s = 'cash'", 4, texts(&["cash"])),
        ("s IN ('cash', 'card', 'cash')", 4, texts(&["card", "cash"])),
        ("s = 'x' OR s = 'cash'", 4, texts(&["cash", "x"])),
        ("s IN ('a', 'b') AND s IN ('b', 'c')", 4, texts(&["b"])),
        ("(s = 'cash') IS TRUE", 4, texts(&["cash"])),
        ("(k = 1) IS NOT DISTINCT FROM NULL", 2, Known::Anything),
        ("k = 1 OR s = 'cash'", 2, Known::Anything),
        ("k = 9007199254740993", 2, Known::Anything),
    ];
    for (sql, place, expected) in cases {
        assert_eq!(known(sql).0[place], expected, "{sql}");
    }
}

#[test]
fn a_cast_keeps_the_bounds() {
    let batch = rows();
    let mut known = vec![Known::Anything; batch.num_columns()];
    hold(
        &expr("y BETWEEN 0.1 AND 7.5 AND k = 5 AND s = 'cash'", &batch),
        &batch.schema(),
        &mut known,
    );
    let of = |sql: &str| of_expr(&expr(sql, &batch), &batch.schema(), &known);
    let tenth = f64::from(0.1_f32);
    assert_eq!(
        of("CAST(y AS REAL)"),
        Known::Numbers(Range::between(tenth, 7.5))
    );
    assert_eq!(
        of("CAST(y AS INT)"),
        Known::Numbers(Range::between(0.0, 7.0))
    );
    assert_eq!(
        of("CAST(k AS REAL)"),
        Known::Numbers(Range::between(5.0, 5.0))
    );
    assert_eq!(of("CAST(s AS VARCHAR)"), texts(&["cash"]));
    assert_eq!(of("4.5"), Known::Numbers(Range::between(4.5, 4.5)));
    assert_eq!(of("k + 1"), Known::Anything);
    assert_eq!(of("CAST(k AS VARCHAR)"), Known::Anything);
}

#[test]
fn a_promise_is_told_as_a_condition() {
    let shown = |known: Known| known.shown("a");
    let range = Range::between;
    assert_eq!(shown(Known::Anything), None);
    assert_eq!(shown(Known::Numbers(Range::ALL)), None);
    let cases = [
        (Known::Numbers(range(2.0, 2.0)), "a = 2"),
        (Known::Numbers(range(0.5, 3.0)), "0.5 <= a <= 3"),
        (
            Known::Numbers(Range {
                high: 3.0,
                ..Range::ALL
            }),
            "a <= 3 or NaN",
        ),
        (Known::Numbers(range(1.0, f64::INFINITY)), "a >= 1"),
        (Known::Numbers(Range::NAN), "a is NaN"),
        (texts(&["cash"]), "a = 'cash'"),
        (texts(&["card", "cash"]), "a in ('card', 'cash')"),
    ];
    for (known, text) in cases {
        assert_eq!(shown(known).as_deref(), Some(text));
    }
}
