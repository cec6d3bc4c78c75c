//! Paths that a model's files name: they lead nowhere but into the model's own folder.

use whimbrel_proto::{Error, ErrorCode};

const MAX_PATH_BYTES: usize = 1024;

/// `path` where it stays inside the folder that it is relative to. `what` names where the path stands.
pub fn contained<'a>(what: &str, path: &'a str) -> Result<&'a str, Error> {
    match objection(path) {
        None => Ok(path),
        Some(why) => {
            let shown: String = path.chars().take(80).flat_map(char::escape_debug).collect();
            Err(Error::new(
                ErrorCode::Invalid,
                format!("{what} names the file '{shown}', {why}"),
            )
            .with_hint("a model may only name files inside its own folder: save it again, with all of its files beside it"))
        }
    }
}

fn objection(path: &str) -> Option<&'static str> {
    let lower = path.to_ascii_lowercase();
    let bytes = path.as_bytes();
    if path.is_empty() {
        return Some("which is no name");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("which is longer than 1024 bytes");
    }
    if path.chars().any(char::is_control) {
        return Some("which holds control characters");
    }
    if path.starts_with('/')
        || path.starts_with('~')
        || path.contains('\\')
        || bytes.get(1) == Some(&b':')
    {
        return Some("which is not relative to the model's folder");
    }
    if path.contains("://") {
        return Some("which is an address, not a file beside it");
    }
    // A store that is asked over HTTP may decode these.
    if ["%2e", "%2f", "%5c", "%00"]
        .iter()
        .any(|code| lower.contains(code))
    {
        return Some("which hides its way behind % codes");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("which leads out of the model's folder");
    }
    if path.split('/').any(|part| part.is_empty() || part == ".") {
        return Some("which is not written plainly");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_its_folder() {
        for path in [
            "model.onnx",
            "data/weights.bin",
            "a.b/c..d",
            "Ünicode 1.data",
        ] {
            assert_eq!(contained("x", path), Ok(path));
        }
        let refused = [
            ("", "which is no name"),
            ("/etc/passwd", "not relative"),
            ("../secret", "leads out"),
            ("a/../../b", "leads out"),
            ("a/..", "leads out"),
            ("..\\b", "not relative"),
            ("C:model", "not relative"),
            ("~/x", "not relative"),
            ("http://x/y", "is an address"),
            ("a/%2e%2E/b", "% codes"),
            ("a%2fb", "% codes"),
            ("a//b", "not written plainly"),
            ("./a", "not written plainly"),
            ("a\0b", "control characters"),
            (&"a".repeat(2000), "longer than 1024"),
        ];
        for (path, want) in refused {
            let error = contained("the file", path).unwrap_err().to_string();
            assert!(error.contains(want) && error.len() < 400, "{error}");
        }
    }
}
