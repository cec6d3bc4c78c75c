//! `whimbrel scheduler`: one scheduler until a signal ends it.

use toml::Table;
use whimbrel::config;
use whimbrel_scheduler::{Config, Listeners, Scheduler};

use super::{Signals, Told, announce, runtime, set, set_path, settings};
use crate::cli::args::SchedulerArgs;
use crate::cli::console::Console;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::telemetry;

/// Runs the command.
pub(crate) fn run(context: &Context, args: &SchedulerArgs) -> Result<(), Failure> {
    let mut flags = Table::new();
    set(&mut flags, "state", args.state.as_deref());
    set(&mut flags, "storage", args.storage.as_deref());
    let token_file = args.client_token_file.as_deref();
    set_path(&mut flags, "client_token_file", token_file);
    set_path(&mut flags, "tokens_file", args.tokens_file.as_deref());
    let proxy_only = args.flight_proxy_only.then_some(true);
    set(&mut flags, "flight_proxy_only", proxy_only);
    let executor_keys = config::keys::<whimbrel_executor::Config>();
    let Some(config) = settings::<Config>(context, &args.daemon, flags, executor_keys)? else {
        return Ok(());
    };
    config.validate().map_err(Failure::Usage)?;
    telemetry::for_daemons(&context.environment, args.daemon.log_format)?;
    let runtime = runtime("whimbrel-scheduler")?;
    let result = runtime.block_on(serve(context.console, config));
    runtime.shutdown_timeout(super::RUNTIME_DEADLINE);
    result
}

async fn serve(console: Console, config: Config) -> Result<(), Failure> {
    let grace = config.drain_grace.get();
    let mut signals = Signals::listen()?;
    let listeners = Listeners::bind(&config).await?;
    let scheduler = Scheduler::start(config, listeners).await?;
    announce(
        console,
        None,
        scheduler.client_address(),
        scheduler.cluster_address(),
    )?;
    let ended = tokio::select! {
        ended = scheduler.wait() => ended,
        told = signals.next() => {
            match told {
                Told::Drain => signals.drain(scheduler.drain(grace)).await,
                Told::Stop => {}
            }
            Ok(())
        }
    };
    scheduler.stop().await;
    Ok(ended?)
}
