//! Tells a user what the file is that is not an ONNX model.

/// What the file is instead, and what to do.
pub(super) fn sniff(bytes: &[u8]) -> (&'static str, &'static str) {
    let head = &bytes[..bytes.len().min(512)];
    let is_text = || {
        let text = String::from_utf8_lossy(head);
        !text
            .trim_end_matches('\u{fffd}')
            .contains(|c: char| c == '\u{fffd}' || (c.is_control() && !c.is_whitespace()))
    };
    let export = "export the model to ONNX, for example with skl2onnx, onnxmltools or torch.onnx";
    match head {
        [] => ("it is empty", "check that the upload was complete"),
        [0x80, 2..=5, ..] => ("it is a Python pickle", export),
        [b'P', b'K', 3, 4, ..] => ("it is a zip archive (PyTorch and skops save such)", export),
        [0x1f, 0x8b, ..] => ("it is compressed by gzip", "unpack it first"),
        _ if head.starts_with(b"version https://git-lfs") => (
            "it is a Git LFS pointer",
            "fetch the file with git lfs pull",
        ),
        _ if is_text() => ("it is text", export),
        _ => (
            "it does not decode as one; it is damaged, cut off, or of another kind",
            export,
        ),
    }
}
