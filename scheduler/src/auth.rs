//! The bearer token of the client port. Health checks and the handshake ask for none; the handshake is how some clients get
//! from a user name and password to a token.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;
use whimbrel_proto::{Error, ErrorCode};

const OPEN: [&str; 3] = [
    "/healthz",
    "/readyz",
    "/arrow.flight.protocol.FlightService/Handshake",
];

/// The token that a pool asks for; none lets everybody in.
pub(crate) type Expected = Option<std::sync::Arc<str>>;

/// Refuses calls without the token.
pub(crate) async fn check(
    State(expected): State<Expected>,
    request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path())
        || admits(expected.as_deref(), bearer(request.headers()))
    {
        return next.run(request).await;
    }
    let denied = Error::new(ErrorCode::Denied, "this pool asks for its token")
        .with_hint("give it with --token or WHIMBREL_TOKEN, as `authorization: Bearer <token>`");
    Status::from(denied).into_http()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value
        .strip_prefix("Bearer ")
        .or_else(|| value.strip_prefix("bearer "))
}

/// Whether what was shown is what is asked for.
pub(crate) fn admits(expected: Option<&str>, shown: Option<&str>) -> bool {
    match (expected, shown) {
        (None, _) => true,
        (Some(expected), Some(shown)) => same(expected.as_bytes(), shown.as_bytes()),
        (Some(_), None) => false,
    }
}

/// Compares without telling by its duration where the first difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |differ, (l, r)| differ | (l ^ r))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens_a_pool_that_has_one() {
        assert!(admits(None, None));
        assert!(admits(Some("secret"), Some("secret")));
        for shown in [
            None,
            Some(""),
            Some("secre"),
            Some("secrets"),
            Some("Secret"),
        ] {
            assert!(!admits(Some("secret"), shown), "{shown:?}");
        }
    }
}
