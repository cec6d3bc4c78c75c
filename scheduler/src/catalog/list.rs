//! From a place to the files of this moment. Files are listed anew for every query, in one listing without a request per file,
//! so files that come, go or change are never read from an old list. Local files and object stores are listed alike: a
//! folder is everything below it, but for hidden names.

use std::collections::HashSet;
use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Location, explain, is_missing};

use super::delta::{self, Told};
use super::lakes::{self, Root};
use super::place::Place;
use super::{glob, walk};

/// How many objects of a folder are looked at to see what it is.
const KEPT: usize = 100;

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) meta: ObjectMeta,
    /// What a person calls it.
    pub(super) shown: String,
    /// The folders between the table's place and the file.
    pub(super) folders: Vec<String>,
}

impl Found {
    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.shown.rsplit('/').next().unwrap_or_default()
    }
}

/// What a place names now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Files that the user named, one by one or by a wildcard.
    Named(Vec<Found>),
    /// The files below a folder.
    Folder(Vec<Found>),
    /// The files of a table that keeps a log of them.
    Told(Told),
}

impl Listed {
    /// The columns in the files and those of their folders, where the table says them itself.
    pub(super) fn told(&self) -> Option<(SchemaRef, Vec<FieldRef>)> {
        match self {
            Self::Told(told) => Some((Arc::clone(&told.columns), told.folders.clone())),
            Self::Named(_) | Self::Folder(_) => None,
        }
    }
}

/// What lies at a place, and whether it is the folder of a Delta Lake table.
#[derive(Debug)]
pub(super) struct Lying {
    pub(super) listed: Listed,
    pub(super) is_delta: bool,
}

/// Lists the files of a place, by name. `NotFound` where a file, folder or wildcard leads nowhere; a local folder may be empty.
pub(super) async fn list(place: &Place, store: &Arc<dyn ObjectStore>) -> Result<Listed, Error> {
    let lying = match place {
        Place::Local(path) => {
            let path = path.clone();
            let listing = tokio::task::spawn_blocking(move || walk::list(&path)).await;
            listing.map_err(|error| {
                Error::new(ErrorCode::Bug, format!("listing files failed: {error}"))
            })?
        }
        Place::Remote(location) => remote(place, location, store.as_ref()).await,
    }?;
    match lying {
        Lying {
            listed: Listed::Folder(files),
            is_delta: true,
        } => {
            let base = match place {
                Place::Local(path) => local_location(FilePath::new(path))?,
                Place::Remote(location) => location.path.clone(),
            };
            let told = delta::table(place, &base, store, files).await?;
            Ok(Listed::Told(told))
        }
        Lying { listed, .. } => Ok(listed),
    }
}

