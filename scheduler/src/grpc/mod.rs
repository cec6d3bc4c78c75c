//! The gRPC services: thin, they convert, call and convert.

pub(crate) mod cluster;
pub(crate) mod jobs;
pub mod links;
pub mod models;
pub(crate) mod pool;
pub mod tables;
