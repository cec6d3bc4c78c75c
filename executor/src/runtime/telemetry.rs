//! Official ONNX Runtime builds since 1.29 upload telemetry unless an environment variable is set before they start; the C
//! API's own switch does not stop it. Here the variable is set, and a library that would upload is refused without it.

use std::env;

use whimbrel_proto::{Error, ErrorCode};

use crate::library::FIRST_MINOR_WITH_UPLOADER;

const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Sets the variable for this process and its children. Must be the first thing that `main` does: it fails where other
/// threads run already, because changing the environment under them is undefined behaviour.
pub fn disable() -> Result<(), Error> {
    if is_disabled() {
        return Ok(());
    }
    if threads() != Some(1) {
        return Err(Error::new(
            ErrorCode::Bug,
            format!("{VARIABLE} must be set before the process starts threads"),
        )
        .with_hint(format!("start it with {VARIABLE}=1 in its environment")));
    }
    // SAFETY: this is the only thread of the process, so nothing reads or writes the environment meanwhile.
    unsafe { env::set_var(VARIABLE, "1") };
    Ok(())
}

/// Whether a library of this version (`1.28.0`) may be started.
pub(super) fn check(version: &str) -> Result<(), Error> {
    allow(version, is_disabled())
}

fn allow(version: &str, disabled: bool) -> Result<(), Error> {
    let minor = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    if disabled || minor.is_some_and(|minor| minor < FIRST_MINOR_WITH_UPLOADER) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Invalid,
        format!("ONNX Runtime {version} would upload telemetry from this machine"),
    )
    .with_hint(format!(
        "start the process with {VARIABLE}=1 in its environment"
    )))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what counts is what the library will read, not a setting of ours"
)]
fn is_disabled() -> bool {
    env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// How many threads this process has; `None` where the system does not say.
#[cfg(target_os = "linux")]
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// Nobody says: `main` is trusted to call this first.
#[cfg(not(target_os = "linux"))]
fn threads() -> Option<usize> {
    Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_upload_need_the_variable() {
        assert!(allow("1.28.0", false).is_ok());
        assert!(allow("1.29.0", false).is_err() && allow("what", false).is_err());
        assert!(allow("1.31.1", true).is_ok());
    }

    /// A test process has many threads: the call must refuse, not race.
    #[test]
    fn the_environment_is_not_changed_under_running_threads() {
        if !is_disabled() && threads() != Some(1) {
            assert_eq!(disable().unwrap_err().code(), ErrorCode::Bug);
        }
    }
}
