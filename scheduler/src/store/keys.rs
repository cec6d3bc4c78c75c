//! Every key of the state store: what it holds, whether it outlives the process, who may write it, and in which order.
//!
//! | key | holds | durable | written by | how |
//! |---|---|---|---|---|
//! | `table/<name>` | one catalog entry ([`crate::catalog`]'s record) | yes | `Catalog::add`, `drop` | create if absent; replace and drop only at the revision that was read |
//! | `view/<name>` | one view of the pool by its SQL text ([`crate::catalog`]'s record) | yes | `Catalog::put_view`, `drop_view` | create where neither table nor view has the name; replace and drop only at the revision that was read |
//! | `model/<alias>` | one binding ([`crate::models`]'s record) | yes | `Registry::bind`, `unbind` | same; a re-bind writes generation + 1 of the record it read |
//! | `link/<name>` | one link to a model registry ([`crate::links`]'s record), with the places of its secrets and never a secret | yes | `Links::add`, `remove` | create if absent; replace and remove only at the revision that was read |
//!
//! | `job/<id>` | one score job ([`crate::jobs`]' record): what was asked, what it is pinned to, and its state | yes | `jobs::record::Book` | create if absent, together with its key; change and forget only at the revision that was written last |
//! | `job-key/<key>` | the job that was submitted under a client's key | yes | `jobs::record::Book` | create if absent, in one transaction with the job; removed with it |
//!
//! Write orders:
//! - A binding is written after its model's content is on stable storage under its digest, never before: a crash in between
//!   leaves content that no binding names, which costs space and nothing else. Unbinding removes the record only; running
//!   queries may still fetch the content.
//! - A record is committed before the in-memory snapshot shows it, so a restart never forgets what a query has seen.
//!
//! - A score job's record is written, in state *preparing*, before anything of it is beside its output: after a crash a restart
//!   finds the record and takes back what was written. Its plan and splits are beside the output before the record says
//!   *submitted*, so a job that says so can be run by whoever comes.
//! - A step that an object store makes final (the decision, the publishing of an output, the sweep) is made there first and
//!   then written to the record: a crash in between leaves a record that lags, and the step is made again, which does no harm. The
//!   wish to cancel is the one exception: it is in the record before the decision is asked for, so that it outlives a crash.
//!
//! Plans, heartbeats, results and file lists never come here.

use whimbrel_proto::ids::{Alias, LinkName, ScoreJobId, TableName};

/// All catalog entries.
pub const TABLES: &str = "table/";
/// All views of the pool.
pub const VIEWS: &str = "view/";
/// All bindings.
pub const MODELS: &str = "model/";

/// All links.
pub const LINKS: &str = "link/";

/// All score jobs.
pub const JOBS: &str = "job/";
/// What score jobs were submitted as.
pub const JOB_KEYS: &str = "job-key/";

/// The key of one score job.
pub fn job(id: &ScoreJobId) -> String {
    format!("{JOBS}{id}")
}

/// The key of what a client calls a submission.
pub fn job_key(key: &str) -> String {
    format!("{JOB_KEYS}{key}")
}

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
