//! What a failed task tells the scheduler: the structured error for people, and Ballista's own status, which decides whether
//! the task runs again. Ballista's text is never shown, so the class must be found here, where the error still has its type.

use std::error::Error as StdError;
use std::io;

use arrow::error::ArrowError;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::failed_task::FailedReason;
use ballista_core::serde::protobuf::{ExecutionError, FailedTask, IoError, TaskKilled};
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use whimbrel_proto::{Error, ErrorCode, Retry};
use whimbrel_stores::{Refused, spent};

use crate::scan::DecoderPanic;

/// The end of a failed task.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) status: FailedTask,
}

impl Failure {
    /// `files` are the input files of the task: readers rarely say which one they were in.
    pub(crate) fn of(source: DataFusionError, files: &[String], again: Again) -> Self {
        if let Some(error) = spent(unwrapped(&source)) {
            return Self::from_error(
                error.clone(),
                Again {
                    later: Later::Never,
                    ..again
                },
            );
        }
        let error = classify(&source, files);
        let stock = FailedTask::from(BallistaError::from(source));
        match stock.failed_reason {
            // A lost shuffle file: Ballista runs the stage again that made it, and needs to know which.
            Some(FailedReason::FetchPartitionError(_)) => {
                let status = FailedTask {
                    error: error.to_string(),
                    ..stock
                };
                Self { error, status }
            }
            _ => Self::from_error(error, again),
        }
    }

    pub(crate) fn from_error(error: Error, again: Again) -> Self {
        let status = failed_task(&error, again);
        Self { error, status }
    }

    /// What a store has said, where a reader has kept only its text.
    pub(crate) fn refused(refused: Refused, again: Again) -> Self {
        let Refused {
            error,
            place,
            spent,
            ..
        } = refused;
        let error = match (error.code(), place) {
            (ErrorCode::NotFound, Some(place)) => gone(&place),
            _ => error,
        };
        let later = if spent { Later::Never } else { again.later };
        Self::from_error(error, Again { later, ..again })
    }

    pub(crate) fn cancelled() -> Self {
        Self::from_error(
            Error::new(ErrorCode::Cancelled, "the task was cancelled"),
            Again::default(),
        )
    }
}

/// What becomes of a failure that may pass by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Later {
    #[default]
    Uncounted,
    /// The task has been put off often enough.
    Counted,
    /// It has been waited for already, for as long as it may last.
    Never,
}

/// What is known of a task's other runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) later: Later,
    /// It has failed before, and this was its run elsewhere.
    pub(crate) was_elsewhere: bool,
}

/// What Ballista does about it: nothing again, again and counted, or again and not counted.
fn failed_task(error: &Error, again: Again) -> FailedTask {
    let final_word = (
        false,
        false,
        FailedReason::ExecutionError(ExecutionError {}),
    );
    let (retryable, count_to_failures, reason) = match (error.code(), error.retry()) {
        (ErrorCode::Cancelled, _) => (true, false, FailedReason::TaskKilled(TaskKilled {})),
        (_, Retry::Never) => final_word,
        // Memory may be there at another time; bytes and models do not mend.
        (code, Retry::Elsewhere) if again.was_elsewhere && code != ErrorCode::Exhausted => {
            final_word
        }
        (_, Retry::Elsewhere) => (true, true, FailedReason::IoError(IoError {})),
        (_, Retry::Later) => match again.later {
            Later::Uncounted => (true, false, FailedReason::TaskKilled(TaskKilled {})),
            Later::Counted => (true, true, FailedReason::IoError(IoError {})),
            Later::Never => final_word,
        },
    };
    FailedTask {
        error: error.to_string(),
        retryable,
        count_to_failures,
        failed_reason: Some(reason),
    }
}

/// The error under whatever Ballista wrapped it in: a chain of sources ends at Ballista's.
pub(crate) fn unwrapped(error: &DataFusionError) -> &(dyn StdError + Send + Sync + 'static) {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            unwrapped(inner)
        }
        DataFusionError::Shared(inner) => unwrapped(inner),
        DataFusionError::External(inner) => {
            if let Some(inner) = inner.downcast_ref::<DataFusionError>() {
                return unwrapped(inner);
            }
            match inner.downcast_ref::<BallistaError>() {
                Some(BallistaError::DataFusionError(inner)) => unwrapped(inner),
                Some(BallistaError::ArrowError(inner)) => inner.as_ref(),
                Some(_) | None => error,
            }
        }
        _ => error,
    }
}

