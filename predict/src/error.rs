//! Carries the pool's error through DataFusion and finds it again on the other side, so that no user ever reads an error that
//! was flattened to text on its way up.

use std::any::Any;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use whimbrel_proto::Error;

/// The error as the engine carries it.
pub fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The pool's error that `error` carries, however deep the engine has wrapped it.
pub fn find(error: &DataFusionError) -> Option<&Error> {
    match error {
        DataFusionError::External(source) => find_boxed(source.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => find(inner),
        DataFusionError::Shared(inner) => find(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(find),
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::ExternalError(source) => find_boxed(source.as_ref()),
            _ => None,
        },
        _ => None,
    }
}

fn find_boxed<'a>(
    source: &'a (dyn std::error::Error + Send + Sync + 'static),
) -> Option<&'a Error> {
    source
        .downcast_ref::<Error>()
        .or_else(|| source.downcast_ref::<DataFusionError>().and_then(find))
}

/// What a panic said, where it said a text.
pub fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use whimbrel_proto::ErrorCode;

    use super::*;

    #[test]
    fn the_error_is_found_under_every_wrapping() {
        let error = Error::new(ErrorCode::Model, "no");
        let arrow = ArrowError::ExternalError(Box::new(external(error.clone())));
        let wrapped = DataFusionError::Shared(Arc::new(
            DataFusionError::from(arrow).context("while scoring"),
        ));
        assert_eq!(find(&wrapped), Some(&error));
        assert_eq!(find(&DataFusionError::Plan("other".to_owned())), None);
    }
}
