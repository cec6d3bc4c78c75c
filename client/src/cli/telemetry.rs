//! Logs on standard error, and the threads of a command.

use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use whimbrel::config::Environment;
use whimbrel_proto::{Error, ErrorCode};

#[cfg(feature = "embedded")]
use crate::cli::args::LogFormat;
use crate::cli::failure::Failure;

/// What the engine logs at info is about its own insides.
#[cfg(feature = "embedded")]
const DAEMON_DEFAULT: &str = "info,ballista_core=warn,ballista_scheduler=warn,ballista_scheduler::state::execution_stage=error,ballista_executor=warn,datafusion=warn,h2=warn,hyper=warn";
/// A command says itself what its user must know.
const COMMAND_DEFAULT: &str =
    "error,ballista_core=off,ballista_scheduler=off,ballista_executor=off,datafusion=off";

/// Starts the log of a daemon.
#[cfg(feature = "embedded")]
pub(crate) fn for_daemons(environment: &Environment, format: LogFormat) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(environment, DAEMON_DEFAULT)?)
        .with_writer(std::io::stderr)
        // They would be printed where nobody reads, which panics.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Starts the log of a client command, which is silent unless asked.
pub(crate) fn for_commands(environment: &Environment) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(environment, COMMAND_DEFAULT)?)
        .with_writer(std::io::stderr)
        // They would be printed where nobody reads, which panics.
        .log_internal_errors(false);
    log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    Ok(())
}

fn filter(environment: &Environment, default: &str) -> Result<EnvFilter, Failure> {
    for name in ["WHIMBREL_LOG", "RUST_LOG"] {
        if let Some(text) = environment.get(name) {
            return EnvFilter::try_new(text).map_err(|error| {
                Failure::usage(
                    format!("{name}={text} is no log filter: {error}"),
                    "write a level (info) or target=level, ...",
                )
            });
        }
    }
    Ok(EnvFilter::new(default))
}

/// Starts the threads of a command.
pub(crate) fn runtime(builder: &mut Builder) -> Result<Runtime, Failure> {
    let runtime = builder.thread_name("whimbrel-cli").enable_all().build();
    runtime.map_err(|error| {
        Error::new(
            ErrorCode::Exhausted,
            format!("cannot start threads: {error}"),
        )
        .into()
    })
}
