//! A job's output as the scheduler uses it: its records and its commit, what lies there already, and the words for what goes wrong.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::Error as StoreError;
use whimbrel_predict::sink::{OnError, OutputMode};
use whimbrel_proto::ids::ScoreJobId;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::job::{Commit, RECORDS, Records};
use whimbrel_stores::output::{DeferredOutput, Listed, LocalOutput, explain};
use whimbrel_stores::{Bucket, Location, Stores};

use super::tripwire::Tripwire;

/// Where the rows go.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Local(PathBuf),
    Remote(Location),
}

impl Place {
    /// The folder that a spec's output names: an absolute path or an object store's URI.
    pub(crate) fn parse(uri: &str, stores: &Stores) -> Result<Self, Error> {
        if let Some(location) = stores.locate(uri)? {
            return Ok(Self::Remote(location));
        }
        let is_relative = !uri.contains(":/") && !uri.starts_with('/');
        if is_relative && !uri.is_empty() {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("the output '{uri}' is no absolute path"),
            )
            .with_hint("write /path/of/a/folder, s3://BUCKET/PATH or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"));
        }
        let path = PathBuf::from(crate::catalog::absolute(uri, FilePath::new("/"))?);
        if path.file_name().is_none() {
            return Err(
                Error::new(ErrorCode::Invalid, format!("'{uri}' cannot be an output"))
                    .with_hint("name a folder below it"),
            );
        }
        Ok(Self::Local(path))
    }

    /// What a person calls it.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Remote(location) => location.to_string(),
        }
    }

    /// Whether what is staged there is dropped by the store after a time, and by whose rule.
    pub(crate) fn caution(&self) -> Option<&'static str> {
        match self {
            Self::Local(_) => None,
            Self::Remote(Location {
                bucket: Bucket::Azure { .. },
                ..
            }) => Some(
                "Azure storage drops what is uploaded and not committed after 7 days: what a longer job loses is scored again",
            ),
            Self::Remote(Location {
                bucket: Bucket::S3 { .. },
                ..
            }) => Some(
                "a lifecycle rule that aborts unfinished uploads must give them longer than the job takes: what it drops is scored again",
            ),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    place: Place,
    mode: OutputMode,
    io: Arc<dyn DeferredOutput>,
    /// Where rows go that cannot be scored, if not the way of all others.
    dead_letters: Option<Arc<dyn DeferredOutput>>,
    /// Where it is said whose the output is.
    owner: (Arc<dyn DeferredOutput>, String),
}

impl Output {
    /// The output of a job. Nothing is asked over the network yet.
    pub(crate) fn open(
        stores: &Stores,
        job: &ScoreJobId,
        uri: &str,
        mode: OutputMode,
    ) -> Result<Self, Error> {
        let place = Place::parse(uri, stores)?;
        let io = stores.output(uri, (mode == OutputMode::Error).then_some(job))?;
        let io: Arc<dyn DeferredOutput> = Arc::new(Tripwire::new(io));
        let owner = match (&place, mode) {
            // The output appears as a whole, so what is said of it beforehand stands beside it.
            (Place::Local(path), OutputMode::Error) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let beside = path
                    .parent()
                    .unwrap_or_else(|| FilePath::new("/"))
                    .to_owned();
                let beside: Arc<dyn DeferredOutput> = Arc::new(LocalOutput::new(beside));
                (beside, format!(".{name}.whimbrel-owner"))
            }
            (Place::Local(_) | Place::Remote(_), _) => {
                (Arc::clone(&io), format!("{RECORDS}/owner.json"))
            }
        };
        Ok(Self {
            place,
            mode,
            io,
            dead_letters: None,
            owner,
        })
    }

    /// The same, where rows that cannot be scored may have a place of their own.
    pub(crate) fn with_dead_letters(
        self,
        stores: &Stores,
        on_error: &OnError,
    ) -> Result<Self, Error> {
        let OnError::DeadLetter { uri, .. } = on_error else {
            return Ok(self);
        };
        let place = Place::parse(uri, stores)?;
        let folder = |place: &Place| format!("{}/", place.show().trim_end_matches('/'));
        let (own, dead) = (folder(&self.place), folder(&place));
        if own.starts_with(&dead) || dead.starts_with(&own) {
            let text =
                format!("the dead letters' folder '{uri}' and the output are in one another");
            return Err(Error::new(ErrorCode::Invalid, text).with_hint(
                "name a folder beside the output: readers of one shall not find the other",
            ));
        }
        let io = stores.output(uri, None)?;
        Ok(Self {
            dead_letters: Some(Arc::new(Tripwire::new(io))),
            ..self
        })
    }

    /// The commit of a job with these records; `spec` goes into the manifest.
    pub(crate) fn commit<'a>(
        &'a self,
        records: &'a Records,
        spec: &'a serde_json::Value,
    ) -> Commit<'a> {
        let commit = Commit::new(self.io(), records, spec);
        match &self.dead_letters {
            Some(dead_letters) => commit.with_dead_letters(dead_letters.as_ref()),
            None => commit,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn mode(&self) -> OutputMode {
        self.mode
    }

    /// What is written and read there.
    pub(crate) fn io(&self) -> &dyn DeferredOutput {
        self.io.as_ref()
    }

    /// The record of whose the output is, and where it is kept.
    pub(crate) fn owner(&self) -> (&dyn DeferredOutput, &str) {
        (self.owner.0.as_ref(), &self.owner.1)
    }

    /// What readers see there now.
    pub(crate) async fn visible(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = match (&self.place, self.mode) {
            (Place::Local(path), OutputMode::Error) => {
                let plain = LocalOutput::new(path.clone());
                plain.list("").await
            }
            (Place::Local(_) | Place::Remote(_), _) => self.io.list("").await,
        }
        .map_err(|error| self.explain(&error))?;
        listed.retain(|object| !is_hidden(&object.path));
        Ok(listed)
    }

    /// Refuses an output where something lies already. A local one must take the place of nothing at all, or it could not appear
    /// at once.
    pub(crate) async fn must_be_empty(&self) -> Result<(), Error> {
        let found = match &self.place {
            Place::Local(path) => first_entry(path).await?,
            Place::Remote(_) => {
                let visible = self.visible().await?;
                visible.first().map(|object| object.path.clone())
            }
        };
        let Some(found) = found else { return Ok(()) };
        let text = format!(
            "the output '{}' is not empty: it holds '{found}'",
            self.place.show()
        );
        Err(Error::new(ErrorCode::Exists, text)
            .with_hint("name another folder, or say --mode append or --mode overwrite"))
    }

    /// The store's error, for people.
    pub(crate) fn explain(&self, error: &StoreError) -> Error {
        explain(&self.place.show(), error)
    }

    /// Removes what a job that will never show anything has written where nobody looks.
    pub(crate) async fn abandon(&self) -> Result<(), Error> {
        self.io
            .abandon()
            .await
            .map_err(|error| self.explain(&error))
    }
}

