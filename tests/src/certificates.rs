//! Authorities and certificates, made anew for each test.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Who signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate, which others are told to believe.
    pub ca: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Its certificate lies in `folder`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let ca = folder.join(format!("{name}.ca.pem"));
        std::fs::write(&ca, issuer.pem())?;
        Ok(Self { issuer, ca })
    }

    /// Signs a new key of this machine, as server and as client, into `folder`.
    pub fn sign(&self, folder: &Path, name: &str) -> Result<Pair> {
        let pair = Pair {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        self.renew(&pair)?;
        Ok(pair)
    }

    /// Puts another certificate and another key at the place of these, as a renewal does: each by a rename.
    pub fn renew(&self, pair: &Pair) -> Result<()> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "whimbrel test");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        replace(&pair.key, &key.serialize_pem())?;
        replace(&pair.cert, &cert.pem())
    }
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text)?;
    Ok(std::fs::rename(&fresh, path)?)
}
