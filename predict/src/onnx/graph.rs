//! Walks a model's graphs, those inside operators (`If`, `Loop`) and those of its own functions included, for what decides
//! whether ONNX Runtime can run it.

use std::collections::BTreeSet;

use super::messages::{Graph, Model, Node, Tensor};

/// The operator sets that ONNX Runtime brings.
const DOMAINS: [&str; 4] = [
    "ai.onnx",
    "ai.onnx.ml",
    "com.microsoft",
    "com.microsoft.nchwc",
];

/// What a walk over all nodes found.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    /// (domain, operator), the default domain by its name.
    ops: BTreeSet<(String, String)>,
    /// The first file other than this one that holds weights.
    pub external_file: Option<&'a str>,
}

impl<'a> Walk<'a> {
    pub(super) fn of(model: &'a Model) -> Self {
        let mut walk = Self::default();
        let nodes = model.functions.iter().flat_map(|function| &function.node);
        nodes.for_each(|node| walk.node(node));
        if let Some(graph) = &model.graph {
            walk.graph(graph);
        }
        for function in &model.functions {
            walk.ops
                .remove(&(domain(&function.domain), function.name.clone()));
        }
        walk
    }

    /// An operator of a domain that ONNX Runtime does not know and the model does not define.
    pub(super) fn unknown(&self) -> Option<&(String, String)> {
        self.ops
            .iter()
            .find(|(domain, _)| !DOMAINS.contains(&domain.as_str()))
    }

    fn graph(&mut self, graph: &'a Graph) {
        graph
            .initializer
            .iter()
            .for_each(|tensor| self.tensor(tensor));
        graph.node.iter().for_each(|node| self.node(node));
    }

    fn node(&mut self, node: &'a Node) {
        self.ops
            .insert((domain(&node.domain), node.op_type.clone()));
        for attribute in &node.attribute {
            attribute
                .t
                .iter()
                .chain(&attribute.tensors)
                .for_each(|tensor| self.tensor(tensor));
            attribute
                .g
                .iter()
                .chain(&attribute.graphs)
                .for_each(|graph| self.graph(graph));
        }
    }

    fn tensor(&mut self, tensor: &'a Tensor) {
        self.external_file = self.external_file.or_else(|| tensor.external_file());
    }
}

/// The default domain is written as nothing or by its name.
pub(super) fn domain(text: &str) -> String {
    if text.is_empty() {
        "ai.onnx".to_owned()
    } else {
        text.to_owned()
    }
}
