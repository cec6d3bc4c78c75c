//! Sets of whole numbers, which ensembles have as chains of intervals, as what they are: one test with a bit for each
//! number, since a set of a thousand categories would otherwise be hundreds of tests, one after the other.

use crate::trees::{Branch, Node, Tree};

/// Bits for each interval, and for each chain: damaged files must not make more than they hold.
const BITS_EACH: usize = 512;
const BITS_MORE: usize = 1024;

/// A node's bits: that of a number is `(whole part - first).min(last)` bits behind `words[word]`.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    first: i32,
    last: u32,
    word: u32,
}

/// By node of a tree: which of the numbers between its bounds are meant.
#[derive(Debug)]
pub(super) struct Sets {
    places: Vec<Place>,
    /// The first is that of all nodes without a set.
    words: Vec<u32>,
}

impl Sets {
    /// Whether the set of `node` has the whole part of `x`, if that is within the node's bounds.
    #[inline]
    pub(super) fn has(&self, node: u32, x: f32) -> bool {
        let place = &self.places[node as usize];
        let bit = ((x as i32).wrapping_sub(place.first) as u32).min(place.last);
        self.words[(place.word + bit / 32) as usize] >> (bit % 32) & 1 != 0
    }
}

/// The tree with each chain of a set as one branch, and the sets; nothing where it has none.
pub(super) fn folded(tree: &Tree) -> Option<(Tree, Sets)> {
    let mut later = vec![false; tree.nodes.len()];
    for node in &tree.nodes {
        if let Some((next, _)) = next(tree, node) {
            later[next] = true;
        }
    }
    let mut made = Tree {
        root: tree.root,
        nodes: tree.nodes.clone(),
        weights: tree.weights.clone(),
    };
    let mut sets = Sets {
        places: vec![Place::default(); tree.nodes.len()],
        words: vec![u32::MAX],
    };
    for (place, node) in tree.nodes.iter().enumerate() {
        if !later[place]
            && let Some((branch, runs)) = chain(tree, node)
            && let Some(bits) = bits(&runs)
        {
            made.nodes[place] = Node::Branch(branch);
            sets.places[place] = Place {
                first: runs[0].0,
                last: (runs[runs.len() - 1].1 - runs[0].0) as u32,
                word: sets.words.len() as u32,
            };
            sets.words.extend(bits);
        }
    }
    (sets.words.len() > 1).then(|| reachable(made, sets))
}

/// The branch after `node` of the same chain, and where it is.
fn next<'a>(tree: &'a Tree, node: &Node) -> Option<(usize, &'a Branch)> {
    let Node::Branch(one) = node else {
        return None;
    };
    let place = one.right as usize;
    let Some(Node::Branch(next)) = tree.nodes.get(place) else {
        return None;
    };
    let together = next.feature == one.feature
        && next.left == one.left
        && next.nan_left == one.nan_left
        && next.above >= one.upto;
    together.then_some((place, next))
}

/// A whole chain as one branch from its lowest to its highest bound, and the first and last number of each of its
/// intervals.
fn chain(tree: &Tree, first: &Node) -> Option<(Branch, Vec<(i32, i32)>)> {
    let Node::Branch(mut whole) = *first else {
        return None;
    };
    next(tree, first)?;
    let mut runs = Vec::new();
    let (mut node, mut branch) = (first, whole);
    loop {
        // What is above -1 is cut down to 0 by those who begin there.
        let from = match branch.above {
            -1.0 if runs.is_empty() => 0,
            above => number(above.next_up())?,
        };
        let to = number(branch.upto.next_up())? - 1;
        if to < from {
            return None;
        }
        runs.push((from, to));
        (whole.upto, whole.right) = (branch.upto, branch.right);
        let Some((place, after)) = next(tree, node) else {
            return Some((whole, runs));
        };
        (node, branch) = (&tree.nodes[place], *after);
    }
}

/// A whole number that floats tell from its neighbours.
fn number(x: f32) -> Option<i32> {
    ((0.0..=16_777_216.0).contains(&x) && x.fract() == 0.0).then_some(x as i32)
}

fn bits(runs: &[(i32, i32)]) -> Option<Vec<u32>> {
    let (first, last) = (runs.first()?.0, runs.last()?.1);
    let count = usize::try_from(last - first).ok()? + 1;
    if count > BITS_MORE + BITS_EACH * runs.len() {
        return None;
    }
    let mut words = vec![0_u32; count.div_ceil(32)];
    for (from, to) in runs {
        for number in *from..=*to {
            let bit = (number - first) as usize;
            words[bit / 32] |= 1 << (bit % 32);
        }
    }
    Some(words)
}

