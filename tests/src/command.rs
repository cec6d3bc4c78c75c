//! Runs the `whimbrel` command as a user would, and writes down what they would see.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};

use crate::process::whimbrel;
use crate::wait;

/// What a command printed and how it ended.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(mut command: Command) -> Result<Self> {
        Self::read(command.output().context("run whimbrel")?)
    }

    fn read(output: Output) -> Result<Self> {
        Ok(Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).context("stdout is not text")?,
            stderr: String::from_utf8(output.stderr).context("stderr is not text")?,
        })
    }

    /// For a golden file: exit code and both outputs, with this machine's paths and addresses taken out.
    pub fn transcript(&self, replace: &[(&str, &str)]) -> String {
        let mut text = format!("exit {}\n", self.code);
        for line in self.stdout.lines().chain(self.stderr.lines()) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for (from, to) in replace {
            text = text.replace(from, to);
        }
        text
    }
}

/// `whimbrel ARGS` in `folder`, asking the pool at this address or one of its own.
pub fn command(folder: &Path, pool: Option<&str>, args: &[&str]) -> Result<Command> {
    let mut command = whimbrel()?;
    command.args(args).current_dir(folder).stdin(Stdio::null());
    if let Some(pool) = pool {
        command.env("WHIMBREL_POOL", pool);
    }
    Ok(command)
}

/// Runs to its end, which must come soon, a daemon that must not begin to serve.
pub async fn refused_start(command: Command) -> Result<Outcome> {
    let mut command = tokio::process::Command::from(command);
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(wait::DEADLINE, output).await;
    let output = output.context("it serves")?.context("run whimbrel")?;
    Outcome::read(output)
}

/// Runs `whimbrel ARGS` in `folder` to its end.
pub fn run(folder: &Path, pool: Option<&str>, args: &[&str]) -> Result<Outcome> {
    Outcome::of(command(folder, pool, args)?)
}
