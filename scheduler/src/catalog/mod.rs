//! The pool's named datasets. Entries are durable in the state store (`store::keys`); an in-memory mirror of them answers
//! the planner. Adding a table looks into its files once, for the schema; queries list its files anew.

mod delta;
mod glob;
mod infer;
mod kinds;
mod lakes;
mod list;
mod merge;
mod options;
mod partitions;
mod place;
mod provider;
mod splits;
mod table;
#[cfg(test)]
mod tests;
mod views;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use object_store::ObjectStore;
use tokio_util::sync::CancellationToken;
use whimbrel_proto::ids::TableName;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::Stores;

use self::list::Found;
use self::place::Place;
use crate::clock::Clock;
use crate::nearest;
use crate::store::{Expect, Mirror, Record, StateStore, Transaction, keys, race};

pub use options::AddTable;
pub use place::absolute;
pub use provider::{Dataset, PoolSchema, is_path};
pub use table::{Csv, Format, Table};
pub use views::PoolView;

/// What files without a table's name are called inside.
const UNNAMED: &str = "files";

/// See the module.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn StateStore>,
    mirror: Mirror<Table>,
    views: Mirror<PoolView>,
    session: SessionState,
    stores: Stores,
    base: PathBuf,
}

impl Catalog {
    /// The catalog that `store` keeps. Files are looked into through `runtime`'s stores; relative paths start at `base`.
    pub async fn open(
        store: Arc<dyn StateStore>,
        runtime: Arc<RuntimeEnv>,
        stores: Stores,
        base: PathBuf,
    ) -> Result<Arc<Self>, Error> {
        let mirror = Mirror::open(Arc::clone(&store), keys::TABLES, Table::decode).await?;
        let views = Mirror::open(Arc::clone(&store), keys::VIEWS, PoolView::decode).await?;
        let session = SessionStateBuilder::new().with_runtime_env(runtime).build();
        Ok(Arc::new(Self {
            store,
            mirror,
            views,
            session,
            stores,
            base,
        }))
    }

    /// Takes up what others write to the store, until `stop`; to be run as one task for the catalog's life.
    pub async fn follow(self: Arc<Self>, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let tables = self.mirror.follow(Arc::clone(&clock), stop.clone());
        futures::join!(tables, self.views.follow(clock, stop));
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.mirror.names()
    }

    /// All tables, by name.
    pub fn list(&self) -> Vec<Arc<Table>> {
        self.mirror.values()
    }

    /// The table of that name; names are the same whatever their case, as in SQL.
    pub fn get(&self, name: &str) -> Result<Arc<Table>, Error> {
        self.find(name)?.1.value
    }

    fn find(&self, name: &str) -> Result<(String, Record<Table>), Error> {
        self.known(name).ok_or_else(|| {
            if let Some((view, _)) = self.known_view(name) {
                let text = format!("'{view}' is a view, not a table");
                return Error::new(ErrorCode::NotFound, text).with_hint("DROP VIEW removes it");
            }
            let names = self.mirror.names();
            let none = "the catalog is empty: `whimbrel table add NAME --uri PATH` adds one";
            Error::new(
                ErrorCode::NotFound,
                format!("table '{name}' does not exist"),
            )
            .with_hint(nearest::hint(name, names.iter().map(String::as_str), none))
        })
    }

