//! From a link, or the environment, to a client of the registry: the secret is read, a token fetched where one is needed, and
//! Azure Resource Manager asked for a workspace's MLflow address.

use std::sync::Arc;

use serde::Deserialize;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Process, Secret, StoreLink};

use super::link::{Access, Link, LinkKind, Workspace, endpoint};
use super::tokens::Key;
use super::{Links, Wanted};
use crate::http::MAX_ANSWER;
use crate::mlflow::{Credentials, Mlflow, Place, Service};

/// What `models:/` means where no link is named.
const VARIABLE: &str = "MLFLOW_TRACKING_URI";

/// What Resource Manager says of a workspace.
#[derive(Deserialize)]
struct Described {
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "mlFlowTrackingUri")]
    tracking_uri: Option<String>,
}

impl Links {
    /// The registry that a URI means: the link it names, else the only one that fits, else that of the environment. Of
    /// several links none is taken by chance.
    pub(crate) async fn registry(
        &self,
        wanted: Wanted,
        named: Option<&str>,
    ) -> Result<Mlflow, Error> {
        if let Some(name) = named {
            let link = self.get(name)?;
            return match (wanted, &link.kind) {
                (_, LinkKind::Store(store)) => Err(no_registry(store)),
                (Wanted::AzureMl, LinkKind::Mlflow { .. }) => Err(Error::new(
                    ErrorCode::Invalid,
                    format!("link '{name}' is one of kind mlflow, and aml:// means an Azure ML workspace"),
                )
                .with_hint("write models:/NAME/VERSION for it")),
                (Wanted::AzureMl | Wanted::Mlflow, _) => self.connect(name).await,
            };
        }
        let fits = |link: &Arc<Link>| match (&link.kind, wanted) {
            (LinkKind::Mlflow { .. }, Wanted::Mlflow) | (LinkKind::AzureMl(_), Wanted::AzureMl) => {
                true
            }
            (LinkKind::AzureMl(_), Wanted::Mlflow)
            | (LinkKind::Mlflow { .. }, Wanted::AzureMl)
            | (LinkKind::Store(_), _) => false,
        };
        let links: Vec<Arc<Link>> = self.list().into_iter().filter(fits).collect();
        match (links.as_slice(), wanted) {
            ([only], _) => self.connect(only.name.as_str()).await,
            ([], Wanted::Mlflow) => self.of_environment(),
            (_, Wanted::Mlflow) if self.environment.get(VARIABLE).is_some() => {
                self.of_environment()
            }
            ([], Wanted::AzureMl) => Err(Error::new(ErrorCode::NotFound, "there is no link to an Azure ML workspace")
                .with_hint("add one: `whimbrel link add NAME --kind azureml --workspace W --resource-group R --subscription S ...`")),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|link| format!("'{}'", link.name)).collect();
                Err(Error::new(ErrorCode::Invalid, format!("several links could be meant: {}", names.join(", ")))
                    .with_hint("say which: put ?link=NAME at the end of the uri"))
            }
        }
    }

    /// The registry of `MLFLOW_TRACKING_URI`, with the variables that MLflow's own clients read.
    fn of_environment(&self) -> Result<Mlflow, Error> {
        let Some(uri) = self.environment.get(VARIABLE) else {
            return Err(Error::new(ErrorCode::NotFound, "no MLflow registry is known")
                .with_hint(format!("add one with `whimbrel link add NAME --kind mlflow --uri URL`, or set {VARIABLE} where the scheduler starts")));
        };
        // A user and a password in it would be shown with it.
        let base = endpoint(VARIABLE, uri).map_err(|error| {
            error.with_hint(
                "set it to http://HOST:PORT of `mlflow server`, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD beside it",
            )
        })?;
        let get = |name: &str| {
            self.environment
                .get(name)
                .map(|text| Secret::new(text.to_owned()))
        };
        let credentials = match (
            self.environment.get("MLFLOW_TRACKING_USERNAME"),
            get("MLFLOW_TRACKING_PASSWORD"),
            get("MLFLOW_TRACKING_TOKEN"),
        ) {
            (Some(user), Some(password), _) => Credentials::Basic {
                user: user.to_owned(),
                password,
            },
            (_, _, Some(token)) => Credentials::Bearer(token),
            _ => Credentials::Nobody,
        };
        Ok(Mlflow::new(
            self.http.clone(),
            Service {
                place: Place::Variable(VARIABLE),
                base,
                credentials,
                workspace: None,
            },
        ))
    }

    /// A client of the link's registry: its secret is read, and a token fetched where one is needed.
    pub(crate) async fn connect(&self, name: &str) -> Result<Mlflow, Error> {
        let record = self.find(name)?;
        let link = record.value?;
        let explain = |error: Error| about(&link.name, &error);
        let service = match &link.kind {
            LinkKind::Store(store) => return Err(no_registry(store)),
            LinkKind::Mlflow { uri, access } => Service {
                place: Place::Link(link.name.clone()),
                base: uri.clone(),
                credentials: self.credentials(access).map_err(explain)?,
                workspace: None,
            },
            LinkKind::AzureMl(workspace) => {
                let key: Key = (link.name.clone(), record.revision);
                let token = self.tokens.get(&key, workspace).await.map_err(explain)?;
                Service {
                    place: Place::Link(link.name.clone()),
                    base: self
                        .tracking(&key, workspace, &token)
                        .await
                        .map_err(explain)?,
                    credentials: Credentials::Bearer(token),
                    workspace: Some(workspace.scope()),
                }
            }
        };
        Ok(Mlflow::new(self.http.clone(), service))
    }

    pub(super) fn credentials(&self, access: &Access) -> Result<Credentials, Error> {
        Ok(match access {
            Access::Nobody => Credentials::Nobody,
            Access::Basic { user, password } => Credentials::Basic {
                user: user.clone(),
                password: password.read(&self.environment, &Process::Scheduler)?,
            },
            Access::Token(token) => {
                Credentials::Bearer(token.read(&self.environment, &Process::Scheduler)?)
            }
        })
    }

    /// The workspace's MLflow address: as the link says, else as Resource Manager does.
    pub(super) async fn tracking(
        &self,
        key: &Key,
        workspace: &Workspace,
        token: &Secret,
    ) -> Result<String, Error> {
        if let Some(endpoint) = &workspace.endpoint {
            return Ok(endpoint.clone());
        }
        let Workspace {
            management,
            workspace: name,
            ..
        } = workspace;
        let call = self
            .http
            .get(&format!("{management}{}", workspace.scope()))
            .query(&[("api-version", "2023-10-01")])
            .bearer_auth(token.expose());
        let answer = self.http.send(call, MAX_ANSWER).await.map_err(|trouble| {
            Error::new(
                ErrorCode::Unavailable,
                format!(
                    "Azure Resource Manager '{management}' cannot be asked: {}",
                    trouble.why()
                ),
            )
            .with_hint("check the network and --management of the link, or give --ml-endpoint")
        })?;
        let denied =
            |text: String, hint: &str| Err(Error::new(ErrorCode::Denied, text).with_hint(hint));
        match answer.status.as_u16() {
            200 => {}
            401 => {
                self.tokens.forget(key).await;
                return denied(
                    format!(
                        "Azure Resource Manager takes the token not (401) for workspace '{name}'"
                    ),
                    "check tenant and subscription of the link",
                );
            }
            403 => {
                return denied(
                    format!("the identity may not see the workspace '{name}' (403)"),
                    "give it the role AzureML Data Scientist (or Reader) on the workspace",
                );
            }
            404 => {
                return Err(Error::new(
                    ErrorCode::NotFound,
                    format!(
                        "there is no workspace '{name}' in resource group '{}' of the subscription",
                        workspace.resource_group
                    ),
                )
                .with_hint("check --workspace, --resource-group and --subscription"));
            }
            status => {
                return Err(Error::new(
                    ErrorCode::Unavailable,
                    format!("Azure Resource Manager answers {status} for workspace '{name}'"),
                )
                .with_hint("try again later"));
            }
        }
        let tracking = answer
            .json::<Described>()
            .and_then(|described| described.properties.tracking_uri);
        let Some(tracking) = tracking else {
            return Err(Error::new(
                ErrorCode::Unavailable,
                format!("Azure Resource Manager names no MLflow address of workspace '{name}'"),
            )
            .with_hint("give it with --ml-endpoint"));
        };
        // The older path serves older clients of MLflow only.
        Ok(tracking
            .replacen("azureml://", "https://", 1)
            .replacen("/mlflow/v1.0/", "/mlflow/v2.0/", 1)
            .trim_end_matches('/')
            .to_owned())
    }
}

/// Says through which link the error came.
fn about(name: &LinkName, error: &Error) -> Error {
    let told = Error::new(error.code(), format!("link '{name}': {}", error.message()));
    match error.hint() {
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}

fn no_registry(link: &StoreLink) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!(
            "link '{}' is one of kind {}: it leads to object stores, not to a registry",
            link.name,
            link.kind()
        ),
    )
    .with_hint(
        "name the model by its place, such as s3://BUCKET/PATH, and the link is used by itself",
    )
}
