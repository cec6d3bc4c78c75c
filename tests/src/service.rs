//! A foreign server that the pool talks to: a registry or an object store, real, started on a free port and stopped by its own
//! pid when the test is over.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::checkout::checkout;
use crate::port::Port;
use crate::{http, process, wait};

/// MLflow imports for a quarter of a minute, and longer while a compiler has the cores.
const START: Duration = Duration::from_secs(150);
const STOP: Duration = Duration::from_secs(15);

/// A running server; it ends when this is dropped.
pub struct Service {
    name: String,
    child: Child,
    log: PathBuf,
    pub port: u16,
    _claimed: Port,
}

impl Service {
    /// Starts what `command` gives for a free port, and waits until `GET probe` has an answer.
    pub async fn start(
        name: &str,
        folder: &Path,
        probe: &str,
        command: impl FnOnce(u16) -> Command,
    ) -> Result<Self> {
        Self::launch(name, folder, Some(probe), command).await
    }

    /// As `start`; without a `probe` until somebody listens, as behind TLS.
    pub async fn launch(
        name: &str,
        folder: &Path,
        probe: Option<&str>,
        command: impl FnOnce(u16) -> Command,
    ) -> Result<Self> {
        let port = Port::claim()?;
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).context("create the log")?;
        let mut command = command(port.number);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the log")?)
            .stderr(output);
        process::end_with_us(&mut command);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let mut service = Self {
            name: name.to_owned(),
            child,
            log,
            port: port.number,
            _claimed: port,
        };
        service.serves(probe).await?;
        Ok(service)
    }

    async fn serves(&mut self, probe: Option<&str>) -> Result<()> {
        let port = self.port;
        let child = &mut self.child;
        let answered = wait::until_within(START, "the server answers", async || {
            match child.try_wait() {
                Ok(None) => match probe {
                    Some(probe) => http::get(port, probe).await.ok().map(|_| None),
                    None => TcpStream::connect(("127.0.0.1", port)).ok().map(|_| None),
                },
                Ok(Some(status)) => Some(Some(status.to_string())),
                Err(error) => Some(Some(error.to_string())),
            }
        })
        .await;
        match answered {
            Ok(None) => Ok(()),
            Ok(Some(end)) => bail!("{} ended: {end}\n{}", self.name, self.log()),
            Err(error) => bail!("{}: {error}\n{}", self.name, self.log()),
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        process::stop(&mut self.child, STOP);
    }
}

/// The Python of the tests.
pub fn python() -> Result<PathBuf> {
    let python = checkout(".dev/venv/bin/python");
    if !python.exists() {
        bail!("{} is missing: `make servers` makes it", python.display());
    }
    Ok(python)
}

/// A script of `tests/models`.
pub fn script(name: &str) -> PathBuf {
    checkout("tests/models").join(name)
}
