//! A client of MLflow's REST API, which Azure ML speaks too: registered models, their versions and aliases, and the files of a
//! model. Every refusal becomes one line that names what was asked for, and where.

mod files;
mod models;
mod wire;

use std::fmt;

use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Secret;

use crate::http::{Answer, Http, MAX_ANSWER, Trouble};

pub(crate) use files::{Area, Artifacts};
pub(crate) use wire::Version;

/// How a registry is named in messages.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Link(LinkName),
    /// An environment variable names it.
    Variable(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link '{name}'"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// As whom the server is asked.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    Nobody,
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

/// A server and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) place: Place,
    /// Without a slash at its end.
    pub(crate) base: String,
    pub(crate) credentials: Credentials,
    /// The scope of an Azure ML workspace, whose files have a service of their own.
    pub(crate) workspace: Option<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Mlflow {
    http: Http,
    service: Service,
}

/// Why the API gave nothing.
enum Refusal {
    /// What was asked for does not exist.
    Missing,
    Failed(Error),
}

impl Mlflow {
    pub(crate) fn new(http: Http, service: Service) -> Self {
        Self { http, service }
    }

    /// The registry as messages name it.
    pub(crate) fn name(&self) -> String {
        let Service {
            place,
            base,
            workspace,
            ..
        } = &self.service;
        match workspace
            .as_deref()
            .and_then(|scope| scope.rsplit('/').next())
        {
            Some(workspace) => format!("the workspace '{workspace}' ({place})"),
            None => format!("the registry '{base}' ({place})"),
        }
    }

    fn authorized(&self, call: RequestBuilder) -> RequestBuilder {
        match &self.service.credentials {
            Credentials::Nobody => call,
            Credentials::Basic { user, password } => call.basic_auth(user, Some(password.expose())),
            Credentials::Bearer(token) => call.bearer_auth(token.expose()),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Refusal> {
        let url = format!("{}/api/2.0/mlflow/{path}", self.service.base);
        let call = self.authorized(self.http.get(&url).query(query));
        let answer = self
            .http
            .send(call, MAX_ANSWER)
            .await
            .map_err(|trouble| Refusal::Failed(self.unreachable(&trouble)))?;
        if answer.status.is_success() {
            return answer
                .json()
                .ok_or_else(|| Refusal::Failed(self.foreign(&answer)));
        }
        Err(self.refused(&answer))
    }

    fn unreachable(&self, trouble: &Trouble) -> Error {
        Error::new(
            ErrorCode::Unavailable,
            format!("{} cannot be reached: {}", self.name(), trouble.why()),
        )
        .with_hint("check that it runs, its address, and the network between it and the scheduler")
    }

    fn foreign(&self, answer: &Answer) -> Error {
        Error::new(ErrorCode::Unavailable, format!("{} does not answer like an MLflow server (status {})", self.name(), answer.status.as_u16()))
            .with_hint("check its address: it is the one that MLFLOW_TRACKING_URI has for MLflow's own clients")
    }

    fn refused(&self, answer: &Answer) -> Refusal {
        let said: wire::Refused = answer.json().unwrap_or_default();
        let denied = |what: &str, hint: &str| {
            Refusal::Failed(
                Error::new(ErrorCode::Denied, format!("{} {what}", self.name())).with_hint(hint),
            )
        };
        match (answer.status.as_u16(), said.error_code.as_str()) {
            (404, "RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND") => Refusal::Missing,
            // Unknown aliases and malformed names.
            (400, "INVALID_PARAMETER_VALUE") => Refusal::Missing,
            (401, _) => match &self.service.credentials {
                Credentials::Nobody => denied("wants credentials (401)", self.how_to_log_in()),
                Credentials::Basic { .. } => denied(
                    "refuses the user or the password (401)",
                    match self.service.place {
                        Place::Link(_) => "check the user and the password of the link",
                        Place::Variable(_) => {
                            "check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of the scheduler"
                        }
                    },
                ),
                Credentials::Bearer(_) => denied(
                    "refuses the token (401)",
                    "check the token, and whether it has expired",
                ),
            },
            (403, _) => denied("does not allow it (403)", self.how_to_be_allowed()),
            (status, "") if status != 404 && status < 500 => Refusal::Failed(self.foreign(answer)),
            (404, _) => Refusal::Failed(self.foreign(answer)),
            (status, code) => Refusal::Failed(
                Error::new(
                    ErrorCode::Unavailable,
                    format!(
                        "{} fails: {} ({status})",
                        self.name(),
                        if said.message.is_empty() {
                            code
                        } else {
                            &said.message
                        }
                    ),
                )
                .with_hint("see the server's log"),
            ),
        }
    }

    fn how_to_log_in(&self) -> &'static str {
        match self.service.place {
            Place::Link(_) => {
                "give the link --user with --password-env or --password-file, or --token-env"
            }
            Place::Variable(_) => {
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, where the scheduler starts"
            }
        }
    }

    fn how_to_be_allowed(&self) -> &'static str {
        if self.service.workspace.is_some() {
            "give the identity the role AzureML Data Scientist on the workspace"
        } else {
            "give the user the permission READ on the model"
        }
    }
}

/// The base with these segments of a path after it, each of them encoded.
fn below(base: &str, segments: &[&str]) -> Option<Url> {
    let mut url = Url::parse(base).ok()?;
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(segments);
    Some(url)
}
