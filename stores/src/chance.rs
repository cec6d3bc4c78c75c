//! Chance: the one file of this crate that asks the system for it.

/// A name that nobody else has.
#[expect(
    clippy::disallowed_methods,
    reason = "this file is the crate's one source of chance"
)]
pub(crate) fn name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
