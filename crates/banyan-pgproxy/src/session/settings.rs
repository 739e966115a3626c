//! Settings that differ from a server's defaults, and the SQL that turns one set of them into another.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Name in lower case to value; who the session is among them (`session_authorization`, `role`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Settings(BTreeMap<Box<str>, Box<str>>);

/// What the server reports of a session: name to value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Parameters(BTreeMap<Box<str>, Box<str>>);

const TIME_LIMIT: &str = "statement_timeout";

const IDENTITY: [&str; 2] = ["session_authorization", "role"];

impl Settings {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_ascii_lowercase().into(), value.into());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Is it who the session is?
    pub(crate) fn is_identity(name: &str) -> bool {
        IDENTITY.contains(&name)
    }

    /// Is it the transaction's, or nothing that can be read back?
    pub(crate) fn is_momentary(name: &str) -> bool {
        const NAMES: [&str; 4] = [
            "transaction_isolation",
            "transaction_read_only",
            "transaction_deferrable",
            "seed",
        ];
        NAMES.contains(&name)
    }

    /// Is what is created without a schema temporary, perhaps?
    pub(crate) fn creates_temporary(&self) -> bool {
        self.get("search_path")
            .is_some_and(|path| path.contains("pg_temp"))
    }

    fn identity(&self) -> bool {
        IDENTITY.iter().any(|name| self.0.contains_key(*name))
    }
}

impl Parameters {
    /// Did it change?
    pub(crate) fn set(self: &mut Rc<Self>, name: &str, value: &str) -> bool {
        // A client of the proxy can always write, wherever its last read has run.
        let value = if name == "in_hot_standby" { "off" } else { value };
        if self.0.get(name).is_some_and(|known| **known == *value) {
            return false;
        }
        Rc::make_mut(self).0.insert(name.into(), value.into());
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }
}

/// One multi-statement query, so that a server takes all of it or nothing. Empty when nothing differs.
pub(crate) fn difference(from: &Settings, to: &Settings) -> String {
    let mut sql = String::new();
    if from == to {
        return sql;
    }
    if from.get(TIME_LIMIT).is_some() {
        // That of the client before is not to end what follows.
        sql.push_str("SET statement_timeout TO 0;");
    }
    // Who the session is decides what it may set: first nobody special, at last who it is to be.
    if from.identity() {
        sql.push_str("RESET ROLE;RESET SESSION AUTHORIZATION;");
    }
    let plain = |name: &&str| !IDENTITY.contains(name);
    for name in from.0.keys().map(|name| &**name).filter(plain) {
        if !to.0.contains_key(name) {
            sql.push_str("RESET ");
            sql.push_str(&identifier(name));
            sql.push(';');
        }
    }
    let other = |name: &str, value: &str| from.get(name) != Some(value) || name == TIME_LIMIT;
    let changed =
        to.0.iter()
            .filter(|(name, value)| plain(&&***name) && other(name, value));
    // A short time limit is not to end what follows it here.
    let (last, first): (Vec<_>, Vec<_>) = changed.partition(|(name, _)| &***name == TIME_LIMIT);
    let changed = first.into_iter().chain(last);
    let identity = IDENTITY.iter().filter_map(|name| to.0.get_key_value(*name));
    for (name, value) in changed.chain(identity) {
        sql.push_str("SELECT pg_catalog.set_config(");
        sql.push_str(&literal(name));
        sql.push(',');
        sql.push_str(&literal(value));
        sql.push_str(",false);");
    }
    sql
}

/// As [`difference`], from a session in which anything may be set.
pub(crate) fn anew(to: &Settings) -> String {
    let mut sql =
        String::from("SET statement_timeout TO 0;RESET ROLE;RESET SESSION AUTHORIZATION;RESET ALL;");
    sql.push_str(&difference(&Settings::default(), to));
    sql
}

/// `a.b` with each part quoted.
fn identifier(name: &str) -> String {
    let parts: Vec<String> = name
        .split('.')
        .map(|part| format!("\"{}\"", part.replace('"', "\"\"")))
        .collect();
    parts.join(".")
}

/// Means the same whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    format!("E'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            settings.set(name, value);
        }
        settings
    }

    #[test]
    fn only_what_differs_travels() {
        let from = of(&[("work_mem", "4MB"), ("timezone", "UTC"), ("my.x", "1")]);
        let to = of(&[("work_mem", "8MB"), ("TimeZone", "UTC"), ("app.y", r"it's \ ")]);
        assert_eq!(
            difference(&from, &to),
            "RESET \"my\".\"x\";SELECT pg_catalog.set_config(E'app.y',E'it''s \\\\ ',false);\
             SELECT pg_catalog.set_config(E'work_mem',E'8MB',false);"
        );
        assert_eq!(difference(&to, &to), "");
    }

    #[test]
    fn identity_is_left_first_and_taken_last() {
        let from = of(&[("role", "a")]);
        let to = of(&[("role", "b"), ("work_mem", "1MB")]);
        assert_eq!(
            difference(&from, &to),
            "RESET ROLE;RESET SESSION AUTHORIZATION;SELECT pg_catalog.set_config(E'work_mem',E'1MB',false);\
             SELECT pg_catalog.set_config(E'role',E'b',false);"
        );
        assert_eq!(
            difference(&from, &Settings::default()),
            "RESET ROLE;RESET SESSION AUTHORIZATION;"
        );
    }
}
