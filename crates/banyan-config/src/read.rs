//! Typed values out of a checked table: what the user wrote, else the default of the key table.

use std::time::Duration;

use crate::fraction::Fraction;
use crate::keys::{Key, Kind};
use crate::report::{Place, Report};
use crate::route::Network;
use crate::tree::{self, Entry, Node, Value};
use crate::units::{parse_bytes, parse_duration};

#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    entries: &'a [Entry],
    keys: &'static [Key],
}

/// A text and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Spot<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(entries: &'a [Entry], keys: &'static [Key]) -> Self {
        Self { entries, keys }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&'a Entry> {
        debug_assert!(
            self.keys.iter().any(|key| key.name == name),
            "`{name}` is not in the key table"
        );
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Written, be it right or wrong.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    fn key(&self, name: &str) -> &'static Key {
        self.keys
            .iter()
            .find(|key| key.name == name)
            .expect("readers name keys of the key table")
    }

    /// A table in this one; empty when it is not written.
    pub(crate) fn table(&self, name: &str) -> Reader<'a> {
        let keys = match &self.key(name).kind {
            Kind::Table(keys) | Kind::Short(keys) => keys,
            _ => &[] as &[Key],
        };
        let entries = match self.entry(name).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => entries.as_slice(),
            _ => &[],
        };
        Reader { entries, keys }
    }

    /// The entries of a table whose keys the user chooses, with the keys of their own tables.
    pub(crate) fn map(&self, name: &str) -> (&'a [Entry], &'static [Key]) {
        let keys = match &self.key(name).kind {
            Kind::Map(_, Kind::Table(keys)) => keys,
            _ => &[] as &[Key],
        };
        match self.entry(name).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => (entries, keys),
            _ => (&[], keys),
        }
    }

    pub(crate) fn items(&self, name: &str) -> (&'a [Node], &'static [Key]) {
        let keys = match &self.key(name).kind {
            Kind::List(Kind::Table(keys)) => keys,
            _ => &[] as &[Key],
        };
        match self.entry(name).map(|entry| &entry.node.value) {
            Some(Value::List(items)) => (items, keys),
            _ => (&[], keys),
        }
    }

    /// A table or a list of tables, as [`Kind::WordOrTables`] takes them: each with its place.
    pub(crate) fn tables(&self, name: &str) -> Vec<Spot<Reader<'a>>> {
        let keys = match &self.key(name).kind {
            Kind::WordOrTables(_, keys) => keys,
            _ => &[] as &[Key],
        };
        let Some(entry) = self.entry(name) else {
            return Vec::new();
        };
        let nodes = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        let table = |node: &'a Node| match &node.value {
            Value::Table(entries) => Some(Spot {
                value: Reader { entries, keys },
                place: node.place.clone(),
            }),
            _ => None,
        };
        nodes.iter().filter_map(table).collect()
    }

    /// Only what the user wrote.
    pub(crate) fn text(&self, name: &str) -> Option<Spot<String>> {
        self.entry(name).and_then(|entry| text(&entry.node))
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<Spot<String>> {
        self.items(name).0.iter().filter_map(text).collect()
    }

    /// A wrong one is reported elsewhere.
    pub(crate) fn networks(&self, name: &str) -> Vec<Network> {
        self.value(name, |value| match value {
            Value::List(items) => Some(
                items
                    .iter()
                    .filter_map(|item| text(item)?.value.parse().ok())
                    .collect(),
            ),
            _ => None,
        })
    }

    /// What the user wrote, else the default.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        self.value(name, |value| match value {
            Value::List(items) => Some(items.iter().filter_map(|item| Some(text(item)?.value)).collect()),
            _ => None,
        })
    }

    pub(crate) fn numbers<N: TryFrom<i64>>(&self, name: &str) -> Vec<N> {
        let number = |node: &Node| integer(&node.value).and_then(|number| N::try_from(number).ok());
        let numbers = |value: &Value| match value {
            Value::List(items) => Some(items.iter().filter_map(number).collect()),
            _ => None,
        };
        let written = self.entry(name).and_then(|entry| numbers(&entry.node.value));
        let default = || numbers(&default_value(self.key(name))?);
        written.or_else(default).unwrap_or_default()
    }

    pub(crate) fn text_or_default(&self, name: &str) -> String {
        self.value(name, |value| {
            if let Value::Text(text) = value {
                Some(text.clone())
            } else {
                None
            }
        })
    }

    /// Only what the user wrote.
    pub(crate) fn integer(&self, name: &str) -> Option<Spot<i64>> {
        let node = &self.entry(name)?.node;
        Some(Spot {
            value: integer(&node.value)?,
            place: node.place.clone(),
        })
    }

    pub(crate) fn number<N: TryFrom<i64>>(&self, name: &str) -> N {
        self.value(name, |value| {
            integer(value).and_then(|number| N::try_from(number).ok())
        })
    }

    pub(crate) fn fraction(&self, name: &str) -> Fraction {
        self.value(name, |value| number(value).and_then(Fraction::new))
    }

    pub(crate) fn boolean(&self, name: &str) -> bool {
        self.value(name, |value| {
            if let Value::Boolean(boolean) = value {
                Some(*boolean)
            } else {
                None
            }
        })
    }

    pub(crate) fn duration(&self, name: &str) -> Duration {
        self.value(name, |value| {
            if let Value::Text(text) = value {
                parse_duration(text)
            } else {
                None
            }
        })
    }

    pub(crate) fn bytes<N: TryFrom<u64>>(&self, name: &str) -> N {
        self.value(name, |value| {
            bytes(value).and_then(|bytes| N::try_from(bytes).ok())
        })
    }

    /// Only what the user wrote.
    pub(crate) fn bytes_if_any(&self, name: &str) -> Option<u64> {
        bytes(&self.entry(name)?.node.value)
    }

    /// Only what the user wrote.
    pub(crate) fn duration_if_any(&self, name: &str) -> Option<Duration> {
        match &self.entry(name)?.node.value {
            Value::Text(text) => parse_duration(text),
            _ => None,
        }
    }

    fn value<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> T {
        let written = self.entry(name).and_then(|entry| read(&entry.node.value));
        written.unwrap_or_else(|| {
            let default = default_value(self.key(name)).expect("a key that is read this way has a default");
            read(&default).expect("a test checks every default of the key table")
        })
    }
}

/// The default as TOML would give it.
pub(crate) fn default_value(key: &Key) -> Option<Value> {
    let text = format!("value = {}", key.default?);
    let report = Report::default();
    let file = report.add_file(std::path::Path::new("default"), &text, false);
    tree::parse(&text, file, &report)
        .into_iter()
        .next()
        .map(|entry| entry.node.value)
}

fn text(node: &Node) -> Option<Spot<String>> {
    match &node.value {
        Value::Text(text) => Some(Spot {
            value: text.clone(),
            place: node.place.clone(),
        }),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value {
        i64::try_from(*number).ok()
    } else {
        None
    }
}

/// A number with or without a fraction.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(text) => text.parse().ok(),
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is that large is out of every range"
        )]
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<u64> {
    if let Value::Text(text) = value {
        parse_bytes(text)
    } else {
        None
    }
}
