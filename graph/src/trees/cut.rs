//! Trees without the branches that no row can reach of whose features something is known.

use super::{Branch, Ensemble, Node, Tree};
use crate::Known;

/// Not in the new tree, or not decided.
const NONE: u32 = u32::MAX;

/// The ensemble with shorter trees, each in its place and with the leaves' weights that it had; nothing where none is
/// shorter. `known` has the features in their order.
pub(crate) fn cut(ensemble: &Ensemble, known: &[Known]) -> Option<Ensemble> {
    let decides = |node: &Node| match node {
        Node::Branch(branch) => way(branch, known).is_some(),
        Node::Leaf { .. } => false,
    };
    if !ensemble.nodes().any(|node| decides(&node)) {
        return None;
    }
    Some(ensemble.map(|tree| {
        let is_shorter = tree.nodes.iter().any(decides);
        is_shorter.then(|| shortened(tree, known))
    }))
}

/// Where a branch leads every row that it may meet; nothing if it depends on the row.
fn way(branch: &Branch, known: &[Known]) -> Option<u32> {
    let Known { low, high, nan } = *known.get(branch.feature as usize)?;
    let (above, upto) = (branch.above, branch.upto);
    let is_inside = |x: f32| (above.is_nan() || x > above) && x <= upto;
    // The smallest value above the lower bound that the feature may have.
    let first = if low <= above { above.next_up() } else { low };
    let (mut left, mut right) = (false, false);
    if low <= high {
        left = first <= high && is_inside(first);
        right = !is_inside(low) || !is_inside(high);
    }
    if nan {
        left |= branch.nan_left;
        right |= !branch.nan_left;
    }
    match (left, right) {
        (true, true) => None,
        (true, false) => Some(branch.left),
        (false, _) => Some(branch.right),
    }
}

fn shortened(tree: &Tree, known: &[Known]) -> Tree {
    let mut made = Tree::default();
    let mut ends = vec![NONE; tree.nodes.len()];
    let mut places = vec![NONE; tree.nodes.len()];
    let root = end(tree, tree.root, known, &mut ends);
    places[root as usize] = 0;
    let mut waiting = vec![root];
    made.nodes.push(Node::Leaf { first: 0, count: 0 });
    while let Some(node) = waiting.pop() {
        let place = places[node as usize] as usize;
        made.nodes[place] = match tree.nodes[node as usize] {
            Node::Branch(branch) => {
                let [left, right] = [branch.left, branch.right].map(|next| {
                    let next = end(tree, next, known, &mut ends);
                    let place = &mut places[next as usize];
                    if *place == NONE {
                        *place = made.nodes.len() as u32;
                        made.nodes.push(Node::Leaf { first: 0, count: 0 });
                        waiting.push(next);
                    }
                    *place
                });
                Node::Branch(Branch {
                    left,
                    right,
                    ..branch
                })
            }
            Node::Leaf { first, count } => {
                let begin = made.weights.len() as u32;
                made.weights.extend_from_slice(tree.leaf(first, count));
                Node::Leaf {
                    first: begin,
                    count,
                }
            }
        };
    }
    made
}

