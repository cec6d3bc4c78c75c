//! Where a table's files are: from what the user wrote to an absolute path, and from that path to the files of this moment.
//! Files are listed anew for every query, so files that come, go or change are never read from an old list.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use datafusion::datasource::listing::ListingTableUrl;
use whimbrel_proto::{Error, ErrorCode};

use super::glob;

/// A file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

impl Found {
    /// The last part of the path, as text.
    pub(super) fn name(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }
}

/// What an absolute path names on disk now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Files that the user named, one by one or by a wildcard.
    Named(Vec<Found>),
    /// The files in a folder, but for hidden ones.
    Folder(Vec<Found>),
}

/// The absolute path that `uri` means; what is relative starts at `base`.
pub fn absolute(uri: &str, base: &Path) -> Result<String, Error> {
    let path = match scheme(uri) {
        Some("file") => from_file_url(uri)?,
        Some(scheme) => {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("cannot read '{uri}': '{scheme}:' is not supported"),
            )
            .with_hint("give a local path, or file:///path"));
        }
        None if uri.is_empty() => {
            return Err(
                Error::new(ErrorCode::Invalid, "the location is empty").with_hint(
                    "give the path of a file, of a folder, or with a wildcard such as 'data/*.csv'",
                ),
            );
        }
        None => base.join(uri),
    };
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match clean.into_os_string().into_string() {
        Ok(path) if !path.contains('\0') => Ok(path),
        Ok(_) | Err(_) => Err(Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' is not a path"),
        )),
    }
}

/// The scheme of a URL, as in `s3://lake/x` and `models:/fare/3`.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(":/")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits))
        .then_some(scheme)
}

fn from_file_url(uri: &str) -> Result<PathBuf, Error> {
    let refuse = |why: &str| {
        Error::new(
            ErrorCode::Invalid,
            format!("'{uri}' is not a file URL: {why}"),
        )
        .with_hint("write file:///absolute/path, with %20 for a blank; or a plain path")
    };
    let parsed = ListingTableUrl::parse(uri).map_err(|error| refuse(&error.to_string()))?;
    let url = parsed.get_url();
    if !matches!(url.host_str(), None | Some("" | "localhost")) {
        return Err(refuse("it names another host"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a ? or #"));
    }
    Ok(Path::new("/").join(parsed.prefix().as_ref()))
}

/// Lists the files of an absolute path, by name. `NotFound` where a file, folder or wildcard leads nowhere; a folder may be
/// empty. Touches the disk: called off the async threads.
pub(super) fn list(path: &str) -> Result<Listed, Error> {
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => {
            Ok(Listed::Folder(list_folder(Path::new(path), is_visible)?))
        }
        Ok(facts) => Ok(Listed::Named(vec![found(PathBuf::from(path), &facts)?])),
        Err(error) if error.kind() == io::ErrorKind::NotFound && glob::is_pattern(path) => {
            list_glob(path)
        }
        Err(error) => Err(unreadable(Path::new(path), &error)),
    }
}

fn list_glob(path: &str) -> Result<Listed, Error> {
    let (folder, pattern) = path.rsplit_once('/').unwrap_or(("", path));
    if glob::is_pattern(folder) {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("'{path}' has a wildcard in a folder's name"),
        )
        .with_hint("use wildcards in the last part only, such as 'data/part-*.csv'"));
    }
    let folder = Path::new(if folder.is_empty() { "/" } else { folder });
    let files = list_folder(folder, |name| {
        is_visible(name) && glob::matches(pattern, name)
    })?;
    if files.is_empty() {
        return Err(
            Error::new(ErrorCode::NotFound, format!("no file matches '{path}'"))
                .with_hint("check the wildcard, or whether the files were moved"),
        );
    }
    Ok(Listed::Named(files))
}

/// Names that begin with `_` or `.` are a writer's own affair: markers, checksums, unfinished files.
fn is_visible(name: &str) -> bool {
    !name.starts_with(['_', '.'])
}

