//! The files of a model as registries keep them: behind the tracking server itself (`mlflow-artifacts:`), behind Azure ML's own
//! service (`azureml:`), or in a place of their own that is not read here.

use bytes::Bytes;
use reqwest::{RequestBuilder, Url};
use whimbrel_proto::{Error, ErrorCode};

use super::{Mlflow, below, wire};
use crate::http::{Answer, MAX_ANSWER, Trouble};

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Artifacts {
    /// Behind a tracking server, at this path; `server` where it is another one.
    Proxied {
        server: Option<String>,
        path: String,
    },
    /// In an Azure ML workspace.
    Workspace { area: Area, path: String },
    /// Of a logged model.
    Logged(String),
    /// In a run's files, at this path.
    Run { id: String, path: String },
    /// In an object store or a folder: the URI itself.
    Elsewhere(String),
}

/// Which of a workspace's services keeps the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Run { experiment: String, run: String },
    Upload { origin: String, container: String },
}

impl Artifacts {
    /// What an artifact URI means.
    pub(crate) fn parse(uri: &str) -> Result<Self, Error> {
        let odd = || {
            Error::new(
                ErrorCode::Invalid,
                format!("the registry keeps the model at '{uri}', which is no place that is known"),
            )
            .with_hint("give the place of its files itself, as --uri")
        };
        let Some((scheme, rest)) = uri.split_once(':') else {
            return Ok(Self::Elsewhere(uri.to_owned()));
        };
        match scheme {
            "mlflow-artifacts" => match rest.strip_prefix("//") {
                Some(rest) if !rest.starts_with('/') => {
                    let (server, path) = rest.split_once('/').ok_or_else(odd)?;
                    Ok(Self::Proxied {
                        server: Some(server.to_owned()),
                        path: trimmed(path),
                    })
                }
                Some(path) => Ok(Self::Proxied {
                    server: None,
                    path: trimmed(path),
                }),
                None => Ok(Self::Proxied {
                    server: None,
                    path: trimmed(rest),
                }),
            },
            "models" => match trimmed(rest) {
                id if id.starts_with("m-") && !id.contains('/') => Ok(Self::Logged(id)),
                _ => Err(odd()),
            },
            "runs" => {
                let rest = trimmed(rest);
                let (id, path) = rest.split_once('/').unwrap_or((&rest, ""));
                Ok(Self::Run {
                    id: id.to_owned(),
                    path: path.to_owned(),
                })
            }
            "azureml" => workspace(rest).ok_or_else(odd),
            _ => Ok(Self::Elsewhere(uri.to_owned())),
        }
    }
}

fn trimmed(path: &str) -> String {
    path.trim_matches('/').to_owned()
}

/// `.../experiments/E/runs/R/artifacts/PATH`, or `artifacts/ORIGIN/CONTAINER/PATH`.
fn workspace(rest: &str) -> Option<Artifacts> {
    let path = rest.trim_start_matches('/');
    if let Some((before, after)) = path.split_once("/runs/") {
        let experiment = before.rsplit('/').next()?.to_owned();
        let (run, path) = after.split_once('/').unwrap_or((after, ""));
        let path = path.strip_prefix("artifacts").unwrap_or(path);
        let area = Area::Run {
            experiment,
            run: run.to_owned(),
        };
        return Some(Artifacts::Workspace {
            area,
            path: trimmed(path),
        });
    }
    let mut parts = path.strip_prefix("artifacts/")?.splitn(3, '/');
    let (origin, container) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let path = parts.next().unwrap_or("");
    Some(Artifacts::Workspace {
        area: Area::Upload { origin, container },
        path: trimmed(path),
    })
}

impl Mlflow {
    /// The server that keeps proxied files, and whether it is this one: credentials go to no other.
    fn proxy(&self, server: Option<&str>) -> (String, bool) {
        let own = Url::parse(&self.service.base).ok();
        match (server, own) {
            (Some(server), Some(own)) => {
                let other = format!("{}://{server}", own.scheme());
                let same = Url::parse(&other).is_ok_and(|other| other.origin() == own.origin());
                if same {
                    (self.service.base.clone(), true)
                } else {
                    (other, false)
                }
            }
            _ => (self.service.base.clone(), true),
        }
    }