/// The pool's error for whatever the engine raised.
pub(crate) fn classify(error: &DataFusionError, files: &[String]) -> Error {
    if let Some(own) = whimbrel_predict::error::find(error) {
        return own.clone();
    }
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            classify(inner, files)
        }
        DataFusionError::Shared(inner) => classify(inner, files),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => classify(first, files),
            None => bug("an error without a cause"),
        },
        DataFusionError::ArrowError(inner, _) => arrow(inner, files),
        DataFusionError::ParquetError(inner) => parquet(inner, files),
        DataFusionError::ObjectStore(inner) => store(inner),
        DataFusionError::IoError(inner) => input_output(inner, files),
        DataFusionError::External(inner) => foreign(inner.as_ref(), files),
        DataFusionError::ResourcesExhausted(text) => {
            Error::new(ErrorCode::Exhausted, format!("memory is used up: {text}"))
                .with_hint("raise the executors' memory_limit, or run fewer slots")
        }
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => {
            Error::new(ErrorCode::Cancelled, "the task was cancelled")
        }
        DataFusionError::ExecutionJoin(inner) => bug(inner),
        DataFusionError::Internal(text) | DataFusionError::Ffi(text) => bug(text),
        DataFusionError::SQL(inner, _) => Error::new(ErrorCode::Invalid, inner.to_string()),
        DataFusionError::SchemaError(inner, _) => Error::new(ErrorCode::Invalid, inner.to_string()),
        DataFusionError::Execution(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Plan(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Substrait(text) => Error::new(ErrorCode::Invalid, text),
    }
}

fn arrow(error: &ArrowError, files: &[String]) -> Error {
    match error {
        ArrowError::ExternalError(inner) => foreign(inner.as_ref(), files),
        ArrowError::IoError(_, inner) => input_output(inner, files),
        ArrowError::CsvError(text)
        | ArrowError::JsonError(text)
        | ArrowError::AvroError(text)
        | ArrowError::ParquetError(text)
        | ArrowError::IpcError(text)
        | ArrowError::ParseError(text) => data(text, files),
        ArrowError::CastError(text) => Error::new(ErrorCode::Invalid, text)
            .with_hint("TRY_CAST gives NULL where a value does not fit"),
        ArrowError::DivideByZero => Error::new(ErrorCode::Invalid, "division by zero")
            .with_hint("NULLIF(x, 0) gives NULL instead"),
        ArrowError::MemoryError(text) => Error::new(ErrorCode::Exhausted, text),
        ArrowError::CDataInterface(text) => bug(text),
        ArrowError::NotYetImplemented(_)
        | ArrowError::SchemaError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::InvalidArgumentError(_)
        | ArrowError::DictionaryKeyOverflowError
        | ArrowError::RunEndIndexOverflowError
        | ArrowError::OffsetOverflowError(_) => Error::new(ErrorCode::Invalid, error.to_string()),
    }
}

/// An error that travels in a box: it may be any of the engine's.
fn foreign(error: &(dyn StdError + Send + Sync + 'static), files: &[String]) -> Error {
    if let Some(inner) = error.downcast_ref::<Error>() {
        return inner.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return classify(inner, files);
    }
    if let Some(inner) = error.downcast_ref::<BallistaError>() {
        return engine(inner, files);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner, files);
    }
    if let Some(inner) = error.downcast_ref::<object_store::Error>() {
        return store(inner);
    }
    if let Some(panic) = error.downcast_ref::<DecoderPanic>() {
        return data(panic, files);
    }
    if let Some(inner) = error.downcast_ref::<ParquetError>() {
        return parquet(inner, files);
    }
    match error.downcast_ref::<io::Error>() {
        Some(inner) => input_output(inner, files),
        None => bug(error),
    }
}

fn parquet(error: &ParquetError, files: &[String]) -> Error {
    match error {
        ParquetError::External(inner) => {
            let known = inner.is::<object_store::Error>()
                || inner.is::<io::Error>()
                || inner.is::<DataFusionError>()
                || inner.is::<ArrowError>();
            if known {
                foreign(inner.as_ref(), files)
            } else {
                data(error, files)
            }
        }
        _ => data(error, files),
    }
}

