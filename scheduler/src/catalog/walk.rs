//! Lists the files of the machine. Touches the disk: called off the async threads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object_store::ObjectMeta;
use whimbrel_proto::{Error, ErrorCode};

use super::glob;
use super::lakes::{self, Root};
use super::list::{Found, Listed, Lying, is_hidden, local_location, no_match};

/// Folders within folders; more are a link that leads to its own folder.
const MAX_DEPTH: usize = 32;

/// The files of an absolute path, by name.
pub(super) fn list(path: &str) -> Result<Lying, Error> {
    let named = |files| Lying {
        listed: Listed::Named(files),
        is_delta: false,
    };
    match fs::metadata(path) {
        Ok(facts) if facts.is_dir() => {
            let (files, is_delta) = walk(path, &[])?;
            Ok(Lying {
                listed: Listed::Folder(files),
                is_delta,
            })
        }
        Ok(facts) => Ok(named(vec![found(Path::new(path), &facts, &[])?])),
        Err(error) if error.kind() == io::ErrorKind::NotFound && glob::is_pattern(path) => {
            let (base, pattern) = glob::split(path);
            let (files, _) = walk(if base.is_empty() { "/" } else { base }, &pattern)?;
            if files.is_empty() {
                return Err(no_match(path));
            }
            Ok(named(files))
        }
        Err(error) => Err(unreadable(Path::new(path), &error)),
    }
}

/// The files below `base` that fit the pattern, where an empty one fits all; and whether they are those of a Delta Lake table.
fn walk(base: &str, pattern: &[&str]) -> Result<(Vec<Found>, bool), Error> {
    let mut files = Vec::new();
    let mut roots = above(Path::new(base));
    let mut open = vec![(PathBuf::from(base), Vec::<String>::new())];
    while let Some((folder, above)) = open.pop() {
        if above.len() > MAX_DEPTH {
            let text = format!("'{}' is too deep below '{base}'", folder.display());
            return Err(Error::new(ErrorCode::Invalid, text)
                .with_hint("name a folder further down; a link may lead to its own folder"));
        }
        for item in fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let path = item.map_err(|error| unreadable(&folder, &error))?.path();
            let name = name_of(&path)?;
            if matches!(name, "_delta_log" | "metadata" | ".hoodie") {
                roots.extend(root_of(&path));
            }
            if is_hidden(name) {
                continue;
            }
            let parts: Vec<&str> = above.iter().map(String::as_str).chain([name]).collect();
            let facts = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
            if facts.is_dir() {
                if pattern.is_empty() || glob::may_hold(pattern, &parts) {
                    open.push((
                        path.clone(),
                        parts.iter().map(|&part| part.to_owned()).collect(),
                    ));
                }
            } else if pattern.is_empty() || glob::fits(pattern, &parts) {
                files.push(found(&path, &facts, &above)?);
            }
        }
    }
    let is_delta = lakes::is_delta(&roots, base, pattern, &files)?;
    files.sort_by(|one, other| one.shown.cmp(&other.shown));
    Ok((files, is_delta))
}

/// The table that keeps this folder beside its files, where it is one of Delta Lake's and others'.
fn root_of(kept: &Path) -> Option<Root> {
    let mut names = fs::read_dir(kept).ok()?.filter_map(Result::ok);
    let shown = |name: &str| format!("{}/{name}", kept.display());
    match kept.file_name()?.to_str()? {
        "metadata" => names.find_map(|item| Root::of_path(&shown(item.file_name().to_str()?))),
        _ => Root::of_path(&shown("")),
    }
}

/// Such tables that the folder lies in.
fn above(folder: &Path) -> Vec<Root> {
    let kept = |folder: &Path| {
        ["_delta_log", "metadata", ".hoodie"].map(|kept| root_of(&folder.join(kept)))
    };
    folder.ancestors().flat_map(kept).flatten().collect()
}

fn name_of(path: &Path) -> Result<&str, Error> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            let text = format!("the file name '{}' is not UTF-8", path.display());
            Error::new(ErrorCode::Invalid, text).with_hint("rename the file")
        })
}

fn found(path: &Path, facts: &fs::Metadata, folders: &[String]) -> Result<Found, Error> {
    let shown = path.display().to_string();
    if !facts.is_file() {
        let text = format!("'{shown}' is not a regular file");
        return Err(Error::new(ErrorCode::Invalid, text));
    }
    let modified = facts.modified().map_err(|error| unreadable(path, &error))?;
    let meta = ObjectMeta {
        location: local_location(path)?,
        last_modified: modified.into(),
        size: facts.len(),
        e_tag: None,
        version: None,
    };
    Ok(Found {
        meta,
        shown,
        folders: folders.to_vec(),
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

    fn names(lying: Lying) -> Vec<String> {
        let (Listed::Named(files) | Listed::Folder(files)) = lying.listed else {
            panic!("no log was read");
        };
        files
            .iter()
            .map(|file| [file.folders.join("/"), file.name().to_owned()].join("|"))
            .collect()
    }

    #[test]
    fn hidden_names_are_skipped_and_what_leads_nowhere_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        for name in ["b.csv", "a.csv", "_SUCCESS", ".a.csv.crc", "x [1].csv"] {
            fs::write(at(name), "1\n").unwrap();
        }
        fs::create_dir(at("sub")).unwrap();
        let all = ["|a.csv", "|b.csv", "|x [1].csv"];
        assert_eq!(names(list(&at("")).unwrap()), all);
        assert_eq!(names(list(&at("*.csv")).unwrap()), all);
        assert_eq!(names(list(&at("[ab].csv")).unwrap()), all[..2]);
        assert_eq!(names(list(&at("x [1].csv")).unwrap()), all[2..]);
        assert_eq!(list(&at("sub")).unwrap().listed, Listed::Folder(vec![]));
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
    }

    #[test]
    fn folders_are_read_to_the_bottom() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| format!("{}/{name}", dir.path().display());
        for name in ["y=1/m=1/a.csv", "y=1/m=2/b.csv", "y=2/c.csv", "_tmp/d.csv"] {
            fs::create_dir_all(Path::new(&at(name)).parent().unwrap()).unwrap();
            fs::write(at(name), "1\n").unwrap();
        }
        assert_eq!(
            names(list(&at("")).unwrap()),
            ["y=1/m=1|a.csv", "y=1/m=2|b.csv", "y=2|c.csv"]
        );
        assert_eq!(names(list(&at("y=1")).unwrap()), ["m=1|a.csv", "m=2|b.csv"]);
        assert_eq!(
            names(list(&at("*/m=*/*")).unwrap()),
            ["y=1/m=1|a.csv", "y=1/m=2|b.csv"]
        );
        assert_eq!(names(list(&at("**/c.csv")).unwrap()), ["y=2|c.csv"]);
        std::os::unix::fs::symlink(dir.path(), at("y=1/loop")).unwrap();
        assert!(
            list(&at(""))
                .unwrap_err()
                .message()
                .contains("is too deep below")
        );
    }
}
