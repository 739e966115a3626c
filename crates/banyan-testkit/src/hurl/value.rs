//! Variables, `{{templates}}` and the JSON paths that pick values out of an answer.

use std::collections::BTreeMap;

use serde_json::Value;

/// What `{{name}}` stands for; captures keep their JSON type.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Value>);

impl Variables {
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value.into());
        self
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Result<&Value, String> {
        self.0
            .get(name)
            .ok_or_else(|| format!("the variable {name} is not set"))
    }

    /// `text` with every `{{name}}` replaced.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, tail) = after
                .split_once("}}")
                .ok_or_else(|| format!("`{{{{` without `}}}}` in {text}"))?;
            filled.push_str(before);
            match self.get(name.trim())? {
                Value::String(string) => filled.push_str(string),
                other => filled.push_str(&other.to_string()),
            }
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// `$.a.b[0].c`: object fields and list positions only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonPath {
    pub(super) text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Position(usize),
}

impl JsonPath {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("unsupported JSON path {text}: only $.field and [position] are known");
        let mut rest = text.strip_prefix('$').ok_or_else(unknown)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (field, tail) = after.split_at(end);
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if field.is_empty() || !field.chars().all(plain) {
                    return Err(unknown());
                }
                steps.push(Step::Field(field.to_owned()));
                rest = tail;
            } else {
                let (position, tail) = rest
                    .strip_prefix('[')
                    .and_then(|after| after.split_once(']'))
                    .ok_or_else(unknown)?;
                steps.push(Step::Position(position.parse().map_err(|_| unknown())?));
                rest = tail;
            }
        }
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    pub(super) fn find<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(root, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Position(index) => value.get(index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_follows_fields_and_positions() {
        let root = json!({"a": [{"b": 1}, {"b": null}]});
        let find = |path: &str| JsonPath::parse(path).unwrap().find(&root).cloned();
        assert_eq!(find("$.a[0].b"), Some(json!(1)));
        assert_eq!(
            find("$.a[1].b"),
            Some(Value::Null),
            "null is a value that is there"
        );
        assert_eq!(find("$.a[2]"), None);
        assert_eq!(find("$.a.b"), None);
    }

    #[test]
    fn an_unsupported_path_is_refused() {
        for path in ["a", "$..a", "$.a[*]", "$['a']", "$.a[", "$.a[-1]", "$."] {
            assert!(JsonPath::parse(path).is_err(), "{path} was accepted");
        }
    }

    #[test]
    fn a_template_needs_its_variable() {
        let variables = Variables::default().with("id", 7).with("name", "a");
        assert_eq!(variables.fill("{{id}}-{{ name }}!").unwrap(), "7-a!");
        assert!(variables.fill("{{other}}").unwrap_err().contains("other"));
        assert!(variables.fill("{{id").is_err());
    }
}
