//! Where the checkout lies whose tests run. Several of them may share one folder for what is compiled, so it is asked for when a test
//! runs and not written into its program.

use std::path::PathBuf;

/// The path in the checkout.
#[expect(
    clippy::disallowed_methods,
    reason = "what runs tests says it by the environment"
)]
pub fn checkout(path: &str) -> PathBuf {
    let tests = std::env::var_os("CARGO_MANIFEST_DIR");
    let tests = tests.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    tests.join("..").join(path)
}
