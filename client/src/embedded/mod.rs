//! A whole pool inside the calling process: a scheduler and its executors on free loopback ports.
//!
//! It is the same code path as a cluster: plans are encoded and decoded, rows come by Flight. The pool has a tokio runtime of
//! its own, so that a slow query cannot hold up the caller's tasks, and so that [`Pool::stop`] can end every thread of it.

mod open;
mod options;
mod owner;
mod parts;

use std::time::Duration;

use crate::address::PoolAddress;
use crate::connect::{Client, Token};
use crate::error::Error;

pub use open::{Opened, open};
pub use options::{Home, Options, everything};

use options::Folders;
use owner::{Claim, Owner};
use parts::Parts;

/// A running embedded pool. Stop it with [`Pool::stop`]; a dropped one ends in the background.
#[derive(Debug)]
pub struct Pool {
    address: PoolAddress,
    token: String,
    /// Fields drop in this order: threads end, then folders go, then the right to them.
    parts: Parts,
    folders: Folders,
    claim: Option<Claim>,
}

impl Pool {
    /// Starts a pool. Fails where another process runs one on the same folder; [`open`] connects to that one instead.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let claim = match &options.home {
            Home::Temporary => None,
            Home::Folder(folder) => match Claim::try_take(folder)? {
                Some(claim) => Some(claim),
                None => return Err(open::held_by_another(folder).into()),
            },
        };
        Self::start_claimed(options, claim).await
    }

    async fn start_claimed(options: Options, claim: Option<Claim>) -> Result<Self, Error> {
        let folders = Folders::prepare(&options.home)?;
        let token = crate::clock::random_token();
        let parts = Parts::start(&options, &folders, &token).await?;
        let address = parts.client_address().parse()?;
        let mut pool = Self {
            address,
            token,
            parts,
            folders,
            claim,
        };
        if let Some(claim) = &mut pool.claim {
            let owner = Owner {
                address: pool.address.authority().to_owned(),
                pid: std::process::id(),
                token: pool.token.clone(),
            };
            claim.announce(&owner)?;
        }
        Ok(pool)
    }

    /// The pool's client port.
    pub fn address(&self) -> &PoolAddress {
        &self.address
    }

    /// What the client port asks for.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A connection to the pool.
    pub async fn client(&self) -> Result<Client, Error> {
        Client::connect(self.address.clone(), Token::new(&self.token)?).await
    }

    /// Commands that start now no longer find the pool; those that have found it go on.
    pub fn withdraw(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.withdraw();
        }
    }

    /// Takes nothing new, and lets the queries of other commands end and be fetched for at most `grace`.
    pub async fn drain(&mut self, grace: Duration) {
        self.withdraw();
        self.parts.drain(grace).await;
    }

    /// Ends the pool: when this returns, no thread, port, lock or work file of it is left. An error says what would not end by
    /// itself; it is ended all the same.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.withdraw();
        let Self {
            address: _,
            token: _,
            parts,
            folders,
            claim,
        } = self;
        let ended = parts.stop().await;
        drop(folders);
        drop(claim);
        ended.map_err(Error::from)
    }
}
