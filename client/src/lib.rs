//! The client of a Whimbrel pool: models, tables and queries over gRPC and Arrow Flight SQL.
//!
//! It is thin: no DataFusion and no ONNX Runtime. The feature `embedded` (on by default) adds a whole pool inside the calling
//! process ([`embedded::Pool`]), which is what the `whimbrel` command runs on when no pool is named.

pub mod address;
pub mod clock;
pub mod config;
mod connect;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod error;
mod jobs;
mod links;
mod models;
mod pool;
pub mod query;
mod tables;

pub use address::PoolAddress;
pub use connect::{Client, Token};
pub use error::{Error, Result};
pub use query::QueryStream;
pub use whimbrel_access::ClientTls;
pub use whimbrel_proto::{ErrorCode, ids, v1};
