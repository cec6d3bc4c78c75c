//! What the engine says when it cannot plan or run a statement, in one line that a user can act on.

use ballista_core::error::BallistaError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use whimbrel_predict::error::find;
use whimbrel_proto::{Error, ErrorCode};

use crate::engine::{CATALOG, SCHEMA};
use crate::nearest;

/// The engine's error as ours; one of ours that travelled through the engine comes out as it was.
pub(crate) fn plan_error(error: &DataFusionError) -> Error {
    if let Some(ours) = find(error) {
        return ours.clone();
    }
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            plan_error(inner)
        }
        DataFusionError::Shared(inner) => plan_error(inner),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| defect(error), plan_error)
        }
        DataFusionError::SQL(parser, _) => syntax(parser),
        DataFusionError::SchemaError(schema, _) => column(schema),
        DataFusionError::Plan(text) => planning(text),
        DataFusionError::NotImplemented(text) => unsupported(text),
        DataFusionError::Configuration(_)
        | DataFusionError::Execution(_)
        | DataFusionError::ArrowError(..) => Error::new(ErrorCode::Invalid, tidy(&error.message())),
        DataFusionError::ParquetError(_) => Error::new(ErrorCode::Data, tidy(&error.message())),
        DataFusionError::ResourcesExhausted(text) => Error::new(ErrorCode::Exhausted, tidy(text)),
        DataFusionError::ObjectStore(store) => stored(store),
        DataFusionError::IoError(io) => {
            Error::new(ErrorCode::Unavailable, format!("cannot read: {io}"))
        }
        DataFusionError::External(source) => match source.downcast_ref::<BallistaError>() {
            Some(BallistaError::DataFusionError(inner)) => plan_error(inner),
            Some(BallistaError::NotImplemented(text)) => unsupported(text),
            Some(_) | None => defect(error),
        },
        DataFusionError::Internal(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::Substrait(_)
        | DataFusionError::Ffi(_) => defect(error),
    }
}

fn syntax(error: &ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    Error::new(ErrorCode::Invalid, format!("SQL: {text}"))
}

fn column(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let known: Vec<&str> = valid_fields.iter().map(Column::name).collect();
            Error::new(
                ErrorCode::Invalid,
                format!("column '{}' does not exist", field.flat_name()),
            )
            .with_hint(nearest::hint(
                field.name(),
                known,
                "nothing here has columns",
            ))
        }
        SchemaError::AmbiguousReference { field } => Error::new(
            ErrorCode::Invalid,
            format!("column '{}' is in several tables", field.name()),
        )
        .with_hint("write the table's name before it"),
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Error::new(
            ErrorCode::Invalid,
            format!("column '{name}' is there twice"),
        )
        .with_hint("give one of them another name"),
    }
}

fn planning(text: &str) -> Error {
    let text = tidy(text);
    match text
        .strip_suffix(" not found")
        .and_then(|rest| rest.strip_prefix("table "))
    {
        Some(table) => Error::new(ErrorCode::NotFound, format!("table {table}{MISSING}")),
        None => Error::new(ErrorCode::Invalid, text),
    }
}

const MISSING: &str = " does not exist";

/// The table whose absence the error is about, if it is about one.
pub(crate) fn missing_table(error: &Error) -> Option<&str> {
    let quoted = error
        .message()
        .strip_prefix("table '")?
        .strip_suffix(MISSING)?
        .strip_suffix('\'')?;
    (error.code() == ErrorCode::NotFound).then_some(quoted)
}

fn unsupported(text: &str) -> Error {
    let text = tidy(text);
    let what = text
        .strip_prefix("Unsupported SQL statement: ")
        .unwrap_or(&text);
    Error::new(ErrorCode::Invalid, format!("not supported: {what}"))
}

fn stored(error: &object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { path, .. } => {
            Error::new(ErrorCode::NotFound, format!("file '{path}' does not exist"))
                .with_hint("it may have been removed since")
        }
        other => Error::new(
            ErrorCode::Unavailable,
            format!("the storage does not answer: {other}"),
        ),
    }
}

/// The engine's own failure: its text is for the log.
fn defect(error: &DataFusionError) -> Error {
    tracing::error!(error = %error, "the engine failed at a statement");
    Error::new(ErrorCode::Bug, "the engine cannot plan this statement")
        .with_hint("the scheduler's log says why; please report it")
}

/// Without the names that every table of the pool has before it, and without what the engine adds for its developers.
fn tidy(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    text.replace(&format!("{CATALOG}.{SCHEMA}."), "")
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_mistake_is_one_line_without_the_engines_names() {
        let error = plan_error(&DataFusionError::Plan(
            "table 'whimbrel.public.trips' not found".to_owned(),
        ));
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::NotFound, "table 'trips' does not exist")
        );
        assert_eq!(missing_table(&error), Some("trips"));
        let error =
            DataFusionError::Plan("Invalid function 'nope'.\nDid you mean 'nop'?".to_owned());
        assert_eq!(
            plan_error(&error.context("type_coercion")).message(),
            "Invalid function 'nope'. Did you mean 'nop'?"
        );
    }

    #[test]
    fn the_engines_defects_keep_their_text_to_the_log() {
        let error = plan_error(&DataFusionError::Internal("Secret { field: 1 }".to_owned()));
        assert_eq!(error.code(), ErrorCode::Bug);
        assert!(!error.to_string().contains("Secret"));
    }
}
