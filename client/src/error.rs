//! What can go wrong between a client and a pool: either the pool answered with an error, or it could not be asked.

use whimbrel_proto::ErrorCode;

use crate::address::PoolAddress;

/// The result of a call on a pool.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call on a pool failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection to the pool's client port, or it broke.
    #[error("cannot reach the pool at {address}: {reason}")]
    Unreachable {
        /// The pool that was asked.
        address: PoolAddress,
        /// What the network said.
        reason: String,
    },
    /// The pool answered with an error.
    #[error(transparent)]
    Pool(#[from] whimbrel_proto::Error),
    /// A result ended before the rows that its ticket promises had come.
    #[error("{got} of {expected} rows of {part} came")]
    RowsLost {
        /// Which part of the result.
        part: String,
        /// Rows promised.
        expected: u64,
        /// Rows that came.
        got: u64,
    },
    /// Bytes that are not what the pool's contract says.
    #[error("the pool sent {what} that cannot be read: {reason}")]
    Protocol {
        /// Which message.
        what: &'static str,
        /// Why it cannot be read.
        reason: String,
    },
}

impl Error {
    /// The class of the error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable { .. } => ErrorCode::Unavailable,
            Self::Pool(error) => error.code(),
            Self::RowsLost { .. } => ErrorCode::Data,
            Self::Protocol { .. } => ErrorCode::Bug,
        }
    }

    /// The error as users see it: one line of what is wrong, one of what to do.
    pub fn to_user(&self) -> whimbrel_proto::Error {
        let hint = match self {
            Self::Pool(error) => return error.clone(),
            Self::Unreachable { .. } => {
                "check the address, and that 'whimbrel scheduler' runs there"
            }
            Self::RowsLost { .. } => {
                "an executor was lost after the query ended; run the query again"
            }
            Self::Protocol { .. } => "check that the client and the pool are of one version",
        };
        whimbrel_proto::Error::new(self.code(), self.to_string()).with_hint(hint)
    }
}
