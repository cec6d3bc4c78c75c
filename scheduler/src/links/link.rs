//! A link and its record: which registry or store, and as whom. It holds places of secrets, never secrets.

use std::sync::Arc;

use prost::Message;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode, v1};
use whimbrel_stores::{SecretRef, StoreLink};

/// The layout of a link's record, as its first byte; a protobuf `v1::Link` follows.
const LAYOUT: u8 = 1;

/// A named model registry, or a way to object stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: LinkName,
    pub kind: LinkKind,
    pub added_at_ms: i64,
}

/// What it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Mlflow {
        uri: String,
        access: Access,
    },
    AzureMl(Workspace),
    /// Object stores; shared with those that read from them.
    Store(Arc<StoreLink>),
}

/// As whom an MLflow server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Nobody,
    Basic { user: String, password: SecretRef },
    Token(SecretRef),
}

/// A workspace of Azure Machine Learning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    pub workspace: String,
    pub resource_group: String,
    pub subscription: String,
    pub identity: Identity,
    /// Where tokens come from: the public cloud's, or a sovereign cloud's.
    pub authority: String,
    /// Azure Resource Manager.
    pub management: String,
    /// The workspace's MLflow address, where it is known.
    pub endpoint: Option<String>,
}

/// As whom Azure is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    ServicePrincipal {
        tenant: String,
        client_id: String,
        secret: SecretRef,
    },
    /// That of the machine; one of several by its client id.
    Managed { client_id: Option<String> },
}

const AUTHORITY: &str = "https://login.microsoftonline.com";
const MANAGEMENT: &str = "https://management.azure.com";

impl Link {
    /// The record that keeps this link.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![LAYOUT];
        bytes.extend(v1::Link::from(self).encode_to_vec());
        bytes
    }

    /// Reads a record back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let broken = |what: String| Error::new(ErrorCode::Invalid, format!("not a link: {what}"));
        let Some((&LAYOUT, message)) = bytes.split_first() else {
            return Err(broken("its layout is not known".to_owned()));
        };
        let wire = v1::Link::decode(message).map_err(|error| broken(error.to_string()))?;
        wire.try_into()
    }
}

impl Workspace {
    /// Its place below the management endpoint and below the region's services.
    pub(crate) fn scope(&self) -> String {
        let Self {
            workspace,
            resource_group,
            subscription,
            ..
        } = self;
        format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
        )
    }
}

impl From<&Link> for v1::Link {
    fn from(link: &Link) -> Self {
        use v1::link::Kind;
        let kind = match &link.kind {
            LinkKind::Mlflow { uri, access } => {
                let mut wire = v1::MlflowLink {
                    uri: uri.clone(),
                    ..v1::MlflowLink::default()
                };
                match access {
                    Access::Nobody => {}
                    Access::Basic { user, password } => {
                        wire.user.clone_from(user);
                        wire.password = Some(password.into());
                    }
                    Access::Token(token) => wire.token = Some(token.into()),
                }
                Kind::Mlflow(wire)
            }
            LinkKind::AzureMl(workspace) => Kind::Azureml(workspace.into()),
            LinkKind::Store(store) => Kind::Store(store.as_ref().into()),
        };
        Self {
            name: link.name.to_string(),
            kind: Some(kind),
            added_at_ms: link.added_at_ms,
        }
    }
}

