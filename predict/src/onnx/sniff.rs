//! Tells a user what the file is that is no model. An archive is never unpacked: nothing in it can lead anywhere.

const EXPORT: &str =
    "export the model to ONNX, for example with skl2onnx, onnxmltools or torch.onnx";
const UNPACK: &str = "unpack it and bind the .onnx file, or the MLflow folder, that is in it";

/// What the file is instead, and what to do; none where only its content could tell.
pub(super) fn sniff(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = &bytes[..bytes.len().min(512)];
    let found = match head {
        [] => ("it is empty", "check that the upload was complete"),
        [0x80, 2..=5, ..] => ("it is a Python pickle", EXPORT),
        [b'b', b'i', b'n', b'f', ..] => (
            "it is in XGBoost's old binary form",
            "load it with XGBoost 3.0 or older and save it as model.ubj",
        ),
        [b'P', b'K', 3, 4, ..] => ("it is a zip archive (PyTorch and skops save such)", EXPORT),
        [0x1f, 0x8b, ..] => ("it is compressed by gzip", UNPACK),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("it is compressed by zstd", UNPACK),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("it is compressed by xz", UNPACK),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => ("it is a 7z archive", UNPACK),
        [0x89, b'H', b'D', b'F', ..] => ("it is an HDF5 file (Keras saves such)", EXPORT),
        [_, _, _, _, b'O', b'R', b'T', b'M', ..] => (
            "it is in ONNX Runtime's own format, which is made for one machine",
            "bind the .onnx file that it was made from",
        ),
        _ if head.get(257..262) == Some(b"ustar") => ("it is a tar archive", UNPACK),
        _ if head.starts_with(b"version https://git-lfs") => (
            "it is a Git LFS pointer",
            "fetch the file with git lfs pull",
        ),
        _ if is_text(head) => ("it is text", EXPORT),
        _ => return None,
    };
    Some(found)
}

/// What is said where nothing is known.
pub(super) const UNKNOWN: (&str, &str) = (
    "it does not decode as one; it is damaged, cut off, or of another kind",
    EXPORT,
);

fn is_text(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    !text
        .trim_end_matches('\u{fffd}')
        .contains(|c: char| c == '\u{fffd}' || (c.is_control() && !c.is_whitespace()))
}
