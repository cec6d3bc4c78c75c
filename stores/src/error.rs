//! What an object store says, in one line that a user can act on. The stores tell their reasons as codes inside texts, so this
//! is the one place that looks into texts.

use std::error::Error as StdError;
use std::fmt;

use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode};

use crate::Refusals;
use crate::location::Bucket;
use crate::patience::spent;
use crate::process::Process;
use crate::purpose::Purpose;

/// Whose error it is: the bucket, the process that asked, and the link that led there.
#[derive(Clone, Debug)]
pub(crate) struct Teller {
    pub(crate) bucket: Bucket,
    pub(crate) process: Process,
    pub(crate) purpose: Purpose,
    pub(crate) link: Option<LinkName>,
    pub(crate) refusals: Refusals,
}

/// What a person is to be told, inside of the store's own error.
#[derive(Debug)]
pub struct Told {
    /// The error for people.
    pub error: Error,
    /// The object, as a person calls it.
    pub place: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)
    }
}

impl StdError for Told {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// What a person is to be told about an error of a store that this crate has opened.
pub fn told(error: &object_store::Error) -> Option<&Told> {
    use object_store::Error as Store;
    match error {
        Store::Generic { source, .. }
        | Store::NotFound { source, .. }
        | Store::PermissionDenied { source, .. }
        | Store::Unauthenticated { source, .. } => source.downcast_ref::<Told>(),
        _ => None,
    }
}

/// The error of reading or writing `path` in `bucket`.
pub fn explain(bucket: &Bucket, path: &str, error: &object_store::Error) -> Error {
    if let Some(told) = told(error) {
        return told.error.clone();
    }
    let teller = Teller {
        bucket: bucket.clone(),
        process: Process::Scheduler,
        purpose: Purpose::Read,
        link: None,
        refusals: Refusals::default(),
    };
    teller.explain(path, error)
}

/// A refusal of our own, as a store's: final, so nobody tries again.
pub(crate) fn refusal(place: &str, error: Error) -> object_store::Error {
    let source = error.to_string().into();
    let (path, place) = (place.to_owned(), place.to_owned());
    object_store::Error::PermissionDenied {
        path,
        source: Box::new(Told {
            error,
            place,
            source,
        }),
    }
}

/// Whether the object is not there, in a bucket that is.
pub fn is_missing(error: &object_store::Error) -> bool {
    let bucket = || {
        let text = chain(error);
        text.contains("NoSuchBucket") || text.contains("ContainerNotFound")
    };
    matches!(error, object_store::Error::NotFound { .. }) && !bucket()
}

impl Teller {
    /// The same error of the store, which now knows what a person is to be told.
    pub(crate) fn tell(&self, path: &str, error: object_store::Error) -> object_store::Error {
        let told = self.wrapped(path, error);
        self.refusals.note(&told);
        told
    }

    fn wrapped(&self, path: &str, error: object_store::Error) -> object_store::Error {
        use object_store::Error as Store;
        if told(&error).is_some() {
            return error;
        }
        let said = self.explain(path, &error);
        let place = self.bucket.uri(path);
        let with = |source| -> Box<dyn StdError + Send + Sync> {
            Box::new(Told {
                error: said,
                place,
                source,
            })
        };
        match error {
            Store::Generic { store, source } => Store::Generic {
                store,
                source: with(source),
            },
            Store::NotFound { path, source } => Store::NotFound {
                path,
                source: with(source),
            },
            Store::PermissionDenied { path, source } => Store::PermissionDenied {
                path,
                source: with(source),
            },
            Store::Unauthenticated { path, source } => Store::Unauthenticated {
                path,
                source: with(source),
            },
            other => other,
        }
    }

