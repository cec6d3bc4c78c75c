//! Goes through a link to object stores: its secrets as the scheduler sees them, one key of each place, one byte of that key.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use whimbrel_proto::Error;
use whimbrel_stores::{Area, Bucket, Environment, Location, Process, StoreLink, Stores, explain};

use super::check::{Check, Steps};

/// The steps up to the first that fails.
pub(super) async fn steps(
    stores: &Stores,
    link: &StoreLink,
    environment: &Environment,
    steps: &mut Steps,
) {
    let places = link.references();
    if places.is_empty() {
        note(steps, "secret", "none is named by the link".to_owned());
    }
    for place in places {
        let secret = place.read(environment, &Process::Scheduler);
        let seen = |_: &_| format!("it is in {place}; executors look for it there too");
        if steps.note("secret", secret, seen).is_none() {
            return;
        }
    }
    if link.accept_invalid_certificates {
        note(
            steps,
            "encryption",
            "nobody checks whose certificates they are".to_owned(),
        );
    }
    if let Some(endpoint) = link
        .endpoint
        .as_ref()
        .filter(|uri| uri.starts_with("http://"))
    {
        note(
            steps,
            "encryption",
            format!("none at '{endpoint}': keys and data travel openly"),
        );
    }
    for area in &link.at {
        let Some(place) = place(area) else {
            note(
                steps,
                "list",
                format!("'{area}' names no bucket: nothing to list"),
            );
            continue;
        };
        let found = first(stores, &place).await;
        let seen = |found: &Option<ObjectMeta>| match found {
            Some(meta) => format!("'{area}' can be listed: '{}'", meta.location),
            None => format!("'{area}' can be listed, and is empty"),
        };
        let Some(found) = steps.note("list", found, seen) else {
            return;
        };
        let Some(meta) = found else { continue };
        let read = byte(stores, &place.bucket, &meta).await;
        if steps
            .note("read", read, |()| {
                format!("'{}' can be read", meta.location)
            })
            .is_none()
        {
            return;
        }
    }
}

fn note(steps: &mut Steps, step: &'static str, seen: String) {
    steps.0.push(Check {
        step,
        outcome: Ok(seen),
    });
}

/// The bucket and path of an area, where it names one.
fn place(area: &Area) -> Option<Location> {
    let (bucket, path) = match area {
        Area::S3 {
            bucket: Some(bucket),
            path,
        } => (
            Bucket::S3 {
                bucket: bucket.clone(),
            },
            path,
        ),
        Area::Azure {
            account: Some((account, domain)),
            container: Some(container),
            path,
        } => (
            Bucket::Azure {
                account: account.clone(),
                container: container.clone(),
                domain: domain.clone(),
            },
            path,
        ),
        Area::S3 { .. } | Area::Azure { .. } | Area::Local(_) => return None,
    };
    Some(Location {
        bucket,
        path: Path::from_iter(path.iter().map(String::as_str)),
        is_folder: true,
    })
}

async fn first(stores: &Stores, place: &Location) -> Result<Option<ObjectMeta>, Error> {
    let store = stores.open(&place.bucket);
    let prefix = (!place.path.as_ref().is_empty()).then_some(&place.path);
    let mut listed = store.list(prefix);
    let first = listed.try_next().await;
    first.map_err(|error| explain(&place.bucket, place.path.as_ref(), &error))
}

async fn byte(stores: &Stores, bucket: &Bucket, meta: &ObjectMeta) -> Result<(), Error> {
    if meta.size == 0 {
        return Ok(());
    }
    let read = stores.open(bucket).get_range(&meta.location, 0..1).await;
    read.map(drop)
        .map_err(|error| explain(bucket, meta.location.as_ref(), &error))
}
