//! Every kernel gives, bit for bit, what the plain walk over the model's own tests gives.

use super::{BLOCK, Buffers, Columns, Level, TreeKernel};
use crate::kernel::merge::Merge;
#[cfg(target_arch = "x86_64")]
use crate::kernel::planes::Planes;
use crate::kernel::two_way::TwoWay;
use crate::kernel::walk::Walk;
use crate::trees::reference::{Made, Random, Shape, make, walk};
use crate::trees::{Ensemble, Fold, Node, Tree};

struct Rows {
    columns: Vec<Vec<f32>>,
    count: usize,
}

impl Columns for Rows {
    fn column(&self, feature: usize) -> &[f32] {
        &self.columns[feature][..self.count]
    }
}

fn rows(random: &mut Random, features: usize) -> Rows {
    let count = 1 + random.below(BLOCK);
    let column = |_| (0..count).map(|_| random.value(true)).collect();
    let columns = (0..features).map(column).collect();
    Rows { columns, count }
}

fn check(kernel: &TreeKernel, made: &Made, rows: &Rows, what: &str) {
    let targets = made.ensemble.targets;
    let mut buffers = Buffers::default();
    buffers.fit(kernel);
    // What an earlier block left must not matter.
    let mut out = vec![7.5; targets * BLOCK];
    buffers.floats.fill(f32::NAN);
    kernel.run(rows, rows.count, &mut buffers, &mut out);
    for row in 0..rows.count {
        let values: Vec<f32> = rows.columns.iter().map(|column| column[row]).collect();
        let expected = walk(made, &values);
        for (target, expected) in expected.iter().enumerate() {
            let got = out[target * BLOCK + row];
            assert_eq!(
                got.to_bits(),
                expected.to_bits(),
                "{what}: target {target} of row {row} {values:?} is {got}, not {expected}"
            );
        }
    }
}

fn levels() -> impl Iterator<Item = Level> {
    let levels = [Level::Portable, Level::Avx2, Level::Avx512];
    levels.into_iter().filter(|level| *level <= Level::detect())
}

fn shape(random: &mut Random, leaves: usize) -> Shape {
    Shape {
        trees: 1 + random.below(9),
        leaves,
        features: 1 + random.below(12),
        targets: 1 + random.below(4),
        fold: Fold::Sum,
        equal: false,
        missing: random.chance(60),
        every_target: random.chance(50),
        sets: false,
        twice: false,
    }
}

#[test]
fn trees_of_few_leaves_go_to_bytes() {
    let is_leaf = |node: &&Node| matches!(node, Node::Leaf { .. });
    let is_large = |tree: &Tree| tree.nodes.iter().filter(is_leaf).count() > 64;
    let mut random = Random(1);
    for turn in 0..600 {
        let leaves = [4, 16, 33, 64, 129, 256][random.below(6)];
        let shape = shape(&mut random, leaves);
        let made = make(&mut random, shape);
        let rows = rows(&mut random, shape.features);
        for level in levels() {
            let kernel = TreeKernel::new(&made.ensemble, level);
            if let TreeKernel::Walk(_) = kernel {
                // A test that nothing but NaN passes, which is rare.
                continue;
            }
            let merges = level == Level::Portable || made.trees.iter().any(is_large);
            let name = if merges { "merges" } else { "planes" };
            assert!(kernel.name().contains(name), "{}", kernel.name());
            check(
                &kernel,
                &made,
                &rows,
                &format!("{level:?} {turn} {shape:?}"),
            );
        }
    }
}

#[test]
fn a_feature_with_many_thresholds_has_several_bytes() {
    let mut random = Random(2);
    for turn in 0..12 {
        let shape = Shape {
            trees: 40,
            features: 1 + random.below(2),
            ..shape(&mut random, 64)
        };
        let made = make(&mut random, shape);
        let rows = rows(&mut random, shape.features);
        for level in levels() {
            let kernel = TreeKernel::new(&made.ensemble, level);
            check(&kernel, &made, &rows, &format!("{level:?} {turn}"));
        }
    }
}

#[test]
fn large_trees_go_to_two_way_nodes() {
    let mut random = Random(3);
    let mut seen = 0;
    for turn in 0..60 {
        let shape = shape(&mut random, 900);
        let made = make(&mut random, shape);
        let rows = rows(&mut random, shape.features);
        let kernel = TreeKernel::new(&made.ensemble, Level::detect());
        seen += usize::from(kernel.name() == "two-way nodes");
        check(&kernel, &made, &rows, &format!("{turn} {shape:?}"));
    }
    assert!(seen > 20, "only {seen} of 60 ensembles");
}

