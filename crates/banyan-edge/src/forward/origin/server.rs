//! One server of an origin, over all cores: how it is reached, and how it was seen last.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use http::HeaderValue;
use tokio::net::TcpStream;

use banyan_config::{Origin, OriginUrl};
use banyan_tls::client::{Connector, Trust};

use super::super::wire::Wire;
use super::turn::Came;
use crate::metrics::EndpointCells;

/// Debian's package ca-certificates.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Failures in a row, after which it is passed over until a check says that it is sound.
const FAILURES: u32 = 5;

/// An origin, over all cores.
pub(crate) struct Shared {
    pub config: Origin,
    pub servers: Vec<Arc<Server>>,
}

pub(crate) struct Server {
    pub url: OriginUrl,
    /// As the access log calls it.
    pub name: String,
    pub host: HeaderValue,
    /// It is not the first.
    pub backup: bool,
    tls: Option<Connector>,
    /// Cleared by requests, set by checks.
    sound: AtomicBool,
    failures: AtomicU32,
    /// One per core.
    pub cells: Vec<Arc<EndpointCells>>,
}

impl Shared {
    /// The error says what cannot be used.
    pub(crate) fn new(config: &Origin, cores: usize) -> Result<Self, String> {
        let tls = config
            .urls
            .iter()
            .any(|url| url.tls)
            .then(|| {
                let bundle = config.ca.as_deref().unwrap_or(Path::new(SYSTEM));
                Connector::new(Trust::Bundle(bundle), &["http/1.1"])
            })
            .transpose()
            .map_err(|error| error.to_string())?;
        let server = |(n, url): (usize, &OriginUrl)| {
            let host = config.host.clone().unwrap_or_else(|| url.authority());
            Ok(Arc::new(Server {
                name: url.to_string(),
                host: HeaderValue::try_from(&host).map_err(|_| format!("{host} cannot be a Host"))?,
                backup: n > 0,
                tls: tls.clone().filter(|_| url.tls),
                sound: AtomicBool::new(true),
                failures: AtomicU32::new(0),
                cells: (0..cores).map(|_| Arc::default()).collect(),
                url: url.clone(),
            }))
        };
        let servers: Result<_, String> = config.urls.iter().enumerate().map(server).collect();
        Ok(Self {
            config: config.clone(),
            servers: servers?,
        })
    }
}

impl Server {
    /// Name looked up, connection made, and with https the server verified.
    pub(crate) async fn connect(&self) -> io::Result<Wire> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Wire::Plain(stream));
        };
        let secure = tls.connect(stream, &self.url.host).await.map_err(|error| {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}"));
            io::Error::other(format!("{error}{}", why.unwrap_or_default()))
        })?;
        Ok(Wire::Tls(Box::new(secure)))
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.sound.load(Ordering::Relaxed)
    }

    /// Of a request. Written to only when something changes: all cores read it.
    pub(super) fn saw(&self, came: Came) {
        if !came.is_failure() {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures >= FAILURES && self.sound.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                server = self.name,
                failures,
                "an origin fails requests: it is passed over until a check succeeds"
            );
        }
    }

    /// Nobody is there: it is passed over at once.
    pub(super) fn is_gone(&self) {
        if self.sound.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                server = self.name,
                "an origin cannot be reached: it is passed over until a check succeeds"
            );
        }
    }

    /// Of a check. True: it is another than before.
    pub(crate) fn checked(&self, sound: bool) -> bool {
        if sound {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.sound.swap(sound, Ordering::Relaxed) != sound
    }
}
