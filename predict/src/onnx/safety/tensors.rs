//! One tensor's declared size against the values that it holds.

use super::{MAX_FILE_BYTES, MAX_RANK, Refusal, because, fields, paths};
use crate::onnx::wire::{count, numbers};

/// Values kept of a small tensor of numbers.
const KEPT: usize = 64;

/// What a check learns of a tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub values: u64,
    /// The values themselves, of a small tensor of numbers: shapes are such.
    pub numbers: Option<Vec<f64>>,
}

#[derive(Default)]
struct Parts<'a> {
    dims: Vec<i64>,
    data_type: i64,
    name: &'a str,
    raw: Option<&'a [u8]>,
    /// Values in the fields of a type each.
    held: u64,
    ints: Vec<i64>,
    external: bool,
    location: Option<&'a str>,
}

/// Reads a tensor and refuses one that declares what it does not hold.
pub(super) fn check(message: &[u8]) -> Result<Tensor<'_>, Refusal> {
    let parts = read(message)?;
    let what = format!("tensor '{}'", shorten(parts.name));
    let values = product(&parts.dims, &what)?;
    let bits = bits(parts.data_type);
    if parts.external || parts.location.is_some() {
        let location = parts.location.unwrap_or_default();
        paths::contained(&what, location).map_err(|error| because(error.message()))?;
        let bytes = values.saturating_mul(bits.unwrap_or(8)) / 8;
        if bytes > MAX_FILE_BYTES {
            return Err(because(format!(
                "{what} declares {bytes} bytes, more than 2 GiB"
            )));
        }
    } else {
        let held = held(&parts, bits);
        // Small values share a byte, of which the last may not be full.
        let spare = bits.map_or(0, |bits| (8 / bits).saturating_sub(1));
        // A value that is only named has neither a type nor a size.
        let named_only = parts.data_type == 0 && parts.dims.is_empty() && held == 0;
        if !named_only && (held < values || held - values > spare) {
            return Err(because(format!(
                "{what} declares {values} values and holds {held}"
            )));
        }
    }
    let numbers = (values as usize <= KEPT).then(|| small(&parts)).flatten();
    Ok(Tensor {
        name: parts.name,
        values,
        numbers,
    })
}

/// How many values the tensor has in the file.
fn held(parts: &Parts<'_>, bits: Option<u64>) -> u64 {
    match (parts.raw, bits) {
        (Some(raw), Some(bits)) => (raw.len() as u64).saturating_mul(8) / bits,
        (Some(_), None) => 0,
        // Real and imaginary parts stand one after the other.
        (None, _) if matches!(parts.data_type, 14 | 15) => parts.held / 2,
        (None, Some(bits)) if bits < 8 => parts.held.saturating_mul(8 / bits),
        (None, _) => parts.held,
    }
}

fn read(message: &[u8]) -> Result<Parts<'_>, Refusal> {
    let mut parts = Parts::default();
    for field in fields(message) {
        let (number, value) = field?;
        match number {
            1 => numbers(value, &mut parts.dims, MAX_RANK)?,
            2 => parts.data_type = value.number()?,
            4 => parts.held += count(value, Some(4)),
            5 | 7 | 11 => {
                parts.held += count(value, None);
                if parts.ints.len() <= KEPT {
                    numbers(value, &mut parts.ints, KEPT)?;
                }
            }
            6 => parts.held += 1,
            8 => parts.name = value.text()?,
            9 => parts.raw = Some(value.bytes()?),
            10 => parts.held += count(value, Some(8)),
            13 => {
                let (key, entry) = entry(value.bytes()?)?;
                if key == "location" {
                    parts.location = Some(entry);
                }
            }
            14 => parts.external = value.number()? == 1,
            _ => {}
        }
    }
    Ok(parts)
}

/// Key and value of an entry.
pub(super) fn entry(message: &[u8]) -> Result<(&str, &str), Refusal> {
    let (mut key, mut text) = ("", "");
    for field in fields(message) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// The number of values of a shape, none of which may be open.
pub(super) fn product(dims: &[i64], what: &str) -> Result<u64, Refusal> {
    if dims.len() > MAX_RANK {
        return Err(because(format!(
            "{what} has more than {MAX_RANK} dimensions"
        )));
    }
    let mut product = 1_u64;
    for dim in dims {
        let size =
            u64::try_from(*dim).map_err(|_| because(format!("{what} has a dimension of {dim}")))?;
        product = product
            .checked_mul(size)
            .ok_or_else(|| because(format!("{what} declares more values than can be counted")))?;
    }
    Ok(product)
}

/// The size of one value by ONNX's number of its type; texts have none.
fn bits(data_type: i64) -> Option<u64> {
    match data_type {
        2 | 3 | 9 | 17..=20 | 24 => Some(8),
        4 | 5 | 10 | 16 => Some(16),
        1 | 6 | 12 => Some(32),
        7 | 11 | 13 | 14 => Some(64),
        15 => Some(128),
        21..=23 => Some(4),
        25 | 26 => Some(2),
        _ => None,
    }
}

/// The values of integers and floats.
fn small(parts: &Parts<'_>) -> Option<Vec<f64>> {
    let Some(raw) = parts.raw else {
        return matches!(parts.data_type, 6 | 7)
            .then(|| parts.ints.iter().map(|value| *value as f64).collect());
    };
    let fours = || {
        raw.chunks_exact(4)
            .filter_map(|bytes| bytes.try_into().ok())
    };
    let eights = || {
        raw.chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok())
    };
    match parts.data_type {
        1 => Some(
            fours()
                .map(|bytes| f64::from(f32::from_le_bytes(bytes)))
                .collect(),
        ),
        6 => Some(
            fours()
                .map(|bytes| f64::from(i32::from_le_bytes(bytes)))
                .collect(),
        ),
        7 => Some(
            eights()
                .map(|bytes| i64::from_le_bytes(bytes) as f64)
                .collect(),
        ),
        11 => Some(eights().map(f64::from_le_bytes).collect()),
        _ => None,
    }
}

/// A name that can be shown.
pub(super) fn shorten(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}
