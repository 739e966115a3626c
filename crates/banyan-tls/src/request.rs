//! A certificate that another CA is asked for (PKCS #10, RFC 2986), kept once it is there; and the other side of that, for CAs
//! of our own.

use std::path::Path;

use rcgen::{CertificateParams, CertificateSigningRequestParams, DistinguishedName, Issuer, KeyPair};
use rustls::pki_types::CertificateSigningRequestDer;

use crate::local::{Local, LocalError, at, write};
use crate::pair::{Pair, PairError};

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("failed to make a certificate request")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Write(#[from] LocalError),
    #[error("what the CA has made cannot be used")]
    Unusable(#[from] PairError),
}

/// A request and the key that only we have.
pub struct Request {
    key: KeyPair,
    der: Vec<u8>,
}

impl Request {
    /// For these domains, with a new key (ECDSA P-256).
    pub fn new(domains: &[String]) -> Result<Self, RequestError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(domains.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        let der = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, der })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Keeps what the CA made of it (PEM, the certificate first) at `path`, mode 0600, with the key, if it can be served
    /// now; what was there before stays otherwise.
    pub fn keep(&self, chain: &str, path: &Path, now: i64) -> Result<Pair, RequestError> {
        let both = format!("{}\n{}", chain.trim_end(), self.key.serialize_pem());
        let trial = path.with_extension("judged");
        write(&trial, &both, 0o600)?;
        let judged = Pair::read(&trial, &trial, now);
        let _left_over = std::fs::remove_file(&trial);
        let pair = judged?;
        write(path, &both, 0o600)?;
        Ok(pair)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

/// Writes text that only we may read, whole or not at all.
pub fn keep_secret(path: &Path, text: &str) -> Result<(), LocalError> {
    write(path, text, 0o600)
}

impl Local {
    /// Certifies a request for `life` seconds from now: the chain, PEM. The CA must be there.
    pub fn certify(&self, request: &[u8], now: i64, life: i64) -> Result<String, RequestError> {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request)?;
        request.params.not_before = at(now - 1);
        request.params.not_after = at(now + life);
        let (authority, key) = self.authority_files()?;
        let issuer = Issuer::from_ca_cert_pem(&authority, KeyPair::from_pem(&key)?)?;
        Ok(request.signed_by(&issuer)?.pem() + &authority)
    }
}
