//! What stands in the place of secrets: their sha256, compared without telling where two differ.

use std::fmt::Write as _;
use std::hint::black_box;

use sha2::{Digest as _, Sha256};

/// The sha256 of a secret.
pub(crate) type Hash = [u8; 32];

pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Looks at every byte, wherever the first difference is.
pub(crate) fn same(left: &Hash, right: &Hash) -> bool {
    let differ = left
        .iter()
        .zip(right)
        .fold(0, |differ, (l, r)| differ | black_box(l ^ r));
    black_box(differ) == 0
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Nothing where the text is not the hex of a hash.
pub(crate) fn from_hex(hex: &str) -> Option<Hash> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then(|| bytes.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hashes_are_the_same_only_where_every_byte_is() {
        let secret = hash(b"secret");
        assert!(same(&secret, &hash(b"secret")));
        for place in 0..secret.len() {
            for bit in 0..8 {
                let mut other = secret;
                other[place] ^= 1 << bit;
                assert!(!same(&secret, &other), "{place} {bit}");
            }
        }
    }

    #[test]
    fn hex_is_read_back_and_anything_else_refused() {
        let secret = hash(b"abc");
        let hex = to_hex(&secret);
        assert!(hex.starts_with("ba7816bf"));
        assert_eq!(from_hex(&hex), Some(secret));
        assert_eq!(from_hex(&hex.to_uppercase()), Some(secret));
        for broken in [
            "",
            &hex[1..],
            &hex[2..],
            &format!("{hex}00"),
            &hex.replace('b', "x"),
        ] {
            assert_eq!(from_hex(broken), None, "{broken}");
        }
    }
}
