//! Golden texts: what users see, kept as files and reviewed as diffs. `make golden` rewrites them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::checkout::checkout;

fn path(name: &str) -> PathBuf {
    checkout("tests/golden").join(name)
}

/// True when golden files are being rewritten.
#[expect(clippy::disallowed_methods, reason = "the one setting of the suites")]
pub fn writing() -> bool {
    std::env::var("WHIMBREL_GOLDEN").is_ok_and(|mode| mode == "write")
}

/// The golden file's text.
pub fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(path(name))
        .with_context(|| format!("read golden {name}; `make golden` writes it"))
}

/// Rewrites the golden file.
pub fn write(name: &str, text: &str) -> Result<()> {
    let path = path(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).context("create the golden folder")?;
    }
    std::fs::write(&path, text).context("write the golden file")
}

/// Compares `actual` with the golden file, or rewrites it where `WHIMBREL_GOLDEN=write`.
pub fn check(name: &str, actual: &str) -> Result<()> {
    if writing() {
        return write(name, actual);
    }
    let expected = read(name)?;
    if expected != actual {
        bail!("golden {name} differs\n--- expected ---\n{expected}\n--- actual ---\n{actual}");
    }
    Ok(())
}
