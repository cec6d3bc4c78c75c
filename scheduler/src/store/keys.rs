//! Every key of the state store: what it holds, whether it outlives the process, who may write it, and in which order.
//!
//! | key | holds | durable | written by | how |
//! |---|---|---|---|---|
//! | `table/<name>` | one catalog entry ([`crate::catalog`]'s record) | yes | `Catalog::add`, `drop` | create if absent; replace and drop only at the revision that was read |
//! | `view/<name>` | one view of the pool by its SQL text ([`crate::catalog`]'s record) | yes | `Catalog::put_view`, `drop_view` | create where neither table nor view has the name; replace and drop only at the revision that was read |
//! | `model/<alias>` | one binding ([`crate::models`]'s record) | yes | `Registry::bind`, `unbind` | same; a re-bind writes generation + 1 of the record it read |
//! | `link/<name>` | one link to a model registry ([`crate::links`]'s record), with the places of its secrets and never a secret | yes | `Links::add`, `remove` | create if absent; replace and remove only at the revision that was read |
//!
//! Write orders:
//! - A binding is written after its model's content is on stable storage under its digest, never before: a crash in between
//!   leaves content that no binding names, which costs space and nothing else. Unbinding removes the record only; running
//!   queries may still fetch the content.
//! - A record is committed before the in-memory snapshot shows it, so a restart never forgets what a query has seen.
//!
//! Plans, heartbeats, results and file lists never come here.

use whimbrel_proto::ids::{Alias, LinkName, TableName};

/// All catalog entries.
pub const TABLES: &str = "table/";
/// All views of the pool.
pub const VIEWS: &str = "view/";
/// All bindings.
pub const MODELS: &str = "model/";

/// All links.
pub const LINKS: &str = "link/";

/// The key of one catalog entry.
pub fn table(name: &TableName) -> String {
    format!("{TABLES}{name}")
}

/// The key of one view.
pub fn view(name: &TableName) -> String {
    format!("{VIEWS}{name}")
}

/// The key of one binding.
pub fn model(alias: &Alias) -> String {
    format!("{MODELS}{alias}")
}

/// The key of one link.
pub fn link(name: &LinkName) -> String {
    format!("{LINKS}{name}")
}
