//! Certificates: read and judged, made by an installation's own CA, served and verified by rustls.
//!
//! No tasks and no clock: `now` is handed in as Unix seconds. TLS 1.2 and 1.3 by ring; nothing older, nothing optional.
//! Limits: PEM files only; keys that others can read are refused.

pub mod client;
pub mod local;
mod pair;
pub mod request;
mod server;
mod session;

pub use pair::{Pair, PairError, date};
pub use rustls::ServerConfig;
pub use server::{Server, ServerError, feed};
pub use session::{Session, Version};
pub use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};

use std::sync::Arc;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
