//! Goes through a link step by step, so that a user sees how far it works: the secret, the token, the workspace, the registry.
//! A step after one that failed is not tried.

use whimbrel_proto::{Error, v1};
use whimbrel_stores::{Process, Stores};

use super::Links;
use super::link::{Access, Identity, LinkKind};
use super::tokens::Key;
use crate::mlflow::{Credentials, Mlflow, Place, Service};

/// One step and how it went: what was seen, or what is wrong.
#[derive(Clone, Debug)]
pub struct Check {
    pub step: &'static str,
    pub outcome: Result<String, Error>,
}

impl From<Check> for v1::LinkCheck {
    fn from(check: Check) -> Self {
        let (works, detail, hint) = match check.outcome {
            Ok(seen) => (true, seen, String::new()),
            Err(error) => (
                false,
                error.message().to_owned(),
                error.hint().unwrap_or_default().to_owned(),
            ),
        };
        Self {
            step: check.step.to_owned(),
            works,
            detail,
            hint,
        }
    }
}

/// The steps that were made.
#[derive(Debug, Default)]
pub(super) struct Steps(pub(super) Vec<Check>);

impl Steps {
    /// Notes how a step went; nothing where it failed.
    pub(super) fn note<T>(
        &mut self,
        step: &'static str,
        outcome: Result<T, Error>,
        seen: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.0.push(Check {
                    step,
                    outcome: Ok(seen(&value)),
                });
                Some(value)
            }
            Err(error) => {
                self.0.push(Check {
                    step,
                    outcome: Err(error),
                });
                None
            }
        }
    }
}

impl Links {
    /// Tries every step up to the list of models; the registry where all of them work.
    pub(crate) async fn test(
        &self,
        name: &str,
        stores: &Stores,
    ) -> Result<(Vec<Check>, Option<Mlflow>), Error> {
        let record = self.find(name)?;
        let link = record.value?;
        let mut steps = Steps::default();
        let service = match &link.kind {
            LinkKind::Store(store) => {
                super::stores::steps(stores, store, &self.environment, &mut steps).await;
                return Ok((steps.0, None));
            }
            LinkKind::Mlflow { uri, access } => {
                self.mlflow_steps(uri, access, &mut steps)
                    .map(|credentials| Service {
                        place: Place::Link(link.name.clone()),
                        base: uri.clone(),
                        credentials,
                        workspace: None,
                    })
            }
            LinkKind::AzureMl(workspace) => {
                let key: Key = (link.name.clone(), record.revision);
                self.azure_steps(&key, workspace, &mut steps).await
            }
        };
        let Some(service) = service else {
            return Ok((steps.0, None));
        };
        let base = service.base.clone();
        let registry = Mlflow::new(self.http.clone(), service);
        let models = registry.models(1).await;
        let seen = |models: &Vec<String>| format!("'{base}' lists {} models", models.len());
        let registry = steps.note("registry", models, seen).map(|_| registry);
        Ok((steps.0, registry))
    }

    fn mlflow_steps(&self, uri: &str, access: &Access, steps: &mut Steps) -> Option<Credentials> {
        let seen = |_: &Credentials| match access {
            Access::Nobody => "none is needed".to_owned(),
            Access::Basic { user, password } => {
                format!("the password of '{user}' is in {password}")
            }
            Access::Token(token) => format!("the token is in {token}"),
        };
        let credentials = steps.note("secret", self.credentials(access), seen)?;
        let open = uri.starts_with("http://") && !matches!(access, Access::Nobody);
        let is_local = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
            .iter()
            .any(|local| uri.starts_with(local));
        if open && !is_local {
            steps.0.push(Check {
                step: "encryption",
                outcome: Ok("none: the credentials travel openly over http".to_owned()),
            });
        }
        Some(credentials)
    }

    async fn azure_steps(
        &self,
        key: &Key,
        workspace: &super::Workspace,
        steps: &mut Steps,
    ) -> Option<Service> {
        match &workspace.identity {
            Identity::ServicePrincipal { secret, .. } => {
                steps.note(
                    "secret",
                    secret.read(&self.environment, &Process::Scheduler),
                    |_| format!("it is in {secret}"),
                )?;
            }
            Identity::Managed { client_id } => {
                let whose = client_id.as_deref().unwrap_or("the machine's own");
                steps.0.push(Check {
                    step: "secret",
                    outcome: Ok(format!("none is needed: the managed identity is {whose}")),
                });
            }
        }
        // Rights that were given since are in a new token only.
        self.tokens.forget(key).await;
        let token = self.tokens.get(key, workspace).await;
        let token = steps.note("token", token, |_| "the identity is known".to_owned())?;
        let base = self.tracking(key, workspace, &token).await;
        let base = steps.note("workspace", base, |base: &String| {
            format!("its MLflow address is '{base}'")
        })?;
        Some(Service {
            place: Place::Link(key.0.clone()),
            base,
            credentials: Credentials::Bearer(token),
            workspace: Some(workspace.scope()),
        })
    }
}
