//! The host as its callers see it, with a real ONNX Runtime.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
    UInt8Array,
};
use arrow::datatypes::DataType;
use futures::future::{join_all, try_join_all};
use futures::poll;
use whimbrel_predict::runtime::{Feed, FeedTimes, ModelHost};
use whimbrel_predict::signature::ElementType::{Bool, Float32, Float64, Int64, String, UInt8};
use whimbrel_proto::{Error, ErrorCode};

use crate::host::HostStats as _;

use super::testing::{Bench, Graph, digest_of, node, tensor};

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn feed(columns: Vec<ArrayRef>) -> Feed {
    let rows = columns[0].len();
    Feed {
        columns,
        rows,
        job_id: "job".into(),
        times: FeedTimes::default(),
    }
}

/// Scores one feed of one graph on a host of its own.
async fn score(
    graph: &Graph,
    returns: DataType,
    columns: Vec<ArrayRef>,
) -> Result<ArrayRef, Error> {
    let bench = Bench::new(|_| ());
    bench
        .host
        .open(&bench.bind(graph, returns))
        .await?
        .score(feed(columns))
        .await
}

#[tokio::test]
async fn columns_become_one_wide_input_and_null_becomes_nan() {
    let graph = Graph::linear(&[1.0, 10.0, 100.0]);
    let column = |shift: f32| {
        array(Float32Array::from_iter_values(
            (0..1000).map(|row| row as f32 + shift),
        ))
    };
    let scores = score(
        &graph,
        DataType::Float32,
        vec![column(0.0), column(1.0), column(2.0)],
    )
    .await
    .unwrap();
    let expected = (0..1000).map(|row| 111.0 * row as f32 + 210.0);
    assert_eq!(&scores, &array(Float32Array::from_iter_values(expected)));

    let holes = array(Float32Array::from(vec![Some(1.0), None, Some(3.0)]));
    let ones = array(Float32Array::from(vec![1.0; 3]));
    let scores = score(
        &graph,
        DataType::Float64,
        vec![Arc::clone(&ones), ones, holes],
    )
    .await
    .unwrap();
    let scores = scores.as_any().downcast_ref::<Float64Array>().unwrap();
    assert_eq!(
        (scores.value(0), scores.value(2), scores.null_count()),
        (111.0, 311.0, 0)
    );
    assert!(scores.value(1).is_nan());
}

/// Slices start inside their buffers: what is borrowed must respect the offset.
#[tokio::test]
async fn columns_become_inputs_of_their_own() {
    let inputs = vec![
        tensor("a", Float64, &[-1, 1]),
        tensor("b", Float64, &[-1, 1]),
    ];
    let graph = Graph::of("Add", inputs, tensor("sum", Float64, &[-1, 1]));
    let column = |shift: f64| {
        array(Float64Array::from_iter_values(
            (0..10).map(|row| f64::from(row) + shift),
        ))
        .slice(4, 5)
    };
    let scores = score(&graph, DataType::Int64, vec![column(0.0), column(0.6)])
        .await
        .unwrap();
    assert_eq!(&scores, &array(Int64Array::from(vec![8, 10, 12, 14, 16])));

    let flat = Graph::of(
        "Identity",
        vec![tensor("n", UInt8, &[-1])],
        tensor("m", UInt8, &[-1]),
    );
    let scores = score(
        &flat,
        DataType::Int32,
        vec![array(UInt8Array::from(vec![0, 255]))],
    )
    .await
    .unwrap();
    assert_eq!(&scores, &array(Int32Array::from(vec![0, 255])));
}

#[tokio::test]
async fn text_and_flags_go_in_and_out() {
    let text = Graph::of(
        "Identity",
        vec![tensor("s", String, &[-1, 1])],
        tensor("t", String, &[-1, 1]),
    );
    let words = array(StringArray::from(vec!["cash", "", "zero\0inside", "naïve"]));
    assert_eq!(
        &score(&text, DataType::Utf8, vec![Arc::clone(&words)])
            .await
            .unwrap(),
        &words
    );

    let not = Graph::of(
        "Not",
        vec![tensor("b", Bool, &[-1, 1])],
        tensor("n", Bool, &[-1, 1]),
    );
    let flags = array(BooleanArray::from_iter(
        (0..100).map(|row| Some(row % 3 == 0)),
    ))
    .slice(1, 98);
    let expected = BooleanArray::from_iter((1..99).map(|row| Some(row % 3 != 0)));
    assert_eq!(
        &score(&not, DataType::Boolean, vec![flags]).await.unwrap(),
        &array(expected)
    );
}

