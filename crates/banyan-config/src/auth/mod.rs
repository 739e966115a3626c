//! `[auth.NAME]`: how clients show who they are. Files are judged here, so that a wrong one is refused before anything
//! changes; what is secret in them is not kept.

mod file;
mod model;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::files::Files;
use crate::nearest::nearest;
use crate::read::{Reader, Spot};
use crate::report::{Place, Report};
use crate::tree::Value;

pub use model::{Auth, AuthBy, Jwt, JwtKeys};

/// A table has one of them.
const WAYS: [&str; 4] = ["jwks", "keys", "users", "signed"];
/// What only means something with `jwks`.
const OF_JWT: [&str; 9] = [
    "issuer",
    "audience",
    "algorithms",
    "leeway",
    "refresh",
    "ca",
    "require",
    "claims",
    "user",
];

pub(crate) fn build(root: &Reader<'_>, files: &Files<'_>) -> BTreeMap<String, Auth> {
    let (entries, keys) = root.map("auth");
    let mut all = BTreeMap::new();
    for entry in entries {
        let Value::Table(own) = &entry.node.value else {
            continue;
        };
        let table = Reader::new(own, keys);
        if let Some(auth) = one(&table, &entry.place, files) {
            all.insert(entry.name.clone(), auth);
        }
    }
    all
}

/// The names that `[edge]` or a route gives; `inherited` where nothing is written.
pub(crate) fn names(
    table: &Reader<'_>,
    inherited: &[String],
    known: &BTreeMap<String, Auth>,
    report: &Report,
) -> Vec<String> {
    if !table.has("auth") {
        return inherited.to_vec();
    }
    let names = table.texts("auth");
    for name in names.iter().filter(|name| !known.contains_key(&name.value)) {
        let help = match nearest(&name.value, known.keys().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!(
                "write a table [auth.{}] with jwks, keys, users or signed",
                name.value
            ),
        };
        report.error(
            &name.place,
            format!("there is no [auth.{}]", name.value),
            &[&help],
        );
    }
    names.into_iter().map(|name| name.value).collect()
}

fn one(table: &Reader<'_>, place: &Place, files: &Files<'_>) -> Option<Auth> {
    let report = files.report;
    let written: Vec<(&str, Spot<String>)> = WAYS
        .into_iter()
        .filter_map(|way| Some((way, table.text(way)?)))
        .collect();
    let (way, spot) = match written.as_slice() {
        [] => {
            if !WAYS.iter().any(|way| table.has(way)) {
                let help =
                    "write jwks = \"https://…\", keys = \"FILE\", users = \"FILE\" or signed = \"FILE\"";
                report.error(place, "it does not say how clients show who they are", &[help]);
            }
            return None;
        }
        [one] => one,
        [(first, _), (second, spot), ..] => {
            let help = "make two tables of it; a route may name several: auth = [\"a\", \"b\"]";
            report.error(
                &spot.place,
                format!("`{second}` beside `{first}`: a table has one of them"),
                &[help],
            );
            return None;
        }
    };
    without_effect(table, way, report);
    let by = match *way {
        "jwks" => AuthBy::Jwt(Box::new(jwt(table, spot, files)?)),
        "keys" => {
            file::lines(
                spot,
                files,
                file::is_digest,
                "a SHA-256 of the key in 64 hexadecimal digits",
                "printf %s KEY | sha256sum",
            );
            AuthBy::Keys {
                file: PathBuf::from(&spot.value),
                header: table.text_or_default("header").to_ascii_lowercase(),
            }
        }
        "signed" => {
            file::lines(
                spot,
                files,
                file::is_digest,
                "a secret of 64 hexadecimal digits",
                "openssl rand -hex 32",
            );
            AuthBy::Links {
                file: PathBuf::from(&spot.value),
            }
        }
        _ => {
            file::lines(
                spot,
                files,
                file::is_password_hash,
                "an argon2 or bcrypt hash",
                "htpasswd -nB NAME",
            );
            AuthBy::Users {
                file: PathBuf::from(&spot.value),
            }
        }
    };
    let user_header = header(
        table.text_or_default("user_header"),
        table.text("user_header"),
        report,
    );
    Some(Auth {
        by,
        user_header,
        forward: table.boolean("forward"),
    })
}

fn without_effect(table: &Reader<'_>, way: &str, report: &Report) {
    let useless = |name: &str, of: &str| {
        if let Some(entry) = table.entry(name) {
            report.error(
                &entry.place,
                format!("`{name}` does nothing beside `{way}`"),
                &[&format!("it goes with `{of}`; remove it")],
            );
        }
    };
    if way != "jwks" {
        OF_JWT.iter().for_each(|name| useless(name, "jwks"));
    }
    if way != "keys" {
        useless("header", "keys");
    }
    if way == "signed" {
        ["user_header", "forward"]
            .iter()
            .for_each(|name| useless(name, "jwks, keys and users"));
    }
}

