//! The `whimbrel` command: parses, does one thing, and says how it went.

pub(crate) mod args;
pub(crate) mod console;
pub(crate) mod context;
#[cfg(feature = "embedded")]
mod daemon;
mod demo;
#[cfg(feature = "embedded")]
mod embedded;
pub(crate) mod failure;
mod format;
mod job;
mod link;
mod model;
mod model_report;
mod output;
mod pool;
mod score;
mod setup;
mod sql;
mod table;
mod telemetry;
mod token;
mod versions;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use whimbrel::config::Environment;

use args::{Args, Command};
use console::Console;
use context::Context;
use failure::Failure;

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    let Args { global, command } = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_parsed(&error),
    };
    let context = Context::new(global, Environment::of_process());
    ended(context.console, dispatch(&context, command))
}

/// --help and --version are no errors, and clap prints them; neither is the help that a bare `whimbrel` gets, but it asked for
/// nothing that could be done.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let json = std::env::args().any(|arg| arg == "--json");
    let console = Console::new(json, false);
    let bare = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && !bare {
        return ended(console, Err(failure::usage_of(error)));
    }
    match error.print() {
        Ok(()) if bare => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ended(console, Err(console::cannot_write("the help", &error))),
    }
}

fn ended(console: Console, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.report(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "embedded")]
        Command::Scheduler(args) => daemon::scheduler::run(context, &args),
        #[cfg(feature = "embedded")]
        Command::Executor(args) => daemon::executor::run(context, &args),
        #[cfg(not(feature = "embedded"))]
        Command::Scheduler(_) | Command::Executor(_) => Err(Failure::usage(
            "this build of whimbrel is a client only",
            "take the full build, which has the feature 'embedded'",
        )),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "whimbrel", &mut script);
            context
                .console
                .print(String::from_utf8_lossy(&script).trim_end())
        }
        Command::Setup => setup::run(context),
        Command::Demo(args) => client_runtime(context, demo::run(context, &args)),
        Command::Model(command) => client_runtime(context, model::run(context, command)),
        Command::Link(command) => client_runtime(context, link::run(context, command)),
        Command::Table(command) => client_runtime(context, table::run(context, command)),
        Command::Score(args) => client_runtime(context, score::run(context, &args)),
        Command::Job(command) => client_runtime(context, job::run(context, command)),
        Command::Sql(args) => client_runtime(context, sql::run(context, args)),
        Command::Pool(command) => client_runtime(context, pool::run(context, command)),
        Command::Token(command) => token::run(context, command),
    }
}

/// Client commands decode what they fetch: a thread for that beside the one that waits.
fn client_runtime(
    context: &Context,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    telemetry::for_commands(&context.environment)?;
    let runtime =
        telemetry::runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(2))?;
    let result = runtime.block_on(work);
    // What is left then waits for answers that nobody needs.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}
