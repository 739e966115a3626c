//! One certificate with its key, read from files and judged before anyone is served by it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain and a key are a few KiB; more is another file.
const LARGEST: u64 = 1 << 20;

/// A certificate that can be served.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certified: Arc<CertifiedKey>,
    /// Names and addresses it is valid for, lower case; `*.example.org` for all names one level below.
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("failed to read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} can be read by others (mode {mode:04o}); `chmod 600 {path}`")]
    Mode { path: PathBuf, mode: u32 },
    #[error("{path} holds no certificate; it must be PEM: -----BEGIN CERTIFICATE-----")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds no private key without a passphrase; it must be PEM: -----BEGIN PRIVATE KEY-----")]
    NoKey { path: PathBuf },
    #[error(
        "the key in {path} is of a kind that is not supported; use RSA (2048 to 8192 bits), ECDSA P-256 or P-384, or Ed25519"
    )]
    KeyKind { path: PathBuf },
    #[error("the certificate in {path} is damaged")]
    Damaged { path: PathBuf },
    #[error(
        "{key} is not the key of the certificate in {cert}; is the chain in the right order, the site's own certificate first?"
    )]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {path} expired on {date}")]
    Expired { path: PathBuf, date: String },
    #[error("the certificate in {path} is valid only from {date}; is this machine's clock right?")]
    NotYet { path: PathBuf, date: String },
    #[error(
        "the certificate in {path} names no domain (subject alternative name); browsers refuse such a certificate"
    )]
    Nameless { path: PathBuf },
}

impl Pair {
    /// `now`: Unix seconds. Both may be in one file.
    pub fn read(cert: &Path, key: &Path, now: i64) -> Result<Self, PairError> {
        let damaged = |_| PairError::Damaged {
            path: cert.to_owned(),
        };
        let chain = chain(cert)?;
        let private = private_key(key)?;
        let signing = rustls::crypto::ring::sign::any_supported_type(&private)
            .map_err(|_| PairError::KeyKind { path: key.to_owned() })?;
        let first = chain[0].clone();
        let (_, parsed) = X509Certificate::from_der(&first).map_err(damaged)?;
        let names = names(&parsed);
        let (not_before, not_after) = (
            parsed.validity().not_before.timestamp(),
            parsed.validity().not_after.timestamp(),
        );
        let certified = CertifiedKey::new(chain, signing);
        if matches!(certified.keys_match(), Err(error) if error != unknown_match()) {
            return Err(PairError::Mismatch {
                cert: cert.to_owned(),
                key: key.to_owned(),
            });
        }
        let path = cert.to_owned();
        if now >= not_after {
            return Err(PairError::Expired {
                path,
                date: date(not_after),
            });
        }
        if now < not_before {
            return Err(PairError::NotYet {
                path,
                date: date(not_before),
            });
        }
        if names.is_empty() {
            return Err(PairError::Nameless { path });
        }
        Ok(Self {
            certified: Arc::new(certified),
            names,
            not_before,
            not_after,
        })
    }
}

/// rustls cannot compare every kind of key; what it cannot compare is not a mismatch.
fn unknown_match() -> rustls::Error {
    rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let bytes = read(path, false)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(PairError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PairError> {
    let bytes = read(path, true)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| PairError::NoKey {
        path: path.to_owned(),
    })
}

fn read(path: &Path, private: bool) -> Result<Vec<u8>, PairError> {
    let failed = |source| PairError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if private && mode & 0o077 != 0 {
        return Err(PairError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

/// `2027-03-01`, in UTC.
pub fn date(unix: i64) -> String {
    match time::OffsetDateTime::from_unix_timestamp(unix) {
        Ok(time) => time.date().to_string(),
        Err(_) => unix.to_string(),
    }
}
