//! What a tree must be before a kernel may walk it.

use super::{Branch, Ensemble, Fold, Node, Spoken, Tree};
use crate::error::Error;

fn branch(feature: u32, left: u32, right: u32) -> Node {
    Node::Branch(Branch {
        feature,
        above: f32::NAN,
        upto: 1.0,
        nan_left: false,
        left,
        right,
    })
}

const LEAF: Node = Node::Leaf { first: 0, count: 1 };
const SILENT: Node = Node::Leaf { first: 0, count: 0 };

fn tree(nodes: Vec<Node>) -> Tree {
    Tree {
        root: 0,
        nodes,
        weights: vec![(0, 1.0)],
    }
}

fn ensemble(nodes: Vec<Node>) -> Result<Ensemble, Error> {
    Ensemble::new(2, 1, Fold::Sum)?.with(vec![tree(nodes)])
}

fn is_damaged(nodes: Vec<Node>) -> bool {
    matches!(ensemble(nodes), Err(Error::Damaged(_)))
}

#[test]
fn a_walk_that_never_ends_is_refused() {
    assert!(is_damaged(vec![branch(0, 0, 1), LEAF]));
    assert!(is_damaged(vec![branch(0, 1, 2), branch(0, 2, 0), LEAF]));
    assert!(is_damaged(vec![branch(0, 1, 7), LEAF]));
    assert!(is_damaged(Vec::new()));
    let shared = vec![branch(0, 1, 2), branch(0, 2, 2), LEAF];
    assert!(ensemble(shared).is_ok());
}

#[test]
fn what_a_tree_points_to_is_there() {
    assert!(is_damaged(vec![branch(2, 1, 1), LEAF]));
    assert!(is_damaged(vec![Node::Leaf { first: 1, count: 1 }]));
    assert!(is_damaged(vec![Node::Leaf {
        first: u32::MAX,
        count: 9
    }]));
    let mut none = Ensemble::new(2, 0, Fold::Sum).unwrap();
    assert!(none.add(&tree(vec![LEAF])).is_err());
}

#[test]
fn depth_is_the_longest_way() {
    let nodes = vec![
        branch(0, 1, 2),
        LEAF,
        branch(0, 3, 4),
        LEAF,
        branch(0, 1, 3),
    ];
    assert_eq!(tree(nodes).depth(), Some(3));
    let chain = |length: u32| {
        let mut nodes: Vec<Node> = (0..length).map(|at| branch(0, at + 1, at + 1)).collect();
        nodes.push(LEAF);
        nodes
    };
    assert_eq!(tree(chain(300_000)).depth(), Some(300_000));
}

#[test]
fn a_target_may_depend_on_the_row() {
    let nodes = vec![branch(0, 1, 2), LEAF, SILENT];
    assert_eq!(ensemble(nodes).unwrap().spoken(), [Spoken::Sometimes]);
    let nodes = vec![branch(0, 1, 2), LEAF, LEAF];
    assert_eq!(ensemble(nodes).unwrap().spoken(), [Spoken::Always]);
}
