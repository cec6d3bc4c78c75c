//! A bound model as our own kernels have it, to tell what a query leaves of it.

use whimbrel_graph::{Fact, Model};
use whimbrel_predict::binding::Binding;
use whimbrel_predict::known::{self, Trees};
use whimbrel_proto::{Error, ErrorCode};

use super::Registry;
use super::content::blocking;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kernels(Model);

impl Kernels {
    /// What is left of its trees for rows of which so much is known, by input.
    pub(crate) fn left(&self, known: &[known::Known]) -> Trees {
        let facts: Vec<Fact> = known.iter().map(Into::into).collect();
        let less = self.0.narrowed_by(&facts);
        Trees {
            trees: less.trees(),
            nodes: less.nodes(),
            all_trees: self.0.trees(),
            all_nodes: self.0.nodes(),
        }
    }
}

impl Registry {
    /// The kernels of a bound model.
    pub(crate) async fn kernels(&self, binding: &Binding) -> Result<Kernels, Error> {
        let bytes = self.content().read(&binding.digest).await?;
        blocking(move || {
            let model = Model::from_file(&bytes);
            let model = model.map_err(|why| Error::new(ErrorCode::Model, why.to_string()))?;
            Ok(Kernels(model))
        })
        .await
    }
}
