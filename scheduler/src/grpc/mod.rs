//! The gRPC services: thin, they convert, call and convert.

pub mod models;
pub mod tables;
