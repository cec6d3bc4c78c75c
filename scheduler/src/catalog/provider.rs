//! The catalog as the engine sees it: a schema whose tables list their files when a query is planned.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, ScanResult, SchemaProvider, Session, TableProvider};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, DataFusionError, Result as EngineResult, ScalarValue, project_schema,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchemaBuilder;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;
use whimbrel_predict::input::{InputSource, StrictColumns};
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Stores, stamped};

use super::Catalog;
use super::kinds::{self, Kind};
use super::list::{self, Found};
use super::place::Place;
use super::splits::{self, Piece};
use super::table::{Format, Table};
use super::{infer, merge, partitions};

/// A query that wants no more rows than this is soon done.
const FEW_ROWS: usize = 100_000;

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
        if is_path(name) && !self.table_exist(name) {
            let files = self.catalog.at(name).await.map_err(engine_error)?;
            return Ok(Some(Arc::new(files)));
        }
        let table = self.catalog.get(name).map_err(engine_error)?;
        let stores = self.catalog.stores.clone();
        Ok(Some(Arc::new(Dataset::new(table, stores))))
    }

    async fn table_type(&self, name: &str) -> EngineResult<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog.get(name).is_ok()
    }
}

/// Whether a name in FROM can only be that of files: no table is called so.
pub fn is_path(name: &str) -> bool {
    name.contains(['/', '.', '*', '?'])
}

/// A table's files of one moment.
struct Files {
    place: Place,
    store: Arc<dyn ObjectStore>,
    files: Vec<Found>,
}

/// One table of the catalog. It keeps the schema it was added with, and lists its files anew for every scan; files that a
/// statement names by their place are those that their schema was found in.
pub struct Dataset {
    table: Arc<Table>,
    stores: Stores,
    listed: Option<Vec<Found>>,
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
    /// A table, to be listed when it is scanned.
    pub(super) fn new(table: Arc<Table>, stores: Stores) -> Self {
        Self {
            table,
            stores,
            listed: None,
        }
    }

    /// Files without a table.
    pub(super) fn of_files(table: Table, files: Vec<Found>, stores: Stores) -> Self {
        Self {
            table: Arc::new(table),
            stores,
            listed: Some(files),
        }
    }

    /// The table's entry.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The store and the files of this moment.
    async fn files(&self, state: &dyn Session) -> Result<Files, Error> {
        let found = async {
            let place = Place::parse(&self.table.uri, Path::new("/"), &self.stores)?;
            let store = super::store_of(&place, state.runtime_env())?;
            if let Some(files) = self.listed.clone() {
                return Ok(Files {
                    place,
                    store,
                    files,
                });
            }
            let listed = list::list(&place, &store).await?;
            let kind = Kind::of(self.table.format);
            let (_, files) = kinds::choose(&self.table.uri, listed, Some(kind))?;
            Ok(Files {
                place,
                store,
                files,
            })
        };
        found.await.map_err(|error: Error| self.explain(&error))
    }