async fn remote(
    place: &Place,
    location: &Location,
    store: &dyn ObjectStore,
) -> Result<Lying, Error> {
    let plain = |listed| Lying {
        listed,
        is_delta: false,
    };
    let failed = |error| explain(&location.bucket, location.path.as_ref(), &error);
    let (base, pattern) = glob::split(location.path.as_ref());
    let prefix = parse(place, base)?;
    if pattern.is_empty() && !location.is_folder {
        match store.head(&prefix).await {
            Ok(meta) => {
                return Ok(plain(Listed::Named(vec![found(place, meta, Vec::new())])));
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let prefix = (!base.is_empty()).then_some(&prefix);
    let metas: Vec<ObjectMeta> = store.list(prefix).try_collect().await.map_err(failed)?;
    let mut roots = roots(place, &metas);
    for folder in lakes::above(base) {
        roots.extend(root_at(place, folder, store).await.map_err(failed)?);
    }
    let mut files = below(place, base, &pattern, metas);
    let is_delta = lakes::is_delta(&roots, &location.bucket.uri(base), &pattern, &files)?;
    files.sort_by(|one, other| one.meta.location.cmp(&other.meta.location));
    match (pattern.is_empty(), files.is_empty()) {
        (true, _) if is_delta => Ok(Lying {
            listed: Listed::Folder(files),
            is_delta,
        }),
        (true, true) => Err(Error::new(
            ErrorCode::NotFound,
            format!("there is no file at or below '{place}'"),
        )
        .with_hint("check the path; names that begin with _ or . do not count")),
        (true, false) => Ok(plain(Listed::Folder(files))),
        (false, true) => Err(no_match(&place.to_string())),
        (false, false) => Ok(plain(Listed::Named(files))),
    }
}

/// The tables of Delta Lake and others among these objects.
fn roots(place: &Place, metas: &[ObjectMeta]) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::new();
    for meta in metas {
        if let Some(root) = Root::of_path(&place.show(&meta.location))
            && roots.last() != Some(&root)
        {
            roots.push(root);
        }
    }
    roots
}

/// Whether this folder is one of them: by the first objects of what it would keep.
async fn root_at(
    place: &Place,
    folder: &str,
    store: &dyn ObjectStore,
) -> object_store::Result<Option<Root>> {
    for kept in ["_delta_log", "metadata"] {
        let prefix = Path::from(format!("{folder}/{kept}"));
        let objects = store.list(Some(&prefix)).take(KEPT);
        let metas: Vec<ObjectMeta> = objects.try_collect().await?;
        if let Some(root) = roots(place, &metas).pop() {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

fn parse(place: &Place, path: &str) -> Result<Path, Error> {
    Path::parse(path).map_err(|error| {
        Error::new(
            ErrorCode::Invalid,
            format!("'{place}' is not a path: {error}"),
        )
        .with_hint("write it without empty, '.' and '..' parts")
    })
}

/// The objects below `base` that count: those that fit the pattern, without hidden ones and the markers of folders.
fn below(place: &Place, base: &str, pattern: &[&str], metas: Vec<ObjectMeta>) -> Vec<Found> {
    let mut folders: HashSet<String> = HashSet::new();
    for meta in &metas {
        let mut path = meta.location.as_ref();
        while let Some((parent, _)) = path.rsplit_once('/') {
            if !folders.insert(parent.to_owned()) {
                break;
            }
            path = parent;
        }
    }
    let counts = |meta: ObjectMeta| {
        let path = meta.location.as_ref();
        let relative = path.strip_prefix(base)?.trim_start_matches('/').to_owned();
        let parts: Vec<&str> = relative.split('/').collect();
        let marker = meta.size == 0 && (relative.is_empty() || folders.contains(path));
        let fits = pattern.is_empty() || glob::fits(pattern, &parts);
        let (name, above) = parts.split_last()?;
        let hidden = is_hidden(name) || above.iter().any(|part| is_hidden(part));
        (!marker && fits && !hidden).then(|| found(place, meta, owned(above)))
    };
    metas.into_iter().filter_map(counts).collect()
}

fn owned(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn found(place: &Place, meta: ObjectMeta, folders: Vec<String>) -> Found {
    Found {
        shown: place.show(&meta.location),
        meta,
        folders,
    }
}

/// Names that begin with `_` or `.` are a writer's own affair: markers, checksums, unfinished files. A partition folder's
/// name may begin with `_`.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

pub(super) fn no_match(shown: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("no file matches '{shown}'"))
        .with_hint("check the wildcard, or whether the files were moved")
}

/// The object that a local path is to the engine.
pub(super) fn local_location(path: &FilePath) -> Result<Path, Error> {
    Path::from_absolute_path(path).map_err(|error| {
        let shown = path.display();
        Error::new(
            ErrorCode::Invalid,
            format!("'{shown}' cannot be named: {error}"),
        )
        .with_hint("rename the file")
    })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use whimbrel_stores::{Environment, Stores};

    use super::*;

    async fn subject() -> Arc<dyn ObjectStore> {
        let store = InMemory::new();
        for (name, text) in [
            ("trips/y=2024/a.csv", "1"),
            ("trips/y=2024/_SUCCESS", ""),
            ("trips/y=2025/b.csv", "1"),
            ("trips/_temporary/c.csv", "1"),
            ("trips/y=2025", ""),
            ("trips", ""),
            ("trips.csv", "1"),
        ] {
            store.put(&Path::from(name), text.into()).await.unwrap();
        }
        Arc::new(store)
    }

    async fn names(uri: &str) -> Result<Vec<String>, Error> {
        let place = Place::parse(
            uri,
            FilePath::new("/"),
            &Stores::new(Environment::default()),
        )
        .unwrap();
        let (Listed::Named(files) | Listed::Folder(files)) = list(&place, &subject().await).await?
        else {
            panic!("no log lies there");
        };
        Ok(files.iter().map(|file| file.shown.clone()).collect())
    }

    #[tokio::test]
    async fn a_bucket_is_listed_as_a_folder_is() {
        let both = [
            "s3://lake/trips/y=2024/a.csv",
            "s3://lake/trips/y=2025/b.csv",
        ];
        assert_eq!(names("s3://lake/trips/").await.unwrap(), both);
        assert_eq!(names("s3://lake/trips/*/*.csv").await.unwrap(), both);
        assert_eq!(names("s3://lake/trips/**/b.csv").await.unwrap(), both[1..]);
        assert_eq!(
            names("s3://lake/trips.csv").await.unwrap(),
            ["s3://lake/trips.csv"]
        );
        assert_eq!(names("s3://lake/").await.unwrap().len(), 3);
        for (uri, want) in [
            (
                "s3://lake/tri",
                "there is no file at or below 's3://lake/tri'",
            ),
            ("s3://lake/*.json", "no file matches 's3://lake/*.json'"),
        ] {
            let error = names(uri).await.unwrap_err();
            assert_eq!((error.code(), error.message()), (ErrorCode::NotFound, want));
        }
    }
}
