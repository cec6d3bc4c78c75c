//! The one error that users and programs see: a stable code, one line of what is wrong, one line of what to do.
//!
//! It crosses processes as [`crate::v1::ErrorDetail`] in the details of a gRPC status, a `google.rpc.Status` as every client expects
//! it there, and once more as metadata; it is never parsed from text.
//! Every code answers two questions by an exhaustive match: which gRPC status a foreign client sees, and what a machine does
//! about it.

use std::fmt;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::v1::{ErrorDetail, RpcDetail, RpcStatus};

/// What an [`ErrorDetail`] is called among the details of a status.
const DETAIL: &str = "type.googleapis.com/whimbrel.v1.ErrorDetail";
/// The same bytes again, for clients that drop details they do not know.
const HEADER: &str = "whimbrel-error-bin";

/// What a machine does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The answer is final: doing it again gives the same error.
    Never,
    /// Another executor may succeed; the failure counts as an attempt.
    Elsewhere,
    /// The same call may succeed later; the failure does not count as an attempt.
    Later,
}

/// Classes of error, each with one stable name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request cannot be right: SQL, types, options, a model that cannot be fed.
    Invalid,
    /// A named thing does not exist: alias, table, column, file, query.
    NotFound,
    /// A named thing exists already.
    Exists,
    /// The caller has not said who it is, or what it shows does not count.
    Unauthenticated,
    /// The caller may not do this.
    Denied,
    /// Input that cannot be read: a broken row, an undecodable page.
    Data,
    /// An input file changed or vanished after the query was planned.
    InputChanged,
    /// The pool, a store or a peer cannot serve this now.
    Unavailable,
    /// Memory, disk or a limit is used up.
    Exhausted,
    /// The model failed: it could not be loaded, crashed, or answered in the wrong shape.
    Model,
    /// The caller, or the pool on its way out, ended the work.
    Cancelled,
    /// A defect of Whimbrel.
    Bug,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::Invalid,
        Self::NotFound,
        Self::Exists,
        Self::Unauthenticated,
        Self::Denied,
        Self::Data,
        Self::InputChanged,
        Self::Unavailable,
        Self::Exhausted,
        Self::Model,
        Self::Cancelled,
        Self::Bug,
    ];

    /// The name on the wire and in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Data => "data",
            Self::InputChanged => "input_changed",
            Self::Unavailable => "unavailable",
            Self::Exhausted => "exhausted",
            Self::Model => "model",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// What a machine does about it.
    pub fn retry(self) -> Retry {
        match self {
            Self::Invalid
            | Self::NotFound
            | Self::Exists
            | Self::Unauthenticated
            | Self::Denied
            | Self::InputChanged
            | Self::Cancelled => Retry::Never,
            Self::Data | Self::Exhausted | Self::Model | Self::Bug => Retry::Elsewhere,
            Self::Unavailable => Retry::Later,
        }
    }

    fn grpc(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Exists => Code::AlreadyExists,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Denied => Code::PermissionDenied,
            Self::Data => Code::DataLoss,
            Self::InputChanged => Code::Aborted,
            Self::Unavailable => Code::Unavailable,
            Self::Exhausted => Code::ResourceExhausted,
            Self::Model => Code::FailedPrecondition,
            Self::Cancelled => Code::Cancelled,
            Self::Bug => Code::Internal,
        }
    }

    /// The nearest class for a status that a peer of another make sent.
    fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Self::Invalid,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::Exists,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::PermissionDenied => Self::Denied,
            Code::DataLoss => Self::Data,
            Code::Aborted => Self::InputChanged,
            Code::Unavailable | Code::DeadlineExceeded => Self::Unavailable,
            Code::ResourceExhausted => Self::Exhausted,
            Code::FailedPrecondition => Self::Model,
            Code::Cancelled => Self::Cancelled,
            Code::Ok | Code::Unknown | Code::Internal => Self::Bug,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of what is wrong and where, one line of what to do, and the class that machines act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// `message` says what is wrong and where, in one line.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: one_line(&message.into()),
            hint: None,
        }
    }

    /// Adds what to do about it, in one line.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(one_line(&hint.into()));
        self
    }

    /// Headers have little room, and the texts travel in several: what is too long is cut, with a sign that it is.
    fn shortened(mut self) -> Self {
        cut(&mut self.message, LONGEST_MESSAGE);
        if let Some(hint) = &mut self.hint {
            cut(hint, LONGEST_HINT);
        }
        self
    }

    /// The class of the error.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is wrong and where.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What a machine does about it.
    pub fn retry(&self) -> Retry {
        self.code.retry()
    }
}

