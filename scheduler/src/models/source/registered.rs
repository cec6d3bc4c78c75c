//! Models of a registry: which version a name means, and where its files are.

use async_trait::async_trait;
use bytes::Bytes;
use whimbrel_proto::{Error, ErrorCode};

use super::Sources;
use super::entry::{Entry, Pick, What};
use super::folder::{Folder, Found};
use crate::links::Wanted;
use crate::mlflow::{Area, Artifacts, Mlflow, Version};

/// Registries point to logged models, and those to files; a longer way goes in circles.
const HOPS: usize = 4;

/// One version, or the files that a URI names directly.
#[derive(Debug)]
pub(super) struct Resolved {
    registry: Mlflow,
    artifacts: Artifacts,
    /// The URI that names exactly this.
    pub(super) uri: String,
    pub(super) version: Option<String>,
}

impl Sources {
    /// Finds the one version that an entry means now.
    pub(super) async fn resolve(&self, entry: &Entry) -> Result<Resolved, Error> {
        let registry = self
            .links()
            .registry(entry.registry, entry.link.as_deref())
            .await?;
        match &entry.what {
            What::Registered { name, pick } => {
                let version = version_of(&registry, name, pick).await?;
                if let Some(why) = version.not_ready() {
                    return Err(Error::new(
                        ErrorCode::Invalid,
                        format!(
                            "version {} of model '{name}' cannot be used: {why}",
                            version.version
                        ),
                    )
                    .with_hint("name another version"));
                }
                self.resolved(registry, entry.registry, name, version.version)
                    .await
            }
            What::Logged(id) => Ok(Resolved {
                registry,
                artifacts: Artifacts::Logged(id.clone()),
                uri: format!("models:/{id}"),
                version: None,
            }),
            What::Run { id, path } => Ok(Resolved {
                registry,
                artifacts: Artifacts::Run {
                    id: id.clone(),
                    path: path.clone(),
                },
                uri: format!("runs:/{id}/{path}"),
                version: None,
            }),
        }
    }

    pub(super) async fn resolved(
        &self,
        registry: Mlflow,
        kind: Wanted,
        name: &str,
        version: String,
    ) -> Result<Resolved, Error> {
        let artifacts = Artifacts::parse(&registry.version_files(name, &version).await?)?;
        let uri = match kind {
            Wanted::Mlflow => format!("models:/{name}/{version}"),
            Wanted::AzureMl => format!("aml://{name}:{version}"),
        };
        Ok(Resolved {
            registry,
            artifacts,
            uri,
            version: Some(version),
        })
    }

    /// Where the files are in the end.
    pub(super) async fn files_of(&self, resolved: &Resolved) -> Result<Found, Error> {
        let registry = &resolved.registry;
        let mut artifacts = resolved.artifacts.clone();
        for _ in 0..HOPS {
            artifacts = match artifacts {
                Artifacts::Logged(id) => Artifacts::parse(&registry.logged_files(&id).await?)?,
                Artifacts::Run { id, path } => self.run_files(registry, &id, &path).await?,
                Artifacts::Proxied { server, path } => {
                    return Ok(folder(
                        &resolved.uri,
                        registry,
                        Kept::Proxied { server },
                        path,
                    ));
                }
                Artifacts::Workspace { area, path } => {
                    return Ok(folder(
                        &resolved.uri,
                        registry,
                        Kept::Workspace { area },
                        path,
                    ));
                }
                Artifacts::Elsewhere(uri) => {
                    return self
                        .open_elsewhere(&uri)
                        .await
                        .map_err(|error| kept_elsewhere(&resolved.uri, &uri, &error));
                }
            };
        }
        Err(Error::new(
            ErrorCode::Invalid,
            format!("'{}' leads in circles in {}", resolved.uri, registry.name()),
        )
        .with_hint("register the model again"))
    }

    /// A run's own files; since MLflow 3 a model is logged beside its run, under the same name.
    async fn run_files(&self, registry: &Mlflow, id: &str, path: &str) -> Result<Artifacts, Error> {
        let run = registry.run(id).await?;
        if let Some(logged) = registry.logged_of_run(&run, path).await? {
            return Artifacts::parse(&logged);
        }
        Artifacts::parse(&format!(
            "{}/{path}",
            run.artifact_uri.trim_end_matches('/')
        ))
    }
}

async fn version_of(registry: &Mlflow, name: &str, pick: &Pick) -> Result<Version, Error> {
    match pick {
        Pick::Number(number) => registry.version(name, number).await,
        Pick::Alias(alias) => registry.by_alias(name, alias).await,
        Pick::Latest => registry
            .versions(name)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| {
                Error::new(
                    ErrorCode::NotFound,
                    format!("model '{name}' has no version in {}", registry.name()),
                )
                .with_hint("register one: mlflow.register_model")
            }),
        Pick::Stage(stage) => {
            let versions = registry.versions(name).await?;
            let known: Vec<&str> = versions
                .iter()
                .map(|version| version.version.as_str())
                .collect();
            let hint = format!(
                "versions are {}; an alias is written models:/{name}@ALIAS",
                known.join(", ")
            );
            let of_stage = |version: &Version| {
                version
                    .current_stage
                    .as_deref()
                    .is_some_and(|current| current.eq_ignore_ascii_case(stage))
            };
            versions.iter().find(|version| of_stage(version)).cloned().ok_or_else(|| {
                Error::new(ErrorCode::NotFound, format!("model '{name}' has no version '{stage}' and none in a stage of that name")).with_hint(hint)
            })
        }
    }
}

fn kept_elsewhere(entry: &str, uri: &str, error: &Error) -> Error {
    let text = format!(
        "the registry keeps '{entry}' at '{uri}': {}",
        error.message()
    );
    let hint = match (
        error.code(),
        uri.starts_with('/') || uri.starts_with("file:"),
    ) {
        (ErrorCode::NotFound, true) => {
            "start the MLflow server with --serve-artifacts, or run the scheduler where that path is"
        }
        (_, _) => error.hint().unwrap_or("check the place"),
    };
    Error::new(error.code(), text).with_hint(hint)
}

/// Which service keeps a folder's files.
#[derive(Clone, Debug)]
enum Kept {
    Proxied { server: Option<String> },
    Workspace { area: Area },
}

#[derive(Debug)]
struct RegistryFolder {
    registry: Mlflow,
    kept: Kept,
    path: String,
    place: String,
}

fn folder(place: &str, registry: &Mlflow, kept: Kept, path: String) -> Found {
    Found::Folder(Box::new(RegistryFolder {
        registry: registry.clone(),
        kept,
        path,
        place: place.to_owned(),
    }))
}

#[async_trait]
impl Folder for RegistryFolder {
    async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, Error> {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        };
        match &self.kept {
            Kept::Proxied { server } => {
                self.registry
                    .proxied_file(server.as_deref(), &path, most)
                    .await
            }
            Kept::Workspace { area } => self.registry.workspace_file(area, &path, most).await,
        }
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        match &self.kept {
            Kept::Proxied { server } => {
                self.registry
                    .proxied_names(server.as_deref(), &self.path)
                    .await
            }
            // The service lists a whole container at once, which can be a run with thousands of files.
            Kept::Workspace { .. } => Ok(Vec::new()),
        }
    }

    fn place(&self) -> &str {
        &self.place
    }
}
