//! The catalog as the engine sees it: a schema whose tables list their files when a query is planned.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, ScanResult, SchemaProvider, Session, TableProvider};
use datafusion::common::{DataFusionError, Result as EngineResult, project_schema};
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use whimbrel_proto::{Error, ErrorCode};

use super::Catalog;
use super::infer::{self, Kind};
use super::location::{self, Found};
use super::table::Table;

/// Our own error inside the engine's: found again by a downcast, never by its text.
fn engine_error(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The pool's tables as the engine's schema. An unknown name is our error, which offers the nearest one.
#[derive(Debug)]
pub struct PoolSchema {
    catalog: Arc<Catalog>,
}

impl PoolSchema {
    /// A view of `catalog` that is always as new as the catalog is.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }
}

#[async_trait]
impl SchemaProvider for PoolSchema {
    fn table_names(&self) -> Vec<String> {
        self.catalog.names()
    }

    async fn table(&self, name: &str) -> EngineResult<Option<Arc<dyn TableProvider>>> {
        let table = self.catalog.get(name).map_err(engine_error)?;
        Ok(Some(Arc::new(Dataset { table })))
    }

    async fn table_type(&self, name: &str) -> EngineResult<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog.get(name).is_ok()
    }
}

/// One table of the catalog. It keeps the schema it was added with, and lists its files anew for every scan.
pub struct Dataset {
    table: Arc<Table>,
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.table.name)
            .field("uri", &self.table.uri)
            .finish()
    }
}

impl Dataset {
    /// The table's entry.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    async fn files(&self) -> Result<Vec<Found>, Error> {
        let table = Arc::clone(&self.table);
        let listing = move || {
            let kind = Kind::from_name(table.format.name());
            let listed = location::list(&table.uri)?;
            infer::choose(&table.uri, listed, kind).map(|(_, files)| files)
        };
        let listed = tokio::task::spawn_blocking(listing)
            .await
            .map_err(|error| {
                Error::new(
                    ErrorCode::Bug,
                    format!("listing the files of a table failed: {error}"),
                )
            })?;
        listed.map_err(|error| self.explain(&error))
    }

    /// Says which table the error is about, and what to do where its files are gone.
    fn explain(&self, error: &Error) -> Error {
        let name = &self.table.name;
        let text = format!("table '{name}' cannot be read: {}", error.message());
        let told = Error::new(error.code(), text);
        match (error.code(), error.hint()) {
            (ErrorCode::NotFound, _) => told.with_hint(format!(
                "put the files back, or `whimbrel table drop {name}` and add it where they are now"
            )),
            (_, Some(hint)) => told.with_hint(hint),
            (_, None) => told,
        }
    }

    /// A table that had no rows when it was added has columns without types: rows that came since cannot be read.
    async fn refuse_late_rows(&self, state: &dyn Session, files: &[Found]) -> Result<(), Error> {
        let Table {
            name,
            uri,
            format,
            schema,
        } = self.table.as_ref();
        if !infer::is_untyped(schema) || infer::schema_of(state, *format, files).await? == *schema {
            return Ok(());
        }
        let text = format!("table '{name}' had no rows when it was added, and has some now");
        Err(Error::new(ErrorCode::InputChanged, text).with_hint(format!(
            "find out its columns' types anew: `whimbrel table add {name} --uri {uri} --replace`"
        )))
    }

    fn listing(&self, state: &dyn Session, files: &[Found]) -> EngineResult<ListingTable> {
        let urls: Result<Vec<_>, Error> = files.iter().map(infer::url_of).collect();
        let options =
            ListingOptions::new(infer::reader(self.table.format, 0)).with_file_extension("");
        let config = ListingTableConfig::new_with_multi_paths(urls.map_err(engine_error)?)
            .with_listing_options(options)
            .with_schema(Arc::clone(&self.table.schema));
        let cache = state.runtime_env().cache_manager.get_file_statistic_cache();
        Ok(ListingTable::try_new(config)?.with_cache(cache))
    }
}

#[async_trait]
impl TableProvider for Dataset {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let args = ScanArgs::default()
            .with_projection(projection.map(Vec::as_slice))
            .with_filters(Some(filters))
            .with_limit(limit);
        Ok(self.scan_with_args(state, args).await?.into_inner())
    }

    async fn scan_with_args<'a>(
        &self,
        state: &dyn Session,
        args: ScanArgs<'a>,
    ) -> EngineResult<ScanResult> {
        let files = self.files().await.map_err(engine_error)?;
        if files.is_empty() {
            let projection = args.projection().map(<[usize]>::to_vec);
            let schema = project_schema(&self.table.schema, projection.as_ref())?;
            return Ok(ScanResult::new(Arc::new(EmptyExec::new(schema))));
        }
        let late = self.refuse_late_rows(state, &files).await;
        late.map_err(engine_error)?;
        self.listing(state, &files)?
            .scan_with_args(state, args)
            .await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // Parquet prunes row groups and pages by them; the engine still applies them to every row.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