    fn explain(&self, path: &str, error: &object_store::Error) -> Error {
        if let Some(error) = spent(error) {
            return error.clone();
        }
        let uri = self.bucket.uri(path);
        let text = chain(error);
        if let Some(missing) = self.missing_bucket(&text) {
            return missing;
        }
        match error {
            object_store::Error::NotFound { .. } => {
                Error::new(ErrorCode::NotFound, format!("'{uri}' does not exist"))
                    .with_hint("check the path; upper and lower case differ")
            }
            object_store::Error::InvalidPath { .. } => {
                Error::new(ErrorCode::Invalid, format!("'{uri}' is not a path: {text}"))
            }
            _ => self.refused(&uri, error, &text),
        }
    }

    fn missing_bucket(&self, text: &str) -> Option<Error> {
        let (what, hint) = match &self.bucket {
            Bucket::S3 { bucket } if text.contains("NoSuchBucket") => (
                format!("bucket '{bucket}' does not exist"),
                format!("check its name, and {}", self.hint(Fix::Service)),
            ),
            Bucket::Azure {
                account, container, ..
            } if text.contains("ContainerNotFound") => (
                format!("account '{account}' has no container '{container}'"),
                "check both names; upper and lower case differ".to_owned(),
            ),
            Bucket::S3 { .. } | Bucket::Azure { .. } => return None,
        };
        Some(Error::new(ErrorCode::NotFound, what).with_hint(hint))
    }

    fn refused(&self, uri: &str, error: &object_store::Error, text: &str) -> Error {
        let cannot = |code: ErrorCode, why: &str, hint: String| {
            let by = match &self.process {
                Process::Scheduler => String::new(),
                Process::Executor(_) => format!(" by {}", self.process),
            };
            let done = self.purpose.done();
            Error::new(code, format!("'{uri}' cannot be {done}{by}: {why}")).with_hint(hint)
        };
        let denied = |why: &str, hint: String| cannot(ErrorCode::Denied, why, hint);
        if let Some((why, hint)) = entra_refusal(text) {
            return denied(why, hint.to_owned());
        }
        if let Some((_, why, fix)) = REFUSALS.iter().find(|(code, _, _)| text.contains(code)) {
            return denied(why, self.hint(*fix));
        }
        if text.contains("invalid peer certificate") {
            let why = format!(
                "the certificate of its service is not trusted ({})",
                reason(text)
            );
            let hint = match &self.link {
                Some(link) => format!(
                    "name the file of the authority's certificate with --ca-file of link '{link}'"
                ),
                None => format!(
                    "name the file of the authority's certificate in SSL_CERT_FILE where {} starts",
                    self.process
                ),
            };
            return cannot(ErrorCode::Unavailable, &why, hint);
        }
        // A service principal's token comes from somewhere else than the machine's own.
        if text.contains("oauth2/v2.0/token") {
            let why = format!("no token can be fetched: {}", reason(text));
            let hint = match &self.link {
                Some(link) => format!("check the network, and --authority of link '{link}'"),
                None => format!(
                    "check the network, and AZURE_AUTHORITY_HOST of {}",
                    self.process
                ),
            };
            return cannot(ErrorCode::Unavailable, &why, hint);
        }
        if is_metadata(text) {
            return denied(
                "there are no credentials for it",
                self.hint(Fix::Credentials),
            );
        }
        match error {
            object_store::Error::PermissionDenied { .. } => {
                denied("the store allows it not (403)", self.hint(Fix::Rights))
            }
            object_store::Error::Unauthenticated { .. } => denied(
                "the store takes the credentials not (401)",
                self.hint(Fix::Credentials),
            ),
            _ => cannot(ErrorCode::Unavailable, &reason(text), self.reach()),
        }
    }

    fn reach(&self) -> String {
        match (&self.bucket, &self.link) {
            (Bucket::Azure { .. }, None) => {
                format!("check the network, {}", self.hint(Fix::Service))
            }
            _ => format!("check the network, and {}", self.hint(Fix::Service)),
        }
    }

