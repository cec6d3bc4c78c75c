//! Bearer tokens of Microsoft Entra: for a service principal by its client secret, for a managed identity by the machine's own
//! endpoint. A token is used until shortly before it ends, and of callers that need a new one only one fetches it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::Value;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Environment, Process, Secret, SecretRef, entra_refusal};

use super::link::{Identity, Workspace};
use crate::clock::Clock;
use crate::http::{Answer, Http, MAX_ANSWER, Trouble};
use crate::store::Revision;

/// A token is renewed this long before its end, or after half of its time where that is less.
const EARLY: Duration = Duration::from_secs(300);
/// What a token lasts where the answer does not say.
const USUAL: Duration = Duration::from_secs(600);
/// Azure's instance metadata service.
const INSTANCE: &str = "http://169.254.169.254";

/// A link as it was written: a link that is replaced starts anew.
pub(super) type Key = (LinkName, Revision);

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The tokens of this scheduler's links.
pub(super) struct Tokens {
    http: Http,
    clock: Arc<dyn Clock>,
    environment: Environment,
    slots: Mutex<HashMap<Key, Slot>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

struct Token {
    secret: Secret,
    renew: Duration,
    ends: Duration,
}

/// The answer of every token endpoint; numbers come as texts from some.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Value>,
}

/// What an endpoint says that grants nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl Tokens {
    pub(super) fn new(http: Http, clock: Arc<dyn Clock>, environment: Environment) -> Self {
        Self {
            http,
            clock,
            environment,
            slots: Mutex::default(),
        }
    }

    fn slot(&self, key: &Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(name, revision), _| *name != key.0 || *revision == key.1);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// The next call fetches a new token: a service took the old one not.
    pub(super) async fn forget(&self, key: &Key) {
        *self.slot(key).lock().await = None;
    }

    /// A token for the management endpoint and the workspace's services.
    pub(super) async fn get(&self, key: &Key, workspace: &Workspace) -> Result<Secret, Error> {
        let slot = self.slot(key);
        let mut token = slot.lock().await;
        let now = self.clock.monotonic();
        if let Some(token) = token.as_ref()
            && now < token.renew
        {
            return Ok(token.secret.clone());
        }
        match self.fetch(workspace).await {
            Ok(fresh) => Ok(token.insert(fresh).secret.clone()),
            Err(error) => match token.as_ref() {
                Some(old) if now < old.ends => {
                    tracing::warn!(link = %key.0, %error, "a token cannot be renewed yet, the old one is still good");
                    Ok(old.secret.clone())
                }
                Some(_) | None => Err(error),
            },
        }
    }

    async fn fetch(&self, workspace: &Workspace) -> Result<Token, Error> {
        let (call, place) = match &workspace.identity {
            Identity::ServicePrincipal {
                tenant,
                client_id,
                secret,
            } => self.by_secret(workspace, tenant, client_id, secret)?,
            Identity::Managed { client_id } => self.by_machine(workspace, client_id.as_deref()),
        };
        let asked = self.clock.monotonic();
        let answer = self
            .http
            .send(call, MAX_ANSWER)
            .await
            .map_err(|trouble| unreachable(&place, &workspace.identity, &trouble))?;
        let granted: Granted = match answer.json() {
            Some(granted) if answer.status.is_success() => granted,
            _ => return Err(refused(&place, &answer)),
        };
        let lasts = granted
            .expires_in
            .and_then(|lasts| lasts.as_u64().or_else(|| lasts.as_str()?.parse().ok()))
            .map_or(USUAL, Duration::from_secs);
        Ok(Token {
            secret: Secret::new(granted.access_token),
            renew: asked + (lasts / 2).max(lasts.saturating_sub(EARLY)),
            ends: asked + lasts,
        })
    }

    fn by_secret(
        &self,
        workspace: &Workspace,
        tenant: &str,
        client_id: &str,
        secret: &SecretRef,
    ) -> Result<(RequestBuilder, String), Error> {
        let secret = secret.read(&self.environment, &Process::Scheduler)?;
        let url = format!("{}/{tenant}/oauth2/v2.0/token", workspace.authority);
        let scope = format!("{}/.default", workspace.management);
        let call = self.http.post(&url).form(&[
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", secret.expose()),
            ("scope", &scope),
        ]);
        Ok((call, workspace.authority.clone()))
    }

    /// By the endpoint that App Service and its like name, else by the machine's metadata service.
    fn by_machine(
        &self,
        workspace: &Workspace,
        client_id: Option<&str>,
    ) -> (RequestBuilder, String) {
        let named = self
            .environment
            .get("IDENTITY_ENDPOINT")
            .zip(self.environment.get("IDENTITY_HEADER"));
        let (call, place) = match named {
            Some((endpoint, header)) => {
                let call = self.http.get(endpoint).header("X-IDENTITY-HEADER", header);
                (
                    call.query(&[("api-version", "2019-08-01")]),
                    endpoint.to_owned(),
                )
            }
            None => {
                let host = self
                    .environment
                    .get("AZURE_POD_IDENTITY_AUTHORITY_HOST")
                    .unwrap_or(INSTANCE)
                    .trim_end_matches('/');
                let call = self
                    .http
                    .get(&format!("{host}/metadata/identity/oauth2/token"))
                    .header("Metadata", "true");
                (
                    call.query(&[("api-version", "2018-02-01")]),
                    host.to_owned(),
                )
            }
        };
        let mut call = call.query(&[("resource", workspace.management.as_str())]);
        if let Some(client_id) = client_id {
            call = call.query(&[("client_id", client_id)]);
        }
        (call, place)
    }
}

fn unreachable(place: &str, identity: &Identity, trouble: &Trouble) -> Error {
    let why = trouble.why();
    let (what, hint) = match identity {
        Identity::ServicePrincipal { .. } => (
            "the token service",
            "check the network, and --authority of the link",
        ),
        Identity::Managed { .. } => (
            "the machine's identity endpoint",
            "give the machine a managed identity, or the link a client id and a secret",
        ),
    };
    Error::new(
        ErrorCode::Unavailable,
        format!("{what} '{place}' cannot be reached: {why}"),
    )
    .with_hint(hint)
}

fn refused(place: &str, answer: &Answer) -> Error {
    let said: Refused = answer.json().unwrap_or_default();
    let status = answer.status.as_u16();
    if let Some((why, hint)) = entra_refusal(&said.error_description) {
        return Error::new(
            ErrorCode::Denied,
            format!("'{place}' gives no token: {why}"),
        )
        .with_hint(hint);
    }
    let hint = match said.error.as_str() {
        "invalid_client" => "check the client id and the secret",
        "unauthorized_client" => "check the client id and the tenant",
        "invalid_scope" | "invalid_resource" => "check --management of the link",
        "identity_not_found" | "invalid_request" => {
            "check the client id, and that the machine has the identity"
        }
        _ => "check --authority, --tenant and --client-id of the link",
    };
    let reason = match said.error.as_str() {
        "" => "it answers like no token service".to_owned(),
        error => error.to_owned(),
    };
    Error::new(
        ErrorCode::Denied,
        format!("'{place}' gives no token: {reason} ({status})"),
    )
    .with_hint(hint)
}
