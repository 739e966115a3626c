//! Values of paths and queries at their place in a JSON message (proto3 JSON mapping). Pure.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

/// Field by field from the outermost message.
pub(crate) type Way = Vec<FieldDescriptor>;

/// Whether a place is taken over or must be free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Over,
    Free,
}

/// `book.shelf_id`, in the names of the file or of JSON. The error says what there is not.
pub(crate) fn way(message: &MessageDescriptor, dotted: &str) -> Result<Way, String> {
    let (mut way, mut within) = (Vec::new(), message.clone());
    let mut names = dotted.split('.').peekable();
    while let Some(name) = names.next() {
        let field = within
            .get_field_by_name(name)
            .or_else(|| within.get_field_by_json_name(name))
            .ok_or_else(|| format!("{} has no field `{name}`", within.full_name()))?;
        if names.peek().is_some() {
            match field.kind() {
                Kind::Message(inner) if !field.is_list() && !field.is_map() => within = inner,
                _ => {
                    return Err(format!(
                        "`{name}` of {} has no fields",
                        field.parent_message().full_name()
                    ));
                }
            }
        }
        way.push(field);
    }
    Ok(way)
}

/// Whether one text can be its value.
pub(crate) fn is_text(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => !field.is_map() && is_written_as_text(&message),
        _ => true,
    }
}

fn is_written_as_text(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        ["Timestamp", "Duration", "FieldMask"].contains(&name) || name.ends_with("Value") && is_wrapper(name)
    })
}

fn is_wrapper(name: &str) -> bool {
    !["Value", "ListValue", "NullValue"].contains(&name)
}

/// A text of a path or a query, as JSON says such a value.
pub(crate) fn value(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let boolean = match field.kind() {
        Kind::Bool => true,
        Kind::Message(message) => message.full_name() == "google.protobuf.BoolValue",
        Kind::Enum(_) if text.parse::<i32>().is_ok() => {
            return Ok(text.parse::<i32>().map_or(Value::Null, Value::from));
        }
        _ => false,
    };
    match (boolean, text) {
        (false, text) => Ok(Value::from(text)),
        (true, "true") => Ok(Value::Bool(true)),
        (true, "false") => Ok(Value::Bool(false)),
        (true, _) => Err(format!("`{}` is true or false", field.name())),
    }
}

/// Puts it there; lists grow.
pub(crate) fn put(
    tree: &mut Map<String, Value>,
    way: &[FieldDescriptor],
    value: Value,
    place: Place,
) -> Result<(), String> {
    let Some((field, rest)) = way.split_first() else {
        return Ok(());
    };
    let key = field.json_name().to_owned();
    if key != field.name()
        && let Some(found) = tree.remove(field.name())
    {
        tree.entry(key.clone()).or_insert(found);
    }
    if rest.is_empty() && field.is_list() {
        let list = tree.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        let list = list.as_array_mut();
        list.ok_or_else(|| format!("`{}` is a list", field.name()))?
            .push(value);
        return Ok(());
    }
    if rest.is_empty() {
        if place == Place::Free && tree.contains_key(&key) {
            return Err(format!("`{}` is given twice", field.name()));
        }
        tree.insert(key, value);
        return Ok(());
    }
    let inner = tree.entry(key).or_insert_with(|| Value::Object(Map::new()));
    let inner = inner.as_object_mut();
    put(
        inner.ok_or_else(|| format!("`{}` is an object", field.name()))?,
        rest,
        value,
        place,
    )
}

/// `a=1&b.c=x%20y`, decoded.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let written = query.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    };
    written
        .map(|one| pair(one).ok_or_else(|| "the query is not well encoded".to_owned()))
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