    /// A file behind a tracking server; `None` where there is none of that path.
    pub(crate) async fn proxied_file(
        &self,
        server: Option<&str>,
        path: &str,
        most: u64,
    ) -> Result<Option<Bytes>, Error> {
        let (base, own) = self.proxy(server);
        let mut segments = vec!["api", "2.0", "mlflow-artifacts", "artifacts"];
        segments.extend(path.split('/').filter(|part| !part.is_empty()));
        let url = below(&base, &segments).ok_or_else(|| self.no_url(&base))?;
        let call = self.http.get(url.as_str());
        self.ask_for_file(path, call, own, most).await
    }

    /// The body that a server of files answers; `own` ones know the link's credentials.
    async fn ask_for_file(
        &self,
        path: &str,
        call: RequestBuilder,
        own: bool,
        most: u64,
    ) -> Result<Option<Bytes>, Error> {
        let call = if own { self.authorized(call) } else { call };
        let answer = self
            .http
            .send(call, most)
            .await
            .map_err(|trouble| self.file_trouble(path, &trouble))?;
        self.file_answer(path, answer)
    }

    /// The names of what lies directly in a folder behind a tracking server.
    pub(crate) async fn proxied_names(
        &self,
        server: Option<&str>,
        path: &str,
    ) -> Result<Vec<String>, Error> {
        let (base, own) = self.proxy(server);
        let call = self
            .http
            .get(&format!("{base}/api/2.0/mlflow-artifacts/artifacts"))
            .query(&[("path", path)]);
        let listing: wire::Listing = match self.ask_for_file(path, call, own, MAX_ANSWER).await? {
            None => return Ok(Vec::new()),
            Some(body) => serde_json::from_slice(&body).unwrap_or_default(),
        };
        let name = |file: wire::File| file.path.rsplit('/').next().map(str::to_owned);
        Ok(listing.files.into_iter().filter_map(name).collect())
    }

    /// A file of an Azure ML workspace: its service names an address that is good for a while.
    pub(crate) async fn workspace_file(
        &self,
        area: &Area,
        path: &str,
        most: u64,
    ) -> Result<Option<Bytes>, Error> {
        let scope = self.service.workspace.as_deref().unwrap_or_default();
        let Ok(base) = Url::parse(&self.service.base) else {
            return Err(self.no_url(&self.service.base));
        };
        let host = base.origin().ascii_serialization();
        let mut segments: Vec<&str> = match area {
            Area::Run { .. } => vec!["history", "v1.0"],
            Area::Upload { .. } => vec!["artifact", "v2.0"],
        };
        segments.extend(scope.split('/').filter(|part| !part.is_empty()));
        match area {
            Area::Run { experiment, run } => segments.extend([
                "experiments",
                experiment,
                "runs",
                run,
                "artifacts",
                "contentinfo",
            ]),
            Area::Upload { origin, container } => {
                segments.extend(["artifacts", origin, container, "contentinfo"])
            }
        }
        let url = below(&host, &segments).ok_or_else(|| self.no_url(&host))?;
        let call = self.authorized(self.http.get(url.as_str()).query(&[("path", path)]));
        let answer = self
            .http
            .send(call, MAX_ANSWER)
            .await
            .map_err(|trouble| self.file_trouble(path, &trouble))?;
        let Some(body) = self.file_answer(path, answer)? else {
            return Ok(None);
        };
        let info: wire::ContentInfo = serde_json::from_slice(&body).map_err(|_| {
            Error::new(
                ErrorCode::Unavailable,
                format!("{} does not say where the file '{path}' is", self.name()),
            )
            .with_hint("try again later")
        })?;
        // The address carries its own right; the token is for the workspace only.
        let call = self.http.get(&info.content_uri);
        let answer = self
            .http
            .send(call, most)
            .await
            .map_err(|trouble| self.file_trouble(path, &trouble))?;
        self.file_answer(path, answer)
    }

