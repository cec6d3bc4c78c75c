//! The pool's views. A view is kept as the text of its statement and planned anew each time it is used, so it never carries
//! the columns of a table, or of a model, that has been replaced since. Tables and views share their names.

use std::sync::Arc;

use prost::Message;
use whimbrel_proto::ids::TableName;
use whimbrel_proto::{Error, ErrorCode};

use super::Catalog;
use crate::store::{Expect, Record as Stored, Transaction, keys};

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
        let propose = || {
            if let Some((taken, _)) = self.known(view.name.as_str()) {
                return Err(
                    Error::new(ErrorCode::Exists, format!("'{taken}' is a table"))
                        .with_hint("give the view another name"),
                );
            }
            let key = keys::view(&view.name);
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
                    let old = keys::view(&old.parse()?);
                    let begun = begun.expect(old.clone(), Expect::At(known.revision));
                    if old == key { begun } else { begun.delete(old) }
                }
                None => begun.expect(key.clone(), Expect::Absent),
            };
            Ok(transaction.put(key, view.encode()))
        };
        self.change("view", view.name.as_str(), propose).await
    }

    /// Forgets a view; false where there is none.
    pub async fn drop_view(&self, name: &str) -> Result<bool, Error> {
        let propose = || {
            let (known, record) = self.known_view(name).ok_or_else(|| {
                let text = format!("view '{name}' does not exist");
                Error::new(ErrorCode::NotFound, text)
            })?;
            let key = keys::view(&known.parse()?);
            Ok(Transaction::new()
                .expect(key.clone(), Expect::At(record.revision))
                .delete(key))
        };
        match self.change("view", name, propose).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}
