//! A link to object stores: which places it serves, how their service is reached, and as whom. It holds the places of secrets,
//! never secrets, and so may travel with a query's tasks to the executors, which find the secrets where they are themselves.

use std::any::Any;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use prost::Message;
use whimbrel_proto::ids::LinkName;
use whimbrel_proto::{Error, ErrorCode, v1};

use crate::area::Area;
use crate::environment::Environment;
use crate::location::{Bucket, Location};
use crate::process::Process;
use crate::secret::{Secret, SecretRef};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLink {
    pub name: LinkName,
    /// The places it serves; of several links that serve a place, the narrowest does.
    pub at: Vec<Area>,
    /// The service's address, where it is not the cloud's own.
    pub endpoint: Option<String>,
    pub allow_http: bool,
    /// A file of certificates to trust.
    pub ca_file: Option<String>,
    pub accept_invalid_certificates: bool,
    pub access: Access,
}

/// The service, and as whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    S3 {
        region: Option<String>,
        /// Whether the bucket's name is a part of the host's.
        virtual_hosted: Option<bool>,
        identity: S3Identity,
    },
    Azure(AzureIdentity),
}

/// As whom S3 is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Identity {
    /// As the environment of the process says: keys, web identity, the role of the container or machine.
    Environment,
    Anonymous,
    Keys {
        access: SecretRef,
        secret: SecretRef,
        session: Option<SecretRef>,
    },
}

/// As whom Azure storage is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureIdentity {
    /// As the environment of the process says: key, signature, service principal, workload or managed identity.
    Environment,
    Anonymous,
    AccountKey(SecretRef),
    Signature(SecretRef),
    ServicePrincipal {
        tenant: String,
        client_id: String,
        secret: SecretRef,
        /// Where tokens come from, where it is not the public cloud's.
        authority: Option<String>,
    },
    /// That of the machine; one of several by its client id.
    Managed {
        client_id: Option<String>,
    },
}

impl StoreLink {
    /// The link's kind, as `--kind` names it.
    pub fn kind(&self) -> &'static str {
        match self.access {
            Access::S3 { .. } => "s3",
            Access::Azure(_) => "azure",
        }
    }

    /// Where its secrets are.
    pub fn references(&self) -> Vec<&SecretRef> {
        match &self.access {
            Access::S3 {
                identity:
                    S3Identity::Keys {
                        access,
                        secret,
                        session,
                    },
                ..
            } => [access, secret].into_iter().chain(session).collect(),
            Access::Azure(
                AzureIdentity::AccountKey(secret)
                | AzureIdentity::Signature(secret)
                | AzureIdentity::ServicePrincipal { secret, .. },
            ) => vec![secret],
            Access::S3 {
                identity: S3Identity::Environment | S3Identity::Anonymous,
                ..
            }
            | Access::Azure(
                AzureIdentity::Environment
                | AzureIdentity::Anonymous
                | AzureIdentity::Managed { .. },
            ) => Vec::new(),
        }
    }

    /// Its secrets as they are now, in the order of [`StoreLink::references`].
    pub(crate) fn secrets(
        &self,
        environment: &Environment,
        process: &Process,
    ) -> Result<Vec<Secret>, Error> {
        let read = |place: &SecretRef| {
            place.read(environment, process).map_err(|error| {
                let told = Error::new(
                    error.code(),
                    format!("link '{}': {}", self.name, error.message()),
                );
                match error.hint() {
                    Some(hint) => told.with_hint(hint),
                    None => told,
                }
            })
        };
        self.references().into_iter().map(read).collect()
    }

    /// How narrowly it serves the place, where it does.
    fn depth_at(&self, place: &Location) -> Option<usize> {
        let serving = self.at.iter().filter(|area| area.holds(place));
        serving.map(Area::depth).max()
    }

    /// Whether it serves the bucket or a part of it.
    fn meets(&self, bucket: &Bucket) -> bool {
        self.at.iter().any(|area| area.meets(bucket))
    }
}

/// The link that serves the place: that with the narrowest area; of two with the same one, the first by name.
pub(crate) fn serving<'a>(
    links: &'a [Arc<StoreLink>],
    place: &Location,
) -> Option<&'a Arc<StoreLink>> {
    let depths = links
        .iter()
        .filter_map(|link| Some((link.depth_at(place)?, link)));
    let narrowest = depths.min_by(|(depth, link), (other, next)| {
        other.cmp(depth).then_with(|| link.name.cmp(&next.name))
    });
    narrowest.map(|(_, link)| link)
}

/// The links that any of the buckets may need.
pub(crate) fn needed(links: &[Arc<StoreLink>], buckets: &[Bucket]) -> Vec<Arc<StoreLink>> {
    let wanted = |link: &&Arc<StoreLink>| buckets.iter().any(|bucket| link.meets(bucket));
    links.iter().filter(wanted).cloned().collect()
}

