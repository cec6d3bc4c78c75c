//! The pool's wire contract: the generated gRPC messages, the ids that cross process borders, the units of settings that
//! both daemons share, and the one error type with its one mapping to and from `tonic::Status`.

pub mod error;
pub mod ids;
pub mod units;

/// Generated from `proto/whimbrel/v1`.
#[expect(
    clippy::allow_attributes,
    unused_qualifications,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("whimbrel.v1");
}

pub use error::{Error, ErrorCode, Retry};
