//! The pool of a folder, whoever runs it: this process where nobody does, else the one that runs it already.

use std::path::Path;
use std::time::Duration;

use tokio::time::{interval, timeout};
use whimbrel_proto::ErrorCode;

use super::owner::{Claim, Owner};
use super::{Home, Options, Pool};
use crate::connect::{Client, Token};
use crate::error::Error;

/// An owner that starts or stops is waited for this long.
const DEADLINE: Duration = Duration::from_secs(15);
const ASK_EVERY: Duration = Duration::from_millis(25);
/// A live owner answers on loopback at once; one that was killed refuses at once.
const ANSWER: Duration = Duration::from_secs(2);

/// A connection to a folder's pool.
#[derive(Debug)]
pub enum Opened {
    /// This process runs it, and must stop it.
    Owned(Box<Pool>, Client),
    /// Another process runs it.
    Shared(Client),
}

/// Connects to a folder's pool, and starts it where nobody runs it.
pub async fn open(options: Options) -> Result<Opened, Error> {
    let Home::Folder(folder) = options.home.clone() else {
        return own(options, None).await;
    };
    let mut tries = interval(ASK_EVERY);
    let search = async {
        loop {
            tries.tick().await;
            if let Some(client) = connect_to_owner(&folder).await {
                return Ok(Found::Owner(client));
            }
            if let Some(claim) = Claim::try_take(&folder)? {
                return Ok::<_, Error>(Found::Nobody(claim));
            }
        }
    };
    match timeout(DEADLINE, search).await {
        Ok(found) => match found? {
            Found::Owner(client) => Ok(Opened::Shared(client)),
            Found::Nobody(claim) => own(options, Some(claim)).await,
        },
        Err(_) => Err(held_by_another(&folder).into()),
    }
}

enum Found {
    Owner(Client),
    Nobody(Claim),
}

async fn own(options: Options, claim: Option<Claim>) -> Result<Opened, Error> {
    let pool = Pool::start_claimed(options, claim).await?;
    match pool.client().await {
        Ok(client) => Ok(Opened::Owned(Box::new(pool), client)),
        Err(error) => {
            if let Err(unclean) = pool.stop().await {
                tracing::warn!(error = %unclean, "the embedded pool did not stop cleanly");
            }
            Err(error)
        }
    }
}

/// The port of a dead owner may belong to another program by now: only an answer to the token counts.
async fn connect_to_owner(folder: &Path) -> Option<Client> {
    let owner = Owner::read(folder)?;
    let ask = async {
        let client = Client::connect(owner.address.parse().ok()?, Token::new(&owner.token).ok()?)
            .await
            .ok()?;
        client.pool_status().await.ok()?;
        Some(client)
    };
    timeout(ANSWER, ask).await.ok().flatten()
}

pub(super) fn held_by_another(folder: &Path) -> whimbrel_proto::Error {
    let who = match Owner::read(folder) {
        Some(owner) => format!("process {}, which does not answer", owner.pid),
        None => "a process that is starting or stopping".to_owned(),
    };
    whimbrel_proto::Error::new(
        ErrorCode::Unavailable,
        format!("the pool in {} is held by {who}", folder.display()),
    )
    .with_hint("end that process, or name another folder with WHIMBREL_STATE")
}
