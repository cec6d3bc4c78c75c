//! Statements that change something: the pool's tables, the session's views and settings.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use ballista_core::extension::SessionConfigExt;
use datafusion::common::TableReference;
use datafusion::logical_expr::{
    CreateExternalTable, DdlStatement, LogicalPlan, Statement as PlanStatement,
};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use whimbrel_access::Role;
use whimbrel_proto::{Error, ErrorCode};

use crate::catalog::{AddTable, Catalog, PoolView};
use crate::engine::{CATALOG, SCHEMA, may_set};
use crate::models::Registry;
use crate::nearest;
use crate::session::{Session, View, ViewKind, view_kind};

use super::models::{CreateModel, drop_model};

/// A view to be kept.
#[derive(Debug)]
pub(crate) enum NewView {
    /// Until the session ends.
    Temporary(View),
    /// For all, by its text.
    Pool(String),
}

/// A change, understood but not made.
#[derive(Debug)]
pub(crate) enum Effect {
    Set {
        key: String,
        value: String,
    },
    Reset {
        key: String,
    },
    CreateView {
        name: String,
        view: NewView,
        replace: bool,
        if_not_exists: bool,
    },
    DropView {
        name: String,
        if_exists: bool,
    },
    AddTable {
        table: Box<AddTable>,
        if_not_exists: bool,
    },
    DropTable {
        name: String,
        if_exists: bool,
    },
    CreateModel(CreateModel),
    DropModel {
        alias: String,
        if_exists: bool,
    },
}

impl Effect {
    /// The role that the change takes. What ends with a session is its user's own affair.
    pub(super) fn needs(&self, session: &Session) -> Role {
        match self {
            Self::Set { .. }
            | Self::Reset { .. }
            | Self::CreateView {
                view: NewView::Temporary(_),
                ..
            } => Role::Reader,
            Self::DropView { name, .. } if session.has_view(name) => Role::Reader,
            Self::CreateView { .. }
            | Self::DropView { .. }
            | Self::AddTable { .. }
            | Self::DropTable { .. }
            | Self::CreateModel(_)
            | Self::DropModel { .. } => Role::Scorer,
        }
    }
}

/// A setting of a session: `None` puts it back.
pub(crate) fn setting(key: &str, value: Option<&str>) -> Result<Effect, Error> {
    settable(key)?;
    let key = key.to_ascii_lowercase();
    let Some(value) = value else {
        return Ok(Effect::Reset { key });
    };
    // A value that is none must fail here, not at every later statement.
    let mut config = SessionConfig::new_with_ballista();
    let set = config.options_mut().set(&key, value);
    let codec = set.and_then(|()| config.ballista_config().shuffle_compression_codec());
    codec.map_err(|error| {
        let why = error.find_root().message().into_owned();
        Error::new(
            ErrorCode::Invalid,
            format!("'{key}' cannot be '{value}': {why}"),
        )
    })?;
    let value = value.to_owned();
    Ok(Effect::Set { key, value })
}

/// What the planned statement changes; `written` is the statement as it came, and `sql` its text.
pub(super) fn effect(sql: &str, written: Statement, plan: LogicalPlan) -> Result<Effect, Error> {
    match plan {
        LogicalPlan::Statement(PlanStatement::SetVariable(set)) => {
            setting(&set.variable, Some(&set.value))
        }
        LogicalPlan::Statement(PlanStatement::ResetVariable(reset)) => {
            setting(&reset.variable, None)
        }
        LogicalPlan::Ddl(ddl) => change(sql, written, ddl),
        _ => Err(Error::new(
            ErrorCode::Bug,
            "a statement without effect was taken for one with effect",
        )),
    }
}

fn settable(key: &str) -> Result<(), Error> {
    if may_set(key) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::Invalid, format!("'{key}' cannot be set in a session"))
        .with_hint("SET takes datafusion.execution.*, datafusion.optimizer.*, datafusion.sql_parser.*, but for what the pool fixes, and ballista.shuffle.compression.codec"))
}

