//! An executor of the pool: it runs the engine's tasks, scores with models, and serves what it wrote.
//!
//! The shell round Ballista's engine is ours, because the stock process can neither be embedded nor stopped cleanly: it keeps
//! process-wide state, binds its own ports and cancels nothing that has begun. Here every executor is a value, several live
//! in one process, and after `stop` no thread, port or file of it is left.

pub mod config;
pub mod host;
pub mod library;
pub mod runtime;

mod clock;
mod engine;
mod executor;
mod flight;
mod health;
mod listeners;
mod memory;
mod pass;
mod scan;
mod serve;
mod shell;
mod sink;
#[cfg(test)]
mod tests;
mod tls;
mod workdir;
mod workers;

pub use config::Config;
pub use executor::Executor;
pub use host::{HostStats, Parts};
pub use listeners::Listeners;
