//! Reads a link to object stores as it was asked for or kept, and refuses what cannot be.

use whimbrel_proto::{Error, ErrorCode, v1};

use crate::area::Area;
use crate::link::{Access, AzureIdentity, S3Identity, StoreLink};
use crate::secret::SecretRef;

impl TryFrom<v1::Link> for StoreLink {
    type Error = Error;

    fn try_from(wire: v1::Link) -> Result<Self, Error> {
        let v1::Link { name, kind, .. } = wire;
        match kind {
            Some(v1::link::Kind::Store(store)) => Self::read(&name, store),
            Some(v1::link::Kind::Mlflow(_) | v1::link::Kind::Azureml(_)) | None => Err(wrong(
                "the link leads to no object store",
                "say --kind s3 or --kind azure",
            )),
        }
    }
}

impl StoreLink {
    /// The link that the wire describes.
    pub fn read(name: &str, wire: v1::StoreLink) -> Result<Self, Error> {
        use v1::store_link::Service;
        let v1::StoreLink {
            at,
            endpoint,
            allow_http,
            ca_file,
            accept_invalid_certificates,
            anonymous,
            service,
        } = wire;
        let (access, example) = match service {
            Some(Service::S3(service)) => (s3(service, anonymous)?, "s3://BUCKET/"),
            Some(Service::Azure(service)) => (
                azure(service, anonymous)?,
                "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/",
            ),
            None => {
                return Err(wrong(
                    "the link has no kind",
                    "say --kind s3 or --kind azure",
                ));
            }
        };
        if !ca_file.is_empty() && !ca_file.starts_with('/') {
            return Err(wrong(
                &format!("the certificate file '{ca_file}' is no absolute path"),
                "give the absolute path of a PEM file; it is read by the scheduler and by every executor",
            ));
        }
        Ok(Self {
            name: name.parse()?,
            at: areas(&at, &access, example)?,
            endpoint: url("the endpoint", &endpoint, allow_http)?,
            allow_http,
            ca_file: given(ca_file),
            accept_invalid_certificates,
            access,
        })
    }
}

