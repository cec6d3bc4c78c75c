//! The pool's views. A view is kept as the text of its statement and planned anew each time it is used, so it never carries
//! the columns of a table, or of a model, that has been replaced since. Tables and views share their names.

use std::sync::Arc;

use prost::Message;
use whimbrel_proto::ids::TableName;
use whimbrel_proto::{Error, ErrorCode};

use super::{Catalog, RACES, busy};
use crate::store::{Expect, Outcome, Record as Stored, Transaction, keys};

/// A query with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    pub name: TableName,
    /// The `CREATE VIEW` statement as it was written.
    pub sql: String,
}

/// The layout of [`Record`], as the record's first byte.
const LAYOUT: u8 = 1;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    sql: String,
}

impl PoolView {
    /// The record that keeps this view.
    pub fn encode(&self) -> Vec<u8> {
        let record = Record {
            name: self.name.to_string(),
            sql: self.sql.clone(),
        };
        let mut bytes = vec![LAYOUT];
        bytes.extend(record.encode_to_vec());
        bytes
    }

    /// Reads a record back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let broken = |what: String| {
            Error::new(
                ErrorCode::Invalid,
                format!("not a record of a view: {what}"),
            )
        };
        let Some((&LAYOUT, message)) = bytes.split_first() else {
            return Err(broken("its layout is not known".to_owned()));
        };
        let Record { name, sql } =
            Record::decode(message).map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            name: name.parse()?,
            sql,
        })
    }
}

impl Catalog {
    /// The names of all views, sorted.
    pub fn view_names(&self) -> Vec<String> {
        self.views.names()
    }

    /// The view of that name, in any case; `None` where there is none.
    pub fn view(&self, name: &str) -> Option<Result<Arc<PoolView>, Error>> {
        self.known_view(name).map(|(_, record)| record.value)
    }

    pub(super) fn known_view(&self, name: &str) -> Option<(String, Stored<PoolView>)> {
        if let Some(record) = self.views.get(name) {
            return Some((name.to_owned(), record));
        }
        let mut names = self.views.names().into_iter();
        let name = names.find(|known| known.eq_ignore_ascii_case(name))?;
        self.views.get(&name).map(|record| (name, record))
    }

    /// Keeps a view. Once it returns, the view survives a restart and queries see it.
    pub async fn put_view(&self, view: PoolView, replace: bool) -> Result<(), Error> {
        for _ in 0..RACES {
            if let Some((taken, _)) = self.known(view.name.as_str()) {
                return Err(
                    Error::new(ErrorCode::Exists, format!("'{taken}' is a table"))
                        .with_hint("give the view another name"),
                );
            }
            let begun = Transaction::new().expect(keys::table(&view.name), Expect::Absent);
            let transaction = match self.known_view(view.name.as_str()) {
                Some((taken, _)) if !replace => {
                    return Err(Error::new(
                        ErrorCode::Exists,
                        format!("view '{taken}' exists already"),
                    )
                    .with_hint("write CREATE OR REPLACE VIEW"));
                }
                // The old entry may be spelled in another case; there is one entry for all spellings.
                Some((old, known)) => {
                    let old: TableName = old.parse()?;
                    let begun = begun.expect(keys::view(&old), Expect::At(known.revision));
                    if old == view.name {
                        begun
                    } else {
                        begun.delete(keys::view(&old))
                    }
                }
                None => begun.expect(keys::view(&view.name), Expect::Absent),
            };
            let written = transaction.put(keys::view(&view.name), view.encode());
            if self.write(written).await? {
                return Ok(());
            }
        }
        Err(busy("view", view.name.as_str()))
    }

    /// Forgets a view; false where there is none.
    pub async fn drop_view(&self, name: &str) -> Result<bool, Error> {
        for _ in 0..RACES {
            let Some((known, record)) = self.known_view(name) else {
                return Ok(false);
            };
            let key = keys::view(&known.parse()?);
            let transaction = Transaction::new()
                .expect(key.clone(), Expect::At(record.revision))
                .delete(key);
            if self.write(transaction).await? {
                return Ok(true);
            }
        }
        Err(busy("view", name))
    }

    /// Commits, and sees what is there now; false where others were faster.
    pub(super) async fn write(&self, transaction: Transaction) -> Result<bool, Error> {
        let outcome = self.store.commit(transaction).await?;
        self.mirror.refresh().await?;
        self.views.refresh().await?;
        match outcome {
            Outcome::Committed(_) => Ok(true),
            Outcome::Conflict => Ok(false),
        }
    }
}
