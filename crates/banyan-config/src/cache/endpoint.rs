//! `purge` of `[edge.cache]`: where apps may purge over HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::Files;
use crate::model::EdgeTable;
use crate::read::Reader;
use crate::report::Report;

/// For whoever has the token. Without TLS, so on loopback only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeEndpoint {
    pub listen: SocketAddr,
    /// As written, relative to banyan.toml; absolute once it is in a topology. `None`: Banyan makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// `None`: nobody may.
pub(super) fn build(cache: &Reader<'_>, files: &Files<'_>) -> Option<PurgeEndpoint> {
    cache.entry("purge")?;
    let table = cache.table("purge");
    // What is no address is reported elsewhere.
    let listen: SocketAddr = table.text_or_default("listen").parse().ok()?;
    if let Some(written) = table.text("listen").filter(|_| !listen.ip().is_loopback()) {
        let message = format!("the token would pass {listen} unencrypted");
        let help =
            "write 127.0.0.1; from other machines, reach it through a tunnel or run `banyan purge` over ssh";
        files.report.error(&written.place, message, &[help]);
    }
    let written = table.text("token_file");
    if let Some(written) = &written {
        check_token(&written.value, written, files);
    }
    Some(PurgeEndpoint {
        listen,
        token_file: written.map(|path| path.value.into()),
    })
}

fn check_token(path: &str, written: &crate::read::Spot<String>, files: &Files<'_>) {
    let wrong = match files.read(Path::new(path), true) {
        Err((shown, error)) => Some((
            format!("failed to read {}: {error}", shown.display()),
            "without `token_file` Banyan makes a token: .banyan/secrets/purge-token".to_owned(),
        )),
        Ok(file) if file.mode & 0o077 != 0 => Some((
            format!("others can read {} (mode {:o})", file.shown.display(), file.mode),
            format!("chmod 600 {}", file.shown.display()),
        )),
        Ok(file) if file.text.trim().len() < 16 => Some((
            format!("{} holds no token of 16 characters or more", file.shown.display()),
            format!("make one: openssl rand -hex 32 > {}", file.shown.display()),
        )),
        Ok(_) => None,
    };
    if let Some((message, help)) = wrong {
        files.report.error(&written.place, message, &[&help]);
    }
}

/// Once all listeners are known.
pub(crate) fn check_port(edge: &Reader<'_>, built: &EdgeTable, report: &Report) {
    let endpoint = built
        .settings
        .cache
        .as_ref()
        .and_then(|cache| cache.purge.as_ref());
    let Some(port) = endpoint.map(|endpoint| endpoint.listen.port()) else {
        return;
    };
    let metrics = built.settings.metrics.as_ref().map(|metrics| metrics.listen);
    let taken = [
        (Some(built.listen), "the edge listens on it"),
        (built.https, "the edge listens on it for https"),
        (metrics, "metrics are served on it"),
    ];
    let who = taken
        .iter()
        .find(|(address, _)| address.is_some_and(|a| a.port() == port));
    let cache = edge.table("cache");
    let place = cache.table("purge").text("listen").map(|written| written.place);
    let place = place.or_else(|| cache.entry("purge").map(|entry| entry.place.clone()));
    if let (Some((_, who)), Some(place)) = (who, place) {
        let help = "write another port, for example listen = \"127.0.0.1:9466\"";
        report.error(&place, format!("port {port} is taken: {who}"), &[help]);
    }
}