/// Readers skip names that begin so, and so do we.
fn is_hidden(path: &str) -> bool {
    path.split('/')
        .any(|part| part.starts_with('.') || (part.starts_with('_') && !part.contains('=')))
}

async fn first_entry(folder: &FilePath) -> Result<Option<String>, Error> {
    let told = |error: std::io::Error| {
        let shown = folder.display().to_string();
        if error.kind() == std::io::ErrorKind::NotADirectory {
            return Error::new(ErrorCode::Exists, format!("the output '{shown}' is a file"))
                .with_hint("name a folder");
        }
        let source = Box::new(error);
        explain(
            &shown,
            &StoreError::Generic {
                store: "local",
                source,
            },
        )
    };
    match tokio::fs::read_dir(folder).await {
        Ok(mut entries) => {
            let first = entries.next_entry().await.map_err(told)?;
            Ok(first.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(told(error)),
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_stores::Environment;

    use super::*;

    fn open(folder: &FilePath, mode: OutputMode) -> Output {
        let stores = Stores::new(Environment::default());
        let uri = folder.join("out").to_string_lossy().into_owned();
        Output::open(&stores, &"a".parse().unwrap(), &uri, mode).unwrap()
    }

    #[tokio::test]
    async fn an_output_with_something_in_it_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let output = open(folder.path(), OutputMode::Error);
        output.must_be_empty().await.unwrap();
        std::fs::create_dir(folder.path().join("out")).unwrap();
        output.must_be_empty().await.unwrap();
        std::fs::write(folder.path().join("out/old.csv"), "1").unwrap();
        let error = output.must_be_empty().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Exists);
        assert!(error.message().contains("old.csv"), "{error}");
    }

    #[tokio::test]
    async fn records_and_hidden_files_are_not_what_readers_see() {
        let folder = tempfile::tempdir().unwrap();
        let output = open(folder.path(), OutputMode::Append);
        for path in [
            "a.parquet",
            "_SUCCESS",
            "_whimbrel/j/plan",
            "y=1/_b",
            "_y=1/c",
        ] {
            output.io().put(path, "x".into()).await.unwrap();
        }
        let visible = output.visible().await.unwrap();
        let paths: Vec<_> = visible.iter().map(|object| object.path.as_str()).collect();
        assert_eq!(paths, ["_y=1/c", "a.parquet"]);
    }

    #[test]
    fn the_root_is_no_output() {
        let stores = Stores::new(Environment::default());
        let place = Place::parse("/", &stores);
        assert_eq!(place.unwrap_err().code(), ErrorCode::Invalid);
    }
}
