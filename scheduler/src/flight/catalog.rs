//! What there is, as Flight SQL asks for it: catalogs, schemas, tables, and what this server can do.

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, SqlInfo,
    SqlSupportedTransaction,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::catalog::Catalog;
use crate::engine::{CATALOG, SCHEMA};

const TABLE: &str = "TABLE";

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

pub(super) fn tables(query: CommandGetTables, catalog: &Catalog) -> Result<RecordBatch, Error> {
    let mut builder = query.into_builder();
    for table in catalog.list() {
        builder
            .append(CATALOG, SCHEMA, table.name.as_str(), TABLE, &table.schema)
            .map_err(broken)?;
    }
    builder.build().map_err(broken)
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Error> {
    let mut builder = query.into_builder();
    builder.append(TABLE);
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
