//! Where a table's files are: from what the user wrote to a store and a path in it.

use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::path::Path;
use url::Url;
use whimbrel_proto::{Error, ErrorCode};
use whimbrel_stores::{Location, Stores};

use super::glob;

/// A file, a folder or a pattern of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An absolute path on the machine.
    Local(String),
    /// A path in a bucket or container.
    Remote(Location),
}

impl Place {
    /// The place that `uri` means, which the pool may read; what is relative starts at `base`.
    pub(super) fn parse(uri: &str, base: &FilePath, stores: &Stores) -> Result<Self, Error> {
        match stores.locate(uri)? {
            Some(location) => {
                stores.check(&location)?;
                Ok(Self::Remote(location))
            }
            None => {
                let path = absolute(uri, base)?;
                stores.check_path(&path)?;
                Ok(Self::Local(path))
            }
        }
    }

    /// The store that the engine asks for.
    pub(super) fn store(&self) -> Result<ObjectStoreUrl, Error> {
        let parsed = match self {
            Self::Local(_) => Ok(ObjectStoreUrl::local_filesystem()),
            Self::Remote(location) => ObjectStoreUrl::parse(location.bucket.uri("")),
        };
        parsed.map_err(|error| {
            let text = format!("'{self}' names no store: {}", error.strip_backtrace());
            Error::new(ErrorCode::Invalid, text)
        })
    }

    /// Its store, and the path in it.
    fn parts(&self) -> (String, &str) {
        match self {
            Self::Local(path) => (String::new(), path),
            Self::Remote(location) => (location.bucket.uri(""), location.path.as_ref()),
        }
    }

    /// Whether files that are written below `output` would be among those that this place names.
    pub(super) fn holds(&self, output: &Self) -> bool {
        let ((store, path), (other, written)) = (self.parts(), output.parts());
        let (base, pattern) = glob::split(path);
        let Some(below) = below(base, written).filter(|_| store == other) else {
            return false;
        };
        let mut parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        parts.push("part-0");
        pattern.is_empty() || glob::fits(&pattern, &parts) || {
            parts.pop();
            !parts.is_empty() && glob::may_hold(&pattern, &parts)
        }
    }

    /// Whether what this place names lies below `output`.
    pub(super) fn is_below(&self, output: &Self) -> bool {
        let ((store, path), (other, written)) = (self.parts(), output.parts());
        store == other && below(written, glob::split(path).0).is_some()
    }

    /// The URL of a folder in this place's store.
    pub(super) fn folder_url(&self, folder: &Path) -> Result<String, Error> {
        let url = match self {
            Self::Local(path) => Url::from_directory_path(path).ok(),
            Self::Remote(location) => {
                Url::parse(&location.bucket.uri(""))
                    .ok()
                    .and_then(|mut url| {
                        let parts = folder.parts().map(|part| part.as_ref().to_owned());
                        let parts = parts.chain([String::new()]);
                        url.path_segments_mut().ok()?.clear().extend(parts);
                        Some(url)
                    })
            }
        };
        let text = || Error::new(ErrorCode::Invalid, format!("'{self}' has no URL"));
        url.map(String::from).ok_or_else(text)
    }

    /// What a person calls an object of this place's store.
    pub(super) fn show(&self, path: &Path) -> String {
        match self {
            Self::Local(_) => format!("/{path}"),
            Self::Remote(location) => location.bucket.uri(path.as_ref()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => f.write_str(path),
            Self::Remote(location) => {
                let folder = location.is_folder && !location.path.as_ref().is_empty();
                write!(f, "{location}{}", if folder { "/" } else { "" })
            }
        }
    }
}

/// What is left of `path` below `folder`; the folder itself is below itself.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let folder = folder.trim_matches('/');
    let path = path.trim_matches('/');
    if folder.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The absolute path that `uri` means; what is relative starts at `base`.
pub fn absolute(uri: &str, base: &FilePath) -> Result<String, Error> {
    let path = match scheme(uri) {
        Some("file") => from_file_url(uri)?,
        Some(scheme) => {
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("cannot read '{uri}': '{scheme}:' is not supported"),
            )
            .with_hint("give a local path, file:///path, s3://BUCKET/PATH or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"));
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
    Ok(FilePath::new("/").join(parsed.prefix().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_and_what_is_read_are_apart_or_not() {
        let stores = Stores::new(whimbrel_stores::Environment::default());
        let place = |uri| Place::parse(uri, FilePath::new("/"), &stores).unwrap();
        for (input, output, holds, is_below) in [
            ("s3://lake/trips/", "s3://lake/trips/scored", true, false),
            ("s3://lake/trips/", "s3://lake/trips", true, true),
            ("s3://lake/trips/", "s3://lake/trips2", false, false),
            ("s3://lake/trips/", "s3://other/trips/scored", false, false),
            ("s3://lake/trips/a.csv", "s3://lake/trips", false, true),
            ("s3://lake/", "s3://lake/scored", true, false),
            ("/data/*.csv", "/data/scored", false, false),
            ("/data/*/*.csv", "/data/scored", true, false),
            ("/data/**", "/data/x/y", true, false),
            ("/data/trips.parquet", "/data/scored", false, false),
        ] {
            let (input, output) = (place(input), place(output));
            assert_eq!(input.holds(&output), holds, "{input} holds {output}");
            assert_eq!(input.is_below(&output), is_below, "{input} below {output}");
        }
    }

    #[test]
    fn a_uri_becomes_an_absolute_path_or_is_refused() {
        let base = FilePath::new("/data/here");
        let ok = |uri| absolute(uri, base).unwrap();
        assert_eq!(ok("data/*.csv"), "/data/here/data/*.csv");
        assert_eq!(ok("./a/../b"), "/data/here/b");
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
        let scheme = absolute("gs://c/x", base).unwrap_err().to_string();
        assert_eq!(
            scheme,
            "cannot read 'gs://c/x': 'gs:' is not supported; give a local path, file:///path, s3://BUCKET/PATH or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
        );
    }
}
