//! JSON Schema of banyan.toml, for editors: made from the key table, so it cannot say anything else.

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, ROOT, Rule};
use crate::read::default_value;
use crate::tree;

/// The text of `docs/reference/banyan.schema.json`.
pub fn schema() -> String {
    let mut root = table(ROOT);
    root.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert("title".to_owned(), "banyan.toml".into());
    format!("{:#}\n", Value::Object(root))
}

fn table(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut table = Map::new();
    table.insert("type".to_owned(), "object".into());
    table.insert("additionalProperties".to_owned(), false.into());
    table.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        table.insert("required".to_owned(), required.into());
    }
    table
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    schema.insert("description".to_owned(), key.doc.into());
    if let Some(default) = default_value(key) {
        schema.insert("default".to_owned(), plain(&default));
    }
    schema.into()
}

fn kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text(rule) => text(*rule),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Fraction => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        Kind::Bytes { .. } => json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$" }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::List(item) => json!({ "type": "array", "items": self::kind(item) }),
        Kind::Table(keys) => table(keys).into(),
        Kind::Short(keys) => json!({ "anyOf": [self::kind(&keys[0].kind), table(keys)] }),
        Kind::WordOrTables(words, keys) => json!({ "anyOf": [
            { "type": "string", "enum": words },
            table(keys),
            { "type": "array", "items": table(keys) },
        ] }),
        Kind::Switch(keys) => json!({ "anyOf": [{ "type": "boolean" }, table(keys)] }),
        Kind::Map(rule, value) => {
            json!({ "type": "object", "propertyNames": text(*rule), "additionalProperties": self::kind(value) })
        }
        Kind::Scalar => json!({ "type": ["string", "number", "boolean"] }),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => unreachable!("every kind is an object above"),
    }
}

fn text(rule: Rule) -> Value {
    match rule {
        Rule::Template => json!({ "type": "string" }),
        Rule::NotEmpty | Rule::Path | Rule::Command | Rule::Network | Rule::SocketAddress | Rule::Domain => {
            json!({ "type": "string", "minLength": 1 })
        }
        Rule::Name => json!({ "type": "string", "pattern": "^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$" }),
        Rule::Variable => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
        Rule::Identifier => json!({ "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,62}$" }),
        Rule::Reads => {
            json!({ "type": "string", "pattern": "^(fresh|session|primary|bounded:[0-9]+(ms|s|m|h|d))$" })
        }
        Rule::Setting => json!({ "type": "string", "pattern": "^[a-z_][a-z0-9_.]*$" }),
        Rule::RedisSetting => json!({
            "type": "string",
            "enum": crate::redis::RedisSetting::ALL.iter().map(|setting| setting.name).collect::<Vec<_>>(),
        }),
        Rule::ExtensionHeader => json!({ "type": "string", "pattern": "^[Xx]-[A-Za-z0-9-]{1,62}$" }),
        Rule::Rate => json!({ "type": "string", "pattern": "^[0-9]+/[0-9]+(ms|s|m|h|d)$" }),
        Rule::Cookie => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" }),
        Rule::HeaderName => json!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" }),
        Rule::UrlPath => json!({ "type": "string", "pattern": "^/[!-~]*$" }),
        Rule::TimeOfDay => json!({ "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" }),
    }
}

fn plain(value: &tree::Value) -> Value {
    match value {
        tree::Value::Text(text) => text.as_str().into(),
        tree::Value::Integer(number) => i64::try_from(*number).map_or(Value::Null, Value::from),
        tree::Value::Float(number) => number.parse::<f64>().map_or(Value::Null, Value::from),
        tree::Value::Boolean(boolean) => (*boolean).into(),
        tree::Value::List(items) => items.iter().map(|item| plain(&item.value)).collect(),
        _ => Value::Null,
    }
}
