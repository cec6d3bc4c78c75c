//! A place in an object store, from each of the ways in which people write it.

use std::fmt;

use object_store::path::Path;
use whimbrel_proto::{Error, ErrorCode};

use crate::environment::Environment;

/// Azure's public cloud.
pub(crate) const PUBLIC: &str = "core.windows.net";

/// One bucket of S3, or one container of an Azure storage account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    S3 {
        bucket: String,
    },
    Azure {
        account: String,
        container: String,
        /// `core.windows.net`, or that of a sovereign cloud.
        domain: String,
    },
}

/// A bucket and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub bucket: Bucket,
    pub path: Path,
    /// The URI ended in a slash: it can only be a folder.
    pub is_folder: bool,
}

impl Bucket {
    /// The URI of a path in it.
    pub fn uri(&self, path: &str) -> String {
        match self {
            Self::S3 { bucket } => format!("s3://{bucket}/{path}"),
            Self::Azure {
                account,
                container,
                domain,
            } => format!("abfss://{container}@{account}.dfs.{domain}/{path}"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket.uri(self.path.as_ref()))
    }
}

impl Location {
    /// The place that `uri` names; `None` where its scheme is no object store's.
    pub fn parse(uri: &str, environment: &Environment) -> Result<Option<Self>, Error> {
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Ok(None);
        };
        let scheme = scheme.to_ascii_lowercase();
        let wrong = |why: &str, hint: &str| Err(not_a_place(uri, why).with_hint(hint));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket = match scheme.as_str() {
            "s3" | "s3a" | "s3n" if authority.contains(['@', ':']) => {
                // What stands before the @ may be a key.
                return Err(Error::new(ErrorCode::Invalid, "an s3:// URI names more than a bucket and a path").with_hint(
                    "write s3://BUCKET/PATH; keys and endpoint come from a link (`whimbrel link add NAME --kind s3`) or from AWS_* variables",
                ));
            }
            "s3" | "s3a" | "s3n" if authority.is_empty() => {
                return wrong("it names no bucket", "write s3://BUCKET/PATH");
            }
            "s3" | "s3a" | "s3n" => Bucket::S3 {
                bucket: authority.to_owned(),
            },
            "abfs" | "abfss" | "wasb" | "wasbs" | "az" => azure(uri, authority, environment)?,
            "https" if is_azure_host(authority) => {
                if path.contains('?') {
                    return wrong_query(uri);
                }
                let (container, path) = path.split_once('/').unwrap_or((path, ""));
                if container.is_empty() {
                    return wrong(
                        "it names no container",
                        "write https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH",
                    );
                }
                let (account, domain) = account_of(uri, authority)?;
                let container = container.to_owned();
                return Self::at(
                    uri,
                    Bucket::Azure {
                        account,
                        container,
                        domain,
                    },
                    path,
                )
                .map(Some);
            }
            _ => return Ok(None),
        };
        if path.contains('?') && matches!(bucket, Bucket::Azure { .. }) {
            return wrong_query(uri);
        }
        Self::at(uri, bucket, path).map(Some)
    }

    fn at(uri: &str, bucket: Bucket, path: &str) -> Result<Self, Error> {
        let parsed = Path::from_url_path(path.trim_matches('/')).map_err(|error| {
            not_a_place(uri, &error.to_string())
                .with_hint("write the path without empty, '.' and '..' parts")
        })?;
        Ok(Self {
            bucket,
            path: parsed,
            is_folder: path.is_empty() || path.ends_with('/'),
        })
    }

    /// A path below this one.
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        let uri = format!("{self}/{name}");
        let path = if self.path.as_ref().is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        };
        let path = Path::parse(&path).map_err(|error| not_a_place(&uri, &error.to_string()))?;
        Ok(Self {
            bucket: self.bucket.clone(),
            path,
            is_folder: name.ends_with('/'),
        })
    }
}

/// `container@account.dfs.core.windows.net`, or a bare container of the account that the environment names.
fn azure(uri: &str, authority: &str, environment: &Environment) -> Result<Bucket, Error> {
    let write = "write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH";
    if let Some((container, host)) = authority.split_once('@') {
        let (account, domain) = account_of(uri, host)?;
        if container.is_empty() || container.contains(':') {
            return Err(not_a_place(uri, "it names no container").with_hint(write));
        }
        let container = container.to_owned();
        return Ok(Bucket::Azure {
            account,
            container,
            domain,
        });
    }
    if authority.is_empty() || authority.contains(['.', ':']) {
        return Err(not_a_place(uri, "it names no container").with_hint(write));
    }
    let account = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]
        .into_iter()
        .find_map(|name| environment.get(name));
    let Some(account) = account else {
        let hint = format!("{write}, or set AZURE_STORAGE_ACCOUNT_NAME where the scheduler starts");
        return Err(not_a_place(uri, "it names no storage account").with_hint(hint));
    };
    Ok(Bucket::Azure {
        account: account.to_owned(),
        container: authority.to_owned(),
        domain: PUBLIC.to_owned(),
    })
}

/// The account and the cloud's domain of `account.dfs.core.windows.net`; a bare account is one of the public cloud.
pub(crate) fn account_of(uri: &str, host: &str) -> Result<(String, String), Error> {
    // Hosts are the same whatever their case.
    let host = &host.to_ascii_lowercase();
    let wrong = |why: &str| {
        let hint = "write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH or https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH";
        Err(not_a_place(uri, why).with_hint(hint))
    };
    let (account, domain) = match host.split_once('.') {
        None => (host.as_str(), PUBLIC),
        Some((account, service)) => match service
            .strip_prefix("dfs.")
            .or_else(|| service.strip_prefix("blob."))
        {
            Some(domain) => (account, domain),
            None => return wrong(&format!("'{host}' is no storage account's host")),
        },
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if account.is_empty() || !account.chars().all(fits) {
        return wrong(&format!("'{account}' is no storage account"));
    }
    Ok((account.to_owned(), domain.to_owned()))
}

fn is_azure_host(host: &str) -> bool {
    host.to_ascii_lowercase()
        .split_once('.')
        .is_some_and(|(_, service)| service.starts_with("dfs.") || service.starts_with("blob."))
}

/// What follows a `?` is a shared access signature, which would be kept and shown with the URI.
fn wrong_query<T>(uri: &str) -> Result<T, Error> {
    let (bare, _) = uri.split_once('?').unwrap_or((uri, ""));
    Err(Error::new(
        ErrorCode::Invalid,
        format!("'{bare}?...' has a query, and a shared access signature is a secret"),
    )
    .with_hint("leave it out, and set AZURE_STORAGE_SAS_TOKEN where the scheduler starts"))
}

fn not_a_place(uri: &str, why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("'{uri}' is not a place in an object store: {why}"),
    )
}
