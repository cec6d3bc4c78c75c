//! The pool's scheduler: answers SQL over Flight, keeps the catalog and the model bindings, plans queries and hands their
//! tasks to executors. Ballista's scheduler runs inside it as a library; what clients and executors reach is ours.

mod auth;
pub mod catalog;
pub mod clock;
pub mod config;
mod doors;
mod engine;
mod error;
mod executors;
mod failures;
mod flight;
pub mod grpc;
mod health;
mod http;
mod jobs;
pub mod links;
mod mlflow;
pub mod models;
pub mod nearest;
mod pool;
mod query;
mod reading;
mod server;
mod session;
pub mod store;
mod watch;

pub use config::Config;
pub use server::{Listeners, Scheduler};
pub use whimbrel_stores::EVERYTHING;
