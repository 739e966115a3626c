//! `mail`, `smtp`, `from`, `password_file` of a receiver: alerts as mail.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::private_file;
use crate::files::Files;
use crate::read::{Reader, Spot};
use crate::report::{Place, Report};

/// Alerts as mail, over SMTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Who gets it; at least one.
    pub to: Vec<String>,
    pub from: String,
    pub server: MailServer,
    /// Its user and the file with the password, which holds nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<(String, PathBuf)>,
}

/// Who takes mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte (`smtps://`); else STARTTLS, where the server offers it.
    pub tls: bool,
}

/// What belongs to `mail` and means nothing without it.
pub(super) const BESIDE: [&str; 3] = ["smtp", "from", "password_file"];

impl MailServer {
    /// As written in banyan.toml.
    pub fn url(&self, user: Option<&str>) -> String {
        let Self { host, port, .. } = self;
        let scheme = if self.tls { "smtps" } else { "smtp" };
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("{scheme}://{user}{host}:{port}")
    }
}

/// `place`: of the receiver.
pub(super) fn build(table: &Reader<'_>, place: &Place, files: &Files<'_>) -> Option<Mail> {
    let report = files.report;
    let to: Option<Vec<String>> = table
        .texts("mail")
        .iter()
        .map(|address| self::address(address, report))
        .collect();
    let from = table.text("from");
    let server = table.text("smtp");
    for (name, missing, help) in [
        (
            "smtp",
            server.is_none(),
            "smtp = \"smtps://USER@HOST\" or \"smtp://HOST:PORT\"",
        ),
        ("from", from.is_none(), "from = \"banyan@example.com\""),
    ] {
        if missing {
            let message = format!("`{name}` is missing: mail needs it");
            report.error(place, message, &[&format!("write {help}")]);
        }
    }
    let from = from.and_then(|from| self::address(&from, report));
    let (server, user) = server.and_then(|url| self::server(&url, report))?;
    let login = login(user, table, place, files)?;
    let to = to?;
    if to.is_empty() {
        let entry = table.entry("mail")?;
        report.error(
            &entry.place,
            "nobody gets it",
            &["write mail = [\"ops@example.com\"]"],
        );
        return None;
    }
    Some(Mail {
        to,
        from: from?,
        server,
        login,
    })
}

/// `NAME@DOMAIN`, and nothing that would be more than an address where it is sent.
fn address(written: &Spot<String>, report: &Report) -> Option<String> {
    let text = &written.value;
    let sound = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    let whole = text
        .split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if whole && text.chars().all(sound) {
        return Some(text.clone());
    }
    let message = format!("`{text}` is no address of mail");
    report.error(&written.place, message, &["write NAME@DOMAIN"]);
    None
}

fn server(url: &Spot<String>, report: &Report) -> Option<(MailServer, Option<String>)> {
    let found = parse(&url.value);
    if found.is_none() {
        let help = "write smtps://USER@HOST (port 465) or smtp://USER@HOST:PORT (587); the password goes into password_file";
        report.hidden_error(&url.place, "`smtp` is no address of a mail server", &[help]);
    }
    found
}

fn parse(url: &str) -> Option<(MailServer, Option<String>)> {
    let (scheme, rest) = url.split_once("://")?;
    let tls = match scheme {
        "smtps" => true,
        "smtp" => false,
        _ => return None,
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (place, if tls { 465 } else { 587 }),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let is_user =
        |user: &str| !user.is_empty() && user.chars().all(|c| c.is_ascii_graphic() && c != ':' && c != '/');
    if host.is_empty() || !host.chars().all(is_host) || !user.is_none_or(is_user) {
        return None;
    }
    let host = host.to_owned();
    Some((MailServer { host, port, tls }, user.map(str::to_owned)))
}

/// `None`: it was wrong.
fn login(
    user: Option<String>,
    table: &Reader<'_>,
    place: &Place,
    files: &Files<'_>,
) -> Option<Option<(String, PathBuf)>> {
    match (user, table.text("password_file")) {
        (None, None) => Some(None),
        (Some(user), Some(file)) => {
            let text = private_file(
                &file,
                "write the password into this file, and chmod 600 it",
                files,
            )?;
            if text.trim().is_empty() {
                let help = "its only line is to be the password";
                files
                    .report
                    .error(&file.place, format!("{} is empty", file.value), &[help]);
            }
            Some(Some((user, file.value.into())))
        }
        (Some(_), None) => {
            let help = "write password_file = \"FILE\", mode 0600, or no user in `smtp`";
            files
                .report
                .error(place, "`smtp` names a user, and nothing its password", &[help]);
            None
        }
        (None, Some(file)) => {
            let help = "write smtp = \"smtps://USER@HOST\", or remove this line";
            files
                .report
                .error(&file.place, "nobody logs in with this password", &[help]);
            None
        }
    }
}
