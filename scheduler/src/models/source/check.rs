//! The last step of a link's test: whether a model's files can be read through it.

use whimbrel_proto::{Error, ErrorCode};

use super::Sources;
use crate::links::{Check, LinkKind, Wanted};
use crate::mlflow::Mlflow;

/// Models that are looked at, to find one with a version.
const LOOKS: usize = 10;

impl Sources {
    /// Every step of a link, from its secret to a model's files.
    pub async fn test_link(&self, name: &str) -> Result<Vec<Check>, Error> {
        let link = self.links().get(name)?;
        let kind = match link.kind {
            LinkKind::Mlflow { .. } => Wanted::Mlflow,
            LinkKind::AzureMl(_) => Wanted::AzureMl,
            // It leads to no registry, so none comes back.
            LinkKind::Store(_) => Wanted::Mlflow,
        };
        let (mut checks, registry) = self.links().test(name, &self.stores).await?;
        if let Some(registry) = registry {
            let outcome = self.read_any(&registry, kind).await;
            checks.push(Check {
                step: "artifacts",
                outcome,
            });
        }
        Ok(checks)
    }

    async fn read_any(&self, registry: &Mlflow, kind: Wanted) -> Result<String, Error> {
        for name in registry.models(1).await?.into_iter().take(LOOKS) {
            let Some(version) = registry.versions(&name).await?.into_iter().next() else {
                continue;
            };
            let number = version.version.clone();
            return match self.mlmodel_of(registry, kind, &version).await {
                Ok(mlmodel) => Ok(format!(
                    "'{name}' version {number} can be read ({})",
                    mlmodel.flavors().join(", ")
                )),
                // The files can be read; that they are no model that can be used is another matter.
                Err(error) if matches!(error.code(), ErrorCode::Invalid) => {
                    Ok(format!("'{name}' version {number} can be read"))
                }
                Err(error) => Err(error),
            };
        }
        Ok("there is no version to read".to_owned())
    }
}
