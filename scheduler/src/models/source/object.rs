//! Files and folders in object stores.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use whimbrel_predict::onnx::MAX_BYTES;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Location, Stores, explain, is_missing};

use super::folder::{Folder, Found, MAX_MLMODEL, MLMODEL, too_large};

/// Names shown of a folder that is none of a model.
const SHOWN: usize = 100;

struct ObjectFolder {
    store: Arc<dyn ObjectStore>,
    location: Location,
    place: String,
}

impl std::fmt::Debug for ObjectFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ObjectFolder").field(&self.place).finish()
    }
}

/// What is at a place. Object stores have no folders, so a name can be one, or a file, or nothing.
pub(super) async fn open(stores: &Stores, location: &Location) -> Result<Found, Error> {
    let store = stores.open(&location.bucket);
    let folder = ObjectFolder {
        place: location.to_string(),
        store,
        location: location.clone(),
    };
    let Some(name) = location
        .path
        .filename()
        .filter(|_| !location.is_folder)
        .map(str::to_owned)
    else {
        return folder_or_nothing(folder).await;
    };
    // A name with an ending is most often a file. Asking for what is not there is refused (403) to who may not list.
    let is_file_like = name.contains('.');
    if !is_file_like && folder.read(MLMODEL, MAX_MLMODEL).await?.is_some() {
        return Ok(Found::Folder(Box::new(folder)));
    }
    let file = read(&folder.store, location, MAX_BYTES).await?;
    // Azure shows a folder as a file without bytes.
    match file.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => {
            let (parent, _) = location.path.as_ref().rsplit_once('/').unwrap_or(("", ""));
            let location = Location {
                bucket: location.bucket.clone(),
                path: parent.into(),
                is_folder: true,
            };
            let place = location.to_string().trim_end_matches('/').to_owned();
            let folder = Box::new(ObjectFolder {
                store: folder.store,
                place,
                location,
            });
            Ok(Found::File {
                folder,
                name,
                bytes,
            })
        }
        None => folder_or_nothing(folder).await,
    }
}

async fn folder_or_nothing(folder: ObjectFolder) -> Result<Found, Error> {
    if folder.read(MLMODEL, MAX_MLMODEL).await?.is_none() && folder.names().await?.is_empty() {
        return Err(Error::new(
            ErrorCode::NotFound,
            format!("'{}' does not exist", folder.place),
        )
        .with_hint("check the path; upper and lower case differ"));
    }
    Ok(Found::Folder(Box::new(folder)))
}

async fn read(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    most: u64,
) -> Result<Option<Bytes>, Error> {
    let failed =
        |error: object_store::Error| explain(&location.bucket, location.path.as_ref(), &error);
    let found = match store.get(&location.path).await {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if found.meta.size > most {
        return Err(too_large(&location.to_string(), most));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(found.meta.size).unwrap_or(0));
    let mut pieces = found.into_stream();
    while let Some(piece) = pieces.try_next().await.map_err(failed)? {
        if bytes.len() as u64 + piece.len() as u64 > most {
            return Err(too_large(&location.to_string(), most));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.freeze()))
}

#[async_trait]
impl Folder for ObjectFolder {
    async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, Error> {
        read(&self.store, &self.location.join(name)?, most).await
    }

    async fn names(&self) -> Result<Vec<String>, Error> {
        let path = &self.location.path;
        let failed =
            |error: object_store::Error| explain(&self.location.bucket, path.as_ref(), &error);
        let below = |found: &object_store::path::Path| {
            let mut parts = found.prefix_match(path)?;
            parts.next().map(|part| part.as_ref().to_owned())
        };
        let mut names: Vec<String> = Vec::new();
        let mut listed = self.store.list(Some(path)).take(SHOWN);
        while let Some(found) = listed.try_next().await.map_err(failed)? {
            names.extend(below(&found.location));
        }
        names.dedup();
        Ok(names)
    }

    fn place(&self) -> &str {
        &self.place
    }
}
