//! Who calls: the session a request belongs to, the query id it asks for, and the token a handshake earns.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use tonic::Request;
use tonic::metadata::MetadataMap;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::{Error, ErrorCode};

use crate::auth::admits;

/// A client may name its query before it sends it, so that it can watch and cancel it from the start.
const QUERY_ID: &str = "whimbrel-query-id";
/// A client may name its session, to keep it over several connections.
const SESSION: &str = "whimbrel-session";
/// The session cookie of Flight SQL.
const COOKIE: &str = "arrow_flight_session_id";

/// What the caller's session is known by: a name it gave, else its connection.
pub(super) fn session_id<T>(request: &Request<T>) -> String {
    let metadata = request.metadata();
    if let Some(named) = text(metadata, SESSION).or_else(|| cookie(metadata)) {
        return format!("named {named}");
    }
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => format!("peer {peer}"),
        None => "local".to_owned(),
    }
}

/// The id that the caller wants its query to have.
pub(super) fn query_id<T>(request: &Request<T>) -> Result<Option<QueryId>, Error> {
    text(request.metadata(), QUERY_ID)
        .map(str::parse)
        .transpose()
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata
        .get(key)?
        .to_str()
        .ok()
        .filter(|value| !value.is_empty())
}

fn cookie(metadata: &MetadataMap) -> Option<&str> {
    let cookies = text(metadata, "cookie")?;
    cookies
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The token for a user who shows it as a password, or as a bearer token; where the pool has none, a word in its place.
pub(super) fn handshake(expected: Option<&str>, metadata: &MetadataMap) -> Result<String, Error> {
    let Some(token) = expected else {
        return Ok("none".to_owned());
    };
    let shown = text(metadata, "authorization").unwrap_or_default();
    let password = match shown
        .strip_prefix("Basic ")
        .or_else(|| shown.strip_prefix("basic "))
    {
        Some(encoded) => password(encoded.trim()),
        None => shown.strip_prefix("Bearer ").map(str::to_owned),
    };
    if admits(Some(token), password.as_deref()) {
        return Ok(token.to_owned());
    }
    Err(
        Error::new(ErrorCode::Denied, "this pool asks for its token")
            .with_hint("give the token as the password; any user name will do"),
    )
}

/// The password of `base64(user:password)`.
fn password(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(base64(encoded)?).ok()?;
    decoded
        .split_once(':')
        .map(|(_, password)| password.to_owned())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len());
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        held = (held << 6) | u32::from(digit(byte)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_earns_the_token_and_a_wrong_one_nothing() {
        let shown = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            handshake(Some("secret"), &metadata)
        };
        assert_eq!(shown("Basic dXNlcjpzZWNyZXQ=").unwrap(), "secret");
        assert_eq!(shown("Bearer secret").unwrap(), "secret");
        assert!(shown("Basic dXNlcjp3cm9uZw==").is_err());
        assert!(shown("Basic ???").is_err());
        assert!(handshake(None, &MetadataMap::new()).is_ok());
    }

    #[test]
    fn a_session_is_the_callers_name_for_it_or_the_connection() {
        let mut request = Request::new(());
        assert_eq!(session_id(&request), "local");
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        assert_eq!(session_id(&request), "peer 127.0.0.1:5");
        request
            .metadata_mut()
            .insert("cookie", "a=b; arrow_flight_session_id=x1".parse().unwrap());
        assert_eq!(session_id(&request), "named x1");
        request
            .metadata_mut()
            .insert(QUERY_ID, "../x".parse().unwrap());
        assert!(query_id(&request).is_err());
    }
}
