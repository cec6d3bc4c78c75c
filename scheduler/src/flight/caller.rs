//! Who calls: the caller that the door let in, the session a request belongs to, and the query id it asks for.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use tonic::Request;
use tonic::metadata::MetadataMap;
use whimbrel_access::Caller;
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::{Error, ErrorCode};

/// A client may name its query before it sends it, so that it can watch and cancel it from the start.
const QUERY_ID: &str = "whimbrel-query-id";
/// A client may name its session, to keep it over several connections.
const SESSION: &str = "whimbrel-session";
/// The session cookie of Flight SQL.
pub(super) const COOKIE: &str = "arrow_flight_session_id";

/// Whom the door has let in with this request.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Error> {
    let known = request.extensions().get::<Caller>().cloned();
    known.ok_or_else(|| Error::new(ErrorCode::Bug, "a request came past the door"))
}

/// What the caller's session is known by: a name it gave, else its connection. A name is the caller's own: another user's
/// session of that name is another.
pub(super) fn session_id<T>(request: &Request<T>, caller: &Caller) -> String {
    // With its length, so that no choice of names makes two of them one.
    let user = format!("{} {}", caller.user.len(), caller.user);
    if let Some(named) = named(request.metadata()) {
        return format!("{user} named {named}");
    }
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => format!("{user} peer {peer}"),
        None => format!("{user} local"),
    }
}

/// The name that the caller gives its session.
pub(super) fn named(metadata: &MetadataMap) -> Option<&str> {
    text(metadata, SESSION).or_else(|| cookie(metadata))
}

/// The id that the caller wants its query to have.
pub(super) fn query_id<T>(request: &Request<T>) -> Result<Option<QueryId>, Error> {
    text(request.metadata(), QUERY_ID)
        .map(str::parse)
        .transpose()
}

pub(super) fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_the_callers_name_for_it_or_the_connection() {
        let mut request = Request::new(());
        let anybody = Caller::anybody();
        let ann = Caller {
            user: "ann".to_owned(),
            ..Caller::anybody()
        };
        assert_eq!(session_id(&request, &anybody), "0  local");
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        assert_eq!(session_id(&request, &anybody), "0  peer 127.0.0.1:5");
        request
            .metadata_mut()
            .insert("cookie", "a=b; arrow_flight_session_id=x1".parse().unwrap());
        assert_eq!(session_id(&request, &anybody), "0  named x1");
        assert_eq!(session_id(&request, &ann), "3 ann named x1");
        request
            .metadata_mut()
            .insert(QUERY_ID, "../x".parse().unwrap());
        assert!(query_id(&request).is_err());
    }

    #[test]
    fn a_request_that_no_door_has_seen_is_nobodys() {
        assert!(caller(&Request::new(())).is_err());
    }
}
