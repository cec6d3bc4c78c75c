//! Real object stores with models in them: S3 that checks signatures and rights (moto), and Azure storage (Azurite).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::checkout::checkout;
use crate::http;
use crate::process::Process;
use crate::service::{self, Service};

/// The bucket, and the container.
pub const LAKE: &str = "lake";

/// A key in the store, and the file or folder that lies there.
pub type Object<'a> = (&'a str, &'a Path);

fn arguments(objects: &[Object<'_>]) -> Vec<String> {
    objects
        .iter()
        .map(|(key, path)| format!("{key}={}", path.display()))
        .collect()
}

fn text(value: &Value, path: &str) -> Result<String> {
    let found = value.pointer(path).and_then(Value::as_str);
    Ok(found
        .with_context(|| format!("no {path} in {value}"))?
        .to_owned())
}

/// An S3 endpoint.
pub struct S3 {
    process: Process,
    _folder: TempDir,
}

impl S3 {
    pub fn start(objects: &[Object<'_>]) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the store's folder")?;
        let mut command = Command::new(service::python()?);
        command
            .arg(service::script("s3.py"))
            .args(["--bucket", LAKE])
            .args(arguments(objects));
        let process = Process::launch("s3", folder.path(), command)?;
        Ok(Self {
            process,
            _folder: folder,
        })
    }

    pub fn endpoint(&self) -> Result<String> {
        Ok(format!("http://127.0.0.1:{}", self.process.field("port")?))
    }

    fn port(&self) -> Result<u16> {
        Ok(self.process.field("port")?.parse()?)
    }

    /// From here on everybody may do everything, with a signature or without.
    pub async fn open_doors(&self) -> Result<()> {
        let (status, _) =
            http::post(self.port()?, "/moto-api/reset-auth", ("", ""), "1000000").await?;
        ensure!(status == 200, "the server still checks: {status}");
        Ok(())
    }

    /// The objects whose uploads are unfinished, as the server lists them. It checks nobody any more afterwards.
    pub async fn uploads(&self) -> Result<Vec<String>> {
        let uploads = self.unfinished().await?.into_iter();
        Ok(uploads.map(|(key, _)| key).collect())
    }

    /// Drops an unfinished upload below `prefix`, as a store does that has kept it long enough.
    pub async fn drop_upload(&self, prefix: &str) -> Result<()> {
        let uploads = self.unfinished().await?.into_iter();
        let mut own = uploads.filter(|(key, _)| key.starts_with(prefix));
        let (key, upload) = own.next().context("no upload is unfinished")?;
        let path = format!("/{LAKE}/{key}?uploadId={upload}");
        let (status, said) = http::delete(self.port()?, &path).await?;
        ensure!(status == 204, "{status}: {said}");
        Ok(())
    }

    /// Object and upload id.
    async fn unfinished(&self) -> Result<Vec<(String, String)>> {
        self.open_doors().await?;
        let (status, list) = http::get(self.port()?, &format!("/{LAKE}?uploads")).await?;
        ensure!(
            status == 200 && list.contains("<ListMultipartUploadsResult"),
            "{status}: {list}"
        );
        let uploads = list.split("<Upload>").skip(1);
        let keys = uploads.filter_map(|upload| {
            let inside = |name: &str| {
                let (_, rest) = upload.split_once(&format!("<{name}>"))?;
                let (text, _) = rest.split_once('<')?;
                Some(text.to_owned())
            };
            Some((inside("Key")?, inside("UploadId")?))
        });
        Ok(keys.collect())
    }

    /// The access key of `user`, and its secret: `reader` may read, `writer` also write, `fenced` reads only below `open/`, `stranger` may not.
    pub fn keys(&self, user: &str) -> Result<(String, String)> {
        let ready = &self.process.ready;
        Ok((
            text(ready, &format!("/{user}/key"))?,
            text(ready, &format!("/{user}/secret"))?,
        ))
    }

    /// What a scheduler's environment must hold to use it as `user`.
    pub fn environment(&self, user: &str) -> Result<Vec<(String, String)>> {
        let (key, secret) = self.keys(user)?;
        Ok([
            ("AWS_ENDPOINT_URL", self.endpoint()?),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", text(&self.process.ready, "/region")?),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }
}

/// Azure storage.
pub struct Azure {
    service: Service,
    /// The account, its key, and shared access signatures.
    known: Value,
    scheme: &'static str,
    _folder: TempDir,
}

impl Azure {
    pub async fn start(objects: &[Object<'_>]) -> Result<Self> {
        Self::with(objects, None).await
    }

    /// Over TLS with the certificates of `entra`, where tokens of it are taken.
    pub async fn secured(objects: &[Object<'_>], entra: &Entra) -> Result<Self> {
        Self::with(objects, Some(entra)).await
    }

    async fn with(objects: &[Object<'_>], entra: Option<&Entra>) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the store's folder")?;
        let azurite = azurite()?;
        let mut security = Vec::new();
        let mut trust = Vec::new();
        if let Some(entra) = entra {
            let (cert, key) = (entra.file("cert")?, entra.file("key")?);
            security = ["--oauth", "basic", "--cert", &cert, "--key", &key]
                .map(str::to_owned)
                .to_vec();
            trust = vec!["--ca".to_owned(), entra.file("ca")?];
        }
        let probe = entra.is_none().then_some("/");
        let service = Service::launch("azurite", folder.path(), probe, |port| {
            let mut command = Command::new(azurite);
            command
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
                .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
                .arg("--inMemoryPersistence")
                .args(security)
                .current_dir(folder.path());
            command
        })
        .await?;
        let output = Command::new(service::python()?)
            .arg(service::script("blobs.py"))
            .args(["--port", &service.port.to_string(), "--container", LAKE])
            .args(trust)
            .args(arguments(objects))
            .output()
            .context("fill the container")?;
        ensure!(
            output.status.success(),
            "blobs.py: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self {
            service,
            known: serde_json::from_slice(&output.stdout)?,
            scheme: if entra.is_some() { "https" } else { "http" },
            _folder: folder,
        })
    }

    pub fn endpoint(&self) -> Result<String> {
        let account = self.account()?;
        Ok(format!(
            "{}://127.0.0.1:{}/{account}",
            self.scheme, self.service.port
        ))
    }

    /// The account's `key`, or a signature: `reads`, `expired`.
    pub fn secret(&self, which: &str) -> Result<String> {
        text(&self.known, &format!("/{which}"))
    }

    pub fn account(&self) -> Result<String> {
        text(&self.known, "/account")
    }

    /// What a scheduler's environment must hold to reach it; with the account's key, or with a signature: `reads`, `expired`.
    pub fn environment(&self, signature: Option<&str>) -> Result<Vec<(String, String)>> {
        let account = self.account()?;
        let credential = match signature {
            Some(which) => ("AZURE_STORAGE_SAS_TOKEN", self.secret(which)?),
            None => ("AZURE_STORAGE_ACCOUNT_KEY", self.secret("key")?),
        };
        Ok([
            ("AZURE_STORAGE_ENDPOINT", self.endpoint()?),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", account),
            credential,
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }
}

/// Where tokens for Azure storage come from, over TLS with certificates of its own making.
pub struct Entra {
    process: Process,
    _folder: TempDir,
}

impl Entra {
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("create its folder")?;
        let mut command = Command::new(service::python()?);
        command
            .arg(service::script("entra.py"))
            .arg("--folder")
            .arg(folder.path());
        Ok(Self {
            process: Process::launch("entra", folder.path(), command)?,
            _folder: folder,
        })
    }

    /// `https://host:port`.
    pub fn authority(&self) -> Result<String> {
        Ok(format!("https://127.0.0.1:{}", self.process.field("port")?))
    }

    pub fn tenant(&self) -> Result<String> {
        self.process.field("tenant")
    }

    /// The path of the PEM file of `ca`, `cert` or `key`, or of the workload's `assertion`.
    pub fn file(&self, which: &str) -> Result<String> {
        self.process.field(which)
    }
}

fn azurite() -> Result<PathBuf> {
    let folder = checkout(".dev/azurite");
    let binary = folder.join("node_modules/.bin/azurite-blob");
    if !binary.exists() {
        bail!("{} is missing: `make fixtures` makes it", binary.display());
    }
    binary.canonicalize().context("resolve Azurite's path")
}