/// The first node from `node` on that depends on the row; each way is gone once, whoever leads into it.
fn end(tree: &Tree, node: u32, known: &[Known], ends: &mut [u32]) -> u32 {
    let mut at = node;
    while ends[at as usize] == NONE {
        let next = match &tree.nodes[at as usize] {
            Node::Branch(branch) => way(branch, known),
            Node::Leaf { .. } => None,
        };
        match next {
            Some(next) => at = next,
            None => ends[at as usize] = at,
        }
    }
    let last = ends[at as usize];
    let mut at = node;
    while ends[at as usize] == NONE {
        ends[at as usize] = last;
        if let Node::Branch(branch) = &tree.nodes[at as usize] {
            at = way(branch, known).unwrap_or(at);
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::super::reference::{Random, Shape, make};
    use super::*;
    use crate::kernel::{BLOCK, Buffers, Columns, Level, TreeKernel};
    use crate::trees::Fold;

    struct Rows(Vec<Vec<f32>>);

    impl Columns for Rows {
        fn column(&self, feature: usize) -> &[f32] {
            &self.0[feature]
        }
    }

    fn known(random: &mut Random) -> Known {
        let (one, other) = (random.value(false), random.value(false));
        let nan = random.chance(30);
        match random.below(4) {
            0 => Known::NOTHING,
            1 => Known {
                low: one,
                high: one,
                nan,
            },
            2 => Known {
                low: one,
                high: f32::INFINITY,
                nan,
            },
            _ => Known {
                low: one.min(other),
                high: one.max(other),
                nan,
            },
        }
    }

    /// A value within what is known, at its ends as often as not.
    fn value(random: &mut Random, known: Known) -> f32 {
        if known.nan && random.chance(20) {
            return f32::NAN;
        }
        match random.below(6) {
            0 => known.low,
            1 => known.high,
            2 => known.low.next_up().min(known.high),
            3 => known.high.next_down().max(known.low),
            _ => random.value(false).clamp(known.low, known.high),
        }
    }

    fn scores(ensemble: &Ensemble, level: Level, rows: &Rows) -> Vec<u32> {
        let kernel = TreeKernel::new(ensemble, level);
        let mut buffers = Buffers::default();
        buffers.fit(&kernel);
        let mut out = vec![7.5; ensemble.targets * BLOCK];
        kernel.run(rows, BLOCK, &mut buffers, &mut out);
        out.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn rows_within_the_bounds_keep_their_bits() {
        let mut random = Random(11);
        let (mut before, mut after) = (0, 0);
        for turn in 0..400 {
            let leaves = [2, 8, 40, 64, 150][random.below(5)];
            let shape = Shape {
                leaves,
                features: 1 + random.below(6),
                ..Shape::any(&mut random)
            };
            let whole = make(&mut random, shape).ensemble;
            let bounds: Vec<Known> = (0..shape.features).map(|_| known(&mut random)).collect();
            let Some(less) = cut(&whole, &bounds) else {
                continue;
            };
            let column = |bounds: &Known| (0..BLOCK).map(|_| value(&mut random, *bounds)).collect();
            let rows = Rows(bounds.iter().map(column).collect());
            for level in [Level::Portable, Level::detect()] {
                let [expected, got] =
                    [&whole, &less].map(|ensemble| scores(ensemble, level, &rows));
                assert!(expected == got, "turn {turn}, {level:?}, {bounds:?}");
            }
            assert!(less.size().1 < whole.size().1);
            before += whole.size().1;
            after += less.size().1;
        }
        assert!(after * 2 < before, "{after} of {before} nodes are left");
    }

    #[test]
    fn a_test_that_every_row_passes_is_gone() {
        let ensemble = |branch| {
            let tree = Tree {
                root: 0,
                nodes: vec![
                    Node::Branch(branch),
                    Node::Leaf { first: 0, count: 1 },
                    Node::Leaf { first: 1, count: 1 },
                ],
                weights: vec![(0, 1.0), (0, 2.0)],
            };
            let ensemble = Ensemble::new(1, 1, Fold::Sum).unwrap();
            ensemble.with(vec![tree]).unwrap()
        };
        let below = Branch {
            feature: 0,
            above: f32::NAN,
            upto: 3.0,
            nan_left: false,
            left: 1,
            right: 2,
        };
        let left = |branch: Branch, low: f32, high: f32, nan: bool| {
            let less = cut(&ensemble(branch), &[Known { low, high, nan }]);
            less.map(|less| less.trees().next().unwrap().weights[0].1)
        };
        assert_eq!(left(below, 0.0, 3.0, false), Some(1.0));
        assert_eq!(left(below, 0.0, 3.0_f32.next_up(), false), None);
        assert_eq!(
            left(below, 3.0_f32.next_up(), f32::INFINITY, true),
            Some(2.0)
        );
        // Missing values go the other way, as XGBoost's and LightGBM's may.
        assert_eq!(left(below, 0.0, 3.0, true), None);
        let missing_left = Branch {
            nan_left: true,
            ..below
        };
        assert_eq!(left(missing_left, 0.0, 3.0, true), Some(1.0));
        assert_eq!(left(missing_left, 4.0, 5.0, true), None);
        // Nothing but NaN.
        assert_eq!(left(missing_left, 1.0, 0.0, true), Some(1.0));
        let category = Branch {
            above: 2.0_f32.next_down(),
            upto: 2.0,
            ..below
        };
        assert_eq!(left(category, 2.0, 2.0, false), Some(1.0));
        assert_eq!(left(category, 3.0, 9.0, true), Some(2.0));
        assert_eq!(left(category, 0.0, 9.0, false), None);
        let lower = Branch {
            above: -0.0,
            upto: f32::INFINITY,
            ..below
        };
        assert_eq!(left(lower, -1.0, 0.0, false), Some(2.0));
        assert_eq!(left(lower, f32::from_bits(1), 1.0, false), Some(1.0));
    }
}
