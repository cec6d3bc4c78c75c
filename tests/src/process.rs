//! One real `whimbrel` process: started with its output captured, stopped by its own pid, its log at hand when a test fails.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The binary under test: built by the same cargo run, beside the test binary's folder.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the test binary")?;
    let folder = own.ancestors().nth(2).context("find the target folder")?;
    let binary = folder.join("whimbrel");
    if !binary.exists() {
        bail!(
            "{} is missing: build it with `cargo build --workspace`",
            binary.display()
        );
    }
    Ok(binary)
}

/// The process ends with the one that starts it, even a killed one.
pub fn end_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches only the child.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// Asks a child to stop and waits; kills it where it does not by then.
#[expect(
    clippy::disallowed_methods,
    reason = "a deadline in real time is meant"
)]
pub fn stop(child: &mut Child, deadline: Duration) {
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let started = std::time::Instant::now();
    if let Ok(pid) = i32::try_from(child.id()) {
        // SAFETY: sends a signal to a child that is not reaped yet, so the pid is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    while started.elapsed() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A running daemon.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// It has a process of its own, which takes its time to end when this one is killed.
    supervises: bool,
    /// The one line of JSON it printed when it was ready.
    pub ready: Value,
}

/// The program, which is told nothing of what the shell says to the suite.
pub(crate) fn whimbrel() -> Result<Command> {
    let mut command = Command::new(binary()?);
    for name in [
        "WHIMBREL_POOL",
        "WHIMBREL_GOLDEN",
        "WHIMBREL_CHAOS",
        "WHIMBREL_CHAOS_SEED",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}

impl Process {
    /// Starts `whimbrel ARGS` with these settings in its environment, and waits for its line of JSON.
    pub fn start(
        name: &str,
        folder: &Path,
        args: &[String],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = whimbrel()?;
        command
            .args(args)
            // Tests read their own files; what a pool may read otherwise is asked for by its own test.
            .env("WHIMBREL_ALLOW", "s3://,abfss://,file:///")
            .envs(settings.iter().copied());
        let mut process = Self::launch(name, folder, command)?;
        process.supervises = args.iter().any(|arg| arg == "--supervise");
        Ok(process)
    }

    /// Starts any program that prints a line of JSON when it is ready, and waits for that line.
    pub fn launch(name: &str, folder: &Path, mut command: Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).context("create the log")?);
        end_with_us(&mut command);
        let mut child = command.spawn().with_context(|| format!("start {name}"))?;
        let stdout = child.stdout.take().context("take stdout")?;
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(Ok(line)) = lines.next() {
                if let Ok(value) = serde_json::from_str::<Value>(&line) {
                    let _ = send.try_send(value);
                }
            }
        });
        let ready = receive.recv_timeout(Duration::from_secs(60));
        let mut process = Self {
            name: name.to_owned(),
            child,
            log,
            supervises: false,
            ready: Value::Null,
        };
        match ready {
            Ok(value) => process.ready = value,
            Err(_) => bail!(
                "{name} did not say that it is ready\n{}",
                process.log_tail()
            ),
        }
        Ok(process)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of the ready line, as text.
    pub fn field(&self, key: &str) -> Result<String> {
        let value = self
            .ready
            .get(key)
            .with_context(|| format!("{} printed no '{key}': {}", self.name, self.ready))?;
        Ok(value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned))
    }

    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("pid")?;
        // SAFETY: sends a signal to a child that is not reaped yet, so the pid is still its own.
        if unsafe { libc::kill(pid, signal) } != 0 {
            bail!(
                "signal {signal} to {}: {}",
                self.name,
                std::io::Error::last_os_error()
            );
        }
        Ok(())
    }

    /// Kills it without warning and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(libc::SIGKILL)?;
        self.child.wait().context("reap")?;
        Ok(())
    }

    /// Waits for its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "a deadline in real time is meant"
    )]
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let started = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("wait")? {
                return Ok(status);
            }
            if started.elapsed() > deadline {
                bail!(
                    "{} still runs after {deadline:?}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for a failing test.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "--- {} ---\n{}",
            self.name,
            lines[lines.len().saturating_sub(40)..].join("\n")
        )
    }

    /// CPU seconds it has used so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).context("read stat")?;
        let fields: Vec<_> = stat
            .rsplit_once(')')
            .context("parse stat")?
            .1
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    }

    /// Descriptors that it has open: files and connections.
    pub fn descriptors(&self) -> Result<usize> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        Ok(open.context("list descriptors")?.count())
    }

    /// Its peak resident memory in bytes.
    pub fn peak_rss(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .context("read status")?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .context("find VmHWM")?;
        Ok(line
            .split_whitespace()
            .nth(1)
            .context("parse VmHWM")?
            .parse::<u64>()?
            * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            if self.supervises {
                // The first word is to drain, the second to stop at once.
                let _ = self.signal(libc::SIGINT);
                stop(&mut self.child, Duration::from_secs(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            #[expect(
                clippy::print_stderr,
                reason = "a failing test shows what its processes said"
            )]
            {
                eprintln!("{}", self.log_tail());
            }
        }
    }
}
