//! Signed tickets: how an executor knows that a ticket comes from its pool's scheduler without asking it.
//!
//! The scheduler signs with a key of its own that is made anew each time it starts and never leaves its memory; executors
//! learn the public half when they join. The signature covers a fixed context and the ticket's bytes as they are sent, so that
//! nothing else the key may ever sign passes for a ticket. Why a ticket is refused is not said beyond its time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
};
use whimbrel_proto::v1::{ResultTicket, SignedTicket, TicketKey};
use whimbrel_proto::{Error, ErrorCode};

use crate::digest;

/// What is signed begins with this.
const CONTEXT: &[u8] = b"whimbrel result ticket v1\0";
/// No ticket of ours is near as long.
const MAX_BYTES: usize = 16 << 10;
/// Schedulers whose tickets may still be on their way: the one before, the one now, and room for restarts in a row.
const KEPT_KEYS: usize = 4;
const KID_CHARS: usize = 16;

fn signed(ticket: &[u8]) -> Vec<u8> {
    [CONTEXT, ticket].concat()
}

/// What whoever shows a good ticket of another user is told.
pub fn not_the_callers() -> Error {
    Error::new(ErrorCode::Denied, "the ticket is of another user")
        .with_hint("run the query as the user who reads its rows")
}

/// The id of a key: the start of its hash.
fn kid_of(public_key: &[u8]) -> String {
    let mut kid = digest::to_hex(&digest::hash(public_key));
    kid.truncate(KID_CHARS);
    kid
}

/// Signs the tickets of one scheduler.
pub struct TicketSigner {
    pair: Ed25519KeyPair,
    kid: String,
}

impl fmt::Debug for TicketSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSigner")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl TicketSigner {
    /// With a new key.
    pub fn new() -> Result<Self, Error> {
        let no_key = |what: &str| Error::new(ErrorCode::Bug, format!("{what} to sign tickets"));
        let encoded = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| no_key("the system gives no chance for a key"))?;
        let pair = Ed25519KeyPair::from_pkcs8(encoded.as_ref())
            .map_err(|_| no_key("a new key does not serve"))?;
        let kid = kid_of(pair.public_key().as_ref());
        Ok(Self { pair, kid })
    }

    /// What the tickets are checked with.
    pub fn public(&self) -> TicketKey {
        TicketKey {
            kid: self.kid.clone(),
            public_key: self.pair.public_key().as_ref().to_vec(),
        }
    }

    /// An encoded [`SignedTicket`].
    pub fn sign(&self, ticket: &ResultTicket) -> Vec<u8> {
        let ticket = ticket.encode_to_vec();
        let signature = self.pair.sign(&signed(&ticket)).as_ref().to_vec();
        SignedTicket {
            ticket,
            kid: self.kid.clone(),
            signature,
        }
        .encode_to_vec()
    }
}

/// The keys that tickets are checked with; the latest few of them.
#[derive(Debug, Default)]
pub struct TicketKeys {
    keys: Mutex<VecDeque<TicketKey>>,
}

impl TicketKeys {
    /// Takes in the key of a scheduler; the oldest one goes where there are too many.
    pub fn add(&self, key: TicketKey) -> Result<(), Error> {
        if key.public_key.len() != ED25519_PUBLIC_KEY_LEN || key.kid != kid_of(&key.public_key) {
            return Err(Error::new(
                ErrorCode::Invalid,
                "the scheduler's key for tickets is not an Ed25519 key with its id",
            )
            .with_hint("run the same version of Whimbrel on the scheduler and the executors"));
        }
        let mut keys = self.keys();
        keys.retain(|known| known.kid != key.kid);
        keys.push_back(key);
        while keys.len() > KEPT_KEYS {
            keys.pop_front();
        }
        Ok(())
    }