#[tokio::test]
async fn nothing_fed_is_nothing_scored() {
    let graph = Graph::linear(&[1.0]);
    let scores = score(
        &graph,
        DataType::Int32,
        vec![array(Float32Array::from(Vec::<f32>::new()))],
    )
    .await
    .unwrap();
    assert_eq!((scores.len(), scores.data_type()), (0, &DataType::Int32));
}

#[tokio::test]
async fn null_in_an_integer_names_the_input() {
    let graph = Graph::of(
        "Identity",
        vec![tensor("passengers", Int64, &[-1, 1])],
        tensor("y", Int64, &[-1, 1]),
    );
    let column = array(Int64Array::from(vec![Some(1), None]));
    let error = score(&graph, DataType::Int64, vec![column])
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Data);
    assert!(
        error
            .message()
            .contains("input 'passengers' is int64 and was fed a NULL"),
        "{error}"
    );
}

#[tokio::test]
async fn an_output_that_is_not_one_value_per_row_is_the_models_error() {
    let wide = Graph::of(
        "Identity",
        vec![tensor("x", Float32, &[-1, 2])],
        tensor("p", Float32, &[-1, -1]),
    );
    let column = || array(Float32Array::from(vec![1.0, 2.0, 3.0]));
    let error = score(&wide, DataType::Float32, vec![column(), column()])
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Model);
    assert!(
        error
            .message()
            .ends_with("output 'p' has 2 values per row, and Float32 is one"),
        "{error}"
    );

    let one = Graph::of(
        "ReduceMax",
        vec![tensor("x", Float32, &[-1, 1])],
        tensor("m", Float32, &[1, 1]),
    );
    let error = score(&one, DataType::Float32, vec![column()])
        .await
        .unwrap_err();
    assert!(
        error
            .message()
            .ends_with("output 'm' has 1 rows for 3 rows fed"),
        "{error}"
    );
}

#[tokio::test]
async fn a_graph_that_cannot_run_fails_on_open_in_one_clean_line() {
    let bench = Bench::new(|_| ());
    let unknown = Graph::of(
        "Frobnicate",
        vec![tensor("x", Float32, &[-1, 1])],
        tensor("y", Float32, &[-1, 1]),
    );
    let binding = bench.bind(&unknown, DataType::Float32);
    let error = bench.host.open(&binding).await.unwrap_err();
    let who = format!("model 'tip' ({})", binding.digest.short());
    assert_eq!(error.code(), ErrorCode::Model);
    let expected =
        format!("{who} cannot be loaded: ONNX Runtime has no operator Frobnicate in opset 17");
    assert_eq!(error.message(), expected);

    let mut garbage = bench.bind(&unknown, DataType::Float32);
    garbage.digest = bench.shelf.put(b"not a graph".to_vec());
    let error = bench.host.open(&garbage).await.unwrap_err();
    assert!(
        error
            .message()
            .ends_with("cannot be loaded: it is not an ONNX graph"),
        "{error}"
    );
    assert!(
        bench.host.stats().is_empty(),
        "a failed load leaves nothing behind"
    );
}

#[tokio::test]
async fn a_failure_while_scoring_is_one_clean_line_and_the_model_lives_on() {
    let bench = Bench::new(|options| options.scoring_threads = 1);
    let mut graph = Graph::linear(&[1.0, 2.0, 3.0]);
    graph.nodes = vec![node("Gather", &["w", "i"], &["y"])];
    graph.inputs = vec![tensor("i", Int64, &[-1])];
    let binding = bench.bind(&graph, DataType::Float32);
    let model = bench.host.open(&binding).await.unwrap();
    let column = |rows: Vec<i64>| feed(vec![array(Int64Array::from(rows))]);
    let error = model.score(column(vec![0, 7])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Model);
    let expected = format!(
        "model 'tip' ({}) failed while scoring: operator Gather: indices",
        binding.digest.short()
    );
    assert!(error.message().starts_with(&expected), "{error}");
    assert!(!error.message().contains(".cc"), "{error}");
    let scores = model.score(column(vec![2, 0])).await.unwrap();
    assert_eq!(&scores, &array(Float32Array::from(vec![3.0, 1.0])));
}

