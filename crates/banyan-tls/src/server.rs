//! What the edge serves TLS by: certificates chosen by name, tickets whose key outlives a change of certificates.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

use crate::pair::Pair;
use crate::provider;

#[derive(Debug, thiserror::Error)]
#[error("failed to set up TLS")]
pub struct ServerError(#[from] rustls::Error);

/// Makes server configurations. All of them ask clients for no certificate, so they share one ticket key: a session may
/// be resumed after a change of certificates, but never one made under another client-certificate policy.
pub struct Server {
    tickets: Arc<dyn ProducesTickets>,
}

impl Server {
    pub fn new() -> Result<Self, ServerError> {
        Ok(Self {
            tickets: rustls::crypto::ring::Ticketer::new()?,
        })
    }

    /// For new handshakes of HTTP. The first certificate serves clients that name no known domain.
    pub fn config(&self, pairs: &[Pair]) -> Result<Arc<ServerConfig>, ServerError> {
        self.config_for(pairs, &["h2", "http/1.1"])
    }

    /// Like [`Server::config`], for the protocols of these ALPN names.
    pub fn config_for(&self, pairs: &[Pair], protocols: &[&str]) -> Result<Arc<ServerConfig>, ServerError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName::new(pairs)));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.ticketer = Arc::clone(&self.tickets);
        // Tickets carry the state: nothing to look up, nothing that cores would share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// Gives a handshake bytes that were read off the connection before it began. What is wrong with them, the handshake says.
pub fn feed(tls: &mut ServerConnection, mut begun: &[u8]) {
    while !begun.is_empty() && tls.read_tls(&mut begun).is_ok_and(|count| count > 0) {}
    if tls.wants_read() {
        // An error stays in the connection, with its alert.
        let _kept = tls.process_new_packets();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

#[derive(Debug)]
struct ByName {
    /// Wildcards under their `*.` name. Several for one name: different kinds of key.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    fn new(pairs: &[Pair]) -> Self {
        let mut names: HashMap<String, Vec<_>> = HashMap::new();
        for pair in pairs {
            for name in &pair.names {
                let of_name = names.entry(name.clone()).or_default();
                of_name.push(Arc::clone(&pair.certified));
            }
        }
        Self {
            names,
            default: pairs.iter().map(|pair| Arc::clone(&pair.certified)).collect(),
        }
    }

    fn of(&self, name: Option<&str>) -> Option<&[Arc<CertifiedKey>]> {
        let name = name?.to_ascii_lowercase();
        let exact = self.names.get(&name);
        let found = exact.or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        });
        found.map(Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name()).unwrap_or(&self.default);
        let schemes = hello.signature_schemes();
        let fits = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(schemes).is_some();
        candidates
            .iter()
            .find(fits)
            .or_else(|| candidates.first())
            .cloned()
    }
}