    fn known(&self, name: &str) -> Option<(String, Record<Table>)> {
        if let Some(record) = self.mirror.get(name) {
            return Some((name.to_owned(), record));
        }
        let name = self
            .mirror
            .names()
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name))?;
        self.mirror.get(&name).map(|record| (name, record))
    }

    /// Finds out what the files are and keeps the entry. Once it returns, the entry survives a restart and queries see it.
    pub async fn add(&self, request: AddTable) -> Result<Arc<Table>, Error> {
        let name: TableName = request.name.parse()?;
        self.refuse_view(&name)?;
        if !request.replace {
            self.refuse_taken(&name)?;
        }
        let (table, _) = self.inspect(name, &request).await?;
        let table = Arc::new(table);
        let record = table.encode()?;
        let key = keys::table(&table.name);
        let propose = || {
            self.refuse_view(&table.name)?;
            if !request.replace {
                self.refuse_taken(&table.name)?;
            }
            let begun = Transaction::new().expect(keys::view(&table.name), Expect::Absent);
            let transaction = match self.known(table.name.as_str()) {
                // The old entry may be spelled in another case; there is one entry for all spellings.
                Some((old, known)) => {
                    let old = keys::table(&old.parse()?);
                    let transaction = begun.expect(old.clone(), Expect::At(known.revision));
                    if old == key {
                        transaction
                    } else {
                        transaction.delete(old)
                    }
                }
                None => begun.expect(key.clone(), Expect::Absent),
            };
            Ok(transaction.put(key.clone(), record.clone()))
        };
        self.change("table", table.name.as_str(), propose).await?;
        Ok(table)
    }

    /// Commits a change of a table or a view: they share their names, so whoever loses a race looks at both.
    async fn change(
        &self,
        what: &str,
        name: &str,
        propose: impl FnMut() -> Result<Transaction, Error> + Send,
    ) -> Result<(), Error> {
        let refresh = || async {
            self.mirror.refresh().await?;
            self.views.refresh().await
        };
        let what = format!("changing {what} '{name}'");
        race(self.store.as_ref(), &what, refresh, propose).await
    }

    fn refuse_view(&self, name: &TableName) -> Result<(), Error> {
        match self.known_view(name.as_str()) {
            Some((taken, _)) => Err(
                Error::new(ErrorCode::Exists, format!("'{taken}' is a view"))
                    .with_hint("give the table another name, or DROP VIEW first"),
            ),
            None => Ok(()),
        }
    }

    fn refuse_taken(&self, name: &TableName) -> Result<(), Error> {
        match self.known(name.as_str()) {
            Some((taken, _)) => Err(Error::new(
                ErrorCode::Exists,
                format!("table '{taken}' exists already"),
            )
            .with_hint(format!(
                "replace it with --replace, or drop it first: `whimbrel table drop {taken}`"
            ))),
            None => Ok(()),
        }
    }

    /// The files that `uri` names, as a table without a name and of this moment.
    pub async fn at(&self, uri: &str) -> Result<Dataset, Error> {
        let request = AddTable {
            uri: uri.to_owned(),
            ..AddTable::default()
        };
        let (table, files) = self
            .inspect(UNNAMED.parse()?, &request)
            .await
            .map_err(as_from)?;
        Ok(Dataset::of_files(table, files, self.stores.clone()))
    }

    async fn inspect(
        &self,
        name: TableName,
        request: &AddTable,
    ) -> Result<(Table, Vec<Found>), Error> {
        let asked = request.kind()?;
        let place = Place::parse(&request.uri, &self.base, &self.stores)?;
        let store = store_of(&place, self.session.runtime_env())?;
        let listed = list::list(&place, &store).await?;
        let told = listed.told();
        let (kind, files) = kinds::choose(&place.to_string(), listed, asked)?;
        if files.is_empty() && told.is_none() {
            return Err(kinds::no_files(&place.to_string()));
        }
        let format = request.format(kind, kinds::all_tabs(&files))?;
        let reading = Arc::new(request.reading(kind)?);
        let columns = match (&request.columns, &told) {
            (Some(columns), _) | (None, Some((columns, _))) => Arc::clone(columns),
            (None, None) => {
                let sample = infer::Sample::of(format, &reading, request.infer_rows);
                infer::schema_of(&self.session, &store, &sample, &files).await?
            }
        };
        let folders = match told {
            Some((_, folders)) => folders,
            None => partitions::columns(&files)?,
        };
        partitions::check(&place.to_string(), &folders, &request.folders)?;
        let uri = place.to_string();
        let schema = merge::with_folders(&uri, format, &columns, &folders)?;
        let table = Table {
            name,
            uri,
            format,
            reading,
            partitions: folders.len(),
            schema,
        };
        Ok((table, files))
    }

    /// Refuses an output that would be read as part of what is at `input`, or that this is part of.
    pub(crate) fn keep_apart(&self, input: &str, output: &str) -> Result<(), Error> {
        let place = |uri| Place::parse(uri, &self.base, &self.stores);
        let (read, written) = (place(input)?, place(output)?);
        let (what, hint) = if read.holds(&written) {
            (
                format!("the output '{output}' lies inside the input '{input}'"),
                "the next one who reads the input would read the output with it: name a folder outside of it",
            )
        } else if read.is_below(&written) {
            (
                format!("the input '{input}' lies inside the output '{output}'"),
                "name a folder of its own for the output",
            )
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorCode::Invalid, what).with_hint(hint))
    }

    /// Forgets a table; its files stay.
    pub async fn drop_table(&self, name: &str) -> Result<(), Error> {
        let propose = || {
            let (known, record) = self.find(name)?;
            let key = keys::table(&known.parse()?);
            Ok(Transaction::new()
                .expect(key.clone(), Expect::At(record.revision))
                .delete(key))
        };
        self.change("table", name, propose).await
    }
}

/// Says what helps a statement that has no options for the files that it names.
fn as_from(error: Error) -> Error {
    match error.hint() {
        Some(hint) if hint.contains("--") => {
            Error::new(error.code(), error.message()).with_hint(
                "say how it is read with CREATE EXTERNAL TABLE ... STORED AS ... LOCATION '...', or `whimbrel table add`",
            )
        }
        Some(_) | None => error,
    }
}

/// The client of the place's store.
fn store_of(place: &Place, runtime: &RuntimeEnv) -> Result<Arc<dyn ObjectStore>, Error> {
    runtime.object_store(place.store()?).map_err(|error| {
        if let Some(own) = whimbrel_predict::error::find(&error) {
            return own.clone();
        }
        let text = format!("'{place}' cannot be reached: {}", error.strip_backtrace());
        Error::new(ErrorCode::Invalid, text)
    })
}
