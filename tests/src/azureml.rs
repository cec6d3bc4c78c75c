//! What Azure shows to a client of Azure Machine Learning, with a real MLflow server behind it: `tests/models/azureml.py`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{http, service};

/// The secret of the clients that have one.
pub const SECRET: &str = "the-right-secret-of-tests";

/// A tenant, its token endpoint, and a workspace.
pub struct AzureMl {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl AzureMl {
    /// In front of the registry at `upstream`; tokens hold for `seconds`.
    pub fn start(upstream: &str, seconds: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("create its folder")?;
        let mut command = Command::new(service::python()?);
        command.arg(service::script("azureml.py")).args([
            "--upstream",
            upstream,
            "--token-seconds",
            &seconds.to_string(),
        ]);
        let process = Process::launch("azureml", folder.path(), command)?;
        let port = process.field("port")?.parse()?;
        Ok(Self {
            process,
            port,
            _folder: folder,
        })
    }

    /// Where all of it is, as `http://host:port`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn tenant(&self) -> Result<String> {
        self.process.field("tenant")
    }

    /// How often something was asked so far: `tokens`, `served`, `unauthorized`, ...
    pub async fn count(&self, what: &str) -> Result<u64> {
        let (status, body) = http::get(self.port, "/counts").await?;
        ensure!(status == 200, "{status}");
        let counts: Value = serde_json::from_str(&body)?;
        counts[what]
            .as_u64()
            .with_context(|| format!("no count of {what} in {body}"))
    }
}
