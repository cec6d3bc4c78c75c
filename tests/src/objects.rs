//! Real object stores with models in them: S3 that checks signatures and rights (moto), and Azure storage (Azurite).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

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

    /// What a scheduler's environment must hold to use it as `user`: `reader` may read, `stranger` may not.
    pub fn environment(&self, user: &str) -> Result<Vec<(String, String)>> {
        let ready = &self.process.ready;
        let port = self.process.field("port")?;
        Ok([
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", text(ready, "/region")?),
            ("AWS_ACCESS_KEY_ID", text(ready, &format!("/{user}/key"))?),
            (
                "AWS_SECRET_ACCESS_KEY",
                text(ready, &format!("/{user}/secret"))?,
            ),
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
    _folder: TempDir,
}

impl Azure {
    pub async fn start(objects: &[Object<'_>]) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the store's folder")?;
        let azurite = azurite()?;
        let service = Service::start("azurite", folder.path(), "/", |port| {
            let mut command = Command::new(azurite);
            command
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
                .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
                .arg("--inMemoryPersistence")
                .current_dir(folder.path());
            command
        })
        .await?;
        let output = Command::new(service::python()?)
            .arg(service::script("blobs.py"))
            .args(["--port", &service.port.to_string(), "--container", LAKE])
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
            _folder: folder,
        })
    }

    pub fn account(&self) -> Result<String> {
        text(&self.known, "/account")
    }

    /// What a scheduler's environment must hold to reach it; with the account's key, or with a signature: `reads`, `expired`.
    pub fn environment(&self, signature: Option<&str>) -> Result<Vec<(String, String)>> {
        let account = self.account()?;
        let endpoint = format!("http://127.0.0.1:{}/{account}", self.service.port);
        let credential = match signature {
            Some(which) => (
                "AZURE_STORAGE_SAS_TOKEN",
                text(&self.known, &format!("/{which}"))?,
            ),
            None => ("AZURE_STORAGE_ACCOUNT_KEY", text(&self.known, "/key")?),
        };
        Ok([
            ("AZURE_STORAGE_ENDPOINT", endpoint),
            ("AZURE_ALLOW_HTTP", "true".to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", account),
            credential,
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into())
    }
}

fn azurite() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.dev/azurite");
    let binary = folder.join("node_modules/.bin/azurite-blob");
    if !binary.exists() {
        bail!("{} is missing: `make fixtures` makes it", binary.display());
    }
    binary.canonicalize().context("resolve Azurite's path")
}
