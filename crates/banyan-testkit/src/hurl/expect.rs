//! One line of `[Asserts]`: a JSON path, `count` or not, and what must hold of it.

use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value;

use super::value::{JsonPath, Variables};

#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) line: usize,
    pub(super) text: String,
    path: JsonPath,
    count: bool,
    negated: bool,
    predicate: Predicate,
}

#[derive(Clone, Debug)]
enum Predicate {
    Compare(Comparison, Operand),
    Contains(Operand),
    Matches(Regex),
    Exists,
    IsEmpty,
    IsKind(Kind),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Greater,
    AtLeast,
    Less,
    AtMost,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Boolean,
    Integer,
    List,
    String,
}

/// A literal, a text with templates, or one variable with its type.
#[derive(Clone, Debug)]
enum Operand {
    Literal(Value),
    Text(String),
    Variable(String),
}

impl Expectation {
    pub(super) fn parse(line: usize, text: &str) -> Result<Self, String> {
        let (path, mut rest) = query(text)?;
        let count = take_word(&mut rest, "count");
        let negated = take_word(&mut rest, "not");
        Ok(Self {
            line,
            text: text.to_owned(),
            path,
            count,
            negated,
            predicate: Predicate::parse(rest)?,
        })
    }

    /// `Err` says what was found instead.
    pub(super) fn check(&self, answer: &Value, variables: &Variables) -> Result<(), String> {
        let found = self.path.find(answer);
        let counted;
        let found = if self.count {
            let list = found.and_then(Value::as_array);
            counted = Value::from(list.ok_or_else(|| format!("not a list: {}", shown(found)))?.len());
            Some(&counted)
        } else {
            found
        };
        if found.is_none() && !matches!(self.predicate, Predicate::Exists) {
            return Err("nothing there".to_owned());
        }
        if self.predicate.holds(found, variables)? == self.negated {
            return Err(shown(found));
        }
        Ok(())
    }
}

/// `jsonpath "…"` and what follows it.
pub(super) fn query(text: &str) -> Result<(JsonPath, &str), String> {
    let rest = text
        .strip_prefix("jsonpath ")
        .ok_or_else(|| format!("unsupported query in `{text}`: only jsonpath is known"))?;
    let (path, rest) = quoted(rest)?;
    Ok((JsonPath::parse(&path)?, rest.trim()))
}

impl Predicate {
    fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let comparison = match word {
            "==" => Some(Comparison::Equal),
            "!=" => Some(Comparison::NotEqual),
            ">" => Some(Comparison::Greater),
            ">=" => Some(Comparison::AtLeast),
            "<" => Some(Comparison::Less),
            "<=" => Some(Comparison::AtMost),
            _ => None,
        };
        if let Some(comparison) = comparison {
            return Ok(Self::Compare(comparison, Operand::parse(rest)?));
        }
        let alone = match word {
            "contains" => return Ok(Self::Contains(Operand::parse(rest)?)),
            "matches" => return Self::matches(rest),
            "exists" => Self::Exists,
            "isEmpty" => Self::IsEmpty,
            "isBoolean" => Self::IsKind(Kind::Boolean),
            "isInteger" => Self::IsKind(Kind::Integer),
            "isList" => Self::IsKind(Kind::List),
            "isString" => Self::IsKind(Kind::String),
            _ => return Err(format!("unsupported predicate `{text}`")),
        };
        if rest.is_empty() {
            Ok(alone)
        } else {
            Err(format!("`{word}` takes nothing, found `{rest}`"))
        }
    }

    fn matches(rest: &str) -> Result<Self, String> {
        let (pattern, tail) = quoted(rest)?;
        if !tail.is_empty() {
            return Err(format!("unexpected `{tail}` after the pattern"));
        }
        Regex::new(&pattern)
            .map(Self::Matches)
            .map_err(|error| error.to_string())
    }

    fn holds(&self, found: Option<&Value>, variables: &Variables) -> Result<bool, String> {
        let Some(found) = found else { return Ok(false) };
        Ok(match self {
            Self::Exists => true,
            Self::Compare(comparison, operand) => comparison.holds(found, &operand.value(variables)?)?,
            Self::Contains(operand) => contains(found, &operand.value(variables)?)?,
            Self::Matches(pattern) => pattern.is_match(found.as_str().ok_or("not a string")?),
            Self::IsEmpty => match found {
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                other => return Err(format!("neither text nor list: {other}")),
            },
            Self::IsKind(Kind::Boolean) => found.is_boolean(),
            Self::IsKind(Kind::Integer) => found.is_i64() || found.is_u64(),
            Self::IsKind(Kind::List) => found.is_array(),
            Self::IsKind(Kind::String) => found.is_string(),
        })
    }
}

impl Comparison {
    fn holds(self, found: &Value, wanted: &Value) -> Result<bool, String> {
        let order = || match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => found
                .partial_cmp(&wanted)
                .ok_or_else(|| format!("cannot order {found} and {wanted}")),
            _ => Err(format!("cannot order {found} and {wanted}")),
        };
        Ok(match self {
            Self::Equal => found == wanted,
            Self::NotEqual => found != wanted,
            Self::Greater => order()? == Ordering::Greater,
            Self::AtLeast => order()? != Ordering::Less,
            Self::Less => order()? == Ordering::Less,
            Self::AtMost => order()? != Ordering::Greater,
        })
    }
}