/// The links that the tasks of a query need, as a setting of its session: what a session holds goes to every executor with
/// every task.
#[derive(Clone, Debug, Default)]
pub struct Travelling {
    /// Protobuf `v1::StoreLinks` in hex digits.
    pub links: String,
}

const KEY: &str = "links";

impl ConfigExtension for Travelling {
    const PREFIX: &'static str = "whimbrel_stores";
}

impl ExtensionOptions for Travelling {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> datafusion::common::Result<()> {
        if key != KEY {
            return Err(DataFusionError::Configuration(format!(
                "no such setting: {key}"
            )));
        }
        value.clone_into(&mut self.links);
        Ok(())
    }

    /// With the prefix, for these are the names by which settings travel.
    fn entries(&self) -> Vec<ConfigEntry> {
        vec![ConfigEntry {
            key: format!("{}.{KEY}", Self::PREFIX),
            value: Some(self.links.clone()),
            description: "links to object stores that the query needs",
        }]
    }
}

impl Travelling {
    /// These links, ready to go.
    pub fn with(links: &[Arc<StoreLink>]) -> Self {
        let wire = v1::StoreLinks {
            links: links.iter().map(|link| link.as_ref().into()).collect(),
        };
        let digits = wire.encode_to_vec().into_iter();
        Self {
            links: digits.map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// The links that arrived.
    pub fn arrived(&self) -> Result<Vec<Arc<StoreLink>>, Error> {
        let broken = || Error::new(ErrorCode::Bug, "the links of a query arrived broken");
        let byte = |at: usize| {
            let digits = self.links.get(at..at + 2)?;
            u8::from_str_radix(digits, 16).ok()
        };
        let bytes: Option<Vec<u8>> = (0..self.links.len()).step_by(2).map(byte).collect();
        let bytes = bytes.ok_or_else(broken)?;
        let wire = v1::StoreLinks::decode(bytes.as_slice()).map_err(|_| broken())?;
        let links = wire.links.into_iter();
        links
            .map(|link| StoreLink::try_from(link).map(Arc::new))
            .collect()
    }
}

impl From<&StoreLink> for v1::Link {
    fn from(link: &StoreLink) -> Self {
        Self {
            name: link.name.to_string(),
            kind: Some(v1::link::Kind::Store(link.into())),
            added_at_ms: 0,
        }
    }
}

impl From<&StoreLink> for v1::StoreLink {
    fn from(link: &StoreLink) -> Self {
        use v1::store_link::Service;
        let anonymous = matches!(
            link.access,
            Access::S3 {
                identity: S3Identity::Anonymous,
                ..
            } | Access::Azure(AzureIdentity::Anonymous)
        );
        let service = match &link.access {
            Access::S3 {
                region,
                virtual_hosted,
                identity,
            } => {
                let mut wire = v1::S3Access {
                    region: region.clone().unwrap_or_default(),
                    virtual_hosted: *virtual_hosted,
                    ..v1::S3Access::default()
                };
                match identity {
                    S3Identity::Environment | S3Identity::Anonymous => {}
                    S3Identity::Keys {
                        access,
                        secret,
                        session,
                    } => {
                        wire.access_key = Some(access.into());
                        wire.secret_key = Some(secret.into());
                        wire.session_token = session.as_ref().map(Into::into);
                    }
                }
                Service::S3(wire)
            }
            Access::Azure(identity) => Service::Azure(identity.into()),
        };
        Self {
            at: link.at.iter().map(Area::to_string).collect(),
            endpoint: link.endpoint.clone().unwrap_or_default(),
            allow_http: link.allow_http,
            ca_file: link.ca_file.clone().unwrap_or_default(),
            accept_invalid_certificates: link.accept_invalid_certificates,
            anonymous,
            service: Some(service),
        }
    }
}

impl From<&AzureIdentity> for v1::AzureAccess {
    fn from(identity: &AzureIdentity) -> Self {
        let mut wire = Self::default();
        match identity {
            AzureIdentity::Environment | AzureIdentity::Anonymous => {}
            AzureIdentity::AccountKey(key) => wire.account_key = Some(key.into()),
            AzureIdentity::Signature(signature) => wire.sas = Some(signature.into()),
            AzureIdentity::ServicePrincipal {
                tenant,
                client_id,
                secret,
                authority,
            } => {
                wire.tenant.clone_from(tenant);
                wire.client_id.clone_from(client_id);
                wire.secret = Some(secret.into());
                wire.authority = authority.clone().unwrap_or_default();
            }
            AzureIdentity::Managed { client_id } => {
                wire.managed_identity = true;
                wire.client_id = client_id.clone().unwrap_or_default();
            }
        }
        wire
    }
}
