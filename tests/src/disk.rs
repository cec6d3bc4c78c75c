//! A file system of its own, small enough to be full. To mount one takes rights that not every machine gives.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// It is unmounted, with what is on it, when this is dropped.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Of this size, such as `1m`. An error where it may not be mounted.
    pub fn mount(size: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("create the mount point")?;
        let options = format!("size={size}");
        call("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], &folder)?;
        Ok(Self { folder })
    }

    /// With other options, such as `size=64m` or `ro`; what is on it stays.
    pub fn remount(&self, options: &str) -> Result<()> {
        let options = format!("remount,{options}");
        call("mount", &["-o", &options], &self.folder)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps that file, and nobody finds it any more.
        let _ = call("umount", &["-l"], &self.folder);
    }
}

fn call(program: &str, args: &[&str], folder: &TempDir) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .arg(folder.path())
        .output()
        .with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
}