    fn no_url(&self, base: &str) -> Error {
        Error::new(
            ErrorCode::Invalid,
            format!("{} has the address '{base}', which is no URL", self.name()),
        )
        .with_hint("write http://HOST:PORT")
    }

    fn file_trouble(&self, path: &str, trouble: &Trouble) -> Error {
        match trouble {
            Trouble::Unreachable(_) => self.unreachable(trouble),
            Trouble::TooLarge(limit) => Error::new(
                ErrorCode::Invalid,
                format!(
                    "the file '{path}' in {} is larger than {limit} bytes",
                    self.name()
                ),
            )
            .with_hint("check that it is the right file; a model's file has at most 2 GiB"),
        }
    }

    fn file_answer(&self, path: &str, answer: Answer) -> Result<Option<Bytes>, Error> {
        let status = answer.status.as_u16();
        let denied = |why: &str, hint: &str| {
            Err(Error::new(
                ErrorCode::Denied,
                format!(
                    "the file '{path}' cannot be read from {}: {why}",
                    self.name()
                ),
            )
            .with_hint(hint))
        };
        match status {
            200..=299 => Ok(Some(answer.body)),
            404 => Ok(None),
            401 => denied("it wants other credentials (401)", self.how_to_log_in()),
            403 => denied("it does not allow it (403)", self.how_to_be_allowed()),
            503 => denied(
                "it does not serve artifacts",
                "start the server with --serve-artifacts, or give the place of the files as --uri",
            ),
            // A path that climbs out, which the server forbids.
            400 => Ok(None),
            _ => Err(Error::new(
                ErrorCode::Unavailable,
                format!(
                    "the file '{path}' cannot be read from {}: it answers {status}",
                    self.name()
                ),
            )
            .with_hint("see the server's log")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_files_are_found_wherever_a_registry_keeps_them() {
        let proxied = |server: Option<&str>, path: &str| Artifacts::Proxied {
            server: server.map(str::to_owned),
            path: path.to_owned(),
        };
        let scope = "subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
        let run = Area::Run {
            experiment: "e".to_owned(),
            run: "r".to_owned(),
        };
        let upload = Area::Upload {
            origin: "LocalUpload".to_owned(),
            container: "250101".to_owned(),
        };
        for (uri, want) in [
            (
                "mlflow-artifacts:/1/models/m-7/artifacts",
                proxied(None, "1/models/m-7/artifacts"),
            ),
            ("mlflow-artifacts:///1/x", proxied(None, "1/x")),
            (
                "mlflow-artifacts://files:5001/1/x/",
                proxied(Some("files:5001"), "1/x"),
            ),
            ("models:/m-7", Artifacts::Logged("m-7".to_owned())),
            (
                "runs:/r1/a/model",
                Artifacts::Run {
                    id: "r1".to_owned(),
                    path: "a/model".to_owned(),
                },
            ),
            (
                "azureml://experiments/e/runs/r/artifacts/model",
                Artifacts::Workspace {
                    area: run.clone(),
                    path: "model".to_owned(),
                },
            ),
            (
                &format!(
                    "azureml://eu.api.azureml.ms/mlflow/v2.0/{scope}/experiments/e/runs/r/artifacts/a/b"
                ),
                Artifacts::Workspace {
                    area: run,
                    path: "a/b".to_owned(),
                },
            ),
            (
                "azureml://artifacts/LocalUpload/250101/fare",
                Artifacts::Workspace {
                    area: upload,
                    path: "fare".to_owned(),
                },
            ),
            (
                "s3://lake/1/x",
                Artifacts::Elsewhere("s3://lake/1/x".to_owned()),
            ),
            (
                "/srv/art/1/x",
                Artifacts::Elsewhere("/srv/art/1/x".to_owned()),
            ),
        ] {
            assert_eq!(Artifacts::parse(uri).unwrap(), want, "{uri}");
        }
        assert!(Artifacts::parse("models:/fare/3").is_err());
        assert!(Artifacts::parse("azureml://registries/r/models/m/versions/1").is_err());
    }
}