fn jwt(table: &Reader<'_>, spot: &Spot<String>, files: &Files<'_>) -> Option<Jwt> {
    let report = files.report;
    let text = spot.value.as_str();
    let is_url = text.contains("://");
    for name in ["refresh", "ca"] {
        if let (false, Some(entry)) = (is_url, table.entry(name)) {
            let help = "a file is read again when it changes; remove it";
            report.error(
                &entry.place,
                format!("`{name}` does nothing with a file of keys"),
                &[help],
            );
        }
    }
    let algorithms = algorithms(table, is_url, report);
    let keys = if is_url {
        url(spot, report)?;
        JwtKeys::Url {
            url: text.to_owned(),
            refresh: table.duration("refresh"),
            ca: table.text("ca").map(|ca| PathBuf::from(ca.value)),
        }
    } else {
        file::key_set(spot, files);
        JwtKeys::File(PathBuf::from(text))
    };
    let audience: Vec<String> = table.texts("audience").into_iter().map(|one| one.value).collect();
    if audience.is_empty() {
        let help =
            "a token that its issuer made for another application is taken too: write audience = [\"…\"]";
        report.warning(&spot.place, "tokens are taken whatever they are for", &[help]);
    }
    Some(Jwt {
        keys,
        algorithms,
        issuer: table.text("issuer").map(|issuer| issuer.value),
        audience,
        leeway: table.duration("leeway"),
        require: pairs(table, "require")
            .map(|(name, value, _)| (name, value))
            .collect(),
        claims: pairs(table, "claims")
            .map(|(name, claim, place)| {
                let spot = Spot {
                    value: name.clone(),
                    place,
                };
                (header(name, Some(spot), report), claim)
            })
            .collect(),
        user: table.text_or_default("user"),
    })
}

fn algorithms(table: &Reader<'_>, is_url: bool, report: &Report) -> Vec<String> {
    let written = table.texts("algorithms");
    for one in written.iter().filter(|one| is_url && one.value.starts_with("HS")) {
        let help = "a secret that is fetched is none: put the key set into a file of mode 0600";
        report.error(&one.place, format!("{} needs a file of keys", one.value), &[help]);
    }
    if let Some(entry) = table.entry("algorithms")
        && matches!(&entry.node.value, Value::List(items) if items.is_empty())
    {
        report.error(
            &entry.node.place,
            "`algorithms` allows no token",
            &["write for example [\"RS256\"]"],
        );
    }
    if table.has("algorithms") {
        return written.into_iter().map(|one| one.value).collect();
    }
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

/// Keys from where anybody could change them are no keys: plain http only from this machine.
fn url(spot: &Spot<String>, report: &Report) -> Option<()> {
    let (scheme, rest) = spot.value.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let plain = spot.value.bytes().all(|b| b.is_ascii_graphic());
    let local = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
    if name.is_empty() || host.contains('@') || !plain || !["https", "http"].contains(&scheme) {
        let help = "write for example \"https://login.example.org/.well-known/jwks.json\"";
        report.error(
            &spot.place,
            format!("`{}` is not a URL of keys", spot.value),
            &[help],
        );
        return None;
    }
    if scheme == "http" && !local {
        let help = "whoever changes them on the way may log in: write https://";
        report.error(&spot.place, "keys are not fetched in clear text", &[help]);
        return None;
    }
    Some(())
}

/// In lower case. Those that frame or route a message cannot tell who a client is.
fn header(name: String, spot: Option<Spot<String>>, report: &Report) -> String {
    let name = name.to_ascii_lowercase();
    let taken = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "authorization",
        "cookie",
        "te",
        "upgrade",
        "x-request-id",
        "forwarded",
        "x-real-ip",
        "traceparent",
        "tracestate",
    ];
    if let Some(spot) = spot
        && (taken.contains(&name.as_str()) || name.starts_with("x-forwarded-"))
    {
        let help = "take a name of its own, such as x-auth-user";
        report.error(&spot.place, format!("{name} means something else"), &[help]);
    }
    name
}

fn pairs<'a>(table: &Reader<'a>, name: &str) -> impl Iterator<Item = (String, String, Place)> + use<'a> {
    let (entries, _) = table.map(name);
    entries.iter().filter_map(|entry| match &entry.node.value {
        Value::Text(text) => Some((entry.name.clone(), text.clone(), entry.place.clone())),
        _ => None,
    })
}
