//! `tls` of `[edge]`, and what only means something with it.

use std::path::PathBuf;

use crate::model::{CertificateFiles, Certificates, Tls};
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
    let domains = table.texts("domains");
    let certificates = match word {
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
    for name in ["https_port", "domains", "redirect", "hsts"] {
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
