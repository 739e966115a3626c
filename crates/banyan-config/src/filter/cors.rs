//! `cors`: which other sites' pages may read answers (the CORS protocol of the Fetch standard).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::is_domain;
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::units::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// `*`, `https://shop.example`, `https://*.shop.example`; in lower case. At least one.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Of requests; `*`: whatever the page asks for.
    pub headers: Vec<String>,
    /// Of answers.
    pub expose: Vec<String>,
    /// With cookies. Never together with the origin `*`.
    pub credentials: bool,
    #[serde(with = "duration")]
    pub max_age: Duration,
}

pub(super) fn build(table: &Reader<'_>, inherited: Option<&Cors>, report: &Report) -> Option<Cors> {
    if !table.has("cors") {
        return inherited.cloned();
    }
    let tables = table.tables("cors");
    if let [_, second, ..] = tables.as_slice() {
        report.error(
            &second.place,
            "`cors` is one table",
            &["put all origins into one list"],
        );
    }
    let table = tables.into_iter().next()?.value;
    let origins = table.texts("origins");
    let credentials = table.boolean("credentials");
    for origin in &origins {
        judge(origin, credentials, report);
    }
    if let (Some(entry), true) = (table.entry("origins"), origins.is_empty()) {
        let help = "write origins = [\"https://app.example.org\"], or cors = \"off\"";
        report.error(&entry.node.place, "`origins` names nobody", &[help]);
    }
    Some(Cors {
        origins: origins
            .into_iter()
            .map(|origin| origin.value.to_ascii_lowercase())
            .collect(),
        methods: tokens(&table, "methods", report),
        headers: tokens(&table, "headers", report),
        expose: tokens(&table, "expose", report),
        credentials,
        max_age: table.duration("max_age"),
    })
}

fn judge(origin: &Spot<String>, credentials: bool, report: &Report) {
    let text = origin.value.as_str();
    if text == "*" {
        if credentials {
            let help = "every site could then act as your users: name the origins";
            report.error(&origin.place, "`*` beside credentials = true", &[help]);
        }
        return;
    }
    let sound = text.split_once("://").is_some_and(|(scheme, host)| {
        let (name, port) = host.split_once(':').unwrap_or((host, "1"));
        let wild = name.strip_prefix("*.").is_none_or(|rest| rest.contains('.'));
        ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str())
            && is_domain(name)
            && wild
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !sound {
        let help = "write \"https://app.example.org\" (with its port, if it has one), \"https://*.example.org\" or \"*\"";
        report.error(&origin.place, format!("\"{text}\" is not an origin"), &[help]);
    }
}

/// Names of methods or headers.
fn tokens(table: &Reader<'_>, name: &str, report: &Report) -> Vec<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for text in table
        .texts(name)
        .iter()
        .filter(|text| !text.value.bytes().all(token))
    {
        let help = "write each name alone: [\"x-one\", \"x-two\"]";
        report.error(&text.place, format!("\"{}\" is not a name", text.value), &[help]);
    }
    table.words(name)
}