/// Bytes of a message and of a hint that travel.
const LONGEST_MESSAGE: usize = 1200;
const LONGEST_HINT: usize = 600;

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

/// Texts from other layers may hold line breaks; a user gets one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}; {hint}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<&Error> for ErrorDetail {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.name().to_owned(),
            message: error.message.clone(),
            hint: error.hint.clone().unwrap_or_default(),
        }
    }
}

impl From<ErrorDetail> for Error {
    fn from(detail: ErrorDetail) -> Self {
        let ErrorDetail {
            code,
            message,
            hint,
        } = detail;
        let error = Self::new(
            ErrorCode::from_name(&code).unwrap_or(ErrorCode::Bug),
            message,
        );
        if hint.is_empty() {
            error
        } else {
            error.with_hint(hint)
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let error = error.shortened();
        let detail = ErrorDetail::from(&error).encode_to_vec();
        let (code, message) = (error.code.grpc(), error.to_string());
        let status = RpcStatus {
            code: code.into(),
            message: message.clone(),
            details: vec![RpcDetail {
                type_url: DETAIL.to_owned(),
                value: detail.clone(),
            }],
        };
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(HEADER, MetadataValue::from_bytes(&detail));
        Status::with_details_and_metadata(code, message, status.encode_to_vec().into(), metadata)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if let Ok(told) = RpcStatus::decode(status.details())
            && let Some(detail) = told.details.iter().find(|detail| detail.type_url == DETAIL)
            && let Ok(detail) = ErrorDetail::decode(detail.value.as_slice())
            && !detail.message.is_empty()
        {
            return detail.into();
        }
        Self::new(ErrorCode::from_grpc(status.code()), status.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_with_its_message_and_hint() {
        for code in ErrorCode::ALL {
            let error =
                Error::new(code, "table 'trips' has no column 'x'").with_hint("did you mean 'y'?");
            assert_eq!(Error::from(Status::from(error.clone())), error);
        }
    }

    #[test]
    fn a_foreign_status_keeps_its_class() {
        let error = Error::from(Status::not_found("no such ticket"));
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::NotFound, "no such ticket")
        );
    }

    #[test]
    fn who_are_you_and_you_may_not_are_two_answers() {
        for (code, grpc) in [
            (ErrorCode::Unauthenticated, Code::Unauthenticated),
            (ErrorCode::Denied, Code::PermissionDenied),
        ] {
            assert_eq!(Status::from(Error::new(code, "no")).code(), grpc);
            assert_eq!(Error::from(Status::new(grpc, "no")).code(), code);
        }
    }

    #[test]
    fn what_clients_of_other_languages_look_into_is_there() {
        let error = Error::new(ErrorCode::NotFound, "no such table");
        let status = Status::from(error.clone());
        let told = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((told.code, told.message.as_str()), (5, "no such table"));
        let header = status
            .metadata()
            .get_bin(HEADER)
            .unwrap()
            .to_bytes()
            .unwrap();
        let detail = ErrorDetail::decode(header).unwrap();
        assert_eq!(Error::from(detail), error);
    }

    #[test]
    fn what_is_too_long_for_headers_is_cut() {
        let long = "ä".repeat(5_000);
        let error = Error::new(ErrorCode::Invalid, long.as_str()).with_hint(long.as_str());
        let status = Status::from(error);
        assert!(status.message().len() < 2_000);
        let told = Error::from(status);
        assert!(told.message().ends_with('…') && told.hint().unwrap().ends_with('…'));
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(Error::new(ErrorCode::Bug, "a\n  b").to_string(), "a b");
    }
}