fn contains(found: &Value, wanted: &Value) -> Result<bool, String> {
    match (found, wanted) {
        (Value::Array(list), wanted) => Ok(list.contains(wanted)),
        (Value::String(text), Value::String(part)) => Ok(text.contains(part.as_str())),
        (other, _) => Err(format!("neither list nor text: {other}")),
    }
}

impl Operand {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('"') {
            let (text, tail) = quoted(text)?;
            if !tail.is_empty() {
                return Err(format!("unexpected `{tail}` after the value"));
            }
            return Ok(Self::Text(text));
        }
        if let Some(name) = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            return Ok(Self::Variable(name.trim().to_owned()));
        }
        match serde_json::from_str(text) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Ok(Self::Literal(value)),
            _ => Err(format!("unsupported value `{text}`")),
        }
    }

    fn value(&self, variables: &Variables) -> Result<Value, String> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Text(text) => variables.fill(text).map(Value::String),
            Self::Variable(name) => variables.get(name).cloned(),
        }
    }
}

fn take_word(rest: &mut &str, word: &str) -> bool {
    match rest.strip_prefix(word).and_then(|tail| tail.strip_prefix(' ')) {
        Some(tail) => {
            *rest = tail;
            true
        }
        None => false,
    }
}

/// The text between the quotes at the start, its escapes undone, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let inner = text
        .strip_prefix('"')
        .ok_or_else(|| format!("expected a quoted text, found `{text}`"))?;
    let mut unescaped = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((unescaped, inner[at + 1..].trim_start())),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => unescaped.push(escaped),
                Some((_, 'n')) => unescaped.push('\n'),
                Some((_, 't')) => unescaped.push('\t'),
                other => return Err(format!("unsupported escape {other:?} in `{text}`")),
            },
            c => unescaped.push(c),
        }
    }
    Err(format!("no closing quote in `{text}`"))
}

fn shown(found: Option<&Value>) -> String {
    found.map_or_else(|| "nothing there".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(line: &str) -> Result<(), String> {
        let answer =
            json!({"n": 2, "s": "2026-01-01T", "list": ["a", "b"], "empty": "", "none": null, "yes": true});
        let variables = Variables::default().with("n", 2).with("a", "a");
        Expectation::parse(1, line).and_then(|expectation| expectation.check(&answer, &variables))
    }

    #[test]
    fn every_known_predicate_holds_when_true() {
        for line in [
            r#"jsonpath "$.n" == 2"#,
            r#"jsonpath "$.n" != 3"#,
            r#"jsonpath "$.n" >= 2"#,
            r#"jsonpath "$.n" > 1"#,
            r#"jsonpath "$.n" < 3"#,
            r#"jsonpath "$.n" <= 2"#,
            r#"jsonpath "$.n" == {{n}}"#,
            r#"jsonpath "$.list[0]" == "{{a}}""#,
            r#"jsonpath "$.s" matches "^\\d{4}-\\d{2}-\\d{2}T""#,
            r#"jsonpath "$.s" contains "01""#,
            r#"jsonpath "$.list" contains "a""#,
            r#"jsonpath "$.list" not contains "c""#,
            r#"jsonpath "$.list" count == 2"#,
            r#"jsonpath "$.list" not isEmpty"#,
            r#"jsonpath "$.empty" isEmpty"#,
            r#"jsonpath "$.list" isList"#,
            r#"jsonpath "$.s" isString"#,
            r#"jsonpath "$.n" isInteger"#,
            r#"jsonpath "$.yes" isBoolean"#,
            r#"jsonpath "$.none" == null"#,
            r#"jsonpath "$.none" exists"#,
            r#"jsonpath "$.missing" not exists"#,
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn every_known_predicate_fails_when_false() {
        for line in [
            r#"jsonpath "$.n" == "2""#,
            r#"jsonpath "$.n" != 2"#,
            r#"jsonpath "$.n" >= 3"#,
            r#"jsonpath "$.s" matches "^\\d{5}""#,
            r#"jsonpath "$.list" contains "c""#,
            r#"jsonpath "$.list" count == 3"#,
            r#"jsonpath "$.n" count == 1"#,
            r#"jsonpath "$.empty" not isEmpty"#,
            r#"jsonpath "$.n" isString"#,
            r#"jsonpath "$.missing" isString"#,
            r#"jsonpath "$.missing" != 1"#,
            r#"jsonpath "$.missing" == null"#,
            r#"jsonpath "$.none" not exists"#,
            r#"jsonpath "$.n" == {{unset}}"#,
        ] {
            assert!(check(line).is_err(), "{line} held");
        }
    }

    #[test]
    fn an_unknown_construct_is_an_error() {
        for line in [
            r#"header "X" == "1""#,
            r#"jsonpath "$.n" isFloat"#,
            r#"jsonpath "$.n" == [1]"#,
            r#"jsonpath "$.n" isString 3"#,
            r#"jsonpath "$.n" == 2 # why"#,
            r#"jsonpath "$.s" matches /x/"#,
            r#"jsonpath "$.n""#,
            r#"jsonpath "$.s" == "\u{1}""#,
        ] {
            assert!(Expectation::parse(1, line).is_err(), "{line} was accepted");
        }
    }
}
