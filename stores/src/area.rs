//! A part of the places there are: what a link serves, and what a pool may read. Names are compared part by part and only as
//! they are once they are understood, so that neither `s3://lakehouse/` nor `s3://lake/%2e%2e/` is ever below `s3://lake/`.

use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};

use whimbrel_proto::{Error, ErrorCode};

use crate::environment::Environment;
use crate::location::{Bucket, Location, account_of};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Area {
    /// Every bucket of S3, one, or a path in it.
    S3 {
        bucket: Option<String>,
        path: Vec<String>,
    },
    /// Every Azure storage account, one of them, a container of it, or a path in that.
    Azure {
        account: Option<(String, String)>,
        container: Option<String>,
        path: Vec<String>,
    },
    /// Files of the machine at or below a path without links in it.
    Local(PathBuf),
}

impl Area {
    /// The area that `text` names.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Err(Error::new(
                ErrorCode::Invalid,
                format!("'{text}' names no place: {why}"),
            )
            .with_hint("write s3://BUCKET/PATH/, abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH/ or file:///PATH/"))
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("it has no scheme");
        };
        match (
            scheme.to_ascii_lowercase().as_str(),
            rest.trim_end_matches('/'),
        ) {
            ("file", _) => return local(text, rest),
            ("s3" | "s3a" | "s3n", "") => {
                return Ok(Self::S3 {
                    bucket: None,
                    path: Vec::new(),
                });
            }
            ("abfs" | "abfss" | "wasb" | "wasbs" | "az", "") => {
                return Ok(Self::Azure {
                    account: None,
                    container: None,
                    path: Vec::new(),
                });
            }
            // An account alone: no container before an @, and no path behind it.
            ("abfs" | "abfss" | "wasb" | "wasbs" | "https", host)
                if !host.contains(['@', '/', '?']) && host.contains('.') =>
            {
                return Ok(Self::Azure {
                    account: Some(account_of(text, host)?),
                    container: None,
                    path: Vec::new(),
                });
            }
            _ => {}
        }
        let Some(location) = Location::parse(text, &Environment::default())? else {
            return refuse(&format!("'{scheme}:' is no object store's"));
        };
        let path = parts(&location.path);
        Ok(match location.bucket {
            Bucket::S3 { bucket } => Self::S3 {
                bucket: Some(bucket),
                path,
            },
            Bucket::Azure {
                account,
                container,
                domain,
            } => Self::Azure {
                account: Some((account, domain)),
                container: Some(container),
                path,
            },
        })
    }

    /// Whether the place is in it.
    pub fn holds(&self, place: &Location) -> bool {
        let below = |path: &[String]| {
            let place = parts(&place.path);
            place.starts_with(path)
        };
        match self {
            Self::S3 { path, .. } | Self::Azure { path, .. } => {
                self.meets(&place.bucket) && below(path)
            }
            Self::Local(_) => false,
        }
    }

    /// Whether the bucket is in it, or it is in the bucket.
    pub fn meets(&self, bucket: &Bucket) -> bool {
        fn fits<T: PartialEq>(own: &Option<T>, other: &T) -> bool {
            own.as_ref().is_none_or(|own| own == other)
        }
        match (self, bucket) {
            (Self::S3 { bucket: own, .. }, Bucket::S3 { bucket }) => fits(own, bucket),
            (
                Self::Azure {
                    account: own,
                    container: inner,
                    ..
                },
                Bucket::Azure {
                    account,
                    container,
                    domain,
                },
            ) => fits(own, &(account.clone(), domain.clone())) && fits(inner, container),
            (Self::S3 { .. } | Self::Azure { .. } | Self::Local(_), _) => false,
        }
    }

    /// Whether a local path without links in it is in it.
    pub fn holds_path(&self, real: &FilePath) -> bool {
        match self {
            Self::Local(own) => real.starts_with(own),
            Self::S3 { .. } | Self::Azure { .. } => false,
        }
    }

    /// How narrow it is: of two that hold a place, the one with more is inside the other.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::S3 { bucket, path } => usize::from(bucket.is_some()) + path.len(),
            Self::Azure {
                account,
                container,
                path,
            } => usize::from(account.is_some()) + usize::from(container.is_some()) + path.len(),
            Self::Local(path) => path.components().count(),
        }
    }
}

fn parts(path: &object_store::path::Path) -> Vec<String> {
    path.parts().map(|part| part.as_ref().to_owned()).collect()
}

/// A local area is meant as it is on this machine: links in it are followed once, when it is read.
fn local(text: &str, rest: &str) -> Result<Area, Error> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let refuse = |why: &str| {
        Err(Error::new(
            ErrorCode::Invalid,
            format!("'{text}' names no place: {why}"),
        )
        .with_hint("write file:///absolute/path/"))
    };
    let Ok(decoded) = url::Url::parse(&format!("file://{path}")) else {
        return refuse("it is no file URL");
    };
    match decoded.to_file_path() {
        Ok(path) if rest.starts_with('/') || rest.starts_with("localhost/") => {
            Ok(Area::Local(real(&path)))
        }
        Ok(_) | Err(()) => refuse("it is no absolute path"),
    }
}

/// The path with its links followed, as far as it exists; what does not exist yet is taken as written, without `..`.
pub(crate) fn real(path: &FilePath) -> PathBuf {
    let mut rest = Vec::new();
    let mut head = path.to_path_buf();
    loop {
        if let Ok(found) = std::fs::canonicalize(&head) {
            return rest.iter().rev().fold(found, |path, part| path.join(part));
        }
        match (head.components().next_back(), head.parent()) {
            (Some(Component::Normal(part)), Some(parent)) => {
                rest.push(part.to_owned());
                head = parent.to_path_buf();
            }
            // `..` behind something that does not exist leads nowhere known: nothing narrower than the root holds it.
            (_, Some(_) | None) => return PathBuf::from("/"),
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slashed = |path: &[String]| {
            path.iter()
                .map(|part| format!("{part}/"))
                .collect::<String>()
        };
        match self {
            Self::S3 { bucket: None, .. } => f.write_str("s3://"),
            Self::S3 {
                bucket: Some(bucket),
                path,
            } => write!(f, "s3://{bucket}/{}", slashed(path)),
            Self::Azure { account: None, .. } => f.write_str("abfss://"),
            Self::Azure {
                account: Some((account, domain)),
                container: None,
                ..
            } => write!(f, "abfss://{account}.dfs.{domain}/"),
            Self::Azure {
                account: Some((account, domain)),
                container: Some(container),
                path,
            } => write!(
                f,
                "abfss://{container}@{account}.dfs.{domain}/{}",
                slashed(path)
            ),
            Self::Local(path) => {
                let path = path.display().to_string();
                write!(f, "file://{}/", path.trim_end_matches('/'))
            }
        }
    }
}