#[tokio::test]
async fn a_model_for_a_fixed_number_of_rows_is_refused_on_open() {
    let bench = Bench::new(|_| ());
    let graph = Graph::of(
        "Identity",
        vec![tensor("x", Float32, &[1, 1])],
        tensor("y", Float32, &[1, 1]),
    );
    let error = bench
        .host
        .open(&bench.bind(&graph, DataType::Float32))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Invalid);
    assert!(
        error.message().contains("input 'x' takes 1 rows at a time"),
        "{error}"
    );
}

/// Whoever loads may leave half-way; those who wait for the load must not notice.
#[tokio::test]
async fn an_open_that_is_given_up_does_not_lose_the_load_for_others() {
    let bench = Bench::new(|_| ());
    let binding = bench.bind(&Graph::linear(&[2.0]), DataType::Float32);
    let mut first = Box::pin(bench.host.open(&binding));
    let mut second = Box::pin(bench.host.open(&binding));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    drop(first);
    second.await.unwrap();
    assert_eq!(bench.host.stats()[0].loads, 1);
}

#[tokio::test]
async fn the_wrong_content_is_refused_with_both_digests() {
    let bench = Bench::new(|_| ());
    let graph = Graph::linear(&[1.0]);
    let asked = digest_of(b"another");
    bench.shelf.put_as(asked.clone(), graph.bytes());
    let error = bench
        .host
        .open(&graph.binding(asked.clone(), DataType::Float32))
        .await
        .unwrap_err();
    let got = digest_of(&graph.bytes());
    assert!(
        error.message().contains(asked.as_str()) && error.message().contains(got.as_str()),
        "{error}"
    );
}

#[tokio::test]
async fn ten_opens_at_once_are_one_fetch_and_one_load() {
    let bench = Bench::new(|_| ());
    let binding = bench.bind(&Graph::linear(&[2.0]), DataType::Float32);
    let models = try_join_all((0..10).map(|_| bench.host.open(&binding)))
        .await
        .unwrap();
    let rows = array(Float32Array::from(vec![1.0; 100]));
    try_join_all(
        models
            .iter()
            .map(|model| model.score(feed(vec![Arc::clone(&rows)]))),
    )
    .await
    .unwrap();
    let stats = bench.host.stats();
    assert_eq!((bench.shelf.fetches(), stats.len()), (1, 1));
    assert_eq!((stats[0].loads, stats[0].rows_scored), (1, 1000));
    assert_eq!(stats[0].bytes, Graph::linear(&[2.0]).bytes().len() as u64);
    assert_eq!(bench.host.rows_by_job(), [("job".to_owned(), 1000)].into());
    bench.host.forget_job("job");
    assert!(bench.host.rows_by_job().is_empty());
}

/// Two bindings of one digest share the load, and each has its own return type.
#[tokio::test]
async fn one_digest_may_have_several_bindings() {
    let bench = Bench::new(|_| ());
    let floats = bench.bind(&Graph::linear(&[0.5]), DataType::Float32);
    let ints = floats.with_returns(&DataType::Int32).unwrap();
    let column = || vec![array(Float32Array::from(vec![3.0]))];
    let (floats, ints) = (
        bench.host.open(&floats).await.unwrap(),
        bench.host.open(&ints).await.unwrap(),
    );
    assert_eq!(
        &floats.score(feed(column())).await.unwrap(),
        &array(Float32Array::from(vec![1.5]))
    );
    assert_eq!(
        &ints.score(feed(column())).await.unwrap(),
        &array(Int32Array::from(vec![1]))
    );
    assert_eq!(bench.host.stats()[0].loads, 1);
}

