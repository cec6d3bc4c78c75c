//! Our own kernels beside ONNX Runtime, as a host's callers see them.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use futures::{FutureExt, poll};
use tokio::sync::oneshot;
use whimbrel_predict::binding::{Binding, RuntimeKind};
use whimbrel_predict::runtime::{Feed, FeedTimes, ModelHost};
use whimbrel_predict::signature::ElementType::{Float32, Float64};

use super::testing::{Bench, Graph, doubles, node, tensor};
use super::threads::Worker;
use crate::host::HostStats as _;

fn natively(binding: Binding) -> Binding {
    Binding {
        runtime: RuntimeKind::Native,
        ..binding
    }
}

/// Columns of numbers, some of them missing.
fn feed(columns: usize, rows: usize) -> Feed {
    let column = |place: usize| {
        let values =
            (0..rows).map(|row| (row % 97 != place).then_some((row * (place + 3)) as f32 * 0.37));
        Arc::new(values.collect::<Float32Array>()) as ArrayRef
    };
    Feed {
        columns: (0..columns).map(column).collect(),
        rows,
        job_id: "job".into(),
        times: FeedTimes::default(),
    }
}

fn runtimes(bench: &Bench) -> Vec<String> {
    let loaded = bench.host.loaded().into_iter();
    let mut runtimes: Vec<String> = loaded.map(|model| model.runtime).collect();
    runtimes.sort();
    runtimes
}

#[tokio::test]
async fn one_model_may_be_scored_by_both_and_gives_the_same() {
    let bench = Bench::new(|_| ());
    let binding = bench.bind(&Graph::linear(&[0.5, -2.0, 3.25]), DataType::Float32);
    let ort = bench.host.open(&binding).await.unwrap();
    let native = bench.host.open(&natively(binding)).await.unwrap();
    assert_eq!(runtimes(&bench), ["native", "ort"]);
    for rows in [0, 1, 7, 5000] {
        let theirs = ort.score(feed(3, rows)).await.unwrap();
        let ours = native.score(feed(3, rows)).await.unwrap();
        let (theirs, ours) = (
            theirs.as_primitive::<Float32Type>(),
            ours.as_primitive::<Float32Type>(),
        );
        assert_eq!((ours.len(), ours.null_count()), (rows, theirs.null_count()));
        for (ours, theirs) in ours.values().iter().zip(theirs.values()) {
            let same = ours.is_nan() && theirs.is_nan();
            assert!(
                same || (ours - theirs).abs() <= 1e-5 * theirs.abs(),
                "{ours} for {theirs}"
            );
        }
    }
}

/// Keeps every scoring thread busy until it is dropped.
async fn busy(bench: &Bench) -> Vec<SyncSender<()>> {
    let mut holds = Vec::new();
    for _ in 0..bench.host.threads.count() {
        let (hold, held) = sync_channel(0);
        let (taken, is_taken) = oneshot::channel();
        let queue = bench.host.threads.queue().clone();
        tokio::spawn(async move {
            let wait = move |_: &mut Worker| {
                taken.send(()).ok();
                held.recv().ok();
                Ok(())
            };
            queue.run(wait).await
        });
        is_taken.await.unwrap();
        holds.push(hold);
    }
    holds
}

#[tokio::test]
async fn a_few_rows_of_a_fast_model_wait_for_no_scoring_thread() {
    let bench = Bench::new(|_| ());
    let binding = bench.bind(&Graph::linear(&[0.5, -2.0, 3.25]), DataType::Float32);
    let ort = bench.host.open(&binding).await.unwrap();
    let native = bench.host.open(&natively(binding)).await.unwrap();
    let before = native.score(feed(3, 10)).await.unwrap();
    // So many that it is known to be fast, whatever holds this test up.
    native.score(feed(3, 100_000)).await.unwrap();
    ort.score(feed(3, 100_000)).await.unwrap();
    let holds = busy(&bench).await;
    let scored = native.score(feed(3, 10)).now_or_never();
    assert_eq!(&scored.unwrap().unwrap(), &before);
    assert!(ort.score(feed(3, 10)).now_or_never().is_none());
    drop(holds);
    let rows = bench.host.rows_by_job();
    assert_eq!(rows, [("job".to_owned(), 200_020)].into());
}

