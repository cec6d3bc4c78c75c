//! One tree: a file has an array for each property of its nodes.

use super::reader::Reader;
use super::splits::{numeric, set};
use crate::error::Error;
use crate::trees::{Node, Tree};

/// The arrays of a tree that predictions need; used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    left: Vec<i32>,
    right: Vec<i32>,
    features: Vec<i32>,
    /// Thresholds, and the values of the leaves.
    conditions: Vec<f32>,
    default_left: Vec<i32>,
    split_types: Vec<i32>,
    categories: Vec<i32>,
    category_nodes: Vec<i32>,
    category_firsts: Vec<i32>,
    category_counts: Vec<i32>,
    base_weights: Vec<f32>,
    leaf_weights: Vec<f32>,
    leaf_width: String,
}

/// What a branch is made of, whatever it compares with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub feature: u32,
    pub nan_left: bool,
    pub left: u32,
    pub right: u32,
}

impl Arrays {
    /// The next tree of a file, all of whose leaves add to the first target, or to one each where they are vectors.
    pub(super) fn read(&mut self, reader: &mut impl Reader) -> Result<Tree, Error> {
        self.clear();
        reader.object(|reader, key| match key {
            "left_children" => reader.ints(&mut self.left),
            "right_children" => reader.ints(&mut self.right),
            "split_indices" => reader.ints(&mut self.features),
            "split_conditions" => reader.floats(&mut self.conditions),
            "default_left" => reader.ints(&mut self.default_left),
            "split_type" => reader.ints(&mut self.split_types),
            "categories" => reader.ints(&mut self.categories),
            "categories_nodes" => reader.ints(&mut self.category_nodes),
            "categories_segments" => reader.ints(&mut self.category_firsts),
            "categories_sizes" => reader.ints(&mut self.category_counts),
            "base_weights" => reader.floats(&mut self.base_weights),
            "leaf_weights" => reader.floats(&mut self.leaf_weights),
            "tree_param" => reader.object(|reader, key| match key {
                "size_leaf_vector" => {
                    self.leaf_width = reader.text()?;
                    Ok(())
                }
                _ => reader.skip(),
            }),
            _ => reader.skip(),
        })?;
        self.tree()
    }

    fn clear(&mut self) {
        for ints in [
            &mut self.left,
            &mut self.right,
            &mut self.features,
            &mut self.default_left,
            &mut self.split_types,
            &mut self.categories,
            &mut self.category_nodes,
            &mut self.category_firsts,
            &mut self.category_counts,
        ] {
            ints.clear();
        }
        for floats in [
            &mut self.conditions,
            &mut self.base_weights,
            &mut self.leaf_weights,
        ] {
            floats.clear();
        }
        self.leaf_width.clear();
    }

    fn tree(&self) -> Result<Tree, Error> {
        let count = self.left.len();
        let lengths = [
            self.right.len(),
            self.features.len(),
            self.conditions.len(),
            self.default_left.len(),
        ];
        // Old files have no kinds of splits.
        let kinds = self.split_types.len();
        if count == 0 || lengths != [count; 4] || (kinds != 0 && kinds != count) {
            return Err(Error::damaged("the arrays of a tree differ in length"));
        }
        let width: usize = match self.leaf_width.as_str() {
            "" => 1,
            text => text.parse().map_err(|_| lacks("a width of leaves"))?,
        };
        let mut tree = Tree::default();
        tree.nodes.reserve_exact(count);
        for place in 0..count {
            let node = match self.left[place] {
                -1 => self.leaf(place, width, &mut tree)?,
                _ if self.split_types.get(place).is_some_and(|kind| *kind == 1) => {
                    // Their branches come when all nodes have their places.
                    Node::Leaf { first: 0, count: 0 }
                }
                _ => Node::Branch(numeric(self.split(place)?, self.conditions[place])),
            };
            tree.nodes.push(node);
        }
        self.sets(&mut tree)?;
        Ok(tree)
    }

    fn leaf(&self, place: usize, width: usize, tree: &mut Tree) -> Result<Node, Error> {
        let first = tree.weights.len() as u32;
        if width <= 1 {
            tree.weights.push((0, self.conditions[place]));
            return Ok(Node::Leaf { first, count: 1 });
        }
        // Since 3.2 leaves have a list of their own; their right child is the place in it.
        let (list, leaf) = match self.leaf_weights.is_empty() {
            true => (&self.base_weights, Some(place)),
            false => (&self.leaf_weights, usize::try_from(self.right[place]).ok()),
        };
        let values = leaf
            .and_then(|leaf| leaf.checked_mul(width))
            .and_then(|first| list.get(first..first.checked_add(width)?))
            .ok_or_else(|| lacks("the weights of a leaf"))?;
        tree.weights.extend((0..).zip(values.iter().copied()));
        let count = width as u32;
        Ok(Node::Leaf { first, count })
    }

    fn split(&self, place: usize) -> Result<Split, Error> {
        let known = |number: i32| u32::try_from(number).map_err(|_| lacks("a child or a feature"));
        Ok(Split {
            feature: known(self.features[place])?,
            nan_left: self.default_left[place] == 1,
            left: known(self.left[place])?,
            right: known(self.right[place])?,
        })
    }

    fn sets(&self, tree: &mut Tree) -> Result<(), Error> {
        let count = self.category_nodes.len();
        if [self.category_firsts.len(), self.category_counts.len()] != [count; 2] {
            return Err(lacks("the sets of its categories"));
        }
        let is_set = |place: &usize| self.left[*place] != -1 && self.split_types[*place] == 1;
        let mut numbers = 0..count;
        for place in (0..self.split_types.len()).filter(is_set) {
            // Both are in the order of the nodes.
            let found = numbers.find(|number| self.category_nodes[*number] as usize == place);
            let categories = found.and_then(|number| {
                let first = usize::try_from(self.category_firsts[number]).ok()?;
                let count = usize::try_from(self.category_counts[number]).ok()?;
                self.categories.get(first..first.checked_add(count)?)
            });
            let categories = categories.ok_or_else(|| lacks("the categories of a split"))?;
            set(place, self.split(place)?, categories, tree)?;
        }
        Ok(())
    }
}

fn lacks(what: &str) -> Error {
    Error::damaged(format!("a tree lacks {what}"))
}
