//! TreeEnsemble, of version 5, against the plainest walk, wherever in the file the nodes of a tree lie.

use super::pipelines::int;
use super::{ML, field, ints, model, node, number, score};
use crate::trees::reference::{Made, Random, Shape, make, walk};
use crate::trees::{Fold, Mode, Node, Test};
use crate::{Column, Model};

fn tensor(name: &str, element: u64, count: usize, raw: &[u8]) -> Vec<u8> {
    let tensor = [number(1, count as u64), number(2, element), field(9, raw)];
    let tensor = field(5, &tensor.concat());
    field(5, &[field(1, name.as_bytes()), tensor].concat())
}

fn floats_of(name: &str, values: &[f32]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, 1, values.len(), &raw)
}

/// Both ways lead to the node itself: a root that is a leaf.
const LEAF: Test = Test {
    mode: Mode::AtMost,
    feature: 0,
    value: 0.0,
    missing_holds: false,
    holds: 0,
    fails: 0,
};

fn mode(of: Mode) -> u8 {
    match of {
        Mode::AtMost => 0,
        Mode::Below => 1,
        Mode::AtLeast => 2,
        Mode::Above => 3,
        Mode::Equal => 4,
        Mode::Unequal => 5,
    }
}

/// `order`: the nodes that are no leaves, and roots, as they lie in the file, by tree and number.
fn file(made: &Made, order: &[(usize, usize)]) -> Vec<u8> {
    let place = |tree: usize, node: u32| {
        let found = order.iter().position(|at| *at == (tree, node as usize));
        found.unwrap() as u64
    };
    let tests = order
        .iter()
        .map(|(tree, node)| made.tests[*tree][*node].unwrap_or(LEAF));
    let tests: Vec<Test> = tests.collect();
    let mut weights: Vec<f32> = Vec::new();
    let mut ways = |tree: usize, next: u32| match made.trees[tree].nodes[next as usize] {
        Node::Branch(_) => (0, place(tree, next)),
        Node::Leaf { first, count } => {
            weights.push(made.trees[tree].leaf(first, count)[0].1);
            (1, weights.len() as u64 - 1)
        }
    };
    let both = order.iter().zip(&tests);
    let both = both.map(|((tree, _), test)| [ways(*tree, test.holds), ways(*tree, test.fails)]);
    let both: Vec<[(u64, u64); 2]> = both.collect();
    let of = |side: usize| both.iter().map(move |ways| ways[side]);
    let list = |name: &str, of: Vec<u64>| ints(name, &of);
    let modes: Vec<u8> = tests.iter().map(|test| mode(test.mode)).collect();
    let splits: Vec<f32> = tests.iter().map(|test| test.value).collect();
    let missing = tests.iter().map(|test| u64::from(test.missing_holds));
    let fold = match made.ensemble.fold {
        Fold::Sum => 1,
        Fold::Min => 2,
        Fold::Max => 3,
    };
    let attributes = [
        int("aggregate_function", fold),
        list(
            "tree_roots",
            (0..made.tests.len()).map(|tree| place(tree, 0)).collect(),
        ),
        tensor("nodes_modes", 2, modes.len(), &modes),
        floats_of("nodes_splits", &splits),
        list(
            "nodes_featureids",
            tests.iter().map(|test| test.feature.into()).collect(),
        ),
        list(
            "nodes_truenodeids",
            of(0).map(|(_, number)| number).collect(),
        ),
        list("nodes_trueleafs", of(0).map(|(leaf, _)| leaf).collect()),
        list(
            "nodes_falsenodeids",
            of(1).map(|(_, number)| number).collect(),
        ),
        list("nodes_falseleafs", of(1).map(|(leaf, _)| leaf).collect()),
        list("nodes_missing_value_tracks_true", missing.collect()),
        list("leaf_targetids", vec![0; weights.len()]),
        floats_of("leaf_weights", &weights),
    ];
    let trees = node("TreeEnsemble", ML, &["x"], &["y"], &attributes);
    model(1, made.ensemble.features as u64, &[trees], &["y"])
}

#[test]
fn nodes_may_lie_anywhere() {
    let mut random = Random(12);
    for turn in 0..200 {
        let shape = Shape {
            targets: 1,
            equal: true,
            every_target: true,
            twice: false,
            ..Shape::any(&mut random)
        };
        let made = make(&mut random, shape);
        let mut order = Vec::new();
        for (tree, tests) in made.tests.iter().enumerate() {
            let kept = (0..tests.len()).filter(|node| *node == 0 || tests[*node].is_some());
            order.extend(kept.map(|node| (tree, node)));
        }
        let rows: Vec<Vec<f32>> = (0..40)
            .map(|_| (0..shape.features).map(|_| random.value(true)).collect())
            .collect();
        let expected: Vec<u32> = rows
            .iter()
            .map(|row| walk(&made, row)[0].to_bits())
            .collect();
        let flat = rows.concat();
        let columns = (0..shape.features).map(|at| Column::strided(&flat[at..], shape.features));
        let columns: Vec<Column<'_>> = columns.collect();
        for scattered in [false, true] {
            if scattered {
                for place in 1..order.len() {
                    order.swap(place, random.below(place + 1));
                }
            }
            let model = Model::from_onnx(&file(&made, &order), None).unwrap();
            let got: Vec<u32> = score(&model, &columns, rows.len())
                .into_iter()
                .map(f32::to_bits)
                .collect();
            assert_eq!(got, expected, "{turn} {scattered} {shape:?}");
        }
    }
}