    /// What to do: at the link where one serves the place, else in the environment of the process.
    fn hint(&self, fix: Fix) -> String {
        let Self {
            bucket,
            process,
            purpose,
            link,
            ..
        } = self;
        if let Some(hint) = fix.anywhere(*purpose) {
            return match fix {
                Fix::Clock => format!("{hint} of {process}"),
                _ => hint,
            };
        }
        if let Some(link) = link {
            return fix.at_link(link, process, *purpose);
        }
        let s3 = matches!(bucket, Bucket::S3 { .. });
        match fix {
            Fix::AccessKey => format!(
                "check AWS_ACCESS_KEY_ID of {process}, and whether it is of that store"
            ),
            Fix::Secret => format!("check AWS_SECRET_ACCESS_KEY of {process}"),
            Fix::Expired => format!("renew AWS_SESSION_TOKEN and its keys, and restart {process}"),
            Fix::Region => format!("set AWS_REGION of {process} to the bucket's region"),
            Fix::AzureKey => format!(
                "check AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_SECRET of {process}"
            ),
            Fix::AzureCaller => format!(
                "check AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN of {process}, the rights of the identity, and the account's firewall"
            ),
            Fix::NoKeys => {
                "use an identity: AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET".to_owned()
            }
            Fix::Service if s3 => format!("AWS_ENDPOINT_URL and AWS_REGION of {process}"),
            Fix::Service => format!("the account's name, and AZURE_STORAGE_ENDPOINT of {process}"),
            Fix::Credentials if s3 => format!(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE) where {process} starts, or add a link: `whimbrel link add NAME --kind s3 ...`"
            ),
            Fix::Credentials => format!(
                "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET where {process} starts, or add a link: `whimbrel link add NAME --kind azure ...`"
            ),
            Fix::Rights if s3 && *purpose == Purpose::Write => {
                format!("check the keys, and give them {}", purpose.s3_rights())
            }
            Fix::Rights if s3 => {
                "check the keys, and give them the right s3:GetObject on the bucket (s3:ListBucket to see what is missing)"
                    .to_owned()
            }
            Fix::Rights => format!(
                "check the key or signature, or give the identity the role {} on the container",
                purpose.azure_role()
            ),
            Fix::Clock | Fix::S3Rights | Fix::AzureRole => String::new(),
        }
    }
}

/// What is to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fix {
    AccessKey,
    Secret,
    Expired,
    Clock,
    Region,
    S3Rights,
    Rights,
    AzureRole,
    AzureCaller,
    AzureKey,
    NoKeys,
    Credentials,
    Service,
}

impl Fix {
    /// What has to be done at the store or the machine, whoever asks.
    fn anywhere(self, purpose: Purpose) -> Option<String> {
        match self {
            Self::Clock => Some("set the clock of the machine".to_owned()),
            Self::S3Rights => Some(format!("give these credentials {}", purpose.s3_rights())),
            Self::AzureRole => Some(format!(
                "give it the role {} on the container",
                purpose.azure_role()
            )),
            Self::AccessKey
            | Self::Secret
            | Self::Expired
            | Self::Region
            | Self::Rights
            | Self::AzureCaller
            | Self::AzureKey
            | Self::NoKeys
            | Self::Credentials
            | Self::Service => None,
        }
    }

    fn at_link(self, link: &LinkName, process: &Process, purpose: Purpose) -> String {
        match self {
            Self::AccessKey => format!(
                "check the access key of link '{link}' as {process} sees it, and whether it is of that store"
            ),
            Self::Secret | Self::AzureKey => {
                format!("check the secret of link '{link}' as {process} sees it")
            }
            Self::Expired => format!("renew the keys and the session token of link '{link}'"),
            Self::Region => format!(
                "give link '{link}' the bucket's region: `whimbrel link add {link} --replace ... --region REGION`"
            ),
            Self::AzureCaller => format!(
                "check the secret of link '{link}', the rights of its identity, and the account's firewall"
            ),
            Self::NoKeys => format!(
                "give link '{link}' an identity: --tenant, --client-id and --secret-env, or --managed-identity"
            ),
            Self::Credentials => {
                format!("give link '{link}' credentials, or set them where {process} starts")
            }
            Self::Rights => {
                let right = match purpose {
                    Purpose::Read => "read",
                    Purpose::Write => "write",
                };
                format!(
                    "check the credentials of link '{link}', and give them the right to {right} it"
                )
            }
            Self::Service => format!("the endpoint and region of link '{link}'"),
            Self::Clock | Self::S3Rights | Self::AzureRole => String::new(),
        }
    }
}

