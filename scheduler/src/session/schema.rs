//! What one statement sees as tables: the views that it names, planned for it, over the pool's catalog, and files by their
//! place.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    SchemaProvider, TableProvider,
};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;

use crate::catalog::is_path;
use crate::engine::{CATALOG, LISTS_SCHEMA, SCHEMA};

/// Views over the pool's tables; a view hides a table of its name.
#[derive(Debug)]
pub(super) struct StatementSchema {
    pub(super) views: BTreeMap<String, Arc<dyn TableProvider>>,
    pub(super) pool: Arc<dyn SchemaProvider>,
    /// The pool's own lists, where the statement asks for some.
    pub(super) lists: Option<Arc<dyn SchemaProvider>>,
}

impl StatementSchema {
    /// The catalog list with this schema as its only one.
    pub(super) fn into_catalogs(mut self) -> Result<Arc<dyn CatalogProviderList>> {
        let catalog = MemoryCatalogProvider::new();
        if let Some(lists) = self.lists.take() {
            catalog.register_schema(LISTS_SCHEMA, lists)?;
        }
        catalog.register_schema(SCHEMA, Arc::new(self))?;
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        Ok(Arc::new(list))
    }
}

#[async_trait]
impl SchemaProvider for StatementSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.pool.table_names();
        names.extend(self.views.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.views.get(name) {
            Some(view) => Ok(Some(Arc::clone(view))),
            // A name that is none may still be a function, or about to be created; the planner says what is missing.
            None if !self.pool.table_exist(name) && !is_path(name) => Ok(None),
            None => self.pool.table(name).await,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        if self.views.contains_key(name) {
            Ok(Some(TableType::View))
        } else {
            self.pool.table_type(name).await
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.views.contains_key(name) || self.pool.table_exist(name)
    }
}