#[test]
fn the_walk_does_every_mode_and_fold() {
    let mut random = Random(4);
    for turn in 0..200 {
        let fold = [Fold::Sum, Fold::Min, Fold::Max][turn % 3];
        let leaves = 1 + random.below(80);
        let shape = Shape {
            fold,
            equal: true,
            every_target: fold != Fold::Sum,
            ..shape(&mut random, leaves)
        };
        let made = make(&mut random, shape);
        let rows = rows(&mut random, shape.features);
        let kernel = TreeKernel::Walk(Box::new(Walk::new(&made.ensemble)));
        check(&kernel, &made, &rows, &format!("{turn} {shape:?}"));
    }
}

/// All kernels that take the ensemble.
fn kernels(ensemble: &Ensemble) -> Vec<TreeKernel> {
    let mut kernels = vec![TreeKernel::Walk(Box::new(Walk::new(ensemble)))];
    let nodes = TwoWay::new(ensemble).map(|nodes| TreeKernel::TwoWay(Box::new(nodes)));
    kernels.extend(nodes);
    for level in levels() {
        kernels.push(TreeKernel::new(ensemble, level));
        #[cfg(target_arch = "x86_64")]
        {
            let planes = Planes::new(ensemble, level);
            kernels.extend(planes.map(|planes| TreeKernel::Planes(Box::new(planes))));
        }
        let merge = Merge::new(ensemble, level);
        kernels.extend(merge.map(|merge| TreeKernel::Merge(Box::new(merge))));
    }
    kernels
}

/// Half of the values are moved onto thresholds, next to them, and to what is subnormal.
fn move_to_thresholds(random: &mut Random, made: &Made, rows: &mut Rows) {
    let tests = made.tests.iter().flatten().flatten();
    let tests: Vec<(usize, f32)> = tests
        .map(|test| (test.feature as usize, test.value))
        .collect();
    for _ in 0..rows.count * rows.columns.len() / 2 {
        let Some((feature, value)) = tests.get(random.below(tests.len().max(1))) else {
            return;
        };
        let row = random.below(rows.count);
        rows.columns[*feature][row] = match random.below(6) {
            0 => value.next_up(),
            1 => value.next_down(),
            2 => f32::from_bits(random.below(1 << 23) as u32),
            3 => -value,
            _ => *value,
        };
    }
}

#[test]
fn every_kernel_that_takes_an_ensemble_is_right() {
    let mut random = Random(5);
    let mut seen = std::collections::BTreeMap::new();
    for turn in 0..600 {
        let shape = Shape::any(&mut random);
        let made = make(&mut random, shape);
        let mut rows = rows(&mut random, shape.features);
        move_to_thresholds(&mut random, &made, &mut rows);
        for kernel in kernels(&made.ensemble) {
            *seen.entry(kernel.name()).or_insert(0) += 1;
            let what = format!("{turn} {} {shape:?}", kernel.name());
            check(&kernel, &made, &rows, &what);
        }
    }
    assert!(seen.values().all(|count| *count > 120), "{seen:?}");
}

/// Thresholds by the thousand, so that bytes and even pairs of them have to be told apart.
#[test]
fn many_thresholds_of_one_feature_stay_apart() {
    let mut random = Random(6);
    for (trees, leaves) in [(9, 32), (5, 64), (60, 64), (12, 300)] {
        let shape = Shape {
            trees,
            features: 1,
            targets: 2,
            missing: true,
            ..shape(&mut random, leaves)
        };
        let Made {
            mut trees,
            mut tests,
            ..
        } = make(&mut random, shape);
        for (tree, tests) in trees.iter_mut().zip(&mut tests) {
            for (node, test) in tree.nodes.iter_mut().zip(tests) {
                if let Some(test) = test {
                    test.value = random.below(100_000) as f32 / 7.0;
                    *node = Node::Branch((*test).into());
                }
            }
        }
        let made = Made::of(shape, trees, tests);
        let mut rows = rows(&mut random, 1);
        move_to_thresholds(&mut random, &made, &mut rows);
        for kernel in kernels(&made.ensemble) {
            let what = format!("{} {shape:?}", kernel.name());
            check(&kernel, &made, &rows, &what);
        }
    }
}
