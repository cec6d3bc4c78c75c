//! The footers of Parquet files that were read lately, by store and path. The engine's own cache knows paths only, and two buckets may
//! well have files of one path, size and time.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{HashMap, Result, TableReference};
use datafusion::execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadataCache};
use datafusion::execution::cache::{Cache, CacheEntryInfo};
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::path::Path;

/// One store's part of the engine's cache.
pub(super) struct Footers {
    all: Arc<FileMetadataCache>,
    store: Path,
}

impl Footers {
    pub(super) fn of(store: &ObjectStoreUrl, all: Arc<FileMetadataCache>) -> Self {
        Self {
            all,
            store: Path::from(store.as_str()),
        }
    }

    fn key(&self, location: &Path) -> Path {
        self.store.parts().chain(location.parts()).collect()
    }
}

impl Cache<Path, CachedFileMetadataEntry> for Footers {
    fn get(&self, location: &Path) -> Option<CachedFileMetadataEntry> {
        self.all.get(&self.key(location))
    }

    fn put(
        &self,
        location: &Path,
        footer: CachedFileMetadataEntry,
    ) -> Option<CachedFileMetadataEntry> {
        self.all.put(&self.key(location), footer)
    }

    fn remove(&self, location: &Path) -> Option<CachedFileMetadataEntry> {
        self.all.remove(&self.key(location))
    }

    fn contains_key(&self, location: &Path) -> bool {
        self.all.contains_key(&self.key(location))
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    fn clear(&self) {
        self.all.clear();
    }

    fn name(&self) -> String {
        self.all.name()
    }

    fn cache_limit(&self) -> usize {
        self.all.cache_limit()
    }

    fn update_cache_limit(&self, limit: usize) {
        self.all.update_cache_limit(limit);
    }

    fn cache_ttl(&self) -> Option<Duration> {
        self.all.cache_ttl()
    }

    fn update_cache_ttl(&self, ttl: Option<Duration>) {
        self.all.update_cache_ttl(ttl);
    }

    fn drop_table_entries(&self, table: &TableReference) -> Result<()> {
        self.all.drop_table_entries(table)
    }

    fn list_entries(&self) -> HashMap<Path, CacheEntryInfo<CachedFileMetadataEntry>> {
        self.all.list_entries()
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use datafusion::execution::cache::cache_manager::{
        CacheManager, CacheManagerConfig, FileMetadata,
    };
    use object_store::ObjectMeta;

    use super::*;

    struct Footer;

    impl FileMetadata for Footer {
        fn as_any(&self) -> &dyn Any {
            self
        }

        fn memory_size(&self) -> usize {
            1
        }

        fn extra_info(&self) -> HashMap<String, String> {
            HashMap::new()
        }
    }

    #[test]
    fn a_path_in_another_bucket_is_another_file() {
        let manager = CacheManager::try_new(&CacheManagerConfig::default()).unwrap();
        let of = |store: &str| {
            let url = ObjectStoreUrl::parse(store).unwrap();
            Footers::of(&url, manager.get_file_metadata_cache())
        };
        let meta = ObjectMeta {
            location: Path::from("a/b.parquet"),
            last_modified: std::time::UNIX_EPOCH.into(),
            size: 9,
            e_tag: None,
            version: None,
        };
        let location = meta.location.clone();
        let footer = CachedFileMetadataEntry::new(meta, Arc::new(Footer));
        of("s3://one").put(&location, footer);
        assert!(of("s3://one").get(&location).is_some());
        assert!(of("s3://two").get(&location).is_none());
    }
}
