//! Makes the client of a bucket, from a link where one serves it and else from the environment. The names of variables are those
//! of the clouds' own tools and of `object_store`: `AWS_*` (keys, region, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, `AWS_CA_BUNDLE`,
//! web identity, container and instance roles) and `AZURE_*` (account key, SAS, client secret, workload and managed identity,
//! `AZURE_STORAGE_USE_EMULATOR`, `AZURE_STORAGE_ENDPOINT`).

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use whimbrel_proto::{Error, ErrorCode};

use crate::environment::Environment;
use crate::error::{chain, reason};
use crate::link::{Access, AzureIdentity, S3Identity, StoreLink};
use crate::location::{Bucket, PUBLIC};
use crate::output::Uploads;
use crate::process::Process;
use crate::secret::Secret;
use crate::uploads::{Address, S3Uploads};
use crate::views::Views;

/// What a client is made of.
pub(crate) struct Recipe<'a> {
    pub(crate) bucket: &'a Bucket,
    /// The link that serves the bucket, with its secrets in the order of its references.
    pub(crate) link: Option<(&'a StoreLink, &'a [Secret])>,
    pub(crate) environment: &'a Environment,
    pub(crate) process: &'a Process,
}

/// The client. Nothing is asked over the network yet.
pub(crate) fn client(recipe: &Recipe<'_>) -> Result<Views, Error> {
    let built = match recipe.bucket {
        Bucket::S3 { bucket } => {
            let (builder, options) = recipe.s3(bucket)?;
            s3_views(builder, &options, bucket)
        }
        Bucket::Azure {
            account,
            container,
            domain,
        } => recipe
            .azure(account, container, domain)?
            .build()
            .map(|store| Views::of(Arc::new(store))),
    };
    built.map_err(|error| {
        let uri = recipe.bucket.uri("");
        let hint = match recipe.link {
            Some((link, _)) => format!(
                "check link '{}': `whimbrel link show {}`",
                link.name, link.name
            ),
            None => format!("check the AWS_* or AZURE_* variables of {}", recipe.process),
        };
        Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' cannot be opened: {}", reason(&chain(&error))),
        )
        .with_hint(hint)
    })
}

