//! The same files on S3 and in Azure storage, each store behind a proxy that can be told to fail.

use std::sync::Arc;

use anyhow::{Context, Result};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;

use crate::objects::{Azure, LAKE, Object, S3};
use crate::proxy::Proxy;

/// A store behind a proxy.
pub struct Lake {
    pub name: &'static str,
    /// The URI of its bucket, without a slash at the end.
    pub base: String,
    pub proxy: Proxy,
    /// Straight to the store, with the right to write.
    pub store: Arc<dyn ObjectStore>,
    /// By way of the proxy, and without anything that stays up when it fails.
    pub proxied: Arc<dyn ObjectStore>,
}

/// Both stores.
pub struct Lakes {
    pub lakes: Vec<Lake>,
    /// What a process must have in its environment to read them, by way of the proxies.
    pub variables: Vec<(String, String)>,
    _s3: S3,
    _azure: Azure,
}

fn value<'a>(variables: &'a [(String, String)], name: &str) -> Result<&'a str> {
    let found = variables.iter().find(|(variable, _)| variable == name);
    Ok(&found.with_context(|| format!("no {name}"))?.1)
}

fn port(url: &str) -> Result<u16> {
    let port = url.trim_start_matches("http://127.0.0.1:");
    let port = port.split('/').next().unwrap_or(port);
    port.parse().with_context(|| format!("{url} has no port"))
}

impl Lakes {
    /// Two stores with these objects; the same `seed` gives the same faults.
    pub async fn start(objects: &[Object<'_>], seed: u64) -> Result<Self> {
        let s3 = S3::start(objects)?;
        let azure = Azure::start(objects).await?;
        let (mut variables, mut blobs) = (s3.environment("reader")?, azure.environment(None)?);
        let (s3_direct, azure_direct) = (s3_store(&variables)?, azure_store(&blobs)?);
        // The keys that the server knows may only read.
        s3.open_doors().await?;
        let before_s3 = before("AWS_ENDPOINT_URL", &mut variables, seed).await?;
        let before_azure = before("AZURE_STORAGE_ENDPOINT", &mut blobs, seed + 1).await?;
        let lakes = vec![
            Lake {
                name: "s3",
                base: format!("s3://{LAKE}"),
                proxy: before_s3,
                store: s3_direct,
                proxied: s3_store(&variables)?,
            },
            Lake {
                name: "azure",
                base: format!("abfss://{LAKE}@{}.dfs.core.windows.net", azure.account()?),
                proxy: before_azure,
                store: azure_direct,
                proxied: azure_store(&blobs)?,
            },
        ];
        variables.append(&mut blobs);
        Ok(Self {
            lakes,
            variables,
            _s3: s3,
            _azure: azure,
        })
    }
}

/// Puts a proxy before the server that the variable names.
pub async fn before(name: &str, variables: &mut [(String, String)], seed: u64) -> Result<Proxy> {
    let proxy = Proxy::start(port(value(variables, name)?)?, seed).await?;
    proxy.redirect(variables)?;
    Ok(proxy)
}

/// A client of the S3 server that `variables` lead to, with their keys.
pub fn s3_store(variables: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
    let store = AmazonS3Builder::new()
        .with_endpoint(value(variables, "AWS_ENDPOINT_URL")?)
        .with_allow_http(true)
        .with_region(value(variables, "AWS_REGION")?)
        .with_access_key_id(value(variables, "AWS_ACCESS_KEY_ID")?)
        .with_secret_access_key(value(variables, "AWS_SECRET_ACCESS_KEY")?)
        .with_bucket_name(LAKE)
        .build()?;
    Ok(Arc::new(store))
}

fn azure_store(variables: &[(String, String)]) -> Result<Arc<dyn ObjectStore>> {
    let store = MicrosoftAzureBuilder::new()
        .with_endpoint(value(variables, "AZURE_STORAGE_ENDPOINT")?.to_owned())
        .with_allow_http(true)
        .with_account(value(variables, "AZURE_STORAGE_ACCOUNT_NAME")?)
        .with_access_key(value(variables, "AZURE_STORAGE_ACCOUNT_KEY")?)
        .with_container_name(LAKE)
        .build()?;
    Ok(Arc::new(store))
}
