//! TOML as a tree in which every key and value knows its place; an overlay is merged here.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::report::{FileId, Place, Report};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// Saturated when it is beyond all reason.
    Integer(i128),
    Float(String),
    Boolean(bool),
    Datetime,
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// The checks have reported it; readers take the default and go on.
    Invalid,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Of the key.
    pub(crate) place: Place,
    pub(crate) node: Node,
}

impl Value {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Invalid => "nothing",
        }
    }
}

/// Syntax errors go to the report; what could be understood is returned.
pub(crate) fn parse(text: &str, file: FileId, report: &Report) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        let (message, help) = syntax(error.message(), text.get(range.clone()).unwrap_or_default());
        report.error(&Place { file, range }, message, &[help]);
    }
    entries(table.into_inner(), file)
}

/// The parser's words made plainer, and what people most often did.
fn syntax(message: &str, found: &str) -> (String, &'static str) {
    if found.starts_with(['“', '”', '‘', '’']) {
        return ("a typographic quote".to_owned(), "use straight quotes: \"…\"");
    }
    match message.trim() {
        m if m.contains("string values must be quoted") && found.trim().is_empty() => (
            "a value is missing after `=`".to_owned(),
            "write one, or put `#` in front of the line",
        ),
        m if m.contains("string values must be quoted") => (
            format!("`{}` is text without quotes", found.trim()),
            "text needs quotes: key = \"value\"",
        ),
        m if m.contains("duplicate key") => (
            "this key is set twice".to_owned(),
            "a key can be set only once: remove one of the two",
        ),
        m if m.contains("key with no value") => (
            "a key without a value".to_owned(),
            "write key = value, or put `#` in front of the line",
        ),
        m if m.contains("unclosed table") => (
            "a table without its closing bracket".to_owned(),
            "a table begins with a line such as [edge]",
        ),
        m if m.contains("escape") => (
            format!("syntax: {m}"),
            "write \\\\ for one backslash, or use single quotes",
        ),
        m if m.contains("string") => (
            format!("syntax: {m}"),
            "close the text with the quote that opens it",
        ),
        m => (
            format!("syntax: {m}"),
            "this is not TOML: see https://toml.io for the notation",
        ),
    }
}

fn entries(table: DeTable<'_>, file: FileId) -> Vec<Entry> {
    let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| Entry {
        place: Place {
            file,
            range: key.span(),
        },
        name: key.into_inner().into_owned(),
        node: node(value, file),
    };
    let mut entries: Vec<Entry> = table.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.place.range.start);
    entries
}

fn node(value: Spanned<DeValue<'_>>, file: FileId) -> Node {
    let place = Place {
        file,
        range: value.span(),
    };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            let parsed = i128::from_str_radix(integer.as_str(), integer.radix());
            Value::Integer(parsed.unwrap_or(if integer.as_str().starts_with('-') {
                i128::MIN
            } else {
                i128::MAX
            }))
        }
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(array) => Value::List(array.into_iter().map(|value| node(value, file)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, file)),
    };
    Node { place, value }
}

/// Keys of the overlay replace, tables merge.
pub(crate) fn merge(base: &mut Vec<Entry>, overlay: Vec<Entry>) {
    for over in overlay {
        match base.iter_mut().find(|entry| entry.name == over.name) {
            None => base.push(over),
            Some(entry) => match (&mut entry.node.value, over.node.value) {
                (Value::Table(under), Value::Table(over)) => merge(under, over),
                (_, value) => {
                    entry.place = over.place;
                    entry.node = Node {
                        place: over.node.place,
                        value,
                    };
                }
            },
        }
    }
}
