//! Our own kernels beside ONNX Runtime, as a host's callers see them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::datatypes::{DataType, Float32Type};
use whimbrel_predict::binding::{Binding, RuntimeKind};
use whimbrel_predict::runtime::{Feed, FeedTimes, ModelHost};
use whimbrel_predict::signature::ElementType::Float32;

use super::testing::{Bench, Graph, node, tensor};
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
