//! Object stores by URI: S3 and Azure storage, reached as a link says or else the environment of the process, one client per
//! bucket and credentials. The scheduler and the executors read and write the same places, so both take their stores from here.

mod allow;
mod area;
mod build;
mod chance;
mod clock;
mod door;
mod environment;
mod error;
pub mod job;
mod link;
mod location;
pub mod output;
mod patience;
mod process;
mod purpose;
mod registry;
mod secret;
#[cfg(test)]
mod tests;
mod uploads;
mod version;
mod views;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use whimbrel_proto::Error;
use whimbrel_proto::ids::LinkName;

use crate::build::Recipe;
use crate::door::Door;
use crate::error::Teller;

pub use allow::{Allow, EVERYTHING, STORES_ONLY};
pub use area::Area;
pub use door::Here;
pub use environment::Environment;
pub use error::{Told, entra_refusal, explain, is_missing, told};
pub use link::{Access, AzureIdentity, S3Identity, StoreLink, Travelling};
pub use location::{Bucket, Location};
pub use patience::{Patience, Spent, spent};
pub use process::Process;
pub use purpose::Purpose;
pub use registry::Registry;
pub use secret::{Secret, SecretRef};
pub use version::{is_version, stamped};

use patience::PatientStore;

/// Where the links of this moment are asked for.
pub trait LinkBook: Send + Sync {
    /// The links to object stores.
    fn links(&self) -> Vec<Arc<StoreLink>>;
}

impl LinkBook for Vec<Arc<StoreLink>> {
    fn links(&self) -> Vec<Arc<StoreLink>> {
        self.clone()
    }
}

/// The stores that this process uses. A clone shares their clients.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
    book: Arc<dyn LinkBook>,
    refusals: Refusals,
}

/// What the stores of one task have refused last. Some readers keep only the text of an error.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<VecDeque<Refused>>>);

/// A reader gives up at the first; what others read at the same time may have failed since.
const REFUSALS: usize = 8;

/// An error of a store.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error for people.
    pub error: Error,
    /// The object, as a person calls it, where the error does not say that it was there once.
    pub place: Option<String>,
    /// The store has been waited for already, for as long as it may fail.
    pub spent: bool,
    /// What a reader makes of it.
    pub text: String,
}

impl Refusals {
    /// The store's error that a reader's text repeats.
    pub fn behind(&self, text: &str) -> Option<Refused> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = kept.iter().rev();
        latest.find(|refused| text.contains(&refused.text)).cloned()
    }

    /// Notes an error.
    pub fn keep(&self, refused: Refused) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == REFUSALS {
            kept.pop_front();
        }
        kept.push_back(refused);
    }

    fn note(&self, error: &object_store::Error) {
        if let Some(told) = told(error) {
            self.keep(Refused {
                error: told.error.clone(),
                place: Some(told.place.clone()),
                spent: false,
                text: error.to_string(),
            });
        }
    }
}

struct Shared {
    environment: Environment,
    patience: Patience,
    process: Process,
    allow: Allow,
    clients: Mutex<HashMap<(Bucket, Option<LinkName>), Client>>,
}

