//! What goes into and comes out of models beyond single values: lists, several outputs, classes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, ListArray, StringArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use whimbrel_predict::binding::Binding;
use whimbrel_predict::onnx;
use whimbrel_predict::runtime::{Feed, FeedTimes, ModelHost};
use whimbrel_predict::signature::ElementType::{Float32, Int64};
use whimbrel_predict::signature::RowNames;
use whimbrel_predict::types::parse_returns;
use whimbrel_predict::value::{Access, Value};
use whimbrel_proto::{Error, ErrorCode};

use super::testing::{Bench, Graph, node, tensor};

const CLASSIFIER: &[u8] =
    include_bytes!("../../../predict/src/onnx/fixtures/classifier_zipmap.onnx");

fn feed(columns: Vec<ArrayRef>) -> Feed {
    let rows = columns[0].len();
    Feed {
        columns,
        rows,
        job_id: "job".into(),
        times: FeedTimes::default(),
    }
}

fn floats(values: impl IntoIterator<Item = f32>) -> ArrayRef {
    Arc::new(Float32Array::from_iter_values(values))
}

fn lists(length: i32, values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(field, length, values, None))
}

async fn score(
    bench: &Bench,
    binding: &Binding,
    columns: Vec<ArrayRef>,
) -> Result<ArrayRef, Error> {
    bench.host.open(binding).await?.score(feed(columns)).await
}

/// x `[N,2,2]` to itself, to its rows' sums `[N]` and to their lists' peaks `[N,2]`.
fn tensors() -> Graph {
    let mut sums = node("ReduceSum", &["x", "axes"], &["sums"]);
    sums.attribute.push(super::testing::int("keepdims", 0));
    let mut peaks = node("ReduceMax", &["x"], &["peaks"]);
    peaks.attribute.push(super::testing::ints("axes", &[2]));
    peaks.attribute.push(super::testing::int("keepdims", 0));
    Graph {
        nodes: vec![node("Identity", &["x"], &["same"]), sums, peaks],
        inputs: vec![tensor("x", Float32, &[-1, 2, 2])],
        outputs: vec![
            tensor("same", Float32, &[-1, 2, 2]),
            tensor("sums", Float32, &[-1]),
            tensor("peaks", Float32, &[-1, 2]),
        ],
        constants: vec![super::testing::longs("axes", &[1, 2])],
    }
}

fn returning(graph: &Graph, bench: &Bench, returns: &str) -> Binding {
    let all =
        parse_returns("struct<same:array<array<float>>,sums:float,peaks:array<float>>").unwrap();
    let binding = bench.bind(graph, all);
    binding
        .with_returns(&parse_returns(returns).unwrap())
        .unwrap()
}

#[tokio::test]
async fn lists_go_in_and_out_and_nothing_is_lost() {
    let bench = Bench::new(|_| ());
    let graph = tensors();
    let values = [1.0, f32::NAN, f32::INFINITY, -0.0, 5.0, 6.0, 7.0, 8.5];
    let column = || lists(4, floats(values));
    let all = "struct<same:array<array<float>>,sums:float,peaks:array<float>>";
    let scores = score(&bench, &returning(&graph, &bench, all), vec![column()])
        .await
        .unwrap();
    assert_eq!(scores.data_type(), &parse_returns(all).unwrap());
    let scores = scores.as_struct();
    let same = scores.column(0).as_list::<i32>();
    assert_eq!(same.value_offsets(), [0, 2, 4]);
    let rows = same.values().as_list::<i32>();
    assert_eq!(rows.value_offsets(), [0, 2, 4, 6, 8]);
    let kept = rows.values().as_primitive::<Float32Type>().values();
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(kept), bits(&values));
    let sums = scores.column(1).as_primitive::<Float32Type>();
    assert!(sums.value(0).is_nan());
    assert_eq!(sums.value(1), 26.5);

    let renamed = "(a array<array<double>>, b int, peaks struct<`left`:int,`right`:double>)";
    let renamed = returning(&graph, &bench, renamed);
    let peaks = score(&bench, &renamed, vec![column()]);
    let peaks = peaks.await.unwrap();
    let peaks = peaks.as_struct().column(2).as_struct();
    assert_eq!(peaks.column_names(), ["left", "right"]);
    assert_eq!(
        peaks
            .column(0)
            .as_primitive::<arrow::datatypes::Int32Type>()
            .value(1),
        6
    );
    assert_eq!(
        peaks
            .column(1)
            .as_primitive::<arrow::datatypes::Float64Type>()
            .value(1),
        8.5
    );
    assert_eq!(bench.host.stats()[0].loads, 1);
}

