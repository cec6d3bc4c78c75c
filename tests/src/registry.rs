//! Real MLflow servers over a copy of what `make` logged: `tests/models/registry.py` says which models and versions are there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::checkout::checkout;
use crate::http;
use crate::service::{self, Service};
use crate::wait;

/// Who may use a server that asks; made up for the tests.
pub const ADMIN: &str = "admin";
pub const ADMIN_PASSWORD: &str = "a-password-of-tests";
/// Knows the way in and may see nothing.
pub const STRANGER: &str = "stranger";
pub const STRANGER_PASSWORD: &str = "another-password-of-tests";

/// A running registry.
pub struct Registry {
    pub service: Service,
    _folder: TempDir,
}

impl Registry {
    /// A server that lets everybody in.
    pub async fn open() -> Result<Self> {
        Self::start(&[]).await
    }

    /// A server with basic authentication and the two users above.
    pub async fn guarded() -> Result<Self> {
        let registry = Self::start(&["--app-name", "basic-auth"]).await?;
        let user = serde_json::json!({"username": STRANGER, "password": STRANGER_PASSWORD});
        let (status, body) = http::post(
            registry.service.port,
            "/api/2.0/mlflow/users/create",
            (ADMIN, ADMIN_PASSWORD),
            &user.to_string(),
        )
        .await?;
        ensure!(status == 200, "create a user: {status} {body}");
        let (path, who) = (
            "/api/2.0/mlflow/experiments/search",
            (STRANGER, STRANGER_PASSWORD),
        );
        wait::until("the registry knows the new user", async || {
            let answer = http::post(registry.service.port, path, who, r#"{"max_results": 1}"#);
            let (status, _) = answer.await.ok()?;
            (status != 401).then_some(())
        })
        .await?;
        Ok(registry)
    }

    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.service.port)
    }

    async fn start(more: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the registry's folder")?;
        copy(&made()?, folder.path())?;
        std::fs::write(folder.path().join("auth.ini"), auth_settings())?;
        let python = service::python()?;
        let service = Service::start("mlflow", folder.path(), "/health", |port| {
            let mut command = Command::new(python);
            command
                .args([
                    "-m",
                    "mlflow",
                    "server",
                    "--host",
                    "127.0.0.1",
                    "--workers",
                    "1",
                ])
                .args(["--port", &port.to_string()])
                .args(["--backend-store-uri", "sqlite:///mlflow.db"])
                .args(["--artifacts-destination", "./art"])
                .args(more)
                .current_dir(folder.path())
                .env("DO_NOT_TRACK", "true")
                .env("GIT_PYTHON_REFRESH", "quiet")
                .env("MLFLOW_AUTH_ADMIN_PASSWORD", ADMIN_PASSWORD)
                .env("MLFLOW_AUTH_CONFIG_PATH", folder.path().join("auth.ini"))
                .env("MLFLOW_DISABLE_TELEMETRY", "true")
                .env("MLFLOW_FLASK_SERVER_SECRET_KEY", "only-for-tests")
                .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
            command
        })
        .await?;
        Ok(Self {
            service,
            _folder: folder,
        })
    }
}

fn auth_settings() -> String {
    [
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        "database_uri = sqlite:///auth.db",
        &format!("admin_username = {ADMIN}"),
        &format!("admin_password = {ADMIN_PASSWORD}"),
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        "",
    ]
    .join("\n")
}

fn made() -> Result<PathBuf> {
    let folder = checkout(".dev/registry");
    if !folder.join("done.json").exists() {
        bail!("{} is missing: `make fixtures` makes it", folder.display());
    }
    Ok(folder)
}

/// Copies a folder whole: the tests' servers write.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
