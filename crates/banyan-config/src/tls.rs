//! `tls` of `[edge]`, and what only means something with it.

use std::path::PathBuf;

use crate::model::{Acme, CertificateFiles, Certificates, Tls};
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::source::JudgeCertificate;

pub(crate) fn build(table: &Reader<'_>, judge: &JudgeCertificate<'_>, report: &Report) -> Option<Tls> {
    let word = table.text("tls");
    let tables = table.tables("tls");
    if word.is_none() && tables.is_empty() {
        warn_without(table, report);
        return None;
    }
    ports_differ(table, report);
    let is_acme = word.as_ref().is_some_and(|word| word.value == "acme");
    if let (Some(entry), false) = (table.entry("acme"), is_acme) {
        let help = "write tls = \"acme\"";
        report.warning(&entry.place, "[edge.acme] has no effect without it", &[help]);
    }
    let domains = table.texts("domains");
    let certificates = match word {
        Some(word) if word.value == "acme" => {
            judge_domains(&word, &domains, table, report);
            Certificates::Acme(acme(&table.table("acme"), report))
        }
        Some(_) => Certificates::SelfSigned,
        None => Certificates::Files(files(&tables, &domains, judge, report)),
    };
    Some(Tls {
        certificates,
        domains: domains
            .into_iter()
            .map(|domain| domain.value.to_lowercase())
            .collect(),
        redirect: table.boolean("redirect"),
        hsts: table.duration("hsts"),
    })
}

fn warn_without(table: &Reader<'_>, report: &Report) {
    if table.has("tls") {
        return;
    }
    for name in ["https_port", "domains", "redirect", "hsts", "acme"] {
        if let Some(entry) = table.entry(name) {
            let help = "write tls = \"self-signed\", or tls = { cert = \"…\", key = \"…\" }";
            report.warning(
                &entry.place,
                format!("`{name}` has no effect without `tls` in [edge]"),
                &[help],
            );
        }
    }
}

/// The CA asks for a file by plain HTTP (http-01): that proves names, never wildcards or addresses.
fn judge_domains(word: &Spot<String>, domains: &[Spot<String>], table: &Reader<'_>, report: &Report) {
    if domains.is_empty() {
        report.error(
            &word.place,
            "tls = \"acme\" needs the names that the certificate is for",
            &["write domains = [\"shop.example\"]"],
        );
    }
    for domain in domains {
        if domain.value.starts_with("*.") || domain.value.parse::<std::net::IpAddr>().is_ok() {
            report.error(
                &domain.place,
                format!("a CA cannot be shown by http that {} is yours", domain.value),
                &["list each name, or use certificate files: tls = { cert = \"…\", key = \"…\" }"],
            );
        }
    }
    let public = table.table("acme").text("directory").is_none();
    let port: u16 = table.number("port");
    if public && port != 80 {
        report.warning(
            &word.place,
            format!("the CA asks http://DOMAIN/ on port 80, and `port` is {port}"),
            &["write port = 80, or let something pass that port on to this one"],
        );
    }
}

fn acme(table: &Reader<'_>, report: &Report) -> Acme {
    let directory = table.text_or_default("directory");
    if let Some(spot) = table.text("directory")
        && !directory.starts_with("https://")
    {
        let help = "write for example \"https://acme-staging-v02.api.letsencrypt.org/directory\"";
        report.error(&spot.place, "`directory` must be an https URL", &[help]);
    }
    if let Some(spot) = table.text("contact")
        && (!spot.value.contains('@') || spot.value.contains([' ', ':', ',']))
    {
        let help = "write contact = \"ops@shop.example\"";
        report.error(&spot.place, "`contact` is no e-mail address", &[help]);
    }
    Acme {
        directory,
        contact: table.text("contact").map(|contact| contact.value),
        root: table.text("root").map(|root| PathBuf::from(root.value)),
    }
}

fn ports_differ(table: &Reader<'_>, report: &Report) {
    let (plain, https): (u16, u16) = (table.number("port"), table.number("https_port"));
    let written = table.entry("https_port").or_else(|| table.entry("port"));
    if let (true, Some(entry)) = (plain == https, written) {
        report.error(
            &entry.node.place,
            format!("`port` and `https_port` are both {plain}"),
            &["choose another one for https_port; 80 and 443 are the usual pair"],
        );
    }
}

/// Judges every certificate, and that every domain is covered by one.
fn files(
    tables: &[Spot<Reader<'_>>],
    domains: &[Spot<String>],
    judge: &JudgeCertificate<'_>,
    report: &Report,
) -> Vec<CertificateFiles> {
    let mut names = Vec::new();
    let mut sound = true;
    let mut found = Vec::new();
    for table in tables {
        let (Some(cert), Some(key)) = (table.value.text("cert"), table.value.text("key")) else {
            sound = false;
            continue;
        };
        let files = CertificateFiles {
            cert: PathBuf::from(&cert.value),
            key: PathBuf::from(&key.value),
        };
        match judge(&files.cert, &files.key) {
            Ok(valid_for) => names.extend(valid_for),
            Err(why) => {
                sound = false;
                report.error(
                    &table.place,
                    why,
                    &["until it is right, the running edge keeps what it has"],
                );
            }
        }
        found.push(files);
    }
    for domain in domains
        .iter()
        .filter(|domain| sound && !covered(&names, &domain.value))
    {
        report.error(
            &domain.place,
            format!("no certificate is valid for {}", domain.value),
            &[&format!("they are valid for {}", names.join(", "))],
        );
    }
    found
}

/// `*.example.org` stands for one level below.
fn covered(names: &[String], domain: &str) -> bool {
    let domain = domain.to_lowercase();
    let parent = domain.split_once('.').map(|(_, parent)| parent);
    let fits = |name: &String| {
        let name = name.to_lowercase();
        name == domain || (name.strip_prefix("*.").is_some() && name.strip_prefix("*.") == parent)
    };
    names.iter().any(fits)
}
