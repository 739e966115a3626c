//! Walks the tree along the key table: unknown keys, wrong types, units, ranges. What is wrong becomes `Invalid`.

mod text;
mod units;

pub(crate) use text::{is_domain, suggest_name};

use crate::keys::{Key, Kind, Rule, tables};
use crate::nearest::{list, nearest};
use crate::read::number;
use crate::report::{Place, Report};
use crate::tree::{Entry, Node, Value};

/// `path` names the table in messages: `edge.timeouts`; empty for the top level.
pub(crate) fn table(
    entries: &mut [Entry],
    keys: &'static [Key],
    path: &str,
    place: Option<&Place>,
    report: &Report,
) {
    for entry in entries.iter_mut() {
        match keys.iter().find(|key| key.name == entry.name) {
            Some(key) => value(entry, &key.kind, path, report),
            None => unknown(entry, keys, path, report),
        }
    }
    let missing = |key: &&Key| key.required && !entries.iter().any(|entry| entry.name == key.name);
    for key in keys.iter().filter(missing) {
        if let Some(place) = place {
            report.error(
                place,
                format!("{} needs `{}`", shown(path), key.name),
                &[&format!("{}: {}", key.name, key.doc)],
            );
        }
    }
}

fn value(entry: &mut Entry, kind: &'static Kind, path: &str, report: &Report) {
    let path = join(path, &entry.name);
    if !node(&mut entry.node, kind, &entry.name, &path, &entry.place, report) {
        entry.node.value = Value::Invalid;
    }
}

/// False: reported, not usable.
fn node(node: &mut Node, kind: &'static Kind, name: &str, path: &str, key: &Place, report: &Report) -> bool {
    let place = node.place.clone();
    let problem = match (kind, &mut node.value) {
        (_, Value::Invalid) => return false,
        (Kind::Text(rule), Value::Text(text)) => text::check(*rule, text),
        (Kind::Boolean, Value::Boolean(_))
        | (Kind::Scalar, Value::Boolean(_) | Value::Integer(_) | Value::Text(_)) => None,
        (Kind::Scalar, Value::Float(_)) => None,
        (Kind::Integer { min, max }, Value::Integer(number)) => units::integer(*number, *min, *max),
        (Kind::Fraction, Value::Integer(_) | Value::Float(_)) => units::fraction(number(&node.value)),
        (Kind::Duration { min, max }, Value::Text(text)) => units::duration(text, *min, *max),
        (Kind::Bytes { min, max }, Value::Text(text)) => units::bytes(text, *min, *max),
        (Kind::OneOf(words), Value::Text(text)) => one_of(text, words),
        (Kind::List(kind), Value::List(items)) => {
            let mut sound = true;
            for item in items {
                let key = item.place.clone();
                sound &= self::node(item, kind, name, path, &key, report);
            }
            return sound;
        }
        (Kind::Table(keys) | Kind::Short(keys), Value::Table(entries)) => {
            table(entries, keys, path, Some(key), report);
            return true;
        }
        (Kind::Short(keys), Value::Text(_)) => {
            let mut short = node.clone();
            let sound = self::node(&mut short, &keys[0].kind, name, path, key, report);
            if sound {
                let entry = Entry {
                    name: keys[0].name.to_owned(),
                    place,
                    node: short,
                };
                node.value = Value::Table(vec![entry]);
            }
            return sound;
        }
        (Kind::WordOrTables(words, keys), Value::Text(text)) => one_of(text, words).map(|mut wrong| {
            wrong.help.push(format!("or {name} = {}", fields(keys)));
            wrong
        }),
        (Kind::WordOrTables(_, keys), Value::Table(entries)) => {
            table(entries, keys, path, Some(key), report);
            return true;
        }
        (Kind::WordOrTables(_, keys), Value::List(items))
            if items.iter().all(|item| matches!(item.value, Value::Table(_))) && !items.is_empty() =>
        {
            for item in items {
                if let Value::Table(entries) = &mut item.value {
                    table(entries, keys, path, Some(&item.place), report);
                }
            }
            return true;
        }
        (Kind::Switch(_), Value::Boolean(_)) => None,
        (Kind::Switch(keys), Value::Table(entries)) => {
            table(entries, keys, path, Some(key), report);
            return true;
        }
        (Kind::Map(rule, kind), Value::Table(entries)) => {
            map(entries, *rule, kind, path, report);
            return true;
        }
        (kind, found) => Some(wrong_type(kind, found, name, path)),
    };
    if let Some(Wrong { message, help }) = &problem {
        let help: Vec<&str> = help.iter().map(String::as_str).collect();
        report.error(&place, format!("`{name}` {message}"), &help);
    }
    problem.is_none()
}

