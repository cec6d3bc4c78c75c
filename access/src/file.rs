//! Small files that say who may come in: read with a bound, and watched for change.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use whimbrel_proto::{Error, ErrorCode};

use crate::clock;

/// No such file is longer; a larger one is a wrong one.
const MAX_BYTES: u64 = 1 << 20;

/// What changes with a file's content: which file it is, when it was written, and its size. Links are followed, because
/// Kubernetes renews a secret by swapping a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    written: (i64, i64),
    size: u64,
    /// Whether it was looked at well after it was written. File systems tell time in ticks: a second write within the tick of
    /// the first leaves no trace.
    settled: bool,
}

/// Longer than the ticks of any file system.
const SETTLED_SECONDS: i64 = 2;

impl Stamp {
    /// Nothing where there is no file to look at.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let now = i64::try_from(clock::now_unix()).ok()?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.len(),
            settled: now.saturating_sub(metadata.mtime()) > SETTLED_SECONDS,
        })
    }

    /// Whether the file is sure to hold what it held at `before`.
    pub(crate) fn is_still(&self, before: &Self) -> bool {
        let Self {
            file,
            written,
            size,
            settled,
        } = before;
        *settled && (self.file, self.written, self.size) == (*file, *written, *size)
    }
}

/// The content of a file; `what` names its role in an error.
pub(crate) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    let cannot = |error: std::io::Error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorCode::NotFound,
            _ => ErrorCode::Invalid,
        };
        Error::new(
            code,
            format!("{what} '{}' cannot be read: {error}", path.display()),
        )
        .with_hint("check the path, and that this process may read it")
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::new(
            ErrorCode::Invalid,
            format!("{what} '{}' is larger than 1 MiB", path.display()),
        )
        .with_hint("check the path: no such file is that large"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file that looks as old as one of yesterday.
    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(then))
            .unwrap();
    }

    #[test]
    fn a_swapped_link_and_a_written_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(&path("one"), "a");
        write(&path("two"), "a");
        std::os::unix::fs::symlink(path("one"), path("link")).unwrap();
        let before = Stamp::of(&path("link")).unwrap();
        let still = |name: &str| Stamp::of(&path(name)).unwrap().is_still(&before);
        assert!(still("link") && still("one"));
        std::os::unix::fs::symlink(path("two"), path("next")).unwrap();
        std::fs::rename(path("next"), path("link")).unwrap();
        assert!(!still("link"));
        write(&path("one"), "ab");
        assert!(!still("one"));
        assert_eq!(Stamp::of(&path("none")), None);
    }

    #[test]
    fn a_file_that_was_just_written_is_not_sure_to_be_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let before = Stamp::of(file.path()).unwrap();
        assert!(!before.is_still(&before));
        write(file.path(), "");
        let later = Stamp::of(file.path()).unwrap();
        assert!(later.is_still(&later) && !later.is_still(&before));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_BYTES).unwrap();
        assert_eq!(read(file.path(), "x").unwrap().len() as u64, MAX_BYTES);
        file.as_file().set_len(MAX_BYTES + 1).unwrap();
        let error = read(file.path(), "the file of tokens").unwrap_err();
        assert!(
            error.message().starts_with("the file of tokens '"),
            "{error}"
        );
        assert!(error.message().ends_with("is larger than 1 MiB"), "{error}");
    }
}
