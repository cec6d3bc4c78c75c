//! From when until when a certificate counts: the one thing that we read in a certificate ourselves, so that an expired one is
//! told at the start and not by each peer in words of its own. Everything else in it is rustls's to judge.

use rustls::pki_types::CertificateDer;

use crate::date::{DAY, Date};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

impl Validity {
    /// Nothing where the bytes are not a certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut outer = Der(certificate.as_ref());
        let mut certificate = Der(outer.value(SEQUENCE)?);
        let mut body = Der(certificate.value(SEQUENCE)?);
        if body.0.first() == Some(&VERSION) {
            body.value(VERSION)?;
        }
        body.value(INTEGER)?;
        // The algorithm of the signature, and who signed.
        body.value(SEQUENCE)?;
        body.value(SEQUENCE)?;
        let mut validity = Der(body.value(SEQUENCE)?);
        Some(Self {
            not_before: validity.time()?,
            not_after: validity.time()?,
        })
    }
}

/// What is left to read of a DER text.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(*first), rest),
            // Longer than a certificate may be, or of no told length.
            0x80 | 0x84.. => return None,
            _ => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn time(&mut self) -> Option<u64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year: u64 = year.parse().ok()?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        seconds(year, rest)
    }
}

/// `rest` is month, day, hour, minute and second, two digits each.
fn seconds(year: u64, rest: &str) -> Option<u64> {
    let part = |place: usize| rest.get(2 * place..2 * place + 2)?.parse::<u64>().ok();
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    if rest.len() != 10 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // What counts since before 1970 counts since then.
    if year < 1970 {
        return Some(0);
    }
    let within = (hour * 60 + minute) * 60 + second;
    Some(Date::new(year, month, day)?.unix() + within.min(DAY))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let found = Validity::of(&certificate((2000, 2, 29), (2027, 1, 31))).unwrap();
        assert_eq!(
            (found.not_before, found.not_after),
            (951_782_400, 1_801_353_600)
        );
        let found = Validity::of(&certificate((1960, 1, 1), (2100, 3, 1))).unwrap();
        assert_eq!((found.not_before, found.not_after), (0, 4_107_542_400));
    }

    #[test]
    fn a_cut_certificate_is_none() {
        let whole = certificate((2000, 1, 1), (2100, 1, 1));
        for length in 0..whole.len() {
            let cut = CertificateDer::from(whole[..length].to_vec());
            assert_eq!(Validity::of(&cut), None, "{length}");
        }
    }

    #[test]
    fn a_changed_byte_never_panics() {
        let whole = certificate((2000, 1, 1), (2100, 1, 1));
        for place in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[place] ^= flip;
                let _ = Validity::of(&CertificateDer::from(bytes));
            }
        }
    }
}