fn s3_views(
    builder: AmazonS3Builder,
    options: &ClientOptions,
    bucket: &str,
) -> object_store::Result<Views> {
    let address = Address::of(&builder, bucket);
    let store = Arc::new(builder.build()?);
    let uploads = address
        .map(|address| S3Uploads::new(address, &store, options))
        .transpose()?;
    Ok(Views {
        uploads: uploads.map(|uploads| Arc::new(uploads) as Arc<dyn Uploads>),
        ..Views::of(store)
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

impl Recipe<'_> {
    fn s3(&self, bucket: &str) -> Result<(AmazonS3Builder, ClientOptions), Error> {
        let (builder, options) = match self.link {
            None => self.s3_of_environment(false)?,
            Some((link, secrets)) => self.s3_of_link(bucket, link, secrets)?,
        };
        let builder = builder
            .with_client_options(options.clone())
            .with_retry(retries())
            .with_bucket_name(bucket);
        Ok((builder, options))
    }

    /// What the variables say; of another endpoint than theirs nothing that only they know.
    fn s3_of_environment(
        &self,
        elsewhere: bool,
    ) -> Result<(AmazonS3Builder, ClientOptions), Error> {
        let environment = self.environment;
        if !elsewhere {
            let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
            self.refuse_plain(
                endpoint.into_iter().find_map(|name| environment.get(name)),
                environment.is_true("AWS_ALLOW_HTTP"),
                "AWS_ALLOW_HTTP",
            )?;
        }
        let mut builder = AmazonS3Builder::new();
        let mut options = ClientOptions::new();
        for (name, value) in environment.iter() {
            let name = name.to_ascii_lowercase();
            if !name.starts_with("aws_") {
                continue;
            }
            match name.parse::<AmazonS3ConfigKey>() {
                Ok(AmazonS3ConfigKey::Client(key)) => options = options.with_config(key, value),
                Ok(AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint) if elsewhere => {}
                Ok(key) => builder = builder.with_config(key, value),
                Err(_) => {}
            }
        }
        if let Some(file) = environment.get("AWS_CA_BUNDLE") {
            options = self.trusting(options, file)?;
        }
        Ok((builder, options))
    }

    fn s3_of_link(
        &self,
        bucket: &str,
        link: &StoreLink,
        secrets: &[Secret],
    ) -> Result<(AmazonS3Builder, ClientOptions), Error> {
        let Access::S3 {
            region,
            virtual_hosted,
            identity,
        } = &link.access
        else {
            return Err(foreign(link));
        };
        let (mut builder, options) = match (identity, secrets) {
            (S3Identity::Environment, _) => self.s3_of_environment(link.endpoint.is_some())?,
            (S3Identity::Keys { .. }, [access, secret, rest @ ..]) => {
                let mut builder = AmazonS3Builder::new()
                    .with_access_key_id(access.expose())
                    .with_secret_access_key(secret.expose());
                if let [session, ..] = rest {
                    builder = builder.with_token(session.expose());
                }
                (builder, ClientOptions::new())
            }
            (S3Identity::Anonymous | S3Identity::Keys { .. }, _) => (
                AmazonS3Builder::new().with_skip_signature(true),
                ClientOptions::new(),
            ),
        };
        let usual = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let usual = usual
            .into_iter()
            .find_map(|name| self.environment.get(name));
        if let Some(region) = region.as_deref().or(usual) {
            builder = builder.with_region(region);
        }
        if let Some(virtual_hosted) = *virtual_hosted {
            builder = builder.with_virtual_hosted_style_request(virtual_hosted);
        }
        if let Some(endpoint) = &link.endpoint {
            let endpoint = match virtual_hosted {
                Some(true) => endpoint.replacen("://", &format!("://{bucket}."), 1),
                Some(false) | None => endpoint.clone(),
            };
            builder = builder.with_endpoint(endpoint);
        }
        Ok((builder, self.transport(options, link)?))
    }

    fn azure(
        &self,
        account: &str,
        container: &str,
        domain: &str,
    ) -> Result<MicrosoftAzureBuilder, Error> {
        let (mut builder, options, endpoint) = match self.link {
            None => self.azure_of_environment(account, false)?,
            Some((link, secrets)) => self.azure_of_link(account, link, secrets)?,
        };
        if !endpoint && domain != PUBLIC {
            builder = builder.with_endpoint(format!("https://{account}.blob.{domain}"));
        }
        Ok(builder
            .with_client_options(options)
            .with_retry(retries())
            .with_account(account)
            .with_container_name(container))
    }

    /// What the variables say, and whether they name an endpoint.
    fn azure_of_environment(
        &self,
        account: &str,
        elsewhere: bool,
    ) -> Result<(MicrosoftAzureBuilder, ClientOptions, bool), Error> {
        let environment = self.environment;
        let endpoint = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]
            .into_iter()
            .find_map(|name| environment.get(name))
            .filter(|_| !elsewhere);
        let emulated = environment.is_true("AZURE_STORAGE_USE_EMULATOR");
        self.refuse_plain(
            endpoint,
            emulated || environment.is_true("AZURE_ALLOW_HTTP"),
            "AZURE_ALLOW_HTTP",
        )?;
        // Keys and signatures are of one account; for another one they are wrong, and an identity may be right.
        let named = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"]
            .into_iter()
            .find_map(|name| environment.get(name));
        let foreign = named.is_some_and(|named| named != account);
        let mut builder = MicrosoftAzureBuilder::new();
        let mut options = ClientOptions::new();
        for (name, value) in environment.iter() {
            let name = name.to_ascii_lowercase();
            let key = match name.as_str() {
                "azure_storage_key" => Some(AzureConfigKey::AccessKey),
                "identity_endpoint" => Some(AzureConfigKey::MsiEndpoint),
                name if name.starts_with("azure_") => name.parse().ok(),
                _ => None,
            };
            match key {
                Some(AzureConfigKey::Client(key)) => options = options.with_config(key, value),
                Some(AzureConfigKey::AccessKey | AzureConfigKey::SasKey) if foreign => {}
                Some(AzureConfigKey::Endpoint | AzureConfigKey::UseEmulator) if elsewhere => {}
                Some(key) => builder = builder.with_config(key, value),
                None => {}
            }
        }
        Ok((builder, options, endpoint.is_some()))
    }

    fn azure_of_link(
        &self,
        account: &str,
        link: &StoreLink,
        secrets: &[Secret],
    ) -> Result<(MicrosoftAzureBuilder, ClientOptions, bool), Error> {
        let Access::Azure(identity) = &link.access else {
            return Err(foreign(link));
        };
        let mut named = link.endpoint.is_some();
        let mut options = ClientOptions::new();
        let mut builder = MicrosoftAzureBuilder::new();
        match (identity, secrets) {
            (AzureIdentity::Environment, _) => {
                let (found, client, endpoint) = self.azure_of_environment(account, named)?;
                (builder, options, named) = (found, client, named || endpoint);
            }
            (AzureIdentity::AccountKey(_), [key, ..]) => {
                builder = builder.with_access_key(key.expose());
            }
            (AzureIdentity::Signature(_), [signature, ..]) => {
                let signature = signature.expose().trim_start_matches('?');
                builder = builder.with_config(AzureConfigKey::SasKey, signature);
            }
            (
                AzureIdentity::ServicePrincipal {
                    tenant,
                    client_id,
                    authority,
                    ..
                },
                [secret, ..],
            ) => {
                builder =
                    builder.with_client_secret_authorization(client_id, secret.expose(), tenant);
                if let Some(authority) = authority {
                    builder = builder.with_authority_host(authority);
                }
            }
            (AzureIdentity::Managed { client_id }, _) => {
                if let Some(client_id) = client_id {
                    builder = builder.with_client_id(client_id);
                }
                if let Some(endpoint) = self.environment.get("IDENTITY_ENDPOINT") {
                    builder = builder.with_msi_endpoint(endpoint);
                }
            }
            (
                AzureIdentity::Anonymous
                | AzureIdentity::AccountKey(_)
                | AzureIdentity::Signature(_)
                | AzureIdentity::ServicePrincipal { .. },
                _,
            ) => builder = builder.with_skip_signature(true),
        }
        if let Some(endpoint) = &link.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        Ok((builder, self.transport(options, link)?, named))
    }

    /// How the link's service is talked to.
    fn transport(&self, options: ClientOptions, link: &StoreLink) -> Result<ClientOptions, Error> {
        let mut options = options;
        if link.allow_http {
            options = options.with_allow_http(true);
        }
        if link.accept_invalid_certificates {
            options = options.with_allow_invalid_certificates(true);
        }
        match &link.ca_file {
            Some(file) => self.trusting(options, file),
            None => Ok(options),
        }
    }

    /// The options with the certificates of a PEM file trusted beside those of the machine.
    fn trusting(&self, options: ClientOptions, file: &str) -> Result<ClientOptions, Error> {
        let process = self.process;
        let refuse = |why: String| {
            Error::new(
                ErrorCode::Invalid,
                format!("the certificate file '{file}' cannot be used: {why}"),
            )
            .with_hint(format!(
                "give a file of PEM certificates; it is read on the machine of {process}"
            ))
        };
        let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
        let found =
            Certificate::from_pem_bundle(&bytes).map_err(|error| refuse(reason(&chain(&error))))?;
        if found.is_empty() {
            return Err(refuse("it holds no certificate".to_owned()));
        }
        Ok(found
            .into_iter()
            .fold(options, ClientOptions::with_root_certificate))
    }

    /// Keys do not travel over an open line unless somebody says so.
    fn refuse_plain(
        &self,
        endpoint: Option<&str>,
        allowed: bool,
        variable: &str,
    ) -> Result<(), Error> {
        let said = self.link.is_some_and(|(link, _)| link.allow_http);
        match endpoint {
            Some(endpoint) if endpoint.starts_with("http://") && !allowed && !said => {
                Err(Error::new(
                    ErrorCode::Invalid,
                    format!("the endpoint '{endpoint}' is not encrypted"),
                )
                .with_hint(format!(
                    "write https://, or set {variable}=true where {} starts",
                    self.process
                )))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn foreign(link: &StoreLink) -> Error {
    Error::new(
        ErrorCode::Bug,
        format!("link '{}' serves a store of another kind", link.name),
    )
}