fn engine(error: &BallistaError, files: &[String]) -> Error {
    match error {
        BallistaError::Cancelled => Error::new(ErrorCode::Cancelled, "the task was cancelled"),
        BallistaError::DataFusionError(inner) => classify(inner, files),
        BallistaError::ArrowError(inner) => arrow(inner, files),
        BallistaError::IoError(inner) => input_output(inner, files),
        BallistaError::FetchFailed(executor, _, _, _) => Error::new(
            ErrorCode::Unavailable,
            format!("rows of an earlier step are lost with executor {executor}"),
        ),
        BallistaError::TonicError(_)
        | BallistaError::GrpcError(_)
        | BallistaError::GrpcConnectionError(_)
        | BallistaError::GrpcActionError(_) => Error::new(
            ErrorCode::Unavailable,
            format!("another executor does not answer: {error}"),
        ),
        BallistaError::NotImplemented(text) | BallistaError::Configuration(text) => {
            Error::new(ErrorCode::Invalid, text)
        }
        BallistaError::SqlError(inner) => Error::new(ErrorCode::Invalid, inner.to_string()),
        BallistaError::General(text) | BallistaError::Internal(text) => bug(text),
        BallistaError::TokioError(inner) => bug(inner),
    }
}

pub(crate) fn store(error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    if let Some(error) = spent(error) {
        return error.clone();
    }
    if let Store::Generic { source, .. } = error
        && let Some(own) = source.downcast_ref::<Error>()
    {
        return own.clone();
    }
    let told = whimbrel_stores::told(error);
    let place = |path: &str| told.map_or_else(|| path.to_owned(), |told| told.place.clone());
    match (error, told) {
        (Store::NotFound { path, .. }, _) => gone(&place(path)),
        (_, Some(told)) => told.error.clone(),
        (error, None) => unexplained(error),
    }
}

fn gone(place: &str) -> Error {
    Error::new(
        ErrorCode::InputChanged,
        format!("input file '{place}' is gone"),
    )
    .with_hint("run the query again")
}

/// An error of a store that is none of ours, or that nobody had to explain.
fn unexplained(error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    match error {
        Store::Precondition { path, .. } => Error::new(
            ErrorCode::InputChanged,
            format!("input file '{path}' has changed"),
        )
        .with_hint("run the query again"),
        Store::PermissionDenied { path, .. } | Store::Unauthenticated { path, .. } => Error::new(
            ErrorCode::Denied,
            format!("the executor may not read '{path}'"),
        )
        .with_hint("the executors need their own right to read it"),
        Store::InvalidPath { .. }
        | Store::NotSupported { .. }
        | Store::NotImplemented { .. }
        | Store::UnknownConfigurationKey { .. } => {
            Error::new(ErrorCode::Invalid, error.to_string())
        }
        Store::Generic { .. } => Error::new(
            ErrorCode::Unavailable,
            format!("cannot read input: {error}"),
        ),
        _ => Error::new(
            ErrorCode::Unavailable,
            format!("cannot read input: {error}"),
        ),
    }
}

fn input_output(error: &io::Error, files: &[String]) -> Error {
    if let Some(inner) = error.get_ref() {
        if let Some(own) = inner.downcast_ref::<Error>() {
            return own.clone();
        }
        if let Some(inner) = inner.downcast_ref::<object_store::Error>() {
            return store(inner);
        }
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorCode::Exhausted,
            format!("the executor's disk is full: {error}"),
        )
        .with_hint("give work_dir more room, or run fewer queries at once"),
        io::ErrorKind::OutOfMemory => Error::new(ErrorCode::Exhausted, error.to_string()),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => data(error, files),
        io::ErrorKind::PermissionDenied => {
            Error::new(ErrorCode::Denied, format!("{error}, {}", among(files)))
        }
        _ => Error::new(ErrorCode::Unavailable, format!("{error}, {}", among(files))),
    }
}