fn change(sql: &str, written: Statement, ddl: DdlStatement) -> Result<Effect, Error> {
    match ddl {
        DdlStatement::CreateView(create) => Ok(Effect::CreateView {
            name: own(&create.name)?,
            replace: create.or_replace,
            if_not_exists: if_not_exists(&written),
            view: match view_kind(&written) {
                Some(ViewKind::Temporary) => NewView::Temporary(View { statement: written }),
                Some(ViewKind::Pool) | None => NewView::Pool(sql.to_owned()),
            },
        }),
        DdlStatement::DropView(drop) => Ok(Effect::DropView {
            name: own(&drop.name)?,
            if_exists: drop.if_exists,
        }),
        DdlStatement::CreateExternalTable(create) => add_table(*create),
        DdlStatement::DropTable(drop) => Ok(Effect::DropTable {
            name: own(&drop.name)?,
            if_exists: drop.if_exists,
        }),
        DdlStatement::CreateMemoryTable(_) => refuse(
            "CREATE TABLE",
            "CREATE EXTERNAL TABLE names files, CREATE VIEW a query",
        ),
        DdlStatement::CreateCatalogSchema(_)
        | DdlStatement::DropCatalogSchema(_)
        | DdlStatement::CreateCatalog(_) => {
            refuse("more than one schema", "all tables of a pool are in one")
        }
        DdlStatement::CreateIndex(_) => refuse("CREATE INDEX", "files have none"),
        DdlStatement::CreateFunction(_) | DdlStatement::DropFunction(_) => {
            refuse("CREATE FUNCTION", "bind a model with CREATE MODEL")
        }
    }
}

fn if_not_exists(written: &Statement) -> bool {
    matches!(written, Statement::Statement(ast)
        if matches!(ast.as_ref(), Ast::CreateView(view) if view.if_not_exists))
}

fn refuse(what: &str, hint: &str) -> Result<Effect, Error> {
    Err(Error::new(ErrorCode::Invalid, format!("{what} is not supported")).with_hint(hint))
}

/// The bare name of a table in the pool's own schema.
fn own(name: &TableReference) -> Result<String, Error> {
    let ours = name.schema().is_none_or(|schema| schema == SCHEMA)
        && name.catalog().is_none_or(|catalog| catalog == CATALOG);
    if ours {
        return Ok(name.table().to_owned());
    }
    Err(Error::new(
        ErrorCode::Invalid,
        format!("'{name}' is not a name in this pool"),
    )
    .with_hint("leave out schema and catalog"))
}

fn add_table(create: CreateExternalTable) -> Result<Effect, Error> {
    let CreateExternalTable {
        schema,
        name,
        locations,
        file_type,
        table_partition_cols,
        order_exprs,
        unbounded,
        ..
    } = &create;
    if !order_exprs.is_empty() || *unbounded {
        return refuse("WITH ORDER and UNBOUNDED", "leave them out");
    }
    let [location] = locations.as_slice() else {
        return refuse(
            "several locations",
            "name a folder, or a pattern such as /data/*.parquet",
        );
    };
    let mut table = AddTable {
        name: own(name)?,
        uri: location.clone(),
        format: file_type.to_ascii_lowercase(),
        columns: file_columns(schema.as_arrow(), table_partition_cols),
        folders: table_partition_cols.clone(),
        replace: create.or_replace,
        ..AddTable::default()
    };
    for (key, value) in &create.options {
        set_option(&mut table, key, value)?;
    }
    Ok(Effect::AddTable {
        table: Box::new(table),
        if_not_exists: create.if_not_exists,
    })
}

