//! What must not be shown to others, in a Config and in URLs.

use std::collections::BTreeMap;

use super::alerts;
use crate::model::{Config, Database};
use crate::redis::Redis;
use crate::template::Template;

pub(super) const MASK: &str = "***";

/// The Config with `***` for what must not be shown. References such as `{{secret.NAME}}` stay: they reveal nothing.
pub(super) fn mask(config: &Config) -> Config {
    let mut config = config.clone();
    mask_environment(&mut config.app.env);
    for process in config.processes.values_mut() {
        mask_environment(&mut process.env);
    }
    if let Some(Database::External(external)) = &mut config.database {
        external.url = mask_url(&external.url);
    }
    for redis in config.redis.values_mut() {
        if let Redis::External(external) = redis {
            external.url = mask_url(&external.url);
        }
    }
    if let Some(alerts) = &mut config.alerts {
        alerts::mask(alerts);
    }
    // A setting may hold a connection string, such as primary_conninfo.
    if let Some(Database::Managed(managed)) = &mut config.database {
        let secret = |value: &&mut String| value.contains("password");
        managed
            .settings
            .values_mut()
            .filter(secret)
            .for_each(|value| MASK.clone_into(value));
    }
    config
}

fn mask_environment(env: &mut BTreeMap<String, Template>) {
    for (name, value) in env {
        *value = mask_url(value);
        if sounds_secret(name) && value.placeholders().next().is_none() && !value.as_str().is_empty() {
            *value = Template::literal(MASK);
        }
    }
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    let words = [
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "TOKEN",
        "CREDENTIAL",
        "PRIVATE",
        "DSN",
    ];
    words.iter().any(|word| name.contains(word))
        || name
            .split('_')
            .any(|word| ["KEY", "PASS", "PW", "SALT", "APIKEY"].contains(&word))
}

/// A URL without its password, and without what sounds secret behind its `?`.
fn mask_url(value: &Template) -> Template {
    let text = value.as_str();
    let Some((scheme, rest)) = text.split_once("://") else {
        return value.clone();
    };
    let masked = mask_options(&mask_login(rest));
    Template::literal(format!("{scheme}://{masked}"))
}

/// `user:password@host…`. A password in which somebody forgot to escape `/` or `?` is one all the same.
fn mask_login(rest: &str) -> String {
    let upto = |ends: &[char]| &rest[..rest.find(ends).unwrap_or(rest.len())];
    let login = upto(&['?', '#'])
        .rsplit_once('@')
        .or_else(|| upto(&['/']).rsplit_once('@'));
    let masked = login.and_then(|(login, _)| {
        let (user, password) = login.split_once(':')?;
        is_literal(password).then(|| format!("{user}:{MASK}{}", &rest[login.len()..]))
    });
    masked.unwrap_or_else(|| rest.to_owned())
}

/// `…?name=value&name=value#fragment`.
fn mask_options(rest: &str) -> String {
    let Some((before, options)) = rest.split_once('?') else {
        return rest.to_owned();
    };
    let (options, fragment) = options.split_at(options.find('#').unwrap_or(options.len()));
    let options = options.split('&').map(|option| match option.split_once('=') {
        Some((name, value)) if sounds_secret(name) && is_literal(value) => format!("{name}={MASK}"),
        _ => option.to_owned(),
    });
    let options: Vec<String> = options.collect();
    format!("{before}?{}{fragment}", options.join("&"))
}

fn is_literal(text: &str) -> bool {
    Template::literal(text).placeholders().next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(url: &str) -> String {
        mask_url(&Template::literal(url)).as_str().to_owned()
    }

    #[test]
    fn urls_are_shown_without_what_lets_somebody_in() {
        for (url, shown) in [
            ("postgres://u:p@h/db", "postgres://u:***@h/db"),
            ("postgres://u:p/w@h/db", "postgres://u:***@h/db"),
            ("postgres://u:p?w@h/db", "postgres://u:***@h/db"),
            (
                "postgres://u@h/db?sslmode=require&password=p",
                "postgres://u@h/db?sslmode=require&password=***",
            ),
            ("amqp://h/?auth_token=t#x", "amqp://h/?auth_token=***#x"),
            ("http://h:80/p?mail=a@b", "http://h:80/p?mail=a@b"),
            ("postgres://u:{{secret.P}}@h", "postgres://u:{{secret.P}}@h"),
            ("not a url: a@b?password=x", "not a url: a@b?password=x"),
        ] {
            assert_eq!(masked(url), shown, "{url}");
        }
    }
}
