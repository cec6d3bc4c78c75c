//! Registered models, their versions and aliases, logged models and runs. What does not exist is an error that says what does.

use reqwest::header::CONTENT_TYPE;
use whimbrel_proto::{Error, ErrorCode};

use super::wire::{self, Alias, RunInfo, Version};
use super::{Mlflow, Refusal};
use crate::http::MAX_ANSWER;
use crate::nearest;

/// Entries of one page.
const PAGE: usize = 200;
/// Pages that are read at most: a server whose pages do not end is wrong.
const PAGES: usize = 500;

impl Mlflow {
    /// One version; where there is none, which there are.
    pub(crate) async fn version(&self, name: &str, version: &str) -> Result<Version, Error> {
        let query = [("name", name), ("version", version)];
        match self
            .ask::<wire::OneVersion>("model-versions/get", &query)
            .await
        {
            Ok(found) => Ok(found.model_version),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Missing) => {
                let versions = self.versions(name).await?;
                let known: Vec<&str> = versions
                    .iter()
                    .map(|version| version.version.as_str())
                    .collect();
                Err(Error::new(
                    ErrorCode::NotFound,
                    format!("model '{name}' has no version {version} in {}", self.name()),
                )
                .with_hint(there_is("version", &known)))
            }
        }
    }

    /// The version that an alias means; where there is no such alias, which there are.
    pub(crate) async fn by_alias(&self, name: &str, alias: &str) -> Result<Version, Error> {
        let query = [("name", name), ("alias", alias)];
        match self
            .ask::<wire::OneVersion>("registered-models/alias", &query)
            .await
        {
            Ok(found) => Ok(found.model_version),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Missing) => {
                let aliases = self.aliases(name).await?;
                let known = aliases.iter().map(|known| known.alias.as_str());
                let hint = nearest::hint(
                    alias,
                    known,
                    "it has no alias at all: name a version, models:/NAME/VERSION",
                );
                Err(Error::new(
                    ErrorCode::NotFound,
                    format!("model '{name}' has no alias '{alias}' in {}", self.name()),
                )
                .with_hint(hint))
            }
        }
    }

    /// The aliases of a model; an error where there is no such model.
    pub(crate) async fn aliases(&self, name: &str) -> Result<Vec<Alias>, Error> {
        match self
            .ask::<wire::OneModel>("registered-models/get", &[("name", name)])
            .await
        {
            Ok(found) => Ok(found.registered_model.aliases),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Missing) => Err(self.no_model(name).await?),
        }
    }

    async fn no_model(&self, name: &str) -> Result<Error, Error> {
        let models = self.models(PAGES).await?;
        let hint = nearest::hint(
            name,
            models.iter().map(String::as_str),
            "it has no models at all",
        );
        Ok(Error::new(
            ErrorCode::NotFound,
            format!("there is no model '{name}' in {}", self.name()),
        )
        .with_hint(hint))
    }

    /// The names of registered models, of so many pages at most.
    pub(crate) async fn models(&self, pages: usize) -> Result<Vec<String>, Error> {
        let (mut names, mut token) = (Vec::new(), String::new());
        for _ in 0..pages {
            let page = PAGE.to_string();
            let mut query = vec![("max_results", page.as_str())];
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let answer: wire::Models = self
                .ask("registered-models/search", &query)
                .await
                .map_err(|refusal| self.unexpected(refusal))?;
            names.extend(answer.registered_models.into_iter().map(|model| model.name));
            token = answer.next_page_token.unwrap_or_default();
            if token.is_empty() {
                break;
            }
        }
        Ok(names)
    }

    /// Every version of a model, the newest first, with all aliases; an error where there is no such model.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<Version>, Error> {
        let quote = if name.contains('\'') { '"' } else { '\'' };
        let filter = format!("name={quote}{name}{quote}");
        let aliases = self.aliases(name).await?;
        let (mut versions, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES {
            let page = PAGE.to_string();
            let mut query = vec![("filter", filter.as_str()), ("max_results", page.as_str())];
            if !token.is_empty() {
                query.push(("page_token", &token));
            }
            let answer: wire::Versions = self
                .ask("model-versions/search", &query)
                .await
                .map_err(|refusal| self.unexpected(refusal))?;
            versions.extend(answer.model_versions);
            token = answer.next_page_token.unwrap_or_default();
            if token.is_empty() {
                break;
            }
        }
        for version in &mut versions {
            let meant = aliases
                .iter()
                .filter(|alias| alias.version == version.version);
            version
                .aliases
                .extend(meant.map(|alias| alias.alias.clone()));
            version.aliases.sort();
            version.aliases.dedup();
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version.number()));
        Ok(versions)
    }

    fn unexpected(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::Missing => Error::new(ErrorCode::Unavailable, format!("{} does not answer like an MLflow server", self.name()))
                .with_hint("check its address: it is the one that MLFLOW_TRACKING_URI has for MLflow's own clients"),
        }
    }

    /// Where the files of a version are.
    pub(crate) async fn version_files(&self, name: &str, version: &str) -> Result<String, Error> {
        let query = [("name", name), ("version", version)];
        match self
            .ask::<wire::Download>("model-versions/get-download-uri", &query)
            .await
        {
            Ok(found) => Ok(found.artifact_uri),
            Err(refusal) => Err(self.missing(
                refusal,
                &format!("the files of model '{name}', version {version},"),
            )),
        }
    }

    /// Where the files of a logged model, `m-...`, are.
    pub(crate) async fn logged_files(&self, id: &str) -> Result<String, Error> {
        match self
            .ask::<wire::OneLogged>(&format!("logged-models/{id}"), &[])
            .await
        {
            Ok(found) => Ok(found.model.info.artifact_uri),
            Err(refusal) => Err(self.missing(refusal, &format!("the logged model '{id}'"))),
        }
    }

    /// A run.
    pub(crate) async fn run(&self, id: &str) -> Result<RunInfo, Error> {
        match self
            .ask::<wire::OneRun>("runs/get", &[("run_id", id)])
            .await
        {
            Ok(found) => Ok(found.run.info),
            Err(refusal) => Err(self.missing(refusal, &format!("the run '{id}'"))),
        }
    }

    /// Where the files of the model are that a run logged under this name; servers before MLflow 3 know no such.
    pub(crate) async fn logged_of_run(
        &self,
        run: &RunInfo,
        name: &str,
    ) -> Result<Option<String>, Error> {
        let url = format!("{}/api/2.0/mlflow/logged-models/search", self.service.base);
        let filter = format!("source_run_id = '{}'", run.run_id);
        let body = serde_json::json!({"experiment_ids": [run.experiment_id], "filter": filter})
            .to_string();
        let call = self
            .authorized(self.http.post(&url))
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let answer = self
            .http
            .send(call, MAX_ANSWER)
            .await
            .map_err(|trouble| self.unreachable(&trouble))?;
        if !answer.status.is_success() {
            return match self.refused(&answer) {
                Refusal::Failed(error) if error.code() == ErrorCode::Denied => Err(error),
                Refusal::Failed(_) | Refusal::Missing => Ok(None),
            };
        }
        let found: wire::LoggedModels = answer.json().unwrap_or_default();
        let logged = found
            .models
            .into_iter()
            .find(|model| model.info.name == name);
        Ok(logged.map(|model| model.info.artifact_uri))
    }

    fn missing(&self, refusal: Refusal, what: &str) -> Error {
        match refusal {
            Refusal::Failed(error) => error,
            Refusal::Missing => Error::new(
                ErrorCode::NotFound,
                format!("{what} cannot be found in {}", self.name()),
            )
            .with_hint("it may have been deleted; check the id"),
        }
    }
}

fn there_is(what: &str, known: &[&str]) -> String {
    const SHOWN: usize = 8;
    match known {
        [] => format!("it has no {what} yet"),
        known if known.len() <= SHOWN => format!("it has {}", known.join(", ")),
        known => format!(
            "it has {} and {} more",
            known[..SHOWN].join(", "),
            known.len() - SHOWN
        ),
    }
}
