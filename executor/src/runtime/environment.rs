//! ONNX Runtime's environment: one per process by its own design, so it is the one global here. It is made when the first
//! model is opened and shared by every host of the process.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use whimbrel_proto::{Error, ErrorCode};

use super::telemetry;
use crate::library;

struct Loaded {
    environment: Environment,
    library: PathBuf,
}

static LOADED: OnceLock<Loaded> = OnceLock::new();

/// The process's environment, made on the first call; a call that fails changes nothing and may be repeated. Blocks on
/// finding and loading the library.
pub(super) fn environment(configured: Option<&Path>) -> Result<&'static Environment, Error> {
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(loaded) = LOADED.get() {
        return Ok(shared(loaded, configured));
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = LOADED.get() {
        return Ok(shared(loaded, configured));
    }
    let loaded = load(library::find(configured)?)?;
    Ok(&LOADED.get_or_init(|| loaded).environment)
}

/// A process has one library: a later host with another setting gets the first one's.
fn shared(loaded: &'static Loaded, configured: Option<&Path>) -> &'static Environment {
    if let Some(other) = configured
        && other != loaded.library
        && !loaded.library.starts_with(other)
    {
        tracing::warn!(library = %loaded.library.display(), ignored = %other.display(), "onnx runtime is already loaded");
    }
    &loaded.environment
}

fn load(library: PathBuf) -> Result<Loaded, Error> {
    let refused = |reason: String| {
        let path = library.display();
        Error::new(
            ErrorCode::Model,
            format!("cannot load ONNX Runtime from '{path}': {reason}"),
        )
        .with_hint("run 'whimbrel setup', or set WHIMBREL_ONNXRUNTIME to a library that fits")
    };
    let builder = ort::init_from(&library).map_err(|error| refused(reason_of(&error)))?;
    let version =
        version_of(&library).ok_or_else(|| refused("it does not tell its version".to_owned()))?;
    telemetry::check(&version)?;
    let environment = builder
        .with_name("whimbrel")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    tracing::info!(library = %library.display(), version, "onnx runtime loaded");
    Ok(Loaded {
        environment,
        library,
    })
}

fn reason_of(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.to_string(),
        ort::LoadDynamicError::MissingApi { .. } => "it is not ONNX Runtime".to_owned(),
        ort::LoadDynamicError::InvalidVersionString => "it does not tell its version".to_owned(),
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            format!(
                "it is version {version_str}, and 1.{} is the oldest that works",
                ort::MINOR_VERSION
            )
        }
    }
}

/// The version that a loaded library gives itself: `1.28.0`.
fn version_of(library: &Path) -> Option<String> {
    let path = std::ffi::CString::new(library.as_os_str().as_bytes()).ok()?;
    // SAFETY: the library is loaded already (`init_from` did it, and keeps it), so this only looks its handle up. The
    // symbol has the type that ONNX Runtime's C API declares for it, and the text it returns is static.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if handle.is_null() {
            return None;
        }
        let symbol = libc::dlsym(handle, c"OrtGetApiBase".as_ptr());
        if symbol.is_null() {
            return None;
        }
        let get_base: unsafe extern "C" fn() -> *const ort::sys::OrtApiBase =
            std::mem::transmute(symbol);
        let base = get_base().as_ref()?;
        Some(
            CStr::from_ptr((base.GetVersionString)())
                .to_str()
                .ok()?
                .to_owned(),
        )
    }
}

/// ONNX Runtime logs what it also returns as an error, so its own errors are only of use to somebody who looks closely.
fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::trace!(location, "onnx runtime: {message}"),
        LogLevel::Warning | LogLevel::Error => tracing::debug!(location, "onnx runtime: {message}"),
        LogLevel::Fatal => tracing::error!(location, "onnx runtime: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing;

    #[test]
    fn the_library_tells_its_version() {
        let library = testing::library();
        environment(Some(&library)).unwrap();
        assert!(version_of(&library).unwrap().starts_with("1."));
    }

    #[test]
    fn a_file_that_is_no_library_is_one_line() {
        let folder = testing::TempFolder::new();
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, "text").unwrap();
        let error = load(path).err().unwrap().to_string();
        assert!(
            error.contains("cannot load ONNX Runtime from") && error.contains("whimbrel setup"),
            "{error}"
        );
    }
}
