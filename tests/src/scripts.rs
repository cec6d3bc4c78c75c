//! Runs the scenarios of `tests/python`: clients of others, as they are published, in processes of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::checkout::checkout;
use crate::{process, service};

/// Imports take long while a compiler has the cores.
const DEADLINE: Duration = Duration::from_secs(180);
/// The variable that a script finds its token in.
const TOKEN: &str = "SCENARIO_TOKEN";

/// One scenario against one pool.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub script: &'static str,
    /// The pool's URI, as Flight clients write it.
    pub uri: String,
    pub name: String,
    pub token: Option<String>,
    pub ca: Option<PathBuf>,
    pub settings: Vec<(String, String)>,
}

impl Scenario {
    pub fn new(script: &'static str, uri: &str, name: &str) -> Self {
        Self {
            script,
            uri: uri
                .replace("http://", "grpc://")
                .replace("https://", "grpc+tls://"),
            name: name.to_owned(),
            token: None,
            ca: None,
            settings: Vec::new(),
        }
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    #[must_use]
    pub fn ca(mut self, ca: &Path) -> Self {
        self.ca = Some(ca.to_owned());
        self
    }

    /// Runs it to its end; its figures, or the line that says what was wrong.
    pub async fn run(&self) -> Result<Value> {
        self.start()?.end().await
    }

    /// Starts one that says how far it is.
    pub fn start(&self) -> Result<Running> {
        let script = checkout("tests/python").join(self.script);
        let mut command = Command::new(service::python()?);
        command.arg(script).arg(&self.uri).arg(&self.name);
        if let Some(token) = &self.token {
            command.args(["--token-env", TOKEN]).env(TOKEN, token);
        }
        if let Some(ca) = &self.ca {
            command.arg("--ca").arg(ca);
        }
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        process::end_with_us(command.as_std_mut());
        let mut child = command.spawn().context("start Python")?;
        let lines = BufReader::new(child.stdout.take().context("take stdout")?).lines();
        Ok(Running {
            name: self.name.clone(),
            child,
            lines,
        })
    }
}

/// A scenario that runs; it ends with this.
pub struct Running {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Waits until it says this word.
    pub async fn says(&mut self, word: &str) -> Result<()> {
        let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await;
        let line = line.with_context(|| format!("{} never said '{word}'", self.name))??;
        if line.as_deref() == Some(word) {
            return Ok(());
        }
        let words = self.words().await;
        bail!("{} said {line:?}, not '{word}': {words}", self.name)
    }

    /// Tells it to go on.
    pub async fn go_on(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is closed")?;
        stdin.write_all(b"go on\n").await?;
        Ok(stdin.flush().await?)
    }

    /// Ends it without a word.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    async fn words(&mut self) -> String {
        let mut words = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let read = stderr.read_to_string(&mut words);
            // What it said until then is better than nothing.
            tokio::time::timeout(DEADLINE, read).await.ok();
        }
        words.trim().to_owned()
    }

    /// Closes its input and waits for its end; its figures, or the line that says what was wrong.
    pub async fn end(mut self) -> Result<Value> {
        drop(self.child.stdin.take());
        let ended = async {
            let mut last = String::new();
            while let Some(line) = self.lines.next_line().await? {
                last = line;
            }
            let words = self.words().await;
            let status = self.child.wait().await?;
            ensure!(status.success(), "{words} ({status})");
            serde_json::from_str(&last).with_context(|| format!("figures in '{last}'"))
        };
        match tokio::time::timeout(DEADLINE, ended).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("a scenario did not end within {DEADLINE:?}"),
        }
    }
}

/// Runs all of them, one after the other; every failure in one report.
pub async fn run_all(scenarios: impl IntoIterator<Item = Scenario>) -> Result<Vec<Value>> {
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    for scenario in scenarios {
        match scenario.run().await {
            Ok(found) => figures.push(found),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if !failures.is_empty() {
        bail!(
            "{} scenarios failed\n{}",
            failures.len(),
            failures.join("\n")
        );
    }
    Ok(figures)
}
