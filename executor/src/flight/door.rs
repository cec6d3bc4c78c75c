//! Who may read rows here: whoever brings a ticket that this pool's scheduler signed, and is the user whom the ticket names. Who a
//! caller is the scheduler knows; what it says is believed for a minute, so that a client with many parts asks once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tonic::metadata::MetadataMap;
use whimbrel_access::ticket::not_the_callers;
use whimbrel_access::{TicketKeys, bearer};
use whimbrel_proto::v1::{IdentifyRequest, JoinPoolResponse, ResultTicket};
use whimbrel_proto::{Error, ErrorCode};

use crate::clock::now_ms;
use crate::shell::Link;

/// How long an answer is believed, in seconds.
const BELIEVED: u64 = 60;
/// Callers that are remembered.
const CALLERS: usize = 1000;

struct Known {
    user: String,
    until_unix: u64,
}

/// See the module.
pub(crate) struct ClientDoor {
    link: Link,
    keys: TicketKeys,
    /// Whether the pool asks for nothing; unknown until the executor has joined.
    open: Mutex<Option<bool>>,
    known: Mutex<HashMap<[u8; 32], Known>>,
}

impl fmt::Debug for ClientDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientDoor")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl ClientDoor {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            keys: TicketKeys::default(),
            open: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// What the scheduler told when this executor joined.
    pub(crate) fn joined(&self, answer: JoinPoolResponse) -> Result<(), Error> {
        let JoinPoolResponse { ticket_key, open } = answer;
        let key = ticket_key.ok_or_else(|| {
            Error::new(
                ErrorCode::Invalid,
                "the scheduler has told no key for tickets",
            )
            .with_hint("run the same version of Whimbrel on the scheduler and the executors")
        })?;
        self.keys.add(key)?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(())
    }

    /// The ticket, where it is good and the caller's.
    pub(crate) async fn check(
        &self,
        ticket: &[u8],
        metadata: &MetadataMap,
    ) -> Result<ResultTicket, Error> {
        let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = open else {
            return Err(Error::new(
                ErrorCode::Unavailable,
                "this executor has not joined its pool yet",
            ));
        };
        let token = shown(metadata);
        let checked = self.keys.check(ticket, now());
        if !open && token.is_none() && checked.is_err() {
            // Who shows nothing learns nothing of tickets.
            return Err(unknown());
        }
        let ticket = checked?;
        if open || ticket.own {
            return Ok(ticket);
        }
        let user = self.user(token.ok_or_else(unknown)?).await?;
        match user == ticket.user {
            true => Ok(ticket),
            false => Err(not_the_callers()),
        }
    }

    /// Lets in whoever the pool knows.
    pub(crate) async fn enter(&self, metadata: &MetadataMap) -> Result<(), Error> {
        let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open == Some(true) {
            return Ok(());
        }
        let token = shown(metadata).ok_or_else(unknown)?;
        self.user(token).await.map(drop)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn user(&self, token: &str) -> Result<String, Error> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = now();
        if let Some(known) = self.known().get(&hash)
            && now < known.until_unix
        {
            return Ok(known.user.clone());
        }
        let token = token.to_owned();
        let mut scheduler = self.link.cluster();
        let asked = scheduler.identify(IdentifyRequest { token }).await;
        let answer = asked.map_err(Error::from)?.into_inner();
        let expires = u64::try_from(answer.expires_unix).ok().filter(|at| *at > 0);
        let until_unix = (now + BELIEVED).min(expires.unwrap_or(u64::MAX));
        let mut known = self.known();
        known.retain(|_, known| now < known.until_unix);
        if known.len() < CALLERS {
            let user = answer.user.clone();
            known.insert(hash, Known { user, until_unix });
        }
        Ok(answer.user)
    }
}

fn now() -> u64 {
    now_ms() / 1000
}

fn shown(metadata: &MetadataMap) -> Option<&str> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(bearer)
}

fn unknown() -> Error {
    Error::new(ErrorCode::Unauthenticated, "this pool asks for a token")
        .with_hint("send `authorization: Bearer <token>`, the same as to the scheduler")
}