fn list_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Found>, Error> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = item.map_err(|error| unreadable(folder, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("the file name '{}' is not UTF-8", path.display()),
            )
            .with_hint("rename the file"));
        };
        if !wanted(name) {
            continue;
        }
        let facts = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if !facts.is_dir() {
            files.push(found(path, &facts)?);
        } else if name.contains('=') {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("'{}' is a partition folder", path.display()),
            )
            .with_hint("partitioned folders are not read; add each of them as its own table"));
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn found(path: PathBuf, facts: &fs::Metadata) -> Result<Found, Error> {
    if !facts.is_file() {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("'{}' is not a regular file", path.display()),
        ));
    }
    let modified = facts
        .modified()
        .map_err(|error| unreadable(&path, &error))?;
    Ok(Found {
        path,
        bytes: facts.len(),
        modified,
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::new(ErrorCode::NotFound, format!("'{shown}' does not exist"))
                .with_hint("check the path; it is read on the scheduler's machine")
        }
        io::ErrorKind::PermissionDenied => Error::new(
            ErrorCode::Denied,
            format!("'{shown}' may not be read by the scheduler"),
        )
        .with_hint("give its user the right to read it"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Error::new(
            ErrorCode::Invalid,
            format!("'{shown}' is not a path: {error}"),
        ),
        _ => Error::new(
            ErrorCode::Unavailable,
            format!("'{shown}' cannot be read: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_becomes_an_absolute_path_or_is_refused() {
        let base = Path::new("/work/here");
        let ok = |uri| absolute(uri, base).unwrap();
        assert_eq!(ok("data/*.csv"), "/work/here/data/*.csv");
        assert_eq!(ok("./a/../b"), "/work/here/b");
        assert_eq!(ok("/../../etc"), "/etc");
        assert_eq!(ok("file:///a%20b/c%2523.csv"), "/a b/c%23.csv");
        assert_eq!(ok("file://localhost/x/"), "/x");
        for bad in [
            "",
            "s3://lake/x",
            "models:/fare/3",
            "file://other/x",
            "file:///x?y",
            "a\0b",
        ] {
            assert_eq!(
                absolute(bad, base).unwrap_err().code(),
                ErrorCode::Invalid,
                "{bad:?}"
            );
        }
        let scheme = absolute("abfss://c@a/x", base).unwrap_err().to_string();
        assert_eq!(
            scheme,
            "cannot read 'abfss://c@a/x': 'abfss:' is not supported; give a local path, or file:///path"
        );
    }

    fn names(listed: Listed) -> Vec<String> {
        let (Listed::Named(files) | Listed::Folder(files)) = listed;
        files.iter().map(|file| file.name().to_owned()).collect()
    }

    #[test]
    fn hidden_names_are_skipped_and_what_leads_nowhere_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        for name in ["b.csv", "a.csv", "_SUCCESS", ".a.csv.crc", "x [1].csv"] {
            fs::write(at(name), "1\n").unwrap();
        }
        fs::create_dir(at("sub")).unwrap();
        assert_eq!(
            names(list(&at("")).unwrap()),
            ["a.csv", "b.csv", "x [1].csv"]
        );
        assert_eq!(
            names(list(&at("*.csv")).unwrap()),
            ["a.csv", "b.csv", "x [1].csv"]
        );
        assert_eq!(names(list(&at("[ab].csv")).unwrap()), ["a.csv", "b.csv"]);
        assert_eq!(names(list(&at("x [1].csv")).unwrap()), ["x [1].csv"]);
        assert_eq!(list(&at("sub")).unwrap(), Listed::Folder(vec![]));
        for gone in ["c.csv", "c*.csv", "no/x.csv", "no/*.csv"] {
            let error = list(&at(gone)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotFound);
            assert!(
                error
                    .message()
                    .contains(gone.split_once('/').map_or(gone, |(folder, _)| folder)),
                "{error}"
            );
        }
        assert_eq!(list(&at("*/x.csv")).unwrap_err().code(), ErrorCode::Invalid);
        fs::create_dir(at("year=2024")).unwrap();
        assert!(
            list(&at(""))
                .unwrap_err()
                .message()
                .ends_with("year=2024' is a partition folder")
        );
    }
}