/// Doubles that no float holds are scored as doubles.
#[tokio::test]
async fn rows_that_only_onnx_runtime_can_score_go_to_a_scoring_thread() {
    let graph = Graph {
        nodes: vec![
            node("Sub", &["x", "mean"], &["centred"]),
            node("Div", &["centred", "deviation"], &["scaled"]),
            node("MatMul", &["scaled", "weights"], &["y"]),
        ],
        inputs: vec![tensor("x", Float64, &[-1, 2])],
        outputs: vec![tensor("y", Float64, &[-1])],
        constants: vec![
            doubles("mean", &[1.0, 2.0]),
            doubles("deviation", &[0.5, 0.25]),
            doubles("weights", &[1.0, 3.0]),
        ],
    };
    let bench = Bench::new(|_| ());
    let binding = natively(bench.bind(&graph, DataType::Float64));
    let model = bench.host.open(&binding).await.unwrap();
    assert_eq!(runtimes(&bench), ["native"]);
    let ask = |value: f64, rows: usize| {
        let column = Arc::new(Float64Array::from(vec![value; rows])) as ArrayRef;
        model.score(Feed {
            columns: vec![Arc::clone(&column), column],
            ..feed(0, rows)
        })
    };
    ask(3.0, 100_000).await.unwrap();
    let holds = busy(&bench).await;
    let mut huge = ask(1e300, 1);
    assert!(poll!(&mut huge).is_pending());
    assert!(ask(3.0, 1).now_or_never().is_some());
    drop(holds);
    let scores = huge.await.unwrap();
    let scores = scores.as_primitive::<Float64Type>().values();
    assert!((scores[0] / 1.4e301 - 1.0).abs() < 1e-9, "{scores:?}");
}

#[tokio::test]
async fn what_the_kernels_turn_out_not_to_cover_is_onnx_runtimes() {
    let graph = Graph {
        nodes: vec![node("Softsign", &["x"], &["y"])],
        inputs: vec![tensor("x", Float32, &[-1, 1])],
        outputs: vec![tensor("y", Float32, &[-1, 1])],
        constants: vec![],
    };
    let bench = Bench::new(|_| ());
    let binding = natively(bench.bind(&graph, DataType::Float32));
    let model = bench.host.open(&binding).await.unwrap();
    assert_eq!(runtimes(&bench), ["ort"]);
    assert_eq!(model.score(feed(1, 10)).await.unwrap().len(), 10);
}

const LIGHT: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nfeature_names=x\n\
    objective=regression\n\nTree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=1.5\ndecision_type=10\n\
    left_child=-1\nright_child=-2\nleaf_value=-1 2\n\nend of trees\n";

/// A binding of one column to the output that the libraries' own files have.
fn bound(bench: &Bench, file: &str) -> Binding {
    let graph = Graph {
        outputs: vec![tensor("prediction", Float32, &[-1])],
        ..Graph::linear(&[1.0])
    };
    let digest = bench.shelf.put(file.as_bytes().to_vec());
    natively(graph.binding(digest, DataType::Float32))
}

#[tokio::test]
async fn a_librarys_own_file_is_the_kernels_alone_and_null_is_missing() {
    let bench = Bench::new(|_| ());
    let model = bench.host.open(&bound(&bench, LIGHT)).await.unwrap();
    assert_eq!(runtimes(&bench), ["native"]);
    let column: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), Some(2.0), None]));
    let feed = Feed {
        columns: vec![column],
        ..feed(1, 3)
    };
    let scores = model.score(feed).await.unwrap();
    assert_eq!(
        scores.as_primitive::<Float32Type>().values(),
        &[-1.0, 2.0, -1.0]
    );
    let cut = bound(&bench, &LIGHT[..150]);
    let error = bench.host.open(&cut).await.unwrap_err().to_string();
    assert!(
        error.contains("cannot be loaded: ") && error.contains("cut off"),
        "{error}"
    );
}
