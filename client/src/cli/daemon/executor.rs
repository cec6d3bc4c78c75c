//! `whimbrel executor`: one executor until a signal or its scheduler ends it.

use toml::Table;
use whimbrel::config;
use whimbrel_executor::{Config, Executor, Listeners};
use whimbrel_proto::{Error, ErrorCode};

use super::{Signals, Told, announce, runtime, set, settings, supervise};
use crate::cli::args::ExecutorArgs;
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::telemetry;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &ExecutorArgs) -> Result<(), Failure> {
    if args.supervise && !args.daemon.print_config {
        return supervise::run(context, args.daemon.log_format);
    }
    let mut flags = Table::new();
    set(&mut flags, "scheduler", args.scheduler.as_deref());
    set(
        &mut flags,
        "work_dir",
        args.work_dir
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned()),
    );
    set(&mut flags, "slots", args.slots.map(i64::from));
    let scheduler_keys = config::keys::<whimbrel_scheduler::Config>();
    let Some(config) = settings::<Config>(context, &args.daemon, flags, scheduler_keys)? else {
        return Ok(());
    };
    config.check().map_err(Failure::Usage)?;
    telemetry::for_daemons(&context.environment, args.daemon.log_format)?;
    let runtime = runtime("whimbrel-executor")?;
    let result = runtime.block_on(serve(context.console, config));
    runtime.shutdown_timeout(super::RUNTIME_DEADLINE);
    result
}

async fn serve(console: Console, config: Config) -> Result<(), Failure> {
    let grace = config.drain_grace.get();
    let mut signals = Signals::listen()?;
    let listeners = Listeners::bind(&config).await?;
    let executor = Executor::start(config, listeners).await?;
    let cluster = executor.cluster_address().to_string();
    announce(
        console,
        Some(executor.id().as_str()),
        executor.client_address(),
        &cluster,
    )?;
    let told = tokio::select! {
        () = executor.wait() => None,
        told = signals.next() => Some(told),
    };
    match told {
        Some(Told::Drain) => signals.drain(executor.drain(grace)).await,
        Some(Told::Stop) => executor.stop().await,
        None => {
            executor.stop().await;
            return Err(Error::new(
                ErrorCode::Cancelled,
                "the scheduler sent this executor away",
            )
            .into());
        }
    }
    Ok(())
}
