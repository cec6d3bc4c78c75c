//! The folders of this machine and this user that the library is looked for in. The one file of this crate that asks the
//! environment for them.
#![expect(
    clippy::disallowed_methods,
    reason = "the user's folders are told by the environment, and nowhere else"
)]

use std::env;
use std::path::{Path, PathBuf};

use super::VERSION;

/// Where `whimbrel setup` puts the library, and where every program of this user finds it.
/// `None` where the user has neither `XDG_CACHE_HOME` nor a home folder.
pub fn cache_dir() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(cache.join("whimbrel/onnxruntime").join(VERSION))
}

/// The `lib` folder next to the running program: how a container or an unpacked archive carries the library.
pub(super) fn beside_program() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.join("lib"))
}

/// Where distributions put shared libraries, after what the loader was told to search first.
pub(super) fn system_dirs() -> Vec<PathBuf> {
    let told = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/opt/homebrew/lib",
    ];
    env::split_paths(&told)
        .filter(|path| path.is_absolute())
        .chain(usual.iter().map(|path| Path::new(path).to_owned()))
        .collect()
}
