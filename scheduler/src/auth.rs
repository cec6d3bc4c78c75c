//! The door of the client port: who calls, and whether the call is one that its role may make. Health checks ask for nothing, and
//! neither does the handshake, which is how some clients get from a user name and password to a token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;
use tonic::metadata::MetadataMap;
use whimbrel_access::{Caller, Keyring, Role, basic, bearer};
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::Clock;

const HANDSHAKE: &str = "/arrow.flight.protocol.FlightService/Handshake";
const OPEN: [&str; 3] = ["/healthz", "/readyz", HANDSHAKE];
/// What a handshake earns where nothing is asked for.
const NONE: &str = "none";

/// See the module.
#[derive(Debug)]
pub(crate) struct Door {
    keyring: Keyring,
    clock: Arc<dyn Clock>,
}

impl Door {
    pub(crate) fn new(keyring: Keyring, clock: Arc<dyn Clock>) -> Self {
        Self { keyring, clock }
    }

    /// Whether everybody comes in.
    pub(crate) fn is_open(&self) -> bool {
        self.keyring.is_open()
    }

    /// Who shows this token.
    pub(crate) async fn identify(&self, token: Option<&str>) -> Result<Caller, Error> {
        let now = u64::try_from(self.clock.unix_secs()).unwrap_or(0);
        self.keyring.identify(token, now).await
    }

    /// The token of a user who shows it as a password, or as it is.
    pub(crate) async fn handshake(&self, metadata: &MetadataMap) -> Result<String, Error> {
        if self.is_open() {
            return Ok(NONE.to_owned());
        }
        let shown = metadata
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let token = match basic(shown) {
            Some((_, password)) => Some(password),
            None => bearer(shown).map(str::to_owned),
        };
        self.identify(token.as_deref()).await?;
        token.ok_or_else(|| {
            Error::new(ErrorCode::Unauthenticated, "this pool asks for a token")
                .with_hint("give the token as the password; any user name will do")
        })
    }

    /// Looks after its files and keys until it is dropped.
    pub(crate) async fn follow(&self) {
        self.keyring.follow().await;
    }

    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Error> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(bearer);
        let caller = self.identify(shown).await?;
        caller.may(needed(path))?;
        Ok(caller)
    }
}

/// Lets in who may, and says further in who it is.
pub(crate) async fn check(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if OPEN.contains(&path) {
        return next.run(request).await;
    }
    match door.admit(path, request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Status::from(error).into_http(),
    }
}

/// The role that a call takes. Of Flight SQL any: what a statement takes is seen when it is planned. A call that is not named here
/// is the operator's.
fn needed(path: &str) -> Role {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
    else {
        return Role::Operator;
    };
    match (service, method) {
        ("arrow.flight.protocol.FlightService", _)
        | ("whimbrel.v1.ModelService", "ListModels" | "GetModel" | "ListModelVersions")
        | ("whimbrel.v1.TableService", "ListTables" | "GetTable")
        | ("whimbrel.v1.JobService", "ListJobs" | "GetJob" | "WatchJob")
        | ("whimbrel.v1.PoolService", "GetPoolStatus" | "WatchQuery" | "CancelQuery") => {
            Role::Reader
        }
        ("whimbrel.v1.ModelService", "BindModel" | "UnbindModel")
        | ("whimbrel.v1.TableService", "AddTable" | "DropTable")
        | ("whimbrel.v1.JobService", "SubmitJob" | "CancelJob" | "ResumeJob")
        | ("whimbrel.v1.LinkService", "ListLinks" | "GetLink" | "TestLink") => Role::Scorer,
        _ => Role::Operator,
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_access::KeyringOptions;

    use super::*;
    use crate::clock::ManualClock;

    async fn door(token: Option<&str>) -> Door {
        let options = KeyringOptions {
            token: token.map(str::to_owned),
            ..KeyringOptions::default()
        };
        Door::new(Keyring::open(options).await.unwrap(), ManualClock::shared())
    }

    #[tokio::test]
    async fn a_password_earns_the_token_and_a_wrong_one_nothing() {
        let door = door(Some("secret")).await;
        let shown = async |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            door.handshake(&metadata).await
        };
        assert_eq!(shown("Basic dXNlcjpzZWNyZXQ=").await.unwrap(), "secret");
        assert_eq!(shown("Bearer secret").await.unwrap(), "secret");
        for wrong in ["Basic dXNlcjp3cm9uZw==", "Basic ???", "Bearer", "secret"] {
            let error = shown(wrong).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unauthenticated, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_pool_that_asks_for_nothing_takes_anything() {
        let door = door(None).await;
        assert_eq!(door.handshake(&MetadataMap::new()).await.unwrap(), NONE);
        let headers = HeaderMap::new();
        let path = "/whimbrel.v1.LinkService/AddLink";
        assert_eq!(door.admit(path, &headers).await.unwrap(), Caller::anybody());
    }

    #[test]
    fn a_call_that_nobody_has_thought_of_is_the_operators() {
        for (path, role) in [
            ("/arrow.flight.protocol.FlightService/DoGet", Role::Reader),
            ("/whimbrel.v1.ModelService/GetModel", Role::Reader),
            ("/whimbrel.v1.ModelService/BindModel", Role::Scorer),
            ("/whimbrel.v1.JobService/SubmitJob", Role::Scorer),
            ("/whimbrel.v1.LinkService/AddLink", Role::Operator),
            ("/whimbrel.v1.LinkService/RemoveLink", Role::Operator),
            ("/whimbrel.v1.PoolService/Tomorrow", Role::Operator),
            ("/other", Role::Operator),
            ("", Role::Operator),
        ] {
            assert_eq!(needed(path), role, "{path}");
        }
    }
}