fn map(entries: &mut [Entry], rule: Rule, kind: &'static Kind, path: &str, report: &Report) {
    for entry in entries {
        if let Some(Wrong { message, help }) = text::check(rule, &entry.name) {
            let help: Vec<&str> = help.iter().map(String::as_str).collect();
            let message = match rule {
                Rule::Name => format!("`{}` is not a name", entry.name),
                _ => format!("`{}` {message}", entry.name),
            };
            report.error(&entry.place, message, &help);
        }
        value(entry, kind, path, report);
    }
}

/// What is wrong with a value (the message follows its name), and what to write instead.
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: Vec<String>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: vec![help.into()],
        }
    }
}

fn one_of(text: &str, words: &[&str]) -> Option<Wrong> {
    if words.contains(&text) {
        return None;
    }
    let known = words
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let help = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("write {known}"),
    };
    Some(Wrong::new(format!("cannot be `{text}`"), help))
}

/// `{ cert = "…", key = "…" }`
fn fields(keys: &[Key]) -> String {
    let fields: Vec<String> = keys.iter().map(|key| format!("{} = \"…\"", key.name)).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn wrong_type(kind: &Kind, found: &Value, name: &str, path: &str) -> Wrong {
    let is = |wanted: &str| format!("is {wanted}, not {}", found.kind());
    match (kind, found) {
        (Kind::Duration { .. }, Value::Integer(number)) => Wrong::new(
            "has no unit",
            format!("write {name} = \"{number}s\" for seconds, or use ms, m, h, d"),
        ),
        (Kind::Bytes { .. }, Value::Integer(number)) => Wrong::new(
            "has no unit",
            format!("write {name} = \"{number}B\" for bytes, or use KiB, MiB, GiB"),
        ),
        (Kind::Duration { .. }, _) => {
            Wrong::new(is("a duration"), format!("write for example {name} = \"10s\""))
        }
        (Kind::Bytes { .. }, _) => Wrong::new(is("a size"), format!("write for example {name} = \"10MiB\"")),
        (Kind::Integer { .. }, Value::Text(text)) if text.trim().parse::<i64>().is_ok() => Wrong::new(
            is("a number"),
            format!("write {name} = {}, without quotes", text.trim()),
        ),
        (Kind::Integer { min, max }, _) => Wrong::new(
            is("a number"),
            format!("write a whole number from {min} to {max}"),
        ),
        (Kind::Boolean, Value::Text(text)) => {
            let yes = ["true", "yes", "on", "1"].contains(&text.trim().to_lowercase().as_str());
            Wrong::new(
                is("true or false"),
                format!("write {name} = {yes}, without quotes"),
            )
        }
        (Kind::Boolean, _) => Wrong::new(
            is("true or false"),
            format!("write {name} = true or {name} = false"),
        ),
        (Kind::Text(_) | Kind::OneOf(_), Value::Integer(number)) => {
            Wrong::new(is("text"), format!("write {name} = \"{number}\", with quotes"))
        }
        (Kind::Text(_) | Kind::OneOf(_), Value::Boolean(boolean)) => {
            Wrong::new(is("text"), format!("write {name} = \"{boolean}\", with quotes"))
        }
        (Kind::Text(Rule::Command), Value::List(_)) => Wrong::new(
            is("text"),
            format!("write {name} = \"program argument argument\"; quotes work as in a shell"),
        ),
        (Kind::Text(_) | Kind::OneOf(_), _) => Wrong::new(is("text"), format!("write {name} = \"…\"")),
        (Kind::List(Kind::Text(_)), Value::Text(text)) => {
            Wrong::new(is("a list"), format!("write {name} = [\"{text}\"]"))
        }
        (Kind::List(Kind::Table(_)), Value::Table(_)) => {
            Wrong::new(is("a list"), format!("write {name} = [{{ … }}]"))
        }
        (Kind::List(_), _) => Wrong::new(is("a list"), format!("write {name} = [ … ]")),
        (Kind::Short(keys), _) if matches!(keys[0].kind, Kind::OneOf(_)) => Wrong::new(
            is("a word or a table"),
            format!("write for example {name} = \"ip\""),
        ),
        (Kind::Short(_), _) => Wrong::new(
            is("a path or a table"),
            format!("write {name} = \"/healthz\" or {name} = {{ path = \"/healthz\" }}"),
        ),
        (Kind::WordOrTables(words, keys), _) => {
            let fields: Vec<String> = keys.iter().map(|key| format!("{} = \"…\"", key.name)).collect();
            Wrong::new(
                is("a word or a table"),
                format!(
                    "write {name} = \"{}\" or {name} = {{ {} }}",
                    words[0],
                    fields.join(", ")
                ),
            )
        }
        (Kind::Switch(keys), _) => Wrong::new(
            is("true, false or a table"),
            format!("write {name} = true or {name} = {}", fields(keys)),
        ),
        (Kind::Table(_) | Kind::Map(..), Value::List(_)) => Wrong::new(
            is("a table"),
            format!("write [{path}] with single brackets, on a line of its own"),
        ),
        (Kind::Table(_) | Kind::Map(..), _) => Wrong::new(
            is("a table"),
            format!("write [{path}] on a line of its own, and the keys below it"),
        ),
        (Kind::Fraction, _) => Wrong::new(is("a number"), format!("write for example {name} = 0.1")),
        (Kind::Scalar, _) => Wrong::new(is("text, a number or a boolean"), format!("write {name} = \"…\"")),
    }
}

fn unknown(entry: &Entry, keys: &[Key], path: &str, report: &Report) {
    let name = entry.name.as_str();
    let is_table = path.is_empty() && matches!(entry.node.value, Value::Table(_) | Value::List(_));
    let what = if is_table {
        format!("unknown table [{name}]")
    } else {
        format!("unknown key `{name}`{}", within(path))
    };
    let alias = keys
        .iter()
        .find(|key| key.alias.contains(&name.to_lowercase().as_str()));
    let near = alias
        .map(|key| key.name)
        .or_else(|| nearest(name, keys.iter().map(|key| key.name)));
    let help = match near {
        Some(near) if is_table => format!("did you mean [{near}]?"),
        Some(near) => format!("did you mean `{near}`?"),
        None => elsewhere(name)
            .unwrap_or_else(|| format!("known here: {}", list(keys.iter().map(|key| key.name)))),
    };
    report.error(&entry.place, what, &[&help]);
}

/// A key that exists, but in another table: most often a `[table]` line is missing or too early.
fn elsewhere(name: &str) -> Option<String> {
    let tables = tables();
    let known = || {
        tables
            .iter()
            .flat_map(|(_, keys)| keys.iter().map(|key| key.name))
    };
    let near = known()
        .find(|known| *known == name)
        .or_else(|| nearest(name, known()))?;
    let homes: Vec<String> = tables
        .iter()
        .filter(|(_, keys)| keys.iter().any(|key| key.name == near))
        .map(|(path, _)| {
            if path.is_empty() {
                "the top, before any [table]".to_owned()
            } else {
                shown(path)
            }
        })
        .take(3)
        .collect();
    let meant = if near == name {
        String::new()
    } else {
        format!("did you mean `{near}`? ")
    };
    Some(format!("{meant}`{near}` belongs in {}", homes.join(" or ")))
}

fn within(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" in {}", shown(path))
    }
}

fn shown(path: &str) -> String {
    format!("[{path}]")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
