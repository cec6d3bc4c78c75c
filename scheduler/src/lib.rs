//! The pool's scheduler: answers SQL over Flight, keeps the catalog and the model bindings, plans queries and hands their
//! tasks to executors. Ballista's scheduler runs inside it as a library; what clients and executors reach is ours.

pub mod catalog;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod models;
pub mod nearest;
mod server;
pub mod store;

pub use config::Config;
pub use server::{Listeners, Scheduler};