/// A client, and what it was made from.
struct Client {
    link: Option<Arc<StoreLink>>,
    secrets: Vec<Secret>,
    store: Arc<PatientStore>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl Stores {
    /// The stores of a scheduler that may read everything; see [`Stores::within`].
    pub fn new(environment: Environment) -> Self {
        let process = Process::Scheduler;
        Self::within(environment, process.clone(), Allow::everything(process))
    }

    /// No store yet, and no links: credentials, endpoints and regions come from `environment`.
    pub fn within(environment: Environment, process: Process, allow: Allow) -> Self {
        Self {
            shared: Arc::new(Shared {
                environment,
                process,
                allow,
                patience: Patience::default(),
                clients: Mutex::default(),
            }),
            book: Arc::new(Vec::new()),
            refusals: Refusals::default(),
        }
    }

    /// The stores that may fail for so long; clients that were made before are not shared.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        let Shared {
            environment,
            process,
            allow,
            ..
        } = self.shared.as_ref();
        let shared = Shared {
            environment: environment.clone(),
            process: process.clone(),
            allow: allow.clone(),
            patience,
            clients: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            ..self
        }
    }

    /// The same clients, where these links serve.
    #[must_use]
    pub fn with_links(&self, book: Arc<dyn LinkBook>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            book,
            refusals: self.refusals.clone(),
        }
    }

    /// The same stores, whose final errors are noted there.
    #[must_use]
    pub fn noting(self, refusals: Refusals) -> Self {
        Self { refusals, ..self }
    }

    /// The place that `uri` names; `None` where it is no object store's.
    pub fn locate(&self, uri: &str) -> Result<Option<Location>, Error> {
        Location::parse(uri, &self.shared.environment)
    }

    /// What may be read.
    pub fn allow(&self) -> &Allow {
        &self.shared.allow
    }

    /// Refuses a place that the pool may not read.
    pub fn check(&self, place: &Location) -> Result<(), Error> {
        self.shared.allow.check(place, Purpose::Read)
    }

    /// Refuses a local path that the pool may not read.
    pub fn check_path(&self, path: &str) -> Result<(), Error> {
        self.shared.allow.check_path(Path::new(path), Purpose::Read)
    }

    /// The store of a bucket. Nothing is asked over the network yet, and no secret is read.
    pub fn open(&self, bucket: &Bucket) -> Arc<dyn ObjectStore> {
        Arc::new(self.door(bucket, Purpose::Read))
    }

    fn door(&self, bucket: &Bucket, purpose: Purpose) -> Door {
        Door::new(self.clone(), bucket.clone(), purpose)
    }

    /// The link that serves a place.
    pub fn link_at(&self, place: &Location) -> Option<Arc<StoreLink>> {
        link::serving(&self.book.links(), place).cloned()
    }

    /// The links that may be needed to read from these buckets.
    pub fn links_for(&self, buckets: &[Bucket]) -> Vec<Arc<StoreLink>> {
        link::needed(&self.book.links(), buckets)
    }

    /// The client that serves a place now, and who can explain what it answers.
    fn route(
        &self,
        place: &Location,
        purpose: Purpose,
    ) -> Result<(Arc<PatientStore>, Teller), Error> {
        self.shared.allow.check(place, purpose)?;
        let link = self.link_at(place);
        let teller = Teller {
            bucket: place.bucket.clone(),
            process: self.shared.process.clone(),
            purpose,
            refusals: self.refusals.clone(),
            link: link.as_ref().map(|link| link.name.clone()),
        };
        Ok((self.client(&place.bucket, link)?, teller))
    }

    /// The client of a bucket: the same one as long as the link and its secrets are the same.
    fn client(
        &self,
        bucket: &Bucket,
        link: Option<Arc<StoreLink>>,
    ) -> Result<Arc<PatientStore>, Error> {
        let Shared {
            environment,
            process,
            patience,
            clients,
            ..
        } = self.shared.as_ref();
        let secrets = match &link {
            Some(link) => link.secrets(environment, process)?,
            None => Vec::new(),
        };
        let key = (bucket.clone(), link.as_ref().map(|link| link.name.clone()));
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key)
            && client.link == link
            && client.secrets == secrets
        {
            return Ok(Arc::clone(&client.store));
        }
        let store = build::client(&Recipe {
            bucket,
            link: link.as_deref().map(|link| (link, secrets.as_slice())),
            environment,
            process,
        })?;
        let store = Arc::new(PatientStore::new(store, bucket.clone(), *patience));
        let client = Client {
            link,
            secrets,
            store: Arc::clone(&store),
        };
        clients.insert(key, client);
        Ok(store)
    }
}
