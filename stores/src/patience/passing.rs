//! Which errors of a store may pass by themselves. `object_store` keeps the status it got to itself, so it is read in the text.

use std::error::Error as StdError;

use object_store::Error;
use object_store::client::HttpError;

use crate::error::{chain, is_metadata, reason};

const STATUS: &str = "status code: ";

/// Whether the same request may succeed later. Where the store has not `answered` yet, credentials that nobody gives are
/// no outage.
pub(super) fn may_pass(error: &Error, answered: bool) -> bool {
    let Error::Generic { source, .. } = error else {
        return false;
    };
    let text = chain(error);
    if !answered && is_metadata(&text) {
        return false;
    }
    match status(&text) {
        Some(status) => matches!(status, 408 | 429 | 500..=599),
        None => is_transport(source.as_ref()) || text.contains("Server returned error response"),
    }
}

fn is_transport(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<HttpError>() || error.is::<CutShort>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once(STATUS)?;
    rest.get(..3)?.parse().ok()
}

/// What the store said last, for people.
pub(super) fn answer(error: &Error) -> String {
    let text = chain(error);
    let Some((_, rest)) = text.split_once(STATUS) else {
        return reason(&text);
    };
    let status = rest.split(':').next().unwrap_or(rest).trim();
    let code = rest
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    match code {
        Some((code, _)) => format!("the store answers {status} ({code})"),
        None => format!("the store answers {status}"),
    }
}

/// A body that ended before its end.
#[derive(Debug)]
pub(super) struct CutShort;

impl std::fmt::Display for CutShort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the store ended its answer too early")
    }
}

impl StdError for CutShort {}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.into(),
        }
    }

    #[test]
    fn overload_passes_and_a_refusal_does_not() {
        let busy = generic(
            "Error performing GET http://h/k in 3ms - Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>",
        );
        assert!(may_pass(&busy, false));
        assert_eq!(
            answer(&busy),
            "the store answers 503 Service Unavailable (SlowDown)"
        );
        for (status, passes) in [
            ("429 Too Many Requests", true),
            ("408 Request Timeout", true),
            ("400 Bad Request", false),
        ] {
            let error = generic(&format!("Server returned non-2xx status code: {status}: "));
            assert_eq!(may_pass(&error, true), passes, "{status}");
        }
        assert!(!may_pass(
            &generic("Content-Range header not present"),
            true
        ));
        let missing = Error::NotFound {
            path: "a".to_owned(),
            source: "status code: 404".into(),
        };
        assert!(!may_pass(&missing, true));
    }

    #[test]
    fn credentials_that_never_came_are_no_outage() {
        let text = "Error performing token request: status code: 503 Service Unavailable: http://169.254.169.254/";
        assert!(!may_pass(&generic(text), false));
        assert!(may_pass(&generic(text), true));
    }
}