fn wrong(what: &str, hint: &str) -> Error {
    Error::new(ErrorCode::Invalid, what).with_hint(hint)
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The places of a link, which are of its own kind.
fn areas(at: &[String], access: &Access, example: &str) -> Result<Vec<Area>, Error> {
    if at.is_empty() {
        return Err(wrong(
            "the link serves no place",
            &format!("say --at {example}"),
        ));
    }
    let mut areas = Vec::with_capacity(at.len());
    for text in at {
        let area = Area::parse(text)?;
        let fits = match access {
            Access::S3 { .. } => matches!(area, Area::S3 { .. }),
            Access::Azure(_) => matches!(area, Area::Azure { .. }),
        };
        if !fits {
            return Err(wrong(
                &format!("'{text}' is no place of the link's kind"),
                &format!("say --at {example}"),
            ));
        }
        areas.push(area);
    }
    Ok(areas)
}

fn s3(wire: v1::S3Access, anonymous: bool) -> Result<Access, Error> {
    let v1::S3Access {
        region,
        virtual_hosted,
        access_key,
        secret_key,
        session_token,
    } = wire;
    let access = SecretRef::from_wire(access_key)?;
    let secret = SecretRef::from_wire(secret_key)?;
    let session = SecretRef::from_wire(session_token)?;
    let identity = match (anonymous, access, secret, session) {
        (false, None, None, None) => S3Identity::Environment,
        (true, None, None, None) => S3Identity::Anonymous,
        (false, Some(access), Some(secret), session) => S3Identity::Keys {
            access,
            secret,
            session,
        },
        (true, ..) => return Err(both("is anonymous, and has keys")),
        (false, None, ..) => {
            return Err(wrong(
                "the link has a secret and no access key",
                "say --access-key-env VAR or --access-key-file FILE",
            ));
        }
        (false, Some(_), None, _) => {
            return Err(wrong(
                "the link has an access key and no secret",
                "say --secret-env VAR or --secret-file FILE",
            ));
        }
    };
    Ok(Access::S3 {
        region: given(region),
        virtual_hosted,
        identity,
    })
}

fn azure(wire: v1::AzureAccess, anonymous: bool) -> Result<Access, Error> {
    let v1::AzureAccess {
        account_key,
        sas,
        tenant,
        client_id,
        secret,
        authority,
        managed_identity,
    } = wire;
    let key = SecretRef::from_wire(account_key)?.map(AzureIdentity::AccountKey);
    let signature = SecretRef::from_wire(sas)?.map(AzureIdentity::Signature);
    let secret = SecretRef::from_wire(secret)?;
    let is_principal = secret.is_some() || !tenant.is_empty() || !authority.is_empty();
    if managed_identity && is_principal {
        return Err(both("has a managed identity, and a service principal"));
    }
    if !client_id.is_empty() && !managed_identity && !is_principal {
        return Err(wrong(
            "the link has a client id and no secret",
            "say --tenant ID and --secret-env VAR or --secret-file FILE, or --managed-identity",
        ));
    }
    let principal = match is_principal {
        false => None,
        true => Some(principal(tenant, client_id.clone(), secret, &authority)?),
    };
    let managed = managed_identity.then(|| AzureIdentity::Managed {
        client_id: given(client_id),
    });
    let nobody = anonymous.then_some(AzureIdentity::Anonymous);
    let mut ways = [key, signature, principal, managed, nobody]
        .into_iter()
        .flatten();
    let identity = ways.next().unwrap_or(AzureIdentity::Environment);
    match ways.next() {
        Some(_) => Err(both(
            "has more than one of a key, a signature, a service principal, a managed identity and nobody",
        )),
        None => Ok(Access::Azure(identity)),
    }
}

fn principal(
    tenant: String,
    client_id: String,
    secret: Option<SecretRef>,
    authority: &str,
) -> Result<AzureIdentity, Error> {
    let lacks = |what: &str, flag: &str| {
        Err(wrong(
            &format!("the link's service principal has no {what}"),
            &format!("say {flag}"),
        ))
    };
    let is_segment = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let Some(secret) = secret else {
        return lacks("secret", "--secret-env VAR or --secret-file FILE");
    };
    if tenant.is_empty() || !is_segment(&tenant) {
        return lacks("tenant", "--tenant ID");
    }
    if client_id.is_empty() || !is_segment(&client_id) {
        return lacks("client id", "--client-id ID");
    }
    Ok(AzureIdentity::ServicePrincipal {
        tenant,
        client_id,
        secret,
        // Secrets go there: never over an open line.
        authority: url("the authority", authority, false)?,
    })
}

fn both(what: &str) -> Error {
    wrong(&format!("the link {what}"), "give one of them")
}

/// An http address without a secret in it and without a slash at its end.
fn url(what: &str, text: &str, plain: bool) -> Result<Option<String>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let Ok(parsed) = url::Url::parse(text) else {
        return Err(wrong(
            &format!("{what} is '{text}', which is no URL"),
            "write https://HOST or https://HOST:PORT",
        ));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong(
            &format!("{what} has a user or a password in it"),
            "name the places of secrets by their own flags: a link keeps no secrets",
        ));
    }
    match parsed.scheme() {
        "https" => {}
        "http" if plain => {}
        "http" if what == "the endpoint" => {
            return Err(wrong(
                &format!("{what} '{text}' is not encrypted"),
                "write https://, or say --allow-http where keys and data may travel openly",
            ));
        }
        "http" => {
            return Err(wrong(
                &format!("{what} '{text}' is not encrypted"),
                "write https://",
            ));
        }
        _ => return Err(wrong(&format!("{what} is '{text}'"), "write https://HOST")),
    }
    if parsed.query().is_some() || parsed.fragment().is_some() || !parsed.has_host() {
        return Err(wrong(
            &format!("{what} is '{text}'"),
            "write https://HOST or https://HOST:PORT, without ? and #",
        ));
    }
    Ok(Some(parsed.as_str().trim_end_matches('/').to_owned()))
}
