//! The cross-process suites, in one binary: linking the engine is the dearest step of a build.

mod bad_input;
mod deploy;
mod embedded;
mod faults;
mod jobs;
mod jobs_bad_rows;
mod jobs_faults;
mod jobs_sharing;
mod lake_changes;
mod lake_damage;
mod lake_delta;
mod lake_faults;
mod lake_formats;
mod lake_formats_files;
mod model_statements;
mod models_bad;
mod models_cache;
mod models_crash;
mod models_durable;
mod models_sources;
mod models_zoo;
mod outputs;
mod queries;
mod stores;
mod stores_oauth;