impl From<&Workspace> for v1::AzureMlLink {
    fn from(workspace: &Workspace) -> Self {
        let (tenant, client_id, secret, managed_identity) = match &workspace.identity {
            Identity::ServicePrincipal {
                tenant,
                client_id,
                secret,
            } => (
                tenant.clone(),
                client_id.clone(),
                Some(secret.into()),
                false,
            ),
            Identity::Managed { client_id } => (
                String::new(),
                client_id.clone().unwrap_or_default(),
                None,
                true,
            ),
        };
        let own = |text: &str, usual: &str| {
            if text == usual {
                String::new()
            } else {
                text.to_owned()
            }
        };
        Self {
            workspace: workspace.workspace.clone(),
            resource_group: workspace.resource_group.clone(),
            subscription: workspace.subscription.clone(),
            tenant,
            client_id,
            secret,
            managed_identity,
            authority: own(&workspace.authority, AUTHORITY),
            management: own(&workspace.management, MANAGEMENT),
            endpoint: workspace.endpoint.clone().unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Link> for Link {
    type Error = Error;

    fn try_from(wire: v1::Link) -> Result<Self, Error> {
        use v1::link::Kind;
        let v1::Link {
            name,
            kind,
            added_at_ms,
        } = wire;
        let kind = match kind {
            Some(Kind::Mlflow(link)) => mlflow(link)?,
            Some(Kind::Azureml(link)) => LinkKind::AzureMl(workspace(link)?),
            Some(Kind::Store(store)) => LinkKind::Store(Arc::new(StoreLink::read(&name, store)?)),
            None => {
                return Err(missing("kind", "say --kind mlflow, azureml, s3 or azure"));
            }
        };
        Ok(Self {
            name: name.parse()?,
            kind,
            added_at_ms,
        })
    }
}

fn mlflow(wire: v1::MlflowLink) -> Result<LinkKind, Error> {
    let v1::MlflowLink {
        uri,
        user,
        password,
        token,
    } = wire;
    let uri = endpoint("the uri of the MLflow server", &uri)?;
    let password = SecretRef::from_wire(password)?;
    let token = SecretRef::from_wire(token)?;
    let access = match (user.is_empty(), password, token) {
        (true, None, None) => Access::Nobody,
        (true, None, Some(token)) => Access::Token(token),
        (false, Some(password), None) => Access::Basic { user, password },
        (false, None, None) => {
            return Err(missing(
                "password",
                "say --password-env VAR or --password-file FILE",
            ));
        }
        (true, Some(_), _) => {
            return Err(missing(
                "user",
                "say --user NAME, or --token-env VAR for a token",
            ));
        }
        (false, _, Some(_)) => {
            return Err(
                Error::new(ErrorCode::Invalid, "the link has both a user and a token")
                    .with_hint("give one of them"),
            );
        }
    };
    Ok(LinkKind::Mlflow { uri, access })
}

fn workspace(wire: v1::AzureMlLink) -> Result<Workspace, Error> {
    let v1::AzureMlLink {
        workspace,
        resource_group,
        subscription,
        tenant,
        client_id,
        secret,
        managed_identity,
        authority,
        management,
        endpoint: address,
    } = wire;
    for (what, text) in [
        ("workspace", &workspace),
        ("resource group", &resource_group),
        ("subscription", &subscription),
    ] {
        check_segment(what, text)?;
    }
    let secret = SecretRef::from_wire(secret)?;
    let identity = match (managed_identity, secret) {
        (true, None) => Identity::Managed {
            client_id: Some(client_id).filter(|id| !id.is_empty()),
        },
        (true, Some(_)) => {
            return Err(
                Error::new(ErrorCode::Invalid, "a managed identity has no secret")
                    .with_hint("leave out --secret-env and --secret-file, or --managed-identity"),
            );
        }
        (false, Some(secret)) => {
            check_segment("tenant", &tenant)?;
            check_segment("client id", &client_id)?;
            Identity::ServicePrincipal {
                tenant,
                client_id,
                secret,
            }
        }
        (false, None) => {
            return Err(missing(
                "secret",
                "say --secret-env VAR, --secret-file FILE or --managed-identity",
            ));
        }
    };
    let or_usual = |what: &str, text: &str, usual: &str| {
        if text.is_empty() {
            Ok(usual.to_owned())
        } else {
            endpoint(what, text)
        }
    };
    Ok(Workspace {
        workspace,
        resource_group,
        subscription,
        identity,
        authority: or_usual("the authority", &authority, AUTHORITY)?,
        management: or_usual("the management endpoint", &management, MANAGEMENT)?,
        endpoint: if address.is_empty() {
            None
        } else {
            Some(endpoint("the ML endpoint", &address)?)
        },
    })
}

fn missing(what: &str, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, format!("the link has no {what}")).with_hint(hint)
}

/// Names become parts of a path.
fn check_segment(what: &str, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(missing(what, &format!("say --{}", what.replace(' ', "-"))));
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if text.chars().all(fits) && text != "." && text != ".." {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Invalid,
        format!("'{text}' is not the name of a {what}"),
    )
    .with_hint("copy it from the Azure portal"))
}

/// An http address without a secret in it and without a slash at its end.
pub(super) fn endpoint(what: &str, text: &str) -> Result<String, Error> {
    let refuse = |why: &str, hint: &str| {
        Err(Error::new(ErrorCode::Invalid, format!("{what} {why}")).with_hint(hint))
    };
    let text = text.replacen("azureml://", "https://", 1);
    let Ok(url) = reqwest::Url::parse(&text) else {
        return refuse(
            &format!("is '{text}', which is no URL"),
            "write https://HOST or http://HOST:PORT",
        );
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "has a user or a password in it",
            "give --user and --password-env VAR: a link keeps no secrets",
        );
    }
    if !matches!(url.scheme(), "http" | "https")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return refuse(
            &format!("is '{text}'"),
            "write https://HOST or http://HOST:PORT, without ? and #",
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