/// The words of a refusal, the first that fits.
const REFUSALS: &[(&str, &str, Fix)] = &[
    (
        "InvalidAccessKeyId",
        "the store does not know the access key",
        Fix::AccessKey,
    ),
    (
        "SignatureDoesNotMatch",
        "the secret key is wrong",
        Fix::Secret,
    ),
    ("ExpiredToken", "the credentials have expired", Fix::Expired),
    (
        "RequestTimeTooSkewed",
        "the clock of the machine is wrong",
        Fix::Clock,
    ),
    (
        "AuthorizationHeaderMalformed",
        "the bucket is in another region",
        Fix::Region,
    ),
    (
        "PermanentRedirect",
        "the bucket is in another region",
        Fix::Region,
    ),
    (
        "without LOCATION",
        "the bucket is in another region",
        Fix::Region,
    ),
    (
        "AccessDenied",
        "the store allows it not (403)",
        Fix::S3Rights,
    ),
    (
        "AuthorizationPermissionMismatch",
        "the identity has no right to the data (403)",
        Fix::AzureRole,
    ),
    (
        "AuthorizationFailure",
        "the storage account refuses this caller (403)",
        Fix::AzureCaller,
    ),
    (
        "PublicAccessNotPermitted",
        "no credentials are set, and the account allows nobody without",
        Fix::Credentials,
    ),
    (
        "KeyBasedAuthenticationNotPermitted",
        "the account allows no keys",
        Fix::NoKeys,
    ),
    (
        "AuthenticationFailed",
        "the account key, signature or token is wrong or has expired (403)",
        Fix::AzureKey,
    ),
];

/// Instance metadata is asked where no variable gives credentials, and only answers on a machine of the cloud.
pub(crate) fn is_metadata(text: &str) -> bool {
    [
        "169.254.169.254",
        "169.254.170.2",
        "/latest/api/token",
        "metadata/identity",
        "Error performing token request",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// What Microsoft Entra says no to, by its stable number.
pub fn entra_refusal(text: &str) -> Option<(&'static str, &'static str)> {
    const NUMBERS: &[(&str, &str, &str)] = &[
        (
            "AADSTS7000222",
            "the client secret has expired",
            "make a new one in the app registration, and put it where the old one is",
        ),
        (
            "AADSTS7000215",
            "the client secret is wrong",
            "use the secret's value, not its id, of the app registration",
        ),
        (
            "AADSTS700016",
            "the tenant has no application of that client id",
            "check client id and tenant",
        ),
        (
            "AADSTS7000229",
            "the application has no service principal in the tenant",
            "create one: az ad sp create --id CLIENT_ID",
        ),
        (
            "AADSTS90002",
            "there is no such tenant",
            "check the tenant's id",
        ),
        (
            "AADSTS900023",
            "there is no such tenant",
            "check the tenant's id",
        ),
        (
            "AADSTS500011",
            "the tenant does not know the service that a token is asked for",
            "check the management endpoint",
        ),
        (
            "AADSTS53003",
            "a conditional access policy refuses the application",
            "ask the tenant's administrator",
        ),
    ];
    NUMBERS
        .iter()
        .find(|(number, _, _)| {
            // 7000222 also begins with 700: the number must end there.
            text.match_indices(number).any(|(at, found)| {
                !text[at + found.len()..].starts_with(|c: char| c.is_ascii_digit())
            })
        })
        .map(|(_, why, hint)| (*why, *hint))
}

/// The innermost reason, without the address and the count of tries before it.
pub(crate) fn reason(text: &str) -> String {
    const MOST: usize = 200;
    let last = text.rsplit(": ").next().unwrap_or(text);
    let last = if last.len() < 8 { text } else { last };
    last.chars().take(MOST).collect()
}

/// An error with its sources, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = next.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
