//! `[database]`: the user's own by `url`, or one that Banyan runs.

mod backup;
mod replicas;

use std::collections::BTreeMap;

pub use replicas::BESIDE_THE_POOL;

use crate::database_url::{DatabaseAddress, DatabaseUrlError};
use crate::model::{Database, EdgeTable, ExternalDatabase, ManagedDatabase, PgproxyTable};
use crate::pooling::{Durability, HoldSettings, MeasureSettings, PoolMode, PoolSettings, Reads};
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::scope::{Scope, Use};
use crate::secrets::Secrets;
use crate::template::{Placeholder, RenderError, Template};
use crate::tree::{Entry, Value};

pub(crate) fn build(root: &Reader<'_>, edge: Option<&EdgeTable>, scope: &Scope<'_>) -> Option<Database> {
    root.entry("database")?;
    let table = root.table("database");
    if table.has("url") {
        let url = table.text("url")?;
        return Some(Database::External(external(&table, &url, scope)));
    }
    if let (Some(edge), Some(port)) = (edge, table.integer("port"))
        && let Some(who) = who_has(edge, port.value)
    {
        let message = format!("port {} is taken: {who}", port.value);
        let help = "write another port, or remove the line: Banyan finds a free one";
        scope.report.error(&port.place, message, &[help]);
    }
    let number = |name: &str| table.integer(name).map(|number| number.value);
    let database = ManagedDatabase {
        postgres: number("postgres").and_then(|number| u32::try_from(number).ok()),
        port: number("port").and_then(|number| u16::try_from(number).ok()),
        dir: table.text("dir").map(|dir| dir.value.into()),
        memory_bytes: table.bytes_if_any("memory"),
        max_connections: table.number("max_connections"),
        name: table.text("name").map(|name| name.value),
        replicas: table.number("replicas"),
        durability: match table.text_or_default("durability").as_str() {
            "sync" => Durability::Sync,
            _ => Durability::Async,
        },
        reads: reads(&table),
        pgproxy: Box::new(pgproxy(&table.table("pgproxy"), table.number("max_connections"))),
        backup: backup::build(&table, scope.report),
        settings: settings(&table, scope.report),
    };
    replicas::check(&table, &database, edge, scope.report);
    backup::check(&table, &database, scope.report);
    Some(Database::Managed(database))
}

/// Fresh, if there is somebody who could answer and somebody who could ask.
fn reads(table: &Reader<'_>) -> Reads {
    let written = table.text("reads").and_then(|reads| reads.value.parse().ok());
    let replicas: u32 = table.number("replicas");
    written.unwrap_or(if replicas > 0 {
        Reads::Fresh
    } else {
        Reads::Primary
    })
}

fn pgproxy(table: &Reader<'_>, max_connections: u32) -> PgproxyTable {
    let fits = max_connections.saturating_sub(replicas::BESIDE_THE_POOL).max(1);
    let size = table
        .integer("pool")
        .and_then(|pool| u32::try_from(pool.value).ok());
    PgproxyTable {
        direct: table.boolean("direct"),
        port: table
            .integer("port")
            .and_then(|port| u16::try_from(port.value).ok()),
        pool: PoolSettings {
            size: size.unwrap_or(PoolSettings::default().size.min(fits)),
            max_clients: table.number("max_clients"),
            wait: table.duration("wait"),
            mode: match table.text_or_default("mode").as_str() {
                "session" => PoolMode::Session,
                _ => PoolMode::Transaction,
            },
        },
        hold: HoldSettings {
            grace: table.duration("grace"),
            limit: table.duration("hold"),
        },
        measure: MeasureSettings {
            statements: table.boolean("measure"),
            slow_query: table.duration("slow_query"),
        },
        admins: table.texts("admins").into_iter().map(|name| name.value).collect(),
    }
}

/// Which other listener has the port.
pub(crate) fn who_has(edge: &EdgeTable, port: i64) -> Option<&'static str> {
    let metrics = edge.settings.metrics.as_ref().map(|metrics| metrics.listen);
    let taken = [
        (Some(edge.listen), "the edge listens on it"),
        (edge.https, "the edge listens on it for https (edge.https_port)"),
        (metrics, "metrics are served on it (metrics.listen)"),
    ];
    let places = edge.places.values().flat_map(crate::EdgePlace::addresses);
    let places = places.map(|address| (Some(address), "a place of the edge listens on it (edge.place)"));
    let found = taken
        .into_iter()
        .chain(places)
        .find(|(address, _)| address.is_some_and(|a| i64::from(a.port()) == port));
    found.map(|(_, who)| who)
}