    /// Says which table the error is about, and what to do where its files are gone.
    fn explain(&self, error: &Error) -> Error {
        if self.listed.is_some() {
            return error.clone();
        }
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
    async fn refuse_late_rows(&self, state: &dyn Session, files: &Files) -> Result<(), Error> {
        let columns = self.table.file_schema();
        if !merge::is_untyped(&columns) {
            return Ok(());
        }
        let Table { name, uri, .. } = self.table.as_ref();
        let sample = infer::Sample::new(&self.table, 0);
        if infer::schema_of(state, &files.store, &sample, &files.files).await? == columns {
            return Ok(());
        }
        let text = format!("table '{name}' had no rows when it was added, and has some now");
        Err(Error::new(ErrorCode::InputChanged, text).with_hint(format!(
            "find out its columns' types anew: `whimbrel table add {name} --uri {uri} --replace`"
        )))
    }

    /// The files with what their folders say, without those that the filters rule out.
    fn pruned(
        &self,
        state: &dyn Session,
        found: Vec<Found>,
        filters: &[Expr],
    ) -> EngineResult<Vec<PartitionedFile>> {
        let columns = self.table.folder_columns();
        let mut files = Vec::with_capacity(found.len());
        for file in found {
            let values = partitions::values(&file, &columns);
            let values = values.map_err(|error| engine_error(self.explain(&error)))?;
            let mut part = PartitionedFile::new_from_meta(stamped(file.meta));
            part.partition_values = values;
            files.push(part);
        }
        if columns.is_empty() {
            return Ok(files);
        }
        prune(state, &Schema::new(columns), files, filters)
    }

    /// The scan of these files, cut into splits.
    fn config(
        &self,
        store: ObjectStoreUrl,
        files: &[PartitionedFile],
        wanted: usize,
        args: &ScanArgs<'_>,
    ) -> EngineResult<FileScanConfig> {
        let Table {
            format, reading, ..
        } = self.table.as_ref();
        let fact = |file: &PartitionedFile| {
            let divisible = format.is_divisible(reading, file.object_meta.location.as_ref());
            (file.object_meta.size, divisible)
        };
        let facts: Vec<(u64, bool)> = files.iter().map(fact).collect();
        let splits = splits::cut(&facts, wanted);
        // So few rows are there soon: a task each for thousands of splits would score some of every one.
        let splits = match args.limit() {
            Some(limit) if limit <= FEW_ROWS => splits::pack(splits, wanted),
            Some(_) | None => splits,
        };
        let piece = |piece: &Piece| {
            let file = files[piece.file].clone();
            match piece
                .range
                .map(|(start, end)| (i64::try_from(start), i64::try_from(end)))
            {
                Some((Ok(start), Ok(end))) => file.with_range(start, end),
                Some(_) | None => file,
            }
        };
        let group = |split: &Vec<Piece>| FileGroup::new(split.iter().map(piece).collect());
        let schema = TableSchemaBuilder::from(&self.table.file_schema())
            .with_table_partition_cols(self.table.folder_columns())
            .build();
        let source = infer::reader(*format).file_source(schema);
        let source: Arc<dyn FileSource> = match format {
            Format::Parquet => source,
            Format::Csv(_) | Format::Json | Format::Arrow => {
                Arc::new(InputSource::new(source, Arc::clone(reading)))
            }
        };
        let config = FileScanConfigBuilder::new(store, source)
            .with_file_groups(splits.iter().map(group).collect())
            .with_projection_indices(args.projection().map(<[usize]>::to_vec))?
            .with_expr_adapter(Some(Arc::new(StrictColumns)))
            .with_limit(args.limit());
        Ok(config.build())
    }
}

/// The files that `filters` on their folders' columns leave.
fn prune(
    state: &dyn Session,
    columns: &Schema,
    files: Vec<PartitionedFile>,
    filters: &[Expr],
) -> EngineResult<Vec<PartitionedFile>> {
    let known = DFSchema::try_from(columns.clone())?;
    let applies = |filter: &&Expr| {
        let names = filter.column_refs();
        !filter.is_volatile()
            && !names.is_empty()
            && names
                .iter()
                .all(|name| columns.index_of(name.name()).is_ok())
    };
    let mut files = files;
    for filter in filters.iter().filter(applies) {
        let bare = filter.clone().transform(|expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    Transformed::yes(Expr::Column(Column::from_name(column.name)))
                }
                other => Transformed::no(other),
            })
        })?;
        let check = state.create_physical_expr(bare.data, &known)?;
        let values = |at: usize| {
            ScalarValue::iter_to_array(files.iter().map(|file| file.partition_values[at].clone()))
        };
        let arrays = (0..columns.fields().len())
            .map(values)
            .collect::<EngineResult<Vec<_>>>()?;
        let rows = RecordBatch::try_new(Arc::new(columns.clone()), arrays)?;
        let keep = check.evaluate(&rows)?.into_array(files.len())?;
        let keep = as_boolean_array(&keep)?;
        let mut at = 0;
        files.retain(|_| {
            at += 1;
            keep.is_valid(at - 1) && keep.value(at - 1)
        });
        if files.is_empty() {
            break;
        }
    }
    Ok(files)
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
        let found = self.files(state).await.map_err(engine_error)?;
        if !found.files.is_empty() && self.listed.is_none() {
            let late = self.refuse_late_rows(state, &found).await;
            late.map_err(engine_error)?;
        }
        let Files { place, files, .. } = found;
        let files = self.pruned(state, files, args.filters().unwrap_or_default())?;
        if files.is_empty() {
            let projection = args.projection().map(<[usize]>::to_vec);
            let schema = project_schema(&self.table.schema, projection.as_ref())?;
            return Ok(ScanResult::new(Arc::new(EmptyExec::new(schema))));
        }
        let store = place.store().map_err(engine_error)?;
        let wanted = state.config().target_partitions();
        let config = self.config(store, &files, wanted, &args)?;
        // The engine's formats would put their own readers in the place of ours.
        let plan: Arc<dyn ExecutionPlan> = match self.table.format {
            Format::Parquet => {
                let reader = infer::reader(self.table.format);
                reader.create_physical_plan(state, config).await?
            }
            Format::Csv(_) | Format::Json | Format::Arrow => {
                DataSourceExec::from_data_source(config)
            }
        };
        Ok(ScanResult::new(plan))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // Parquet prunes row groups and pages by them; the engine still applies them to every row.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