#[tokio::test]
async fn the_longest_unused_model_goes_first_and_a_used_one_stays() {
    let bench = Bench::new(|options| options.model_cache_bytes = 1);
    let [a, b, c] =
        [1.0, 2.0, 3.0].map(|weight| bench.bind(&Graph::linear(&[weight]), DataType::Float32));
    let in_memory = || {
        bench
            .host
            .stats()
            .into_iter()
            .map(|model| model.digest)
            .collect::<Vec<_>>()
    };

    let held = bench.host.open(&a).await.unwrap();
    drop(bench.host.open(&b).await.unwrap());
    drop(bench.host.open(&c).await.unwrap());
    let mut expected = vec![a.digest.to_string(), c.digest.to_string()];
    expected.sort();
    assert_eq!(
        in_memory(),
        expected,
        "b was dropped, a is in use, c came last"
    );

    drop(held);
    drop(bench.host.open(&b).await.unwrap());
    assert_eq!(in_memory(), [b.digest.to_string()]);
    assert_eq!(
        bench.host.stats()[0].loads,
        2,
        "loads count across evictions"
    );
    assert_eq!(bench.shelf.fetches(), 3, "the files stayed on disk");
}

#[tokio::test]
async fn every_thread_scores_and_rows_keep_their_order() {
    let bench = Bench::new(|options| options.scoring_threads = 4);
    let model = bench
        .host
        .open(&bench.bind(&Graph::linear(&[1.0]), DataType::Int64))
        .await
        .unwrap();
    let scores = join_all((0..200_i64).map(|n| {
        let rows = 1 + usize::try_from(n).unwrap() % 70;
        let column = array(Float32Array::from(vec![n as f32; rows]));
        let scores = model.score(feed(vec![column]));
        async move { (n, rows, scores.await.unwrap()) }
    }))
    .await;
    for (n, rows, scores) in scores {
        assert_eq!(&scores, &array(Int64Array::from(vec![n; rows])));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_hosts_start_and_stop_without_a_thread_left() {
    for round in 0..10 {
        let bench = Bench::new(|options| options.scoring_threads = 3);
        let own = own_threads(&bench, 3).await;
        assert!(
            own.iter().all(|thread| is_alive(thread)) && own.len() == 3,
            "{own:?}"
        );
        let model = bench
            .host
            .open(&bench.bind(&Graph::linear(&[1.0]), DataType::Float32))
            .await
            .unwrap();
        let column = array(Float32Array::from(vec![1.0]));
        // Given up once it is in the queue, where it may wait, run or have run.
        let mut given_up = model.score(feed(vec![Arc::clone(&column)]));
        let _ = poll!(&mut given_up);
        drop(given_up);
        model.score(feed(vec![Arc::clone(&column)])).await.unwrap();
        if round % 2 == 0 {
            bench.host.shut_down();
            let error = model.score(feed(vec![column])).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unavailable);
        }
        drop(bench);
        // A joined thread may be listed for a moment more.
        let gone = async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(1));
            while own.iter().any(|thread| is_alive(thread)) {
                tick.tick().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), gone)
            .await
            .unwrap();
    }
}

/// Where the system lists each of the host's threads: all of them meet, so that each is asked once.
#[cfg(target_os = "linux")]
async fn own_threads(bench: &Bench, count: usize) -> std::collections::HashSet<std::path::PathBuf> {
    let barrier = Arc::new(std::sync::Barrier::new(count));
    let ask =
        || {
            let barrier = Arc::clone(&barrier);
            bench.host.threads.queue().run(move |_| {
                barrier.wait();
                Ok(std::path::Path::new("/proc")
                    .join(std::fs::read_link("/proc/thread-self").unwrap()))
            })
        };
    try_join_all((0..count).map(|_| ask()))
        .await
        .unwrap()
        .into_iter()
        .collect()
}

#[cfg(target_os = "linux")]
fn is_alive(thread: &std::path::Path) -> bool {
    std::fs::read_to_string(thread.join("comm"))
        .is_ok_and(|name| name.starts_with("whimbrel-score"))
}