/// Only the nodes that walks can still get to.
fn reachable(tree: Tree, sets: Sets) -> (Tree, Sets) {
    const NEW: u32 = u32::MAX;
    let mut places = vec![NEW; tree.nodes.len()];
    let mut order = Vec::new();
    let mut stack = vec![tree.root];
    while let Some(node) = stack.pop() {
        let place = &mut places[node as usize];
        if *place == NEW {
            *place = order.len() as u32;
            order.push(node as usize);
            if let Node::Branch(branch) = tree.nodes[node as usize] {
                stack.extend([branch.right, branch.left]);
            }
        }
    }
    let moved = |node: &usize| match tree.nodes[*node] {
        Node::Branch(branch) => Node::Branch(Branch {
            left: places[branch.left as usize],
            right: places[branch.right as usize],
            ..branch
        }),
        leaf @ Node::Leaf { .. } => leaf,
    };
    let made = Tree {
        root: 0,
        nodes: order.iter().map(moved).collect(),
        weights: tree.weights,
    };
    let places = order.iter().map(|node| sets.places[*node]).collect();
    (made, Sets { places, ..sets })
}

#[cfg(test)]
mod tests {
    use super::folded;
    use crate::trees::reference::Random;
    use crate::trees::{Branch, Node, Tree};

    fn leaf() -> Node {
        Node::Leaf { first: 0, count: 0 }
    }

    /// A chain whose members go to node 0, and others to node 1.
    fn chain(bounds: &[(f32, f32)], nan_left: bool) -> Tree {
        let mut nodes = vec![leaf(), leaf()];
        for (place, (above, upto)) in bounds.iter().enumerate() {
            let last = place + 1 == bounds.len();
            nodes.push(Node::Branch(Branch {
                feature: 0,
                above: *above,
                upto: *upto,
                nan_left,
                left: 0,
                right: if last { 1 } else { place as u32 + 3 },
            }));
        }
        Tree {
            root: 2,
            nodes,
            weights: Vec::new(),
        }
    }

    fn bounds(first: i32, last: i32) -> (f32, f32) {
        ((first as f32).next_down(), (last as f32 + 1.0).next_down())
    }

    #[test]
    fn a_folded_chain_is_the_chain() {
        let mut random = Random(3);
        for turn in 0..300 {
            let (mut runs, mut at) = (Vec::new(), random.below(3) as i32);
            for _ in 0..2 + random.below(40) {
                let last = at + random.below(3) as i32;
                runs.push(bounds(at, last));
                at = last + 2 + random.below(5) as i32;
            }
            if turn % 3 == 0 {
                runs[0].0 = -1.0;
            }
            let tree = chain(&runs, turn % 2 == 0);
            let (made, sets) = folded(&tree).unwrap();
            assert_eq!(made.depth(), Some(1));
            assert_eq!(made.nodes.len(), 3);
            let Node::Branch(branch) = made.nodes[0] else {
                panic!("no branch");
            };
            for _ in 0..300 {
                let x = match random.below(3) {
                    0 => random.value(false),
                    1 => random.below(at as usize + 2) as f32,
                    _ => random.below(100 * at as usize) as f32 / 99.0 - 2.0,
                };
                let expected = runs.iter().any(|(above, upto)| *above < x && x <= *upto);
                let got = branch.above < x && x <= branch.upto && sets.has(0, x);
                assert_eq!(got, expected, "{x} {runs:?}");
            }
        }
    }

    #[test]
    fn what_is_no_set_stays() {
        assert!(folded(&chain(&[bounds(1, 2)], false)).is_none());
        assert!(folded(&chain(&[bounds(1, 2), (4.5, 5.0)], false)).is_none());
        assert!(folded(&chain(&[bounds(1, 2), (-1.0, 7.0)], false)).is_none());
        assert!(folded(&chain(&[bounds(9, 4), bounds(6, 7)], false)).is_none());
        assert!(folded(&chain(&[bounds(0, 2), bounds(9_000_000, 9_000_001)], false)).is_none());
        let mut other = chain(&[bounds(1, 2), bounds(5, 6)], false);
        if let Node::Branch(branch) = &mut other.nodes[3] {
            branch.nan_left = true;
        }
        assert!(folded(&other).is_none());
    }
}
