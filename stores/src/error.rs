//! What an object store says, in one line that a user can act on. The stores tell their reasons as codes inside texts, so this
//! is the one place that looks into texts.

use whimbrel_proto::{Error, ErrorCode};

use crate::location::Bucket;
use crate::patience::spent;

/// The error of reading or writing `path` in `bucket`.
pub fn explain(bucket: &Bucket, path: &str, error: &object_store::Error) -> Error {
    if let Some(error) = spent(error) {
        return error.clone();
    }
    let uri = bucket.uri(path);
    let text = chain(error);
    if let Some(missing) = missing_bucket(bucket, &text) {
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
        _ => refused(bucket, &uri, error, &text),
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

fn missing_bucket(bucket: &Bucket, text: &str) -> Option<Error> {
    let (what, hint) = match bucket {
        Bucket::S3 { bucket } if text.contains("NoSuchBucket") => (
            format!("bucket '{bucket}' does not exist"),
            "check its name, and AWS_ENDPOINT_URL and AWS_REGION of the scheduler",
        ),
        Bucket::Azure {
            account, container, ..
        } if text.contains("ContainerNotFound") => (
            format!("account '{account}' has no container '{container}'"),
            "check both names; upper and lower case differ",
        ),
        Bucket::S3 { .. } | Bucket::Azure { .. } => return None,
    };
    Some(Error::new(ErrorCode::NotFound, what).with_hint(hint))
}

/// The words of a refusal, the first that fits.
const REFUSALS: &[(&str, &str, &str)] = &[
    (
        "InvalidAccessKeyId",
        "the store does not know the access key",
        "check AWS_ACCESS_KEY_ID of the scheduler, and whether it is of that store",
    ),
    (
        "SignatureDoesNotMatch",
        "the secret key is wrong",
        "check AWS_SECRET_ACCESS_KEY of the scheduler",
    ),
    (
        "ExpiredToken",
        "the credentials have expired",
        "renew AWS_SESSION_TOKEN and its keys, and restart the scheduler",
    ),
    (
        "RequestTimeTooSkewed",
        "the scheduler's clock is wrong",
        "set the clock of its machine",
    ),
    (
        "AuthorizationHeaderMalformed",
        "the bucket is in another region",
        "set AWS_REGION of the scheduler to the bucket's region",
    ),
    (
        "PermanentRedirect",
        "the bucket is in another region",
        "set AWS_REGION of the scheduler to the bucket's region",
    ),
    (
        "without LOCATION",
        "the bucket is in another region",
        "set AWS_REGION of the scheduler to the bucket's region",
    ),
    (
        "AccessDenied",
        "the store allows it not (403)",
        "give these credentials the right to read it (s3:GetObject, and s3:ListBucket to see what is missing)",
    ),
    (
        "AuthorizationPermissionMismatch",
        "the identity has no right to the data (403)",
        "give it the role Storage Blob Data Reader on the container",
    ),
    (
        "AuthorizationFailure",
        "the storage account refuses this caller (403)",
        "check AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN of the scheduler, the rights of the identity, and the account's firewall",
    ),
    (
        "PublicAccessNotPermitted",
        "no credentials are set, and the account allows nobody without",
        "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET where the scheduler starts",
    ),
    (
        "KeyBasedAuthenticationNotPermitted",
        "the account allows no keys",
        "use an identity: AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET",
    ),
    (
        "AuthenticationFailed",
        "the account key, signature or token is wrong or has expired (403)",
        "check AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_SECRET of the scheduler",
    ),
];

fn refused(bucket: &Bucket, uri: &str, error: &object_store::Error, text: &str) -> Error {
    if let Some((why, hint)) = entra_refusal(text) {
        return Error::new(ErrorCode::Denied, format!("'{uri}' cannot be read: {why}"))
            .with_hint(hint);
    }
    let known = REFUSALS.iter().find(|(code, _, _)| text.contains(code));
    if let Some((_, why, hint)) = known {
        return Error::new(ErrorCode::Denied, format!("'{uri}' cannot be read: {why}"))
            .with_hint(*hint);
    }
    if is_metadata(text) {
        return Error::new(
            ErrorCode::Denied,
            format!("'{uri}' cannot be read: there are no credentials for it"),
        )
        .with_hint(credentials_hint(bucket));
    }
    match error {
        object_store::Error::PermissionDenied { .. } => Error::new(
            ErrorCode::Denied,
            format!("'{uri}' cannot be read: the store allows it not (403)"),
        )
        .with_hint(rights_hint(bucket)),
        object_store::Error::Unauthenticated { .. } => Error::new(
            ErrorCode::Denied,
            format!("'{uri}' cannot be read: the store takes the credentials not (401)"),
        )
        .with_hint(credentials_hint(bucket)),
        _ => Error::new(
            ErrorCode::Unavailable,
            format!("'{uri}' cannot be read: {}", reason(text)),
        )
        .with_hint(reach_hint(bucket)),
    }
}

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

fn credentials_hint(bucket: &Bucket) -> &'static str {
    match bucket {
        Bucket::S3 { .. } => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE) where the scheduler starts"
        }
        Bucket::Azure { .. } => {
            "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET where the scheduler starts"
        }
    }
}

fn rights_hint(bucket: &Bucket) -> &'static str {
    match bucket {
        Bucket::S3 { .. } => {
            "check the keys, and give them the right s3:GetObject on the bucket (s3:ListBucket to see what is missing)"
        }
        Bucket::Azure { .. } => {
            "check the key or signature, or give the identity the role Storage Blob Data Reader on the container"
        }
    }
}

fn reach_hint(bucket: &Bucket) -> &'static str {
    match bucket {
        Bucket::S3 { .. } => {
            "check the network, and AWS_ENDPOINT_URL and AWS_REGION of the scheduler"
        }
        Bucket::Azure { .. } => {
            "check the network, the account's name, and AZURE_STORAGE_ENDPOINT of the scheduler"
        }
    }
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
