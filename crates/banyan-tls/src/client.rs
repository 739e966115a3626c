//! The other side, for looking at what is served: who is trusted is exactly what this installation serves itself.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::provider;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("failed to read a certificate from {0}")]
    Certificate(std::path::PathBuf),
    #[error("{0} is not a domain or an address")]
    Name(String),
    #[error("failed to set up TLS")]
    Tls(#[from] Error),
    #[error("failed to speak TLS")]
    Handshake(#[from] std::io::Error),
}

pub type Stream = TlsStream<TcpStream>;

/// Whose certificates are believed.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those of the CA in this file, for the name that is asked for.
    Authority(&'a Path),
    /// Those of any CA in this file, for the name that is asked for.
    Bundle(&'a Path),
    /// Those of any CA in this file, whatever name they are for (`sslmode=verify-ca`).
    AnyName(&'a Path),
    /// Anybody: what is said is hidden from those who listen, not from those who stand between (`sslmode=require`).
    Anybody,
    /// The first certificate in this file and no other, whatever its issuer and names.
    Exactly(&'a Path),
}

/// Speaks TLS to servers by one trust; what it knows of a server makes the next handshake shorter.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// Offers these ALPN protocols. Reads what `trust` names.
    pub fn new(trust: Trust<'_>, protocols: &[&str]) -> Result<Self, ClientError> {
        Ok(Self(TlsConnector::from(Arc::new(config(trust, protocols)?))))
    }

    /// Over `stream`, to a server called `name`.
    pub async fn connect(&self, stream: TcpStream, name: &str) -> Result<Stream, ClientError> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| ClientError::Name(name.to_owned()))?;
        Ok(self.0.connect(server, stream).await?)
    }
}

/// Speaks TLS over `stream` to a server called `name`, offering these ALPN protocols.
pub async fn connect(
    stream: TcpStream,
    name: &str,
    trust: Trust<'_>,
    protocols: &[&str],
) -> Result<Stream, ClientError> {
    Connector::new(trust, protocols)?.connect(stream, name).await
}

fn config(trust: Trust<'_>, protocols: &[&str]) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let mut config = match trust {
        Trust::Authority(path) => {
            let mut roots = RootCertStore::empty();
            roots.add(first(path)?)?;
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Bundle(path) => builder
            .with_root_certificates(bundle(path)?)
            .with_no_client_auth(),
        Trust::AnyName(path) => builder
            .dangerous()
            .with_custom_certificate_verifier(AnyName::verifier(bundle(path)?)?)
            .with_no_client_auth(),
        Trust::Exactly(path) => builder
            .dangerous()
            .with_custom_certificate_verifier(Exactly::verifier(Some(first(path)?)))
            .with_no_client_auth(),
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Exactly::verifier(None))
            .with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(config)
}

fn bundle(path: &Path) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let all = CertificateDer::pem_file_iter(path).map_err(|_| ClientError::Certificate(path.to_owned()))?;
    // A system's bundle may hold some that rustls does not read.
    let (added, _) = roots.add_parsable_certificates(all.filter_map(Result::ok));
    if added == 0 {
        return Err(ClientError::Certificate(path.to_owned()));
    }
    Ok(roots)
}

fn first(path: &Path) -> Result<CertificateDer<'static>, ClientError> {
    CertificateDer::from_pem_file(path).map_err(|_| ClientError::Certificate(path.to_owned()))
}

/// The chain is judged by rustls, the name by nobody.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl AnyName {
    fn verifier(roots: RootCertStore) -> Result<Arc<Self>, ClientError> {
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let judge = judge.map_err(|error| Error::General(error.to_string()))?;
        Ok(Arc::new(Self(judge)))
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // The name is looked at last: everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Exactly {
    /// `None`: any.
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Exactly {
    fn verifier(certificate: Option<CertificateDer<'static>>) -> Arc<Self> {
        Arc::new(Self {
            certificate,
            provider: provider(),
        })
    }
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificate.as_ref().is_none_or(|one| one == end_entity) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