#[tokio::test]
async fn holes_in_lists_are_nan_and_one_list_feeds_a_whole_matrix() {
    let bench = Bench::new(|_| ());
    let graph = Graph::linear(&[1.0, 10.0]);
    let mut binding = bench.bind(&graph, DataType::Float32);
    let shape = vec![2];
    let whole = whimbrel_predict::binding::InputElement::scalar("x", true, Float32, 0);
    binding.elements = vec![whimbrel_predict::binding::InputElement { shape, ..whole }];
    let holes: ArrayRef = Arc::new(Float32Array::from(vec![
        Some(1.0),
        Some(2.0),
        None,
        Some(4.0),
    ]));
    let scores = score(&bench, &binding, vec![lists(2, holes)])
        .await
        .unwrap();
    let scores = scores.as_primitive::<Float32Type>();
    assert_eq!(scores.value(0), 21.0);
    assert!(scores.value(1).is_nan());
}

/// The second output has one row whatever is fed: reading it must fail, and reading the first must not.
#[tokio::test]
async fn only_what_is_asked_for_is_read_and_a_wrong_number_of_rows_is_an_error() {
    let bench = Bench::new(|_| ());
    let graph = Graph {
        nodes: vec![
            node("Identity", &["n"], &["same"]),
            node("ReduceMax", &["n"], &["most"]),
        ],
        inputs: vec![tensor("n", Int64, &[-1, 1])],
        outputs: vec![
            tensor("same", Int64, &[-1, 1]),
            tensor("most", Int64, &[-1, 1]),
        ],
        constants: vec![],
    };
    let both = bench.bind(
        &graph,
        parse_returns("struct<same:bigint,most:bigint>").unwrap(),
    );
    let column = || -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from(vec![1, 2, 3]))] };
    let error = score(&bench, &both, column()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Model);
    assert!(
        error
            .message()
            .ends_with("output 'most' has 1 rows for 3 rows fed"),
        "{error}"
    );
    let Ok(Access::Part(same)) = both.value.access(&both.signature, "same") else {
        panic!("{:?}", both.value);
    };
    let scores = score(&bench, &both.returning(same), column())
        .await
        .unwrap();
    assert_eq!(scores.as_primitive::<Int64Type>().values(), &[1, 2, 3]);
}

#[tokio::test]
async fn a_classifiers_maps_are_read_as_the_tensor_they_were() {
    let bench = Bench::new(|_| ());
    let facts = onnx::inspect(CLASSIFIER).unwrap();
    let value = Value::resolve(&facts.signature, None, None).unwrap();
    let binding = Binding {
        digest: bench.shelf.put(CLASSIFIER.to_vec()),
        signature: facts.signature.clone(),
        elements: facts.elements,
        ..bench.bind(&Graph::linear(&[1.0]), DataType::Float32)
    };
    let binding = binding.returning(value);
    let columns = |rows: usize| -> Vec<ArrayRef> {
        let column =
            |place: usize| floats((0..rows).map(move |row| ((row * 7 + place * 13) % 50) as f32));
        (0..9).map(column).collect()
    };
    let scores = score(&bench, &binding, columns(500)).await.unwrap();
    let scores = scores.as_struct();
    let labels: &StringArray = scores.column(0).as_string();
    let maps = scores.column(1).as_map();
    assert_eq!(
        maps.value_offsets(),
        (0..=500).map(|row| row * 2).collect::<Vec<_>>()
    );
    let keys: Vec<_> = maps.keys().as_string::<i32>().iter().flatten().collect();
    assert_eq!(keys, ["cheap", "dear"].repeat(500));
    let chances = maps.values().as_primitive::<Float32Type>().values();
    for (row, pair) in chances.chunks(2).enumerate() {
        assert!((pair[0] + pair[1] - 1.0).abs() < 1e-5, "{pair:?}");
        assert_eq!(
            labels.value(row),
            if pair[1] > pair[0] { "dear" } else { "cheap" }
        );
    }
    assert!(
        labels.iter().flatten().any(|label| label == "cheap")
            && labels.iter().flatten().any(|label| label == "dear")
    );

    let RowNames::TextClasses(classes) = &facts.signature.outputs[1].names else {
        panic!("{:?}", facts.signature.outputs);
    };
    assert_eq!(classes, &["cheap", "dear"]);
    let dear = parse_returns("struct<output_probability:struct<dear:double>>").unwrap();
    let scores = score(&bench, &binding.with_returns(&dear).unwrap(), columns(500))
        .await
        .unwrap();
    let dear = scores.as_struct().column(0).as_struct().column(0);
    let dear = dear.as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(dear.value(7), f64::from(chances[15]));
    let list = parse_returns("array<float>").unwrap();
    let scores = score(&bench, &binding.with_returns(&list).unwrap(), columns(3))
        .await
        .unwrap();
    let expected: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
        chances
            .chunks(2)
            .take(3)
            .map(|pair| Some(pair.iter().copied().map(Some))),
    ));
    assert_eq!(&scores, &expected);
}
