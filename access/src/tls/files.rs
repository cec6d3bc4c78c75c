//! What PEM files hold, checked before any of it is used: an error names the file, what is wrong with it and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use whimbrel_proto::{Error, ErrorCode};

use super::validity::Validity;
use crate::date::Date;
use crate::file;

/// A certificate, its key, and (for mTLS) the CA that peers' certificates must be signed by. All PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those between it and its CA.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// With it a peer must show a certificate of this CA.
    pub peer_ca: Option<PathBuf>,
}

/// The one source of ciphers: never the default of the process, which another library may set.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a process shows of itself: a certificate with its chain, and its key.
pub(super) struct Identity {
    pub(super) cert_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A certificate that counts at `now_unix`, with the key that fits it.
    pub(super) fn read(cert: &Path, key: &Path, now_unix: u64) -> Result<Self, Error> {
        let cert_pem = file::read(cert, "the TLS certificate")?;
        let chain = certificates(&cert_pem, cert, "the TLS certificate")?;
        if let Some(first) = chain.first() {
            check_time(first, cert, now_unix)?;
        }
        let key_pem = file::read(key, "the TLS key")?;
        let parsed = private_key(&key_pem, key)?;
        let fits = CertifiedKey::from_der(chain.clone(), parsed.clone_key(), &provider());
        fits.map_err(|error| mismatch(cert, key, &error))?;
        Ok(Self {
            cert_pem,
            key_pem,
            chain,
            key: parsed,
        })
    }
}

/// The certificates of a CA as roots, and the bytes that they were read from.
pub(super) fn roots(path: &Path) -> Result<(RootCertStore, Vec<u8>), Error> {
    let pem = file::read(path, "the CA certificate")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&pem, path, "the CA certificate")? {
        roots
            .add(certificate)
            .map_err(|error| not_pem("the CA certificate", path, &error.to_string()))?;
    }
    Ok((roots, pem))
}

fn certificates(
    pem: &[u8],
    path: &Path,
    what: &str,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(not_pem(what, path, "it holds no certificate")),
        Ok(found) => Ok(found),
        Err(_) => Err(not_pem(what, path, "its PEM text is broken")),
    }
}

fn private_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let locked = String::from_utf8_lossy(pem).contains("ENCRYPTED");
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        if locked {
            broken("the TLS key", path, "it is encrypted").with_hint(
                "give the key without a passphrase, in a file that only this process may read",
            )
        } else {
            not_pem("the TLS key", path, "it holds no private key")
        }
    })
}

fn check_time(certificate: &CertificateDer<'_>, path: &Path, now_unix: u64) -> Result<(), Error> {
    const WHAT: &str = "the TLS certificate";
    let validity =
        Validity::of(certificate).ok_or_else(|| not_pem(WHAT, path, "it is not a certificate"))?;
    if now_unix > validity.not_after {
        let day = Date::of_unix(validity.not_after);
        return Err(broken(WHAT, path, &format!("it expired on {day}"))
            .with_hint("renew it, and put the new one in its place"));
    }
    if now_unix < validity.not_before {
        let day = Date::of_unix(validity.not_before);
        return Err(broken(WHAT, path, &format!("it counts only from {day} on"))
            .with_hint("check the clock of this machine, or use the certificate of today"));
    }
    Ok(())
}

fn mismatch(cert: &Path, key: &Path, error: &rustls::Error) -> Error {
    let (cert, key) = (cert.display(), key.display());
    let told = match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("the TLS key '{key}' is not the key of the certificate '{cert}'")
        }
        _ => format!("the TLS key '{key}' and the certificate '{cert}' cannot be used: {error}"),
    };
    Error::new(ErrorCode::Invalid, told).with_hint("give the pair that was made together")
}

fn broken(what: &str, path: &Path, why: &str) -> Error {
    Error::new(
        ErrorCode::Invalid,
        format!("{what} '{}' cannot be used: {why}", path.display()),
    )
}

fn not_pem(what: &str, path: &Path, why: &str) -> Error {
    broken(what, path, why).with_hint("give a PEM file, text between BEGIN and END lines")
}
