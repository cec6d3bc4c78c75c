//! A pool with what the suites of Flight ask for: tables, models, a view; and people with tokens.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use whimbrel_access::{Role, new_token};

use crate::cluster::{Cluster, Options};
use crate::data::{self, Datasets};
use crate::flight::Visitor;
use crate::pool::Asker;

/// The view beside the datasets' tables.
const VIEW: &str =
    "CREATE OR REPLACE VIEW long_trips AS SELECT * FROM trips WHERE trip_distance > 10";

/// The datasets' tables, the models `fare`, `slow` and `tree`, and the view `long_trips`.
pub async fn furnish(client: &Asker, folder: &Path) -> Result<Datasets> {
    let datasets = Datasets::write(folder)?;
    for (table, path) in datasets.tables() {
        client.add_table(table, path).await?;
    }
    for (alias, model) in [("fare", "fare"), ("slow", "slow"), ("tree", "lightgbm")] {
        client.bind_model(alias, model).await?;
    }
    client.collect(VIEW).await?;
    Ok(datasets)
}

/// A furnished pool that lets everybody in.
pub async fn open_pool(executors: usize, settings: &[(&str, &str)]) -> Result<(Cluster, Datasets)> {
    let cluster = Cluster::start_with(executors, 1, settings).await?;
    let datasets = furnish(&cluster.client().await?, cluster.folder()).await?;
    Ok((cluster, datasets))
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Person {
    pub name: &'static str,
    pub role: Role,
    pub token: String,
    line: String,
}

/// The people of a pool, and the file that lets them in.
pub struct People {
    folder: TempDir,
    pub operator: Person,
    pub scorer: Person,
    pub reader: Person,
    /// Another reader.
    pub stranger: Person,
    /// One whose token is over.
    pub late: Person,
}

fn person(name: &'static str, role: Role, end: &str) -> Result<Person> {
    let mut random = [0; 32];
    std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut random)?;
    let (token, line) = new_token(name, role, random)?;
    let line = format!("{line}{end}\n");
    Ok(Person {
        name,
        role,
        token,
        line,
    })
}

impl People {
    pub fn new() -> Result<Self> {
        let people = Self {
            folder: tempfile::tempdir()?,
            operator: person("olga", Role::Operator, "")?,
            scorer: person("sam", Role::Scorer, "")?,
            reader: person("rita", Role::Reader, "")?,
            stranger: person("rob", Role::Reader, "")?,
            late: person("lena", Role::Operator, " expires=2020-01-31")?,
        };
        people.admit(&people.everybody())?;
        Ok(people)
    }

    fn everybody(&self) -> [&Person; 5] {
        [
            &self.operator,
            &self.scorer,
            &self.reader,
            &self.stranger,
            &self.late,
        ]
    }

    pub fn of_each_role(&self) -> [&Person; 3] {
        [&self.reader, &self.scorer, &self.operator]
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// Lets in exactly these from now on.
    pub fn admit(&self, people: &[&Person]) -> Result<()> {
        let fresh = self.folder.path().join("tokens.new");
        let mut file = File::create(&fresh)?;
        for person in people {
            file.write_all(person.line.as_bytes())?;
        }
        std::fs::rename(&fresh, self.file()).context("replace the file of tokens")
    }

    /// A furnished pool that lets these people in; `settings` are the scheduler's.
    pub async fn pool(
        &self,
        executors: usize,
        settings: &[(&str, &str)],
    ) -> Result<(Cluster, Datasets)> {
        let file = self.file();
        let file = file.to_string_lossy();
        let mut scheduler = vec![("WHIMBREL_TOKENS_FILE", &*file)];
        scheduler.extend_from_slice(settings);
        let cluster = Cluster::with(Options {
            executors,
            slots: 1,
            scheduler: &scheduler,
            token: &self.operator.token,
            ..Options::default()
        })
        .await?;
        let datasets = furnish(&cluster.client().await?, cluster.folder()).await?;
        Ok((cluster, datasets))
    }
}

/// Somebody at the door of this pool.
pub async fn at(cluster: &Cluster, person: &Person) -> Result<Visitor> {
    cluster.visitor_as(Some(&person.token)).await
}

/// A big table of so many rows, each number below it once in `trip_id`.
pub async fn big(cluster: &Cluster, client: &Asker, rows: usize) -> Result<()> {
    let folder = data::write_big(cluster.folder(), rows / data::FILES)?;
    client.add_table("big", &folder).await
}
