//! Finding an ONNX Runtime library that is already on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use whimbrel_proto::{Error, ErrorCode};

use super::{FIRST_MINOR_WITH_UPLOADER, OLDEST_MINOR, places};

/// What the file is called: in our own folders, in wheels and in distributions.
#[cfg(not(target_os = "macos"))]
const NAMES: [&str; 3] = [
    "libonnxruntime.so",
    "libonnxruntime.so.1",
    "libonnxruntime.so.1.28.0",
];
#[cfg(target_os = "macos")]
const NAMES: [&str; 3] = [
    "libonnxruntime.dylib",
    "libonnxruntime.1.dylib",
    "libonnxruntime.1.28.0.dylib",
];

/// Prints the folder of the Python package's native files; nothing is imported, so nothing of it runs.
const ASK_PYTHON: &str = "import importlib.util as u, os
s = u.find_spec('onnxruntime')
print(os.path.join(os.path.dirname(s.origin), 'capi') if s and s.origin else '')";

/// The library to load: the configured file, else `lib/` next to the program, the user's cache, an installed Python
/// package (1.20 to 1.28), the system's. May ask `python3`, so it blocks for some milliseconds.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, Error> {
    match configured {
        Some(path) => named(path),
        None => search(&Places::of_this_machine()).ok_or_else(missing),
    }
}

/// The file that somebody named must be there: falling back to another one would hide the mistake.
fn named(path: &Path) -> Result<PathBuf, Error> {
    // Absolute, because the loader looks a bare name up among the system's libraries.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = if absolute.is_dir() {
        in_folder(&absolute)
    } else {
        absolute.is_file().then_some(absolute)
    };
    found.ok_or_else(|| {
        Error::new(
            ErrorCode::Invalid,
            format!("there is no ONNX Runtime library at '{}'", path.display()),
        )
        .with_hint(
            "name the file libonnxruntime.so, or leave the setting out and run 'whimbrel setup'",
        )
    })
}

/// Another executor may have it; this one will not by waiting.
fn missing() -> Error {
    Error::new(
        ErrorCode::Model,
        "the ONNX Runtime library is not on this machine",
    )
    .with_hint(
        "run 'whimbrel setup' here, or set WHIMBREL_ONNXRUNTIME to the path of a libonnxruntime",
    )
}

struct Places {
    /// Folders of our own, the first one wins.
    ours: Vec<PathBuf>,
    python: PathBuf,
    system: Vec<PathBuf>,
}

impl Places {
    fn of_this_machine() -> Self {
        Self {
            ours: places::beside_program()
                .into_iter()
                .chain(places::cache_dir())
                .collect(),
            python: PathBuf::from("python3"),
            system: places::system_dirs(),
        }
    }
}

fn search(places: &Places) -> Option<PathBuf> {
    places
        .ours
        .iter()
        .find_map(|folder| in_folder(folder))
        .or_else(|| in_python(&places.python))
        .or_else(|| places.system.iter().find_map(|folder| in_folder(folder)))
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

fn in_python(python: &Path) -> Option<PathBuf> {
    let answer = Command::new(python)
        .args(["-c", ASK_PYTHON])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(answer.stdout).ok()?;
    let folder = Path::new(folder.trim());
    if !folder.is_absolute() {
        return None;
    }
    std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .and_then(|name| minor_version(name.to_str()?))
                .is_some_and(is_safe_minor)
        })
}

fn is_safe_minor(minor: u32) -> bool {
    (OLDEST_MINOR..FIRST_MINOR_WITH_UPLOADER).contains(&minor)
}

/// 28 of `libonnxruntime.so.1.28.0` and of `libonnxruntime.1.28.0.dylib`.
fn minor_version(name: &str) -> Option<u32> {
    let version = name.strip_prefix("libonnxruntime.")?;
    let version = version
        .strip_prefix("so.")
        .or_else(|| version.strip_suffix(".dylib"))?;
    let mut parts = version.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("1"), Some(minor), Some(_)) => minor.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::runtime::testing::{TempFolder, script};

    #[test]
    fn versions_are_read_from_file_names() {
        assert_eq!(minor_version("libonnxruntime.so.1.28.0"), Some(28));
        assert_eq!(minor_version("libonnxruntime.1.28.0.dylib"), Some(28));
        assert_eq!(minor_version("libonnxruntime_providers_shared.so"), None);
        assert_eq!(minor_version("libonnxruntime.so.1"), None);
        assert!(!is_safe_minor(29) && !is_safe_minor(19) && is_safe_minor(20));
    }

    #[test]
    fn a_configured_file_that_is_missing_is_an_error_and_not_a_search() {
        let error = find(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err();
        assert_eq!(
            error.message(),
            "there is no ONNX Runtime library at '/nowhere/libonnxruntime.so'"
        );
    }

    #[test]
    fn nothing_anywhere_says_what_to_run() {
        let nowhere = Places {
            ours: vec![],
            python: "/nowhere/python3".into(),
            system: vec![],
        };
        assert_eq!(search(&nowhere), None);
        assert!(missing().to_string().contains("whimbrel setup"));
    }

    /// Our own folder, then Python's package, then the system's; a Python package with the uploader is passed over.
    #[test]
    fn the_order_is_ours_then_python_then_system() {
        let root = TempFolder::new();
        let folder = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (ours, package, system) = (folder("ours"), folder("capi"), folder("system"));
        let python = root.path().join("python3");
        script(&python, &format!("echo '{}'", package.display()));
        let places = Places {
            ours: vec![ours.clone()],
            python,
            system: vec![system.clone()],
        };

        fs::write(system.join(NAMES[1]), "").unwrap();
        fs::write(package.join(NAMES[2].replace("28", "31")), "").unwrap();
        assert_eq!(search(&places), Some(system.join(NAMES[1])));
        fs::write(package.join(NAMES[2]), "").unwrap();
        assert_eq!(search(&places), Some(package.join(NAMES[2])));
        fs::write(ours.join(NAMES[0]), "").unwrap();
        assert_eq!(search(&places), Some(ours.join(NAMES[0])));
    }
}