    /// Whether no scheduler has told its key yet.
    pub fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    /// What is in a ticket, if the pool signed it and its time is not over.
    pub fn check(&self, bytes: &[u8], now_unix: u64) -> Result<ResultTicket, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(not_a_ticket("it is too long"));
        }
        let SignedTicket {
            ticket,
            kid,
            signature,
        } = SignedTicket::decode(bytes).map_err(|_| not_a_ticket("it cannot be read"))?;
        let key = self.keys().iter().find(|key| key.kid == kid).cloned();
        let genuine = key.is_some_and(|key| {
            UnparsedPublicKey::new(&ED25519, key.public_key)
                .verify(&signed(&ticket), &signature)
                .is_ok()
        });
        if !genuine {
            return Err(
                Error::new(ErrorCode::Denied, "the ticket is not one of this pool").with_hint(
                    "fetch with the tickets that this pool gave for the query, or run it again",
                ),
            );
        }
        let ticket = ResultTicket::decode(ticket.as_slice())
            .map_err(|_| not_a_ticket("it cannot be read"))?;
        let expires = u64::try_from(ticket.expires_unix).unwrap_or_default();
        if now_unix >= expires {
            return Err(Error::new(ErrorCode::Denied, "the ticket expired")
                .with_hint("run the query again"));
        }
        Ok(ticket)
    }

    fn keys(&self) -> MutexGuard<'_, VecDeque<TicketKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_a_ticket(why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("this is not a ticket of a pool: {why}"),
    )
    .with_hint("send back the bytes of a ticket as they came")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn ticket() -> ResultTicket {
        ResultTicket {
            query_id: "q".to_owned(),
            job_id: "j".to_owned(),
            stage_id: 2,
            partition: 3,
            executor_id: "e".to_owned(),
            file: "j/2/3/data.arrow".to_owned(),
            rows: 70_000,
            user: "ann".to_owned(),
            expires_unix: 1_800_000_001,
            own: false,
        }
    }

    fn pool() -> (TicketSigner, TicketKeys) {
        let (signer, keys) = (TicketSigner::new().unwrap(), TicketKeys::default());
        keys.add(signer.public()).unwrap();
        (signer, keys)
    }

    #[test]
    fn a_signed_ticket_is_read_back_until_its_time_is_over() {
        let (signer, keys) = pool();
        let bytes = signer.sign(&ticket());
        assert_eq!(keys.check(&bytes, NOW).unwrap(), ticket());
        let error = keys.check(&bytes, NOW + 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Denied);
        assert_eq!(error.to_string(), "the ticket expired; run the query again");
        for expires_unix in [0, -1, i64::MIN] {
            let endless = ResultTicket {
                expires_unix,
                ..ticket()
            };
            assert!(keys.check(&signer.sign(&endless), 0).is_err());
        }
    }

    #[test]
    fn no_byte_of_a_ticket_can_be_changed() {
        let (signer, keys) = pool();
        let bytes = signer.sign(&ticket());
        for place in 0..bytes.len() {
            for flip in 1..=u8::MAX {
                let mut other = bytes.clone();
                other[place] ^= flip;
                let error = keys.check(&other, NOW).unwrap_err();
                let code = error.code();
                assert!(
                    [ErrorCode::Denied, ErrorCode::Invalid].contains(&code),
                    "{place}: {error}"
                );
            }
        }
        for length in 0..bytes.len() {
            assert!(keys.check(&bytes[..length], NOW).is_err(), "{length}");
        }
    }

    #[test]
    fn a_strange_key_and_a_bad_signature_are_told_alike() {
        let (signer, keys) = pool();
        let strange = TicketSigner::new().unwrap().sign(&ticket());
        let mut forged = SignedTicket::decode(signer.sign(&ticket()).as_slice()).unwrap();
        forged.signature[0] ^= 1;
        let mut bare = forged.clone();
        bare.signature.clear();
        let told = [strange, forged.encode_to_vec(), bare.encode_to_vec()]
            .map(|bytes| keys.check(&bytes, NOW).unwrap_err());
        assert_eq!(told[0].message(), "the ticket is not one of this pool");
        assert_eq!(told[0].code(), ErrorCode::Denied);
        assert!(told.iter().all(|error| *error == told[0]));
    }

    #[test]
    fn a_signature_without_the_context_does_not_count() {
        let (signer, keys) = pool();
        let inner = ticket().encode_to_vec();
        let bytes = SignedTicket {
            signature: signer.pair.sign(&inner).as_ref().to_vec(),
            ticket: inner,
            kid: signer.kid,
        };
        assert!(keys.check(&bytes.encode_to_vec(), NOW).is_err());
    }

    #[test]
    fn what_is_too_long_is_not_even_read() {
        let (signer, keys) = pool();
        let long = ResultTicket {
            file: "x".repeat(MAX_BYTES),
            ..ticket()
        };
        let error = keys.check(&signer.sign(&long), NOW).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid);
        assert!(error.message().ends_with("it is too long"), "{error}");
        let error = keys.check(&[0xff; 40], NOW).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Invalid);
    }

    #[test]
    fn the_last_keys_count_and_one_that_comes_again_is_the_latest() {
        let keys = TicketKeys::default();
        assert!(keys.is_empty());
        let signers: Vec<_> = (0..5).map(|_| TicketSigner::new().unwrap()).collect();
        for place in [0, 1, 2, 3, 0, 4] {
            keys.add(signers[place].public()).unwrap();
        }
        let counts: Vec<_> = signers
            .iter()
            .map(|signer| keys.check(&signer.sign(&ticket()), NOW).is_ok())
            .collect();
        assert_eq!(counts, [true, false, true, true, true]);
        assert!(!keys.is_empty());
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let (signer, keys) = pool();
        let other = TicketSigner::new().unwrap().public();
        let good = signer.public();
        for key in [
            TicketKey::default(),
            TicketKey {
                kid: good.kid,
                ..other.clone()
            },
            TicketKey {
                public_key: other.public_key[1..].to_vec(),
                ..other
            },
        ] {
            assert_eq!(keys.add(key).unwrap_err().code(), ErrorCode::Invalid);
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let signer = TicketSigner::new().unwrap();
        assert_eq!(
            format!("{signer:?}"),
            format!("TicketSigner {{ kid: \"{}\", .. }}", signer.kid)
        );
    }
}
