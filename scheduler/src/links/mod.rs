//! Links: named model registries and ways to object stores, with the places of their secrets. Records are durable in the state
//! store (`store::keys`); a link that is used reads its secret, gets a token where it needs one, and forgets both. Links to
//! stores are used by whatever reads below their places, here and at the executors.

mod check;
mod connect;
mod link;
mod stores;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Environment, LinkBook, StoreLink};

use self::tokens::Tokens;
use crate::clock::Clock;
use crate::http::Http;
use crate::nearest;
use crate::store::{Expect, Mirror, Record, StateStore, Transaction, keys};

pub use check::Check;
pub use link::{Access, Identity, Link, LinkKind, Workspace};

/// See the module.
#[derive(Debug)]
pub struct Links {
    mirror: Mirror<Link>,
    clock: Arc<dyn Clock>,
    environment: Environment,
    http: Http,
    tokens: Tokens,
}

/// Which registries a URI can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// `models:/`: any registry that speaks MLflow.
    Mlflow,
    /// `aml://`: Azure ML only.
    AzureMl,
}

impl Links {
    /// The links that `store` keeps.
    pub(crate) async fn open(
        store: Arc<dyn StateStore>,
        clock: Arc<dyn Clock>,
        http: Http,
        environment: Environment,
    ) -> Result<Arc<Self>, Error> {
        let mirror = Mirror::open(store, keys::LINKS, Link::decode).await?;
        let tokens = Tokens::new(http.clone(), Arc::clone(&clock), environment.clone());
        Ok(Arc::new(Self {
            mirror,
            clock,
            environment,
            http,
            tokens,
        }))
    }

    /// Takes up what others write to the store, until `stop`; to be run as one task for the links' life.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        self.mirror.follow(Arc::clone(&self.clock), stop).await;
    }

    /// All links, by name.
    pub fn list(&self) -> Vec<Arc<Link>> {
        self.mirror.values()
    }

    /// The link of that name.
    pub fn get(&self, name: &str) -> Result<Arc<Link>, Error> {
        self.find(name)?.value
    }

    fn find(&self, name: &str) -> Result<Record<Link>, Error> {
        self.mirror.get(name).ok_or_else(|| {
            let names = self.mirror.names();
            let none = "there is no link: `whimbrel link add NAME --kind KIND ...` adds one";
            Error::new(ErrorCode::NotFound, format!("link '{name}' does not exist"))
                .with_hint(nearest::hint(name, names.iter().map(String::as_str), none))
        })
    }

    /// Keeps a link. Nothing is asked of the registry: `test` does that.
    pub async fn add(&self, mut link: Link, replace: bool) -> Result<Arc<Link>, Error> {
        link.added_at_ms = self.clock.unix_ms();
        let key = keys::link(&link.name);
        let propose = || {
            self.refuse_rivals(&link)?;
            let expect = match self.mirror.get(link.name.as_str()) {
                None => Expect::Absent,
                Some(record) if replace => Expect::At(record.revision),
                Some(_) => return Err(taken(&link.name)),
            };
            Ok(Transaction::new()
                .expect(key.clone(), expect)
                .put(key.clone(), link.encode()))
        };
        self.mirror
            .change(&changing(link.name.as_str()), propose)
            .await?;
        Ok(Arc::new(link))
    }

    /// Two links to stores that serve the same place would leave it to chance which one is used.
    fn refuse_rivals(&self, link: &Link) -> Result<(), Error> {
        let LinkKind::Store(store) = &link.kind else {
            return Ok(());
        };
        for other in self.links().iter().filter(|other| other.name != link.name) {
            if let Some(area) = store.at.iter().find(|area| other.at.contains(area)) {
                return Err(Error::new(
                    ErrorCode::Exists,
                    format!("link '{}' serves '{area}' already", other.name),
                )
                .with_hint(format!(
                    "give this one other places, or remove that one: `whimbrel link remove {}`",
                    other.name
                )));
            }
        }
        Ok(())
    }

    /// Forgets a link. Models that were bound through it stay bound.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let propose = || {
            let record = self.find(name)?;
            let key = keys::link(&name.parse()?);
            Ok(Transaction::new()
                .expect(key.clone(), Expect::At(record.revision))
                .delete(key))
        };
        self.mirror.change(&changing(name), propose).await
    }
}

impl LinkBook for Links {
    fn links(&self) -> Vec<Arc<StoreLink>> {
        let links = self.mirror.values();
        let stores = links.iter().filter_map(|link| match &link.kind {
            LinkKind::Store(store) => Some(Arc::clone(store)),
            LinkKind::Mlflow { .. } | LinkKind::AzureMl(_) => None,
        });
        stores.collect()
    }
}

fn taken(name: &LinkName) -> Error {
    Error::new(ErrorCode::Exists, format!("link '{name}' exists already")).with_hint(format!(
        "replace it with --replace, or remove it: `whimbrel link remove {name}`"
    ))
}

fn changing(name: &str) -> String {
    format!("changing link '{name}'")
}
