//! What there is, as Flight SQL asks for it: catalogs, schemas, tables, and what this server can do.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, SqlInfo,
    SqlSupportedTransaction,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::engine::{CATALOG, SCHEMA};
use crate::pool::Pool;
use crate::session::Session;

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// A list that could not be made.
pub(super) fn broken(error: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::Bug,
        format!("cannot list what there is: {error}"),
    )
}

pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch, Error> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build().map_err(broken)
}

pub(super) fn schemas(query: CommandGetDbSchemas) -> Result<RecordBatch, Error> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build().map_err(broken)
}

/// The pool's tables and views, and the session's own views. A view's columns are those of its query now; one whose tables are gone
/// has none.
pub(super) async fn tables(
    query: CommandGetTables,
    pool: &Pool,
    session: Arc<Session>,
) -> Result<RecordBatch, Error> {
    let with_columns = query.include_schema;
    let mut builder = query.into_builder();
    let own = session.views();
    let mut names = pool.catalog.view_names();
    names.retain(|name| !own.contains_key(name));
    names.extend(own.into_keys());
    for table in pool.catalog.list() {
        if names.iter().any(|view| view == table.name.as_str()) {
            continue;
        }
        builder
            .append(CATALOG, SCHEMA, table.name.as_str(), TABLE, &table.schema)
            .map_err(broken)?;
    }
    for name in names {
        let schema = match with_columns {
            true => columns(pool, &session, &name).await,
            false => Arc::new(Schema::empty()),
        };
        builder
            .append(CATALOG, SCHEMA, name, VIEW, schema.as_ref())
            .map_err(broken)?;
    }
    builder.build().map_err(broken)
}

async fn columns(pool: &Pool, session: &Arc<Session>, view: &str) -> SchemaRef {
    let sql = format!("SELECT * FROM \"{}\"", view.replace('"', "\"\""));
    match pool.runner.describe(Arc::clone(session), &sql).await {
        Ok(described) => described.schema,
        Err(error) => {
            tracing::debug!(view, %error, "a view has no columns now");
            Arc::new(Schema::empty())
        }
    }
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Error> {
    let mut builder = query.into_builder();
    builder.append(TABLE);
    builder.append(VIEW);
    builder.build().map_err(broken)
}

/// What this server says of itself.
pub(super) fn facts() -> Result<SqlInfoData, Error> {
    let mut facts = SqlInfoDataBuilder::new();
    facts.append(SqlInfo::FlightSqlServerName, "Whimbrel");
    facts.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    facts.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    facts.append(SqlInfo::FlightSqlServerReadOnly, false);
    facts.append(SqlInfo::FlightSqlServerSql, true);
    facts.append(SqlInfo::FlightSqlServerSubstrait, false);
    facts.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    facts.append(SqlInfo::FlightSqlServerCancel, true);
    facts.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    facts.build().map_err(broken)
}