fn settings(table: &Reader<'_>, report: &Report) -> BTreeMap<String, String> {
    let text = |entry: &Entry| {
        let value = match &entry.node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.clone(),
            Value::Boolean(true) => "on".to_owned(),
            Value::Boolean(false) => "off".to_owned(),
            _ => return None,
        };
        if value.contains(['\n', '\0']) {
            report.error(
                &entry.node.place,
                format!("`{}` has more than one line", entry.name),
                &["write it on one line"],
            );
        }
        if entry.name == "synchronous_commit" && ["off", "false", "no", "0"].contains(&value.as_str()) {
            let help = "a crash loses the last writes although the app was told that they are safe";
            report.warning(&entry.node.place, "`synchronous_commit` is off", &[help]);
        }
        Some((entry.name.clone(), value))
    };
    table.map("settings").0.iter().filter_map(text).collect()
}

fn external(table: &Reader<'_>, url: &Spot<String>, scope: &Scope<'_>) -> ExternalDatabase {
    for key in [
        "postgres",
        "port",
        "dir",
        "memory",
        "max_connections",
        "name",
        "replicas",
        "durability",
        "reads",
        "backup",
        "settings",
    ] {
        if let Some(entry) = table.entry(key) {
            let message = format!("`{key}` has no effect: `url` names a database that Banyan does not run");
            scope.report.error(
                &entry.place,
                message,
                &["remove this line, or remove `url` to let Banyan run PostgreSQL"],
            );
        }
    }
    let before = scope.report.has_errors();
    let external = ExternalDatabase {
        url: scope.template(url, Use::DatabaseUrl),
        // What fits into the server is looked at when it is asked.
        pgproxy: pgproxy(&table.table("pgproxy"), u32::MAX),
    };
    let Some(secrets) = &scope.secrets else {
        return external;
    };
    match external.address(secrets) {
        Ok(address) => {
            let literal = !address.password.is_empty() && external.url.placeholders().next().is_none();
            if literal {
                let help =
                    "write {{secret.DATABASE_PASSWORD}} in its place, and the password in the secrets file";
                scope.report.hidden_warning(
                    &url.place,
                    "the password is readable for all who can read this file",
                    &[help],
                );
            }
            if let Err(error) = address.trust()
                && !external.pgproxy.direct
            {
                scope.report.hidden_error(
                    &url.place,
                    format!("`url` cannot be spoken to: {error}"),
                    &["write it in the URL, or direct = true in [database.pgproxy]: the app then connects itself"],
                );
            }
        }
        Err(ExternalDatabaseError::Url(error)) => scope.report.hidden_error(
            &url.place,
            format!("`url` is not the address of a PostgreSQL database: {error}"),
            &["write url = \"postgres://user:{{secret.DATABASE_PASSWORD}}@host:5432/name\""],
        ),
        // A placeholder without value has been reported where it stands.
        Err(ExternalDatabaseError::Render(_)) => debug_assert!(before || scope.report.has_errors()),
    }
    external
}

/// A URL with its secrets. One that is only a part of it is URL-encoded, so that any password works.
pub(crate) fn filled(url: &Template, secrets: &Secrets) -> Result<String, RenderError> {
    let whole = is_one_placeholder(url);
    url.render(&|placeholder| match placeholder {
        Placeholder::Secret(name) => {
            let value = secrets.get(name)?.expose();
            Some(if whole {
                value.trim().to_owned()
            } else {
                crate::database_url::encode(value)
            })
        }
        _ => None,
    })
}

/// Why a `url` leads to no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalDatabaseError {
    #[error("failed to fill in database.url")]
    Render(#[from] RenderError),
    #[error("database.url is not the address of a PostgreSQL database")]
    Url(#[from] DatabaseUrlError),
}

impl ExternalDatabase {
    /// Fills in the secrets.
    pub fn address(&self, secrets: &Secrets) -> Result<DatabaseAddress, ExternalDatabaseError> {
        let url = filled(&self.url, secrets)?;
        Ok(DatabaseAddress::parse(&url)?)
    }
}

fn is_one_placeholder(url: &Template) -> bool {
    let text = url.as_str().trim();
    text.starts_with("{{") && text.find("}}") == Some(text.len() - 2)
}
