//! Text in other encodings, as UTF-8, piece by piece.

use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::error::Result;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use whimbrel_proto::{Error, ErrorCode};

use super::reading::Encoding;
use crate::error::external;

/// What Windows has from 0x80 to 0x9f; the five places it leaves out stay what they are in latin1.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

pub(super) fn as_utf8(
    bytes: BoxStream<'static, Result<Bytes>>,
    encoding: Encoding,
    shown: &str,
) -> BoxStream<'static, Result<Bytes>> {
    match encoding {
        Encoding::Utf8 => bytes,
        Encoding::Latin1 => bytes.map_ok(|bytes| letters(&bytes, char::from)).boxed(),
        Encoding::Windows1252 => bytes.map_ok(|bytes| letters(&bytes, windows)).boxed(),
        Encoding::Utf16 => utf16(bytes, shown),
    }
}

fn windows(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        Some(at) if at < 32 => WINDOWS[usize::from(at)],
        Some(_) | None => char::from(byte),
    }
}

fn letters(bytes: &[u8], letter: impl Fn(u8) -> char) -> Bytes {
    let text: String = bytes.iter().map(|byte| letter(*byte)).collect();
    text.into()
}

/// The units that are read but not yet letters, and how they are written.
#[derive(Debug, Default)]
struct Units {
    odd: Option<u8>,
    high: Option<u16>,
    big_end: Option<bool>,
}

fn utf16(
    bytes: BoxStream<'static, Result<Bytes>>,
    shown: &str,
) -> BoxStream<'static, Result<Bytes>> {
    let broken = {
        let shown = shown.to_owned();
        move || not_utf16(&shown)
    };
    let state = (bytes, Units::default(), false);
    stream::try_unfold(state, move |(mut bytes, mut units, over)| {
        let broken = broken.clone();
        async move {
            if over {
                return Ok(None);
            }
            match bytes.try_next().await? {
                Some(more) => {
                    let text = units.take(&more).ok_or_else(broken)?;
                    Ok(Some((Bytes::from(text), (bytes, units, false))))
                }
                None if units.odd.is_some() || units.high.is_some() => Err(broken()),
                None => Ok(None),
            }
        }
    })
    .boxed()
}

fn not_utf16(shown: &str) -> DataFusionError {
    let text = format!("'{shown}' is not UTF-16 throughout");
    external(Error::new(ErrorCode::Data, text).with_hint(
        "convert it, for example with `iconv -f ENCODING -t UTF-8`, or name its right encoding",
    ))
}

impl Units {
    /// The letters that are complete now; `None` where there is half a letter in between.
    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let all: Vec<u8> = self
            .odd
            .take()
            .into_iter()
            .chain(bytes.iter().copied())
            .collect();
        let mut pairs = all.chunks_exact(2);
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        for pair in pairs.by_ref() {
            let pair = [pair[0], pair[1]];
            let big_end = match self.big_end {
                Some(known) => known,
                None => {
                    self.big_end = Some(pair == [0xfe, 0xff]);
                    if matches!(pair, [0xfe, 0xff] | [0xff, 0xfe]) {
                        continue;
                    }
                    false
                }
            };
            units.push(if big_end {
                u16::from_be_bytes(pair)
            } else {
                u16::from_le_bytes(pair)
            });
        }
        self.odd = pairs.remainder().first().copied();
        if units
            .last()
            .is_some_and(|unit| (0xd800..0xdc00).contains(unit))
        {
            self.high = units.pop();
        }
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .ok()
    }
}
