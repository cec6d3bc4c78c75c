//! The versions of a registry's entry, those that cannot be used too: for each, in which forms it was saved, what it takes and
//! gives, and why it cannot be bound.

use futures::{StreamExt, stream};
use whimbrel_predict::mlmodel::{Field, MlModel, MlSignature};
use whimbrel_proto::{Error, ErrorCode, v1};

use super::Sources;
use super::entry::{Entry, What};
use super::folder::{Found, read_mlmodel};
use crate::links::Wanted;
use crate::mlflow::{Mlflow, Version};

/// Versions that are looked into at once.
const AT_ONCE: usize = 8;
/// Inputs and outputs that a short signature names.
const SHOWN: usize = 16;

/// One version of an entry.
#[derive(Clone, Debug)]
pub(crate) struct VersionFacts {
    version: Version,
    flavors: Vec<String>,
    signature: String,
    unusable: Option<Error>,
}

impl Sources {
    /// Every version of the entry that `uri` names, the newest first.
    pub(crate) async fn versions(&self, uri: &str) -> Result<Vec<VersionFacts>, Error> {
        let write = "write models:/NAME or aml://NAME";
        let Some(Entry {
            registry: kind,
            what,
            link,
        }) = Entry::parse(uri.trim())?
        else {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("'{uri}' is not an entry of a registry"),
            )
            .with_hint(write));
        };
        let What::Registered { name, .. } = what else {
            return Err(
                Error::new(ErrorCode::Invalid, format!("'{uri}' has no versions")).with_hint(write),
            );
        };
        let registry = self.links().registry(kind, link.as_deref()).await?;
        let versions = registry.versions(&name).await?;
        let looks = versions
            .into_iter()
            .map(|version| self.look(&registry, kind, version));
        Ok(stream::iter(looks).buffered(AT_ONCE).collect().await)
    }

    async fn look(&self, registry: &Mlflow, kind: Wanted, version: Version) -> VersionFacts {
        let (flavors, signature, unusable) = match self.mlmodel_of(registry, kind, &version).await {
            Ok(mlmodel) => {
                let signature = mlmodel.signature().map(short).unwrap_or_default();
                (
                    mlmodel.flavors().to_vec(),
                    signature,
                    mlmodel.model_file().err(),
                )
            }
            Err(error) => (Vec::new(), String::new(), Some(error)),
        };
        let not_ready = version
            .not_ready()
            .map(|why| Error::new(ErrorCode::Invalid, why));
        VersionFacts {
            version,
            flavors,
            signature,
            unusable: not_ready.or(unusable),
        }
    }

    pub(super) async fn mlmodel_of(
        &self,
        registry: &Mlflow,
        kind: Wanted,
        version: &Version,
    ) -> Result<MlModel, Error> {
        let resolved = self
            .resolved(
                registry.clone(),
                kind,
                &version.name,
                version.version.clone(),
            )
            .await?;
        match self.files_of(&resolved).await? {
            Found::Folder(folder) => read_mlmodel(folder.as_ref()).await,
            Found::File { folder, name, .. } => Err(Error::new(
                ErrorCode::Invalid,
                format!(
                    "it is one file, '{}/{name}', without an MLmodel file",
                    folder.place()
                ),
            )),
        }
    }
}

/// `trip_distance float, duration_min double? -> float`: a question mark where an input may be missing.
fn short(signature: &MlSignature) -> String {
    let field = |field: &Field| {
        let open = if field.required { "" } else { "?" };
        match &field.name {
            Some(name) => format!("{name} {}{open}", field.kind),
            None => format!("{}{open}", field.kind),
        }
    };
    let some = |fields: &[Field]| {
        let shown: Vec<String> = fields.iter().take(SHOWN).map(field).collect();
        match fields.len().saturating_sub(SHOWN) {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    };
    format!(
        "{} -> {}",
        some(&signature.inputs),
        some(&signature.outputs)
    )
    .trim()
    .to_owned()
}

impl From<VersionFacts> for v1::ModelVersion {
    fn from(facts: VersionFacts) -> Self {
        let VersionFacts {
            version,
            flavors,
            signature,
            unusable,
        } = facts;
        let stage = version.current_stage.filter(|stage| stage != "None");
        let tags = version.tags.into_iter().map(|tag| v1::Tag {
            key: tag.key,
            value: tag.value,
        });
        Self {
            name: version.name,
            version: version.version,
            aliases: version.aliases,
            stage: stage.unwrap_or_default(),
            tags: tags.collect(),
            status: version.status.unwrap_or_default(),
            description: version.description.unwrap_or_default(),
            created_at_ms: version.creation_timestamp,
            flavors,
            signature,
            unusable: unusable.map(|error| error.to_string()).unwrap_or_default(),
        }
    }
}
