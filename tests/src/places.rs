//! A place that score jobs write to, looked at from outside: by plain listings, as any reader's, and by the store's own list of
//! uploads that nobody has finished.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use serde_json::Value;
use tempfile::TempDir;

use crate::lake::s3_store;
use crate::objects::{LAKE, S3};
use crate::wait;

/// See the module. What lies in it goes with it.
pub struct Place {
    /// What processes must have in their environment to write there.
    pub variables: Vec<(String, String)>,
    base: String,
    store: Arc<dyn ObjectStore>,
    pub s3: Option<S3>,
    _folder: Option<TempDir>,
}

impl Place {
    /// A folder of the machine.
    pub fn local() -> Result<Self> {
        let folder = tempfile::tempdir().context("create the place")?;
        let path = folder.path().canonicalize()?;
        Ok(Self {
            variables: Vec::new(),
            base: path.to_string_lossy().into_owned(),
            store: Arc::new(LocalFileSystem::new_with_prefix(path)?),
            s3: None,
            _folder: Some(folder),
        })
    }

    /// A bucket of S3.
    pub fn s3() -> Result<Self> {
        let s3 = S3::start(&[])?;
        Ok(Self {
            variables: s3.environment("writer")?,
            base: format!("s3://{LAKE}"),
            store: s3_store(&s3.environment("reader")?)?,
            s3: Some(s3),
            _folder: None,
        })
    }

    /// What a job calls the output `name`.
    pub fn uri(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// The paths below `name`, or of everything, sorted: records and hidden files too.
    pub async fn listed(&self, name: Option<&str>) -> Result<Vec<String>> {
        let below = name.map(Path::from);
        let found: Vec<_> = self.store.list(below.as_ref()).try_collect().await?;
        let mut paths: Vec<String> = found
            .into_iter()
            .map(|meta| meta.location.to_string())
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// What a reader of the output takes for its rows.
    pub async fn seen(&self, name: &str) -> Result<Vec<String>> {
        let mut paths = self.listed(Some(name)).await?;
        paths.retain(|path| {
            let mut parts = path.split('/');
            path.ends_with(".parquet") && !parts.any(|part| part.starts_with(['.', '_']))
        });
        Ok(paths)
    }

    /// What lies at a path, if anything does.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        match self.store.get(&Path::from(path)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A record that is there.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let found = self.read(path).await?;
        let found = found.with_context(|| format!("{path} is not there"))?;
        serde_json::from_slice(&found).with_context(|| path.to_owned())
    }

    /// The paths of the output's objects, as the job's manifest lists them.
    pub async fn manifest(&self, name: &str, job: &str) -> Result<Vec<String>> {
        let manifest = self.json(&record(name, job, "manifest.json")).await?;
        let objects = manifest["objects"].as_array().context("its objects")?;
        let path = |object: &Value| Some(format!("{name}/{}", object["path"].as_str()?));
        let paths: Option<Vec<String>> = objects.iter().map(path).collect();
        paths.context("an object without a path")
    }

    /// Waits for the sweep: of the outputs of these jobs, by name and id, only what was committed is left in the whole place, and
    /// the two records that say so; no upload is unfinished.
    pub async fn must_be_clean(&self, done: &[(&str, &str)]) -> Result<()> {
        let mut wanted = BTreeSet::new();
        for (name, job) in done {
            wanted.extend(self.manifest(name, job).await?);
            wanted.insert(format!("{name}/_SUCCESS"));
            wanted.insert(record(name, job, "manifest.json"));
            wanted.insert(record(name, job, "decision.json"));
        }
        let found = async || -> Result<BTreeSet<String>> {
            let mut found = self.listed(None).await?;
            // A folder that was renamed as a whole keeps a mark of whose it was.
            found.retain(|path| !path.contains("/.whimbrel-revealed-"));
            let mut found: BTreeSet<String> = found.into_iter().collect();
            if let Some(s3) = &self.s3 {
                let uploads = s3.uploads().await?.into_iter();
                found.extend(uploads.map(|key| format!("upload of {key}")));
            }
            Ok(found)
        };
        let swept = wait::until("the sweep", || async {
            let found = found().await.ok()?;
            (found == wanted).then_some(())
        });
        if swept.await.is_err() {
            let found = found().await?;
            let strays: Vec<_> = found.difference(&wanted).collect();
            let lost: Vec<_> = wanted.difference(&found).collect();
            ensure!(
                strays.is_empty() && lost.is_empty(),
                "strays: {strays:?}, lost: {lost:?}"
            );
        }
        Ok(())
    }
}

/// A record of a job beside its output.
pub fn record(name: &str, job: &str, what: &str) -> String {
    format!("{name}/_whimbrel/{job}/{what}")
}
