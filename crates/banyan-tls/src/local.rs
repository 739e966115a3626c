//! The installation's own CA, for `tls = "self-signed"`: one per installation, its key never leaves the folder.
//!
//! `ca.pem` is what people trust; `ca.key` (0600) signs; `leaf.pem` (0600) is certificate and key in one file, so that a
//! reader never sees one without the other. The leaf lives 90 days and is made anew when 30 are left or its names change.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::pair::{Pair, PairError, date};

const DAY: i64 = 24 * 3600;
const CA_LIFE: i64 = 3650 * DAY;
const LEAF_LIFE: i64 = 90 * DAY;
/// Two of three renewals may fail before anyone notices.
const RENEW_BEFORE: i64 = 30 * DAY;
/// Clocks of clients may be behind ours.
const SLACK: i64 = DAY;

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("failed to {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
    #[error(
        "the local CA in {path} cannot be used; remove that folder to have a new one (it must be trusted anew)"
    )]
    Unusable {
        path: PathBuf,
        #[source]
        source: PairError,
    },
    #[error(
        "the local CA in {path} expired on {date}; remove that folder to have a new one (it must be trusted anew)"
    )]
    Expired { path: PathBuf, date: String },
}

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    dir: PathBuf,
}

impl Local {
    /// `dir`: the installation's folder for TLS; it need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// What clients trust.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn authority_key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// What is served: certificate and key.
    pub fn leaf(&self) -> PathBuf {
        self.dir.join("leaf.pem")
    }

    /// What a CA that judges by itself has made (`tls = "acme"`): certificate, chain and key.
    pub fn acme(&self) -> PathBuf {
        self.dir.join("acme.pem")
    }

    /// The account at such a CA.
    pub fn acme_account(&self) -> PathBuf {
        self.dir.join("acme-account.json")
    }

    /// Makes what is missing: the CA once, the leaf for these names (domains or addresses) whenever it must be new.
    /// Whether the leaf is a new one.
    pub fn ensure(&self, app: &str, names: &BTreeSet<String>, now: i64) -> Result<bool, LocalError> {
        self.make_folder()?;
        if !self.authority().exists() {
            self.make_authority(app, now)?;
        }
        let unusable = |source| LocalError::Unusable {
            path: self.dir.clone(),
            source,
        };
        // A CA names no domain: that it does is what is wrong with a leaf, not with a CA.
        match Pair::read(&self.authority(), &self.authority_key(), now) {
            Ok(_) | Err(PairError::Nameless { .. }) => {}
            Err(PairError::Expired { date, .. }) => {
                return Err(LocalError::Expired {
                    path: self.dir.clone(),
                    date,
                });
            }
            Err(source) => return Err(unusable(source)),
        }
        if self.leaf_holds(names, now) {
            return Ok(false);
        }
        self.make_leaf(names, now)?;
        Ok(true)
    }

    /// SHA-256 of the CA's certificate, as browsers show it; `None`: there is none yet.
    pub fn fingerprint(&self) -> Option<String> {
        let certificate = CertificateDer::from_pem_file(self.authority()).ok()?;
        let bytes: Vec<String> = Sha256::digest(&certificate)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Some(bytes.join(":"))
    }

    /// Until when the leaf is valid: `2027-03-01`.
    pub fn leaf_until(&self, now: i64) -> Option<String> {
        let leaf = Pair::read(&self.leaf(), &self.leaf(), now).ok()?;
        Some(date(leaf.not_after))
    }

    /// Certificate and key of the CA, PEM.
    pub(crate) fn authority_files(&self) -> Result<(String, String), LocalError> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).map_err(|source| LocalError::Io {
                operation: "read",
                path,
                source,
            })
        };
        Ok((read(self.authority())?, read(self.authority_key())?))
    }

    fn leaf_holds(&self, names: &BTreeSet<String>, now: i64) -> bool {
        let signed_by_ours = || {
            let read = |path| CertificateDer::from_pem_file(path).ok();
            let (leaf, authority) = (read(self.leaf())?, read(self.authority())?);
            issued(&leaf, &authority)
        };
        Pair::read(&self.leaf(), &self.leaf(), now).is_ok_and(|leaf| {
            let has: BTreeSet<String> = leaf.names.iter().cloned().collect();
            has == *names && leaf.not_after - now > RENEW_BEFORE
        }) && signed_by_ours() == Some(true)
    }

    fn make_folder(&self) -> Result<(), LocalError> {
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&self.dir);
        made.and_then(|()| fs::set_permissions(&self.dir, Permissions::from_mode(0o711)))
            .map_err(|source| LocalError::Io {
                operation: "make",
                path: self.dir.clone(),
                source,
            })
    }

    fn make_authority(&self, app: &str, now: i64) -> Result<(), LocalError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Banyan local CA of {app}"));
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Banyan, made on this machine");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = at(now - SLACK);
        params.not_after = at(now + CA_LIFE);
        let certificate = params.self_signed(&key)?;
        write(&self.authority_key(), &key.serialize_pem(), 0o600)?;
        // Last: while it is missing, the next start makes both anew.
        write(&self.authority(), &certificate.pem(), 0o644)
    }

    fn make_leaf(&self, names: &BTreeSet<String>, now: i64) -> Result<(), LocalError> {
        let (authority, key) = self.authority_files()?;
        let issuer = Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
        if let Some(name) = names.iter().find(|name| name.parse::<IpAddr>().is_err()) {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = at(now - SLACK);
        params.not_after = at(now + LEAF_LIFE);
        let certificate = params.signed_by(&key, &issuer)?;
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        write(&self.leaf(), &both, 0o600)
    }
}

pub(crate) fn at(unix: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(unix).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn issued(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Option<bool> {
    let anchor = rustls::server::ParsedCertificate::try_from(leaf).ok()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.clone()).ok()?;
    let algorithms = crate::provider().signature_verification_algorithms.all;
    let now = rustls::pki_types::UnixTime::now();
    let verified =
        rustls::client::verify_server_cert_signed_by_trust_anchor(&anchor, &roots, &[], now, algorithms);
    Some(verified.is_ok())
}

/// Whole or not at all, with this mode from its first byte.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), LocalError> {
    let temporary = path.with_extension("new");
    let put = || {
        // A left-over would keep its own mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    put().map_err(|source| LocalError::Io {
        operation: "write",
        path: path.to_owned(),
        source,
    })
}
