//! What the kernels are measured against: random ensembles of any shape and mode, and the plainest walk over them.

use super::{Branch, Ensemble, Fold, Mode, Node, Test, Tree};

/// Random numbers that are the same everywhere (splitmix64).
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Mostly from a few values, so that thresholds are hit; at times what numbers are at their worst.
    pub(crate) fn value(&mut self, nan: bool) -> f32 {
        match self.below(40) {
            0 => f32::INFINITY,
            1 => f32::NEG_INFINITY,
            2 => -0.0,
            3 => f32::from_bits(1),
            4 => -f32::from_bits(1),
            5 | 6 if nan => f32::NAN,
            7..=12 => self.below(1000) as f32 / 17.0 - 30.0,
            _ => self.below(13) as f32 - 6.0,
        }
    }
}

/// What a random ensemble may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub trees: usize,
    pub leaves: usize,
    pub features: usize,
    pub targets: usize,
    pub fold: Fold,
    pub equal: bool,
    pub missing: bool,
    /// Every leaf speaks of every target.
    pub every_target: bool,
    /// Some splits are sets of values, as chains of tests that lead to one node.
    pub sets: bool,
    /// Some leaves speak of a target twice.
    pub twice: bool,
}

impl Shape {
    /// Any that a model may have.
    pub(crate) fn any(random: &mut Random) -> Self {
        let leaves = [1, 3, 8, 9, 31, 33, 64, 65, 200][random.below(9)];
        let fold = [Fold::Sum, Fold::Sum, Fold::Sum, Fold::Min, Fold::Max][random.below(5)];
        let rare = |random: &mut Random| random.chance(25);
        Self {
            trees: 1 + random.below(10),
            leaves,
            features: 1 + random.below(12),
            targets: 1 + random.below(5),
            fold,
            equal: rare(random),
            missing: random.chance(60),
            // Smallest and largest of nothing are no business of the kernels.
            every_target: fold != Fold::Sum || random.chance(50),
            sets: rare(random),
            twice: rare(random),
        }
    }
}

/// An ensemble, and the tests it was made of, by tree and node.
pub(crate) struct Made {
    pub ensemble: Ensemble,
    pub trees: Vec<Tree>,
    pub tests: Vec<Vec<Option<Test>>>,
}

impl Made {
    pub(crate) fn of(shape: Shape, trees: Vec<Tree>, tests: Vec<Vec<Option<Test>>>) -> Self {
        let ensemble = Ensemble::new(shape.features, shape.targets, shape.fold).unwrap();
        Self {
            ensemble: ensemble.with(trees.clone()).unwrap(),
            trees,
            tests,
        }
    }
}

pub(crate) fn make(random: &mut Random, shape: Shape) -> Made {
    let made = (0..shape.trees).map(|_| tree(random, shape));
    let (trees, tests) = made.unzip();
    Made::of(shape, trees, tests)
}

/// Rarely the smallest of all, which few kernels like: nothing is below it.
fn threshold(random: &mut Random) -> f32 {
    match random.value(false) {
        f32::NEG_INFINITY if random.chance(99) => f32::INFINITY,
        value => value,
    }
}

/// Makes a node a chain of tests for some values; returns the nodes that it leads to.
fn set(
    random: &mut Random,
    shape: Shape,
    node: usize,
    tests: &mut Vec<Option<Test>>,
) -> [usize; 2] {
    let (holds, feature) = (tests.len(), random.below(shape.features) as u32);
    let missing_holds = shape.missing && random.chance(50);
    tests.push(None);
    let mut place = node;
    for _ in 0..1 + random.below(4) {
        tests[place] = Some(Test {
            mode: Mode::Equal,
            feature,
            value: random.value(false),
            missing_holds,
            holds: holds as u32,
            fails: tests.len() as u32,
        });
        place = tests.len();
        tests.push(None);
    }
    [holds, place]
}

pub(crate) fn tree(random: &mut Random, shape: Shape) -> (Tree, Vec<Option<Test>>) {
    let leaves = 1 + random.below(shape.leaves);
    let mut tests: Vec<Option<Test>> = vec![None];
    let mut open = vec![0_usize];
    for _ in 1..leaves {
        // Any leaf may split, so that some trees are bushes and some are chains.
        let place = if random.chance(50) {
            open.len() - 1
        } else {
            random.below(open.len())
        };
        let node = open.swap_remove(place);
        if shape.sets && random.chance(30) {
            open.extend(set(random, shape, node, &mut tests));
            continue;
        }
        let next = tests.len() as u32;
        let modes = [
            Mode::AtMost,
            Mode::Below,
            Mode::AtLeast,
            Mode::Above,
            Mode::Equal,
            Mode::Unequal,
        ];
        tests[node] = Some(Test {
            mode: modes[random.below(if shape.equal { 6 } else { 4 })],
            feature: random.below(shape.features) as u32,
            value: threshold(random),
            missing_holds: shape.missing && random.chance(50),
            holds: next,
            fails: next + 1,
        });
        tests.extend([None, None]);
        open.extend([next as usize, next as usize + 1]);
    }
    let mut tree = Tree::default();
    for test in &tests {
        let node = match test {
            Some(test) => Node::Branch(Branch::from(*test)),
            None => {
                let first = tree.weights.len() as u32;
                for target in 0..shape.targets as u32 {
                    if shape.every_target || random.chance(60) {
                        let weight = random.below(2001) as f32 / 700.0 - 1.4;
                        tree.weights.push((target, weight));
                        if shape.twice && random.chance(30) {
                            tree.weights.push((target, weight / 3.0));
                        }
                    }
                }
                let count = tree.weights.len() as u32 - first;
                Node::Leaf { first, count }
            }
        };
        tree.nodes.push(node);
    }
    (tree, tests)
}

/// The tests as ONNX words them, one by one.
pub(crate) fn walk(made: &Made, row: &[f32]) -> Vec<f32> {
    let mut scores = vec![None; made.ensemble.targets];
    for (tree, tests) in made.trees.iter().zip(&made.tests) {
        let mut place = 0;
        while let Some(test) = tests[place] {
            let (x, value) = (row[test.feature as usize], test.value);
            let holds = match test.mode {
                Mode::AtMost => x <= value,
                Mode::Below => x < value,
                Mode::AtLeast => x >= value,
                Mode::Above => x > value,
                Mode::Equal => x == value,
                Mode::Unequal => x != value,
            } || (x.is_nan() && test.missing_holds);
            place = if holds { test.holds } else { test.fails } as usize;
        }
        let Node::Leaf { first, count } = tree.nodes[place] else {
            panic!("a branch without a test");
        };
        for (target, weight) in tree.leaf(first, count) {
            let score: &mut Option<f32> = &mut scores[*target as usize];
            *score = Some(match (*score, made.ensemble.fold) {
                (None, Fold::Sum) => 0.0 + *weight,
                (None, Fold::Min | Fold::Max) => *weight,
                (Some(score), Fold::Sum) => score + *weight,
                (Some(score), Fold::Min) => score.min(*weight),
                (Some(score), Fold::Max) => score.max(*weight),
            });
        }
    }
    scores
        .into_iter()
        .map(|score| score.unwrap_or(0.0))
        .collect()
}
