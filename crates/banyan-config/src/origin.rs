//! `[origin.NAME]`: servers elsewhere that routes send requests to, by URL: the first one, and those behind it where that
//! one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::Files;
use crate::model::EdgeTable;
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::route::RouteAction;
use crate::tree::{Entry, Value};
use crate::units::duration;

/// Shorter secrets can be guessed.
const SECRET: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// At least one; those behind the first get safe requests (RFC 9110 §9.2.1) that the ones before could not answer.
    pub urls: Vec<OriginUrl>,
    /// Holds what `X-Origin-Verify` says. As written, relative to banyan.toml; absolute once it is in a topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// `Host`; `None`: that of each URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// PEM file of the CAs that are believed, written as `secret_file`; `None`: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The path that checks ask for; `None`: they connect only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Between checks. Default 5 s.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// For each server to begin its answer. Default 10 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

/// `https://media.example.org:8443`: a scheme, a host and a port, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct OriginUrl {
    pub tls: bool,
    /// In lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

impl OriginUrl {
    /// As `Host` names it: without the scheme's own port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == if self.tls { 443 } else { 80 } {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl From<OriginUrl> for String {
    fn from(url: OriginUrl) -> Self {
        url.to_string()
    }
}

impl TryFrom<String> for OriginUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for OriginUrl {
    /// What is wrong with it.
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err("its scheme is neither http nor https"),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err("it has a path: which one is asked for says the request, and `rewrite` of the route");
        }
        if authority.contains('@') {
            return Err("it has a user: what the origin is to know goes into `secret_file`");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("its address has no end")?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| "its address is none")?;
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port).filter(|port| !port.is_empty())),
                None => (authority, Some("")),
            },
        };
        let port = match port {
            Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or("its port is none")?,
            None => return Err("its port is none"),
        };
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(sound) {
            return Err("its host is no name and no address");
        }
        Ok(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

pub(crate) fn build(root: &Reader<'_>, files: &Files<'_>) -> BTreeMap<String, Origin> {
    let (entries, keys) = root.map("origin");
    let mut all = BTreeMap::new();
    for entry in entries {
        let Value::Table(own) = &entry.node.value else {
            continue;
        };
        if let Some(origin) = one(&Reader::new(own, keys), files) {
            all.insert(entry.name.clone(), origin);
        }
    }
    all
}

/// Once routes are known.
pub(crate) fn check_use(root: &Reader<'_>, edge: &EdgeTable, report: &Report) {
    let used: BTreeSet<&str> = edge
        .routes
        .iter()
        .filter_map(|route| match &route.action {
            RouteAction::Origin(to) => Some(to.origin.as_str()),
            RouteAction::Process(forward) => forward.backup.as_deref(),
            _ => None,
        })
        .collect();
    let unused = |entry: &&Entry| !used.contains(entry.name.as_str());
    for entry in root.map("origin").0.iter().filter(unused) {
        let name = &entry.name;
        let help =
            format!("write origin = \"{name}\" in a [[route]], or backup = \"{name}\" beside its process");
        report.warning(
            &entry.place,
            format!("no route leads to [origin.{name}]"),
            &[&help],
        );
    }
}

/// `None`: reported, not usable.
fn one(table: &Reader<'_>, files: &Files<'_>) -> Option<Origin> {
    let report = files.report;
    let written: Vec<Spot<String>> = table
        .text("url")
        .into_iter()
        .chain(table.texts("backup"))
        .collect();
    let mut urls: Vec<OriginUrl> = Vec::new();
    for spot in &written {
        let url = match spot.value.parse::<OriginUrl>() {
            Ok(url) => url,
            Err(why) => {
                let help = "write for example \"https://media.example.org\"";
                let message = format!("\"{}\" is no URL of an origin: {why}", spot.value);
                report.error(&spot.place, message, &[help]);
                continue;
            }
        };
        if urls.contains(&url) {
            let help = "it would fail twice: write another one, or leave it out";
            report.error(&spot.place, format!("{url} is named twice"), &[help]);
        }
        urls.push(url);
    }
    if let Some(host) = table.text("host")
        && format!("http://{}", host.value).parse::<OriginUrl>().is_err()
    {
        let message = format!("\"{}\" cannot be a Host", host.value);
        report.error(&host.place, message, &["write a name, perhaps with a port"]);
    }
    let secret = table.text("secret_file");
    if let Some(spot) = &secret {
        check_secret(spot, &urls, files);
    }
    let ca = table.text("ca");
    if let Some(spot) = &ca {
        check_ca(spot, &urls, files);
    }
    (urls.len() == written.len() && !urls.is_empty()).then(|| Origin {
        urls,
        secret_file: secret.map(|spot| spot.value.into()),
        host: table.text("host").map(|spot| spot.value),
        ca: ca.map(|spot| spot.value.into()),
        ready: table.text("ready").map(|spot| spot.value),
        interval: table.duration("interval"),
        timeout: table.duration("timeout"),
    })
}

fn check_secret(spot: &Spot<String>, urls: &[OriginUrl], files: &Files<'_>) {
    let report = files.report;
    let wrong = match files.read(Path::new(&spot.value), true) {
        Err((shown, error)) => Some((
            format!("failed to read {}: {error}", shown.display()),
            format!(
                "make one: (umask 077; openssl rand -hex 32 > {})",
                shown.display()
            ),
        )),
        Ok(file) if file.mode & 0o077 != 0 => Some((
            format!("others can read {} (mode {:o})", file.shown.display(), file.mode),
            format!("chmod 600 {}", file.shown.display()),
        )),
        Ok(file) if !is_secret(file.text.trim()) => Some((
            format!(
                "{} holds no secret: {SECRET} visible ASCII characters or more, on one line",
                file.shown.display()
            ),
            format!(
                "make one: (umask 077; openssl rand -hex 32 > {})",
                file.shown.display()
            ),
        )),
        Ok(_) => None,
    };
    if let Some((message, help)) = wrong {
        report.error(&spot.place, message, &[&help]);
    }
    let local = |url: &OriginUrl| {
        let address = url.host.parse::<std::net::IpAddr>();
        url.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    for url in urls.iter().filter(|url| !url.tls && !local(url)) {
        let message = format!("the secret would pass {url} unencrypted");
        report.error(&spot.place, message, &["write https://"]);
    }
}

/// Can be a header's value and not be guessed.
fn is_secret(text: &str) -> bool {
    text.len() >= SECRET && text.bytes().all(|b| b.is_ascii_graphic())
}

fn check_ca(spot: &Spot<String>, urls: &[OriginUrl], files: &Files<'_>) {
    let report = files.report;
    if !urls.iter().any(|url| url.tls) {
        let help = "write https:// in its URLs, or remove it";
        report.warning(&spot.place, "`ca` has no effect: no URL is https", &[help]);
    }
    match files.read(Path::new(&spot.value), false) {
        Ok(file) if file.text.contains("-----BEGIN CERTIFICATE-----") => {}
        Ok(file) => {
            let message = format!("{} holds no certificate", file.shown.display());
            report.error(
                &spot.place,
                message,
                &["write a PEM file of the CA's certificate"],
            );
        }
        Err((shown, error)) => {
            let message = format!("failed to read {}: {error}", shown.display());
            report.error(&spot.place, message, &["the path is relative to banyan.toml"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_strictly_and_written_as_they_mean() {
        let read = |text: &str| text.parse::<OriginUrl>().map(|url| url.to_string());
        for (text, meant) in [
            ("https://Media.example", "https://media.example"),
            ("https://media.example:443/", "https://media.example"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://[::1]:81", "http://[::1]:81"),
            ("http://[::1]", "http://[::1]"),
            ("http://media.example:443", "http://media.example:443"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
        for text in [
            "media.example",
            "ftp://media.example",
            "https://media.example/path",
            "https://media.example?x",
            "https://me@media.example",
            "https://media.example:",
            "https://media.example:0",
            "https://media.example:99999",
            "https://",
            "https://:80",
            "https://[::1",
            "https://[x]",
            "https://[::1]x",
            "https://a b",
            "https://ä.example",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
