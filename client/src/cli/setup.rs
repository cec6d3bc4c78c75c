//! `whimbrel setup`: fetches the ONNX Runtime library once.

use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Runs the command.
#[cfg(feature = "embedded")]
pub(crate) fn run(context: &Context) -> Result<(), Failure> {
    use whimbrel_executor::library;
    use whimbrel_proto::{Error, ErrorCode};

    let folder = library::cache_dir().ok_or_else(|| {
        Error::new(
            ErrorCode::NotFound,
            "there is no folder for the ONNX Runtime library",
        )
        .with_hint("set HOME or XDG_CACHE_HOME")
    })?;
    let path = library::fetch(&folder, &mut |line| context.console.note(line))?;
    if context.console.json {
        let found = serde_json::json!({"onnxruntime": path.display().to_string(), "version": library::VERSION});
        return context.console.print_json(&found);
    }
    Ok(())
}

/// A client needs no ONNX Runtime.
#[cfg(not(feature = "embedded"))]
pub(crate) fn run(_context: &Context) -> Result<(), Failure> {
    Err(Failure::usage(
        "this build of whimbrel is a client only and needs no ONNX Runtime",
        "set up the pool's machines",
    ))
}