fn data(what: impl ToString, files: &[String]) -> Error {
    let what = what.to_string();
    let message = match files.iter().any(|file| what.contains(file.as_str())) {
        true => what,
        false => format!("{what}, {}", among(files)),
    };
    Error::new(ErrorCode::Data, format!("input cannot be read: {message}"))
        .with_hint("repair the file or leave it out")
}

fn among(files: &[String]) -> String {
    match files {
        [] => "in the rows of an earlier step".to_owned(),
        [file] => format!("in file '{file}'"),
        [file, rest @ ..] => format!("in file '{file}' or one of {} after it", rest.len()),
    }
}

fn bug(what: impl ToString) -> Error {
    let what = what.to_string();
    Error::new(ErrorCode::Bug, what)
        .with_hint("this is a defect of Whimbrel; the executor's log has the details")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ballista_core::serde::protobuf::FetchPartitionError;
    use datafusion::common::DataFusionError as E;

    use super::*;

    fn failure(error: E) -> Failure {
        Failure::of(error, &["trips/a.csv".to_owned()], Again::default())
    }

    #[test]
    fn a_broken_row_names_its_file_and_runs_elsewhere_once() {
        let csv = E::ArrowError(
            Box::new(ArrowError::CsvError("line 7: 3 columns, not 4".to_owned())),
            None,
        );
        let failure = failure(E::Shared(Arc::new(csv.context("while reading"))));
        assert_eq!(failure.error.code(), ErrorCode::Data);
        assert!(
            failure.error.message().contains("line 7")
                && failure.error.message().contains("trips/a.csv")
        );
        assert!(failure.status.retryable && failure.status.count_to_failures);
        let again = Again {
            was_elsewhere: true,
            ..Again::default()
        };
        let second = Failure::from_error(failure.error, again);
        assert!(!second.status.retryable);
    }

    #[test]
    fn a_users_mistake_ends_the_job_at_once() {
        let failure = failure(E::ArrowError(Box::new(ArrowError::DivideByZero), None));
        assert_eq!(failure.error.code(), ErrorCode::Invalid);
        assert!(!failure.status.retryable);
        assert!(matches!(
            failure.status.failed_reason,
            Some(FailedReason::ExecutionError(_))
        ));
    }

    #[test]
    fn what_is_unavailable_is_tried_again_uncounted_until_that_has_gone_on_too_long() {
        let reset = || E::IoError(io::Error::from(io::ErrorKind::ConnectionReset));
        let after = |later| {
            let again = Again {
                later,
                was_elsewhere: true,
            };
            Failure::of(reset(), &[], again).status
        };
        let first = after(Later::Uncounted);
        assert!(first.retryable && !first.count_to_failures);
        let late = after(Later::Counted);
        assert!(late.retryable && late.count_to_failures);
        assert!(!after(Later::Never).retryable);
    }

    #[test]
    fn an_error_of_the_pool_keeps_its_own_class_and_words() {
        let own = Error::new(ErrorCode::Model, "model 'tip' answered 3 rows for 4");
        assert_eq!(
            failure(whimbrel_predict::error::external(own.clone())).error,
            own
        );
    }

    #[test]
    fn a_lost_shuffle_file_still_names_the_stage_to_run_again() {
        let lost = BallistaError::FetchFailed("gone".to_owned(), 1, 2, "refused".to_owned());
        let failure = failure(E::Shared(Arc::new(E::External(Box::new(lost)))));
        let expected = FetchPartitionError {
            executor_id: "gone".to_owned(),
            map_stage_id: 1,
            map_partition_id: 2,
        };
        assert_eq!(
            failure.status.failed_reason,
            Some(FailedReason::FetchPartitionError(expected))
        );
        assert_eq!(failure.error.code(), ErrorCode::Unavailable);
    }

    #[test]
    fn a_vanished_file_is_a_changed_input_and_a_cancel_is_no_failure() {
        let gone = object_store::Error::NotFound {
            path: "a.csv".to_owned(),
            source: "gone".into(),
        };
        assert_eq!(
            failure(E::ObjectStore(Box::new(gone))).error.code(),
            ErrorCode::InputChanged
        );
        let cancelled = failure(E::External(Box::new(BallistaError::Cancelled)));
        assert_eq!(cancelled.error.code(), ErrorCode::Cancelled);
        assert!(cancelled.status.retryable && !cancelled.status.count_to_failures);
    }
}
