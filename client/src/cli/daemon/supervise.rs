//! `whimbrel executor --supervise`: a small parent that starts the executor again when a signal has ended it, as a model that
//! crashes its process does. An executor that ends by itself, with or without an error, is not started again. What one that
//! crashed leaves among temporary files goes with it.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use whimbrel::clock::{Stopwatch, unique_name};
use whimbrel_proto::{Error, ErrorCode};

use super::Signals;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::telemetry;

/// Between a crash and the next start; each crash soon after the last doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An executor that has lived so long did not crash from starting.
const SOUND: Duration = Duration::from_secs(60);

/// Runs until the executor ends by itself or is told to.
pub(crate) fn run(context: &Context, log: crate::cli::args::LogFormat) -> Result<(), Failure> {
    telemetry::for_daemons(&context.environment, log)?;
    // The child dies with the thread that started it: this one, which is the process's own.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot("start", &error))?;
    let ended = runtime.block_on(supervise())?;
    match ended.code() {
        Some(0) => Ok(()),
        // It has said why.
        code => std::process::exit(code.unwrap_or(1)),
    }
}

async fn supervise() -> Result<ExitStatus, Failure> {
    let mut signals = Signals::listen()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let lived = Stopwatch::start();
        let temporary = Temporary::make()?;
        let mut child = start(&temporary)?;
        let (ended, told) = watch(&mut child, &mut signals).await?;
        drop(temporary);
        let Some(signal) = ended.signal().filter(|_| !told) else {
            return Ok(ended);
        };
        if lived.elapsed() >= SOUND {
            pause = FIRST_PAUSE;
        }
        tracing::error!(
            signal,
            pause_ms = pause.as_millis(),
            "the executor was ended by a signal and is started again"
        );
        tokio::select! {
            () = whimbrel::clock::pause(pause) => {}
            _ = signals.next() => return Ok(ended),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits for the child's end, and hands on what this process is told; true where it was told to end.
async fn watch(child: &mut Child, signals: &mut Signals) -> Result<(ExitStatus, bool), Failure> {
    let mut told = false;
    loop {
        tokio::select! {
            ended = child.wait() => {
                return ended.map(|ended| (ended, told)).map_err(|error| cannot("wait for", &error));
            }
            signal = signals.next() => {
                told = true;
                hand_on(child, signal.number());
            }
        }
    }
}

fn hand_on(child: &Child, signal: i32) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    // SAFETY: sends a signal to a child that is not reaped yet, so the pid is still its own.
    if unsafe { libc::kill(pid, signal) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "the executor could not be told to end");
    }
}

/// A child's folder for temporary files.
struct Temporary(PathBuf);

impl Temporary {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("whimbrel-{}", unique_name()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| cannot("make a temporary folder for", &error))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "cannot remove the executor's temporary folder");
        }
    }
}

/// The same command line without `--supervise`.
fn start(temporary: &Temporary) -> Result<Child, Failure> {
    let program = std::env::current_exe().map_err(|error| cannot("find", &error))?;
    let args: Vec<OsString> = std::env::args_os()
        .skip(1)
        .filter(|arg| arg != "--supervise")
        .collect();
    let mut command = Command::new(program);
    command.args(args).env("TMPDIR", &temporary.0);
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe and touches only the child, which must not outlive whoever would restart it.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command.spawn().map_err(|error| cannot("start", &error))
}

fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Error::new(
        ErrorCode::Exhausted,
        format!("the supervisor cannot {what} the executor: {error}"),
    )
    .with_hint("start it without --supervise, and let the system restart it")
    .into()
}
