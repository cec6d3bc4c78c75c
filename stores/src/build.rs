//! Makes the client of a bucket from the environment. The names are those of the clouds' own tools and of `object_store`:
//! `AWS_*` (keys, region, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, web identity, container and instance roles) and `AZURE_*` (account
//! key, SAS, client secret, workload and managed identity, `AZURE_STORAGE_USE_EMULATOR`, `AZURE_STORAGE_ENDPOINT`).

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use whimbrel_proto::{Error, ErrorCode};

use crate::environment::Environment;
use crate::error::{chain, reason};
use crate::location::Bucket;

pub(crate) fn store(
    bucket: &Bucket,
    environment: &Environment,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let built = match bucket {
        Bucket::S3 { bucket: name } => s3(name, environment)?
            .build()
            .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        Bucket::Azure {
            account,
            container,
            domain,
        } => azure(account, container, domain, environment)?
            .build()
            .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
    };
    built.map_err(|error| {
        let uri = bucket.uri("");
        Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' cannot be opened: {}", reason(&chain(&error))),
        )
        .with_hint("check the AWS_* or AZURE_* variables of the scheduler")
    })
}

/// A request is made again a few times at once; outages are for `patience`, which knows the store's other requests too.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(10),
    }
}

fn s3(bucket: &str, environment: &Environment) -> Result<AmazonS3Builder, Error> {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .into_iter()
        .find_map(|name| environment.get(name));
    refuse_plain(
        endpoint,
        environment.is_true("AWS_ALLOW_HTTP"),
        "AWS_ALLOW_HTTP",
    )?;
    let mut builder = AmazonS3Builder::new().with_retry(retries());
    for (name, value) in environment.iter() {
        let name = name.to_ascii_lowercase();
        if name.starts_with("aws_")
            && let Ok(key) = name.parse::<AmazonS3ConfigKey>()
        {
            builder = builder.with_config(key, value);
        }
    }
    Ok(builder.with_bucket_name(bucket))
}

fn azure(
    account: &str,
    container: &str,
    domain: &str,
    environment: &Environment,
) -> Result<MicrosoftAzureBuilder, Error> {
    let endpoint = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]
        .into_iter()
        .find_map(|name| environment.get(name));
    let emulated = environment.is_true("AZURE_STORAGE_USE_EMULATOR");
    refuse_plain(
        endpoint,
        emulated || environment.is_true("AZURE_ALLOW_HTTP"),
        "AZURE_ALLOW_HTTP",
    )?;
    // Keys and signatures are of one account; for another one they are wrong, and an identity may be right.
    let named = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]
        .into_iter()
        .find_map(|name| environment.get(name));
    let foreign = named.is_some_and(|named| named != account);
    let mut builder = MicrosoftAzureBuilder::new().with_retry(retries());
    for (name, value) in environment.iter() {
        let name = name.to_ascii_lowercase();
        let key = match name.as_str() {
            "azure_storage_key" => Some(AzureConfigKey::AccessKey),
            "identity_endpoint" => Some(AzureConfigKey::MsiEndpoint),
            name if name.starts_with("azure_") => name.parse().ok(),
            _ => None,
        };
        match key {
            Some(AzureConfigKey::AccessKey | AzureConfigKey::SasKey) if foreign => {}
            Some(key) => builder = builder.with_config(key, value),
            None => {}
        }
    }
    if endpoint.is_none() && domain != "core.windows.net" {
        builder = builder.with_endpoint(format!("https://{account}.blob.{domain}"));
    }
    Ok(builder.with_account(account).with_container_name(container))
}

/// Keys do not travel over an open line unless somebody says so.
fn refuse_plain(endpoint: Option<&str>, allowed: bool, variable: &str) -> Result<(), Error> {
    match endpoint {
        Some(endpoint) if endpoint.starts_with("http://") && !allowed => Err(Error::new(
            ErrorCode::Invalid,
            format!("the endpoint '{endpoint}' is not encrypted"),
        )
        .with_hint(format!(
            "write https://, or set {variable}=true where the scheduler starts"
        ))),
        Some(_) | None => Ok(()),
    }
}