fn set_option(table: &mut AddTable, key: &str, value: &str) -> Result<(), Error> {
    let key = key.to_ascii_lowercase();
    match key.strip_prefix("format.").unwrap_or(&key) {
        "has_header" => table.header = Some(parse_bool(&key, value)?),
        "newlines_in_values" => table.multiline = Some(parse_bool(&key, value)?),
        "check_header" => table.any_header = Some(!parse_bool(&key, value)?),
        "delimiter" => value.clone_into(&mut table.delimiter),
        "quote" => value.clone_into(&mut table.quote),
        "escape" => value.clone_into(&mut table.escape),
        "comment" => value.clone_into(&mut table.comment),
        "compression" => value.clone_into(&mut table.compression),
        "encoding" => value.clone_into(&mut table.encoding),
        "null_value" => table.nulls.push(value.to_owned()),
        "null_values" => table.nulls = value.split(',').map(str::to_owned).collect(),
        "schema_infer_max_rec" => {
            table.infer_rows = value.parse().map_err(|_| {
                Error::new(ErrorCode::Invalid, format!("{key} is '{value}'"))
                    .with_hint("write a whole number")
            })?;
        }
        other => {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("option '{other}' is not supported"),
            )
            .with_hint("there are has_header, check_header, delimiter, quote, escape, comment, newlines_in_values, null_values, compression, encoding and schema_infer_max_rec"));
        }
    }
    Ok(())
}

/// The columns that the statement lists, but for those that folders make; `None` where it lists none.
fn file_columns(listed: &Schema, folders: &[String]) -> Option<SchemaRef> {
    let own = listed
        .fields()
        .iter()
        .filter(|field| !folders.contains(field.name()));
    let own: Vec<FieldRef> = own.cloned().collect();
    (!own.is_empty()).then(|| Arc::new(Schema::new(own)))
}

fn parse_bool(key: &str, text: &str) -> Result<bool, Error> {
    text.to_ascii_lowercase().parse().map_err(|_| {
        Error::new(ErrorCode::Invalid, format!("{key} is '{text}'"))
            .with_hint("write true or false")
    })
}

impl Effect {
    /// Makes the change.
    pub(super) async fn apply(
        self,
        session: &Session,
        catalog: &Catalog,
        models: &Registry,
    ) -> Result<(), Error> {
        match self {
            Self::Set { key, value } => session.set(key, value),
            Self::Reset { key } => session.reset(&key),
            Self::CreateView {
                name,
                view,
                replace,
                if_not_exists,
            } => match create_view(session, catalog, name, view, replace).await {
                Err(error) if if_not_exists && error.code() == ErrorCode::Exists => {}
                made => made?,
            },
            Self::DropView { name, if_exists } => {
                if session.drop_view(&name) {
                    return Ok(());
                }
                // The session's own view may have gone since the right to drop it was looked at.
                session.caller().may(Role::Scorer)?;
                if !catalog.drop_view(&name).await? && !if_exists {
                    return Err(no_view(catalog, &name));
                }
            }
            Self::AddTable {
                table,
                if_not_exists,
            } => match catalog.add(*table).await {
                Err(error) if if_not_exists && error.code() == ErrorCode::Exists => {}
                added => drop(added?),
            },
            Self::DropTable { name, if_exists } => match catalog.drop_table(&name).await {
                Err(error) if if_exists && error.code() == ErrorCode::NotFound => {}
                dropped => dropped?,
            },
            Self::CreateModel(create) => create.apply(models).await?,
            Self::DropModel { alias, if_exists } => {
                drop_model(models, &alias, if_exists).await?;
            }
        }
        Ok(())
    }
}

async fn create_view(
    session: &Session,
    catalog: &Catalog,
    name: String,
    view: NewView,
    replace: bool,
) -> Result<(), Error> {
    match view {
        NewView::Temporary(_) if !replace && session.has_view(&name) => Err(Error::new(
            ErrorCode::Exists,
            format!("view '{name}' exists already"),
        )
        .with_hint("write CREATE OR REPLACE TEMPORARY VIEW")),
        NewView::Temporary(view) => session.add_view(name, view),
        NewView::Pool(sql) => {
            let name = name.parse()?;
            catalog.put_view(PoolView { name, sql }, replace).await
        }
    }
}

fn no_view(catalog: &Catalog, name: &str) -> Error {
    if catalog.get(name).is_ok() {
        return Error::new(
            ErrorCode::NotFound,
            format!("'{name}' is a table, not a view"),
        )
        .with_hint("DROP TABLE removes it; its files stay");
    }
    let known = catalog.view_names();
    Error::new(ErrorCode::NotFound, format!("view '{name}' does not exist")).with_hint(
        nearest::hint(
            name,
            known.iter().map(String::as_str),
            "the pool has no views",
        ),
    )
}
