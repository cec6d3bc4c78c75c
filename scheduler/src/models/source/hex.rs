//! Models as hex text, as T-SQL users keep them: digits with or without `0x` before them, on one line or several.

use bytes::Bytes;
use whimbrel_proto::{Error, ErrorCode};

/// Shorter texts are names or notes.
const SHORTEST: usize = 16;

/// The bytes that the digits mean; what is not hex text comes back as it is.
pub(super) fn decode(bytes: Bytes, place: &str) -> Result<Bytes, Error> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let text = text.trim_ascii();
    let marked = text
        .strip_prefix(b"0x")
        .or_else(|| text.strip_prefix(b"0X"));
    let digits = marked.unwrap_or(text);
    let odd = digits
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit() && !byte.is_ascii_whitespace());
    match (marked, odd) {
        (None, Some(_)) => return Ok(bytes),
        (None, None) if digits.len() < SHORTEST => return Ok(bytes),
        (Some(_), Some(at)) => {
            let found = char::from(digits[at]);
            let what = if found.is_ascii_graphic() {
                format!("'{found}'")
            } else {
                "a byte that is no character".to_owned()
            };
            return Err(Error::new(
                ErrorCode::Invalid,
                format!("{place} is hex text with {what} at digit {}", at + 1),
            )
            .with_hint("write the file's bytes as digits 0-9 and a-f, two for each byte"));
        }
        (_, None) => {}
    }
    let mut out = Vec::with_capacity(digits.len() / 2);
    let mut high = None;
    for byte in digits.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let digit = value(*byte);
        match high.take() {
            None => high = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    if high.is_some() {
        return Err(Error::new(ErrorCode::Invalid, format!("{place} is hex text with an odd number of digits, {}", out.len() * 2 + 1))
            .with_hint("it was cut off; SQL clients cut long values: export it with a tool that does not, such as bcp"));
    }
    Ok(out.into())
}

/// Of a byte that is a hex digit.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_text_becomes_bytes_and_everything_else_stays() {
        let bytes = b"\x08\x07\x12\x04onnx\xff\x00".as_slice();
        let digits = "08071204".to_owned() + "6f6e6e78ff00";
        for text in [
            digits.clone(),
            format!("0x{digits}"),
            format!("0X{}\r\n", digits.to_uppercase()),
            format!("\u{feff}0x{digits}\n"),
            format!("{}\n{}\n", &digits[..10], &digits[10..]),
        ] {
            assert_eq!(decode(text.clone().into(), "x").unwrap(), bytes, "{text:?}");
        }
        for other in [bytes, b"", b"cafe", b"not a model", b"08 zz"] {
            assert_eq!(decode(Bytes::from_static(other), "x").unwrap(), other);
        }
    }

    #[test]
    fn hex_text_that_was_cut_or_damaged_is_refused_by_its_place() {
        let error = decode("0x08071204a".into(), "'m.hex'").unwrap_err();
        assert_eq!(
            error.message(),
            "'m.hex' is hex text with an odd number of digits, 9"
        );
        let error = decode("0x0807z2".into(), "'m.hex'").unwrap_err();
        assert_eq!(error.message(), "'m.hex' is hex text with 'z' at digit 5");
    }
}
