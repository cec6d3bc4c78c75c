//! Where a model is bound from. A URI is understood once, into a [`Source`]; every kind of source gives the bytes of one
//! file, so the same model has the same digest wherever it was found.

mod check;
mod entry;
mod folder;
mod hex;
mod local;
mod object;
mod query;
mod registered;
#[cfg(test)]
mod tests;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use futures::future::BoxFuture;
use whimbrel_predict::mlmodel::MlModel;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Location, Stores};

use self::entry::Entry;
use self::folder::Model;
use crate::catalog::absolute;
use crate::links::Links;

pub(crate) use query::{Cells, many_rows};

/// A query whose one value is the model.
const SQL: &str = "sql:";

/// What a URI means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// A file or folder on the scheduler's machine.
    Path(String),
    /// A file or folder in an object store.
    Object(Location),
    /// An entry of a model registry.
    Entry(Entry),
    /// The one value of a query.
    Query(String),
}

/// A model as its source gave it.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    /// The model's file; an ONNX file has the weights in it that lay beside it.
    pub(crate) file: Bytes,
    /// What MLflow wrote beside it.
    pub(crate) mlmodel: Option<MlModel>,
    /// As it was asked for; a path is absolute.
    pub(crate) uri: String,
    /// What that led to: one path, or one version.
    pub(crate) resolved: String,
    /// The version in the registry.
    pub(crate) version: Option<String>,
}

/// The places that models come from.
#[derive(Debug)]
pub struct Sources {
    stores: Stores,
    links: Arc<Links>,
    /// Where relative paths start.
    base: PathBuf,
    cells: OnceLock<Weak<dyn Cells>>,
}

impl Sources {
    /// Object stores, registries, and files below or beside `base`.
    pub fn new(stores: Stores, links: Arc<Links>, base: PathBuf) -> Self {
        Self {
            stores,
            links,
            base,
            cells: OnceLock::new(),
        }
    }

    /// What runs queries exists only after the models do.
    pub(crate) fn run_queries_on(&self, cells: Weak<dyn Cells>) {
        // A second pool for the same sources would be a defect of the one place that calls this.
        let _ = self.cells.set(cells);
    }

    /// The links that registry entries go through.
    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.links
    }

    fn parse(&self, uri: &str) -> Result<Source, Error> {
        let uri = uri.trim();
        if uri.is_empty() {
            return Err(Error::new(ErrorCode::Invalid, "the model's location is empty")
                .with_hint("give the path of a model's file or of an MLflow folder, or models:/NAME/VERSION"));
        }
        if let Some(sql) = strip_scheme(uri, SQL) {
            return Ok(Source::Query(sql.trim().to_owned()));
        }
        if let Some(entry) = Entry::parse(uri)? {
            return Ok(Source::Entry(entry));
        }
        if let Some(location) = self.stores.locate(uri)? {
            self.stores.check(&location)?;
            return Ok(Source::Object(location));
        }
        refuse_unknown(uri)?;
        let path = absolute(uri, &self.base)?;
        self.stores.check_path(&path)?;
        Ok(Source::Path(path))
    }

    /// Reads the model that `uri` means.
    pub(crate) async fn fetch(&self, uri: &str) -> Result<Fetched, Error> {
        let source = self.parse(uri)?;
        let asked = uri.trim().to_owned();
        match source {
            Source::Path(path) => {
                let Model { file, mlmodel } = local::open(&path).await?.read().await?;
                Ok(Fetched {
                    file,
                    mlmodel,
                    uri: path.clone(),
                    resolved: path,
                    version: None,
                })
            }
            Source::Object(location) => {
                let Model { file, mlmodel } =
                    object::open(&self.stores, &location).await?.read().await?;
                Ok(Fetched {
                    file,
                    mlmodel,
                    uri: asked,
                    resolved: location.to_string(),
                    version: None,
                })
            }
            Source::Entry(entry) => {
                let found = self.resolve(&entry).await?;
                let Model { file, mlmodel } = self.files_of(&found).await?.read().await?;
                Ok(Fetched {
                    file,
                    mlmodel,
                    uri: asked,
                    resolved: found.uri,
                    version: found.version,
                })
            }
            Source::Query(sql) => {
                let file = query::read(self.cells.get(), &sql).await?;
                Ok(Fetched {
                    file,
                    mlmodel: None,
                    uri: asked.clone(),
                    resolved: asked,
                    version: None,
                })
            }
        }
    }

    /// A folder or file that a registry names by a path or an object store's URI.
    fn open_elsewhere<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, Result<folder::Found, Error>> {
        Box::pin(async move {
            match self.stores.locate(uri)? {
                Some(location) => object::open(&self.stores, &location).await,
                None => {
                    refuse_unknown(uri)?;
                    let path = absolute(uri, Path::new("/"))?;
                    self.stores.check_path(&path)?;
                    local::open(&path).await
                }
            }
        })
    }
}

/// What follows the scheme, whatever its case.
fn strip_scheme<'a>(uri: &'a str, scheme: &str) -> Option<&'a str> {
    let head = uri.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme)
        .then(|| &uri[scheme.len()..])
}

/// A scheme that no source has, with what to write instead.
fn refuse_unknown(uri: &str) -> Result<(), Error> {
    let Some((scheme, _)) = uri.split_once(":/") else {
        return Ok(());
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !is_scheme || scheme.eq_ignore_ascii_case("file") {
        return Ok(());
    }
    let hint = match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            "download it first, or give https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH or models:/NAME/VERSION"
        }
        "gs" | "gcs" => "copy it to s3:// or abfss://, or give a local path",
        "dbfs" | "hdfs" => "give the path at which it is mounted, or copy it to s3:// or abfss://",
        _ => {
            "models come from a path, s3://, abfss://, wasbs://, models:/NAME/VERSION, aml://NAME:VERSION or sql:SELECT ..."
        }
    };
    // What follows may be a signature or a password.
    Err(Error::new(
        ErrorCode::Invalid,
        format!("models cannot be read from '{scheme}:'"),
    )
    .with_hint(hint))
}
