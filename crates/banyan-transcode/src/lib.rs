//! HTTP with JSON to gRPC and back, decided: which unary method a request is of, its message, and an answer's text.
//!
//! After google/api/http.proto and the [JSON mapping of proto3](https://protobuf.dev/programming-guides/json/). Pure: bytes in,
//! bytes out. What is not done: streams, google.api.HttpBody, other syntaxes than those that the descriptor set has.

mod fields;
mod rules;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value};

use fields::Place;
use rules::{Body, Rule};

/// The methods that can be asked for, the most specific path first.
#[derive(Clone, Debug)]
pub struct Api {
    rules: Vec<Rule>,
}

/// Why a descriptor set and its rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key of the written rule that it is about; else it is about the set.
    pub binding: Option<String>,
    pub message: String,
    pub help: String,
}

impl Problem {
    fn new(message: String, help: String) -> Self {
        Self {
            binding: None,
            message,
            help,
        }
    }

    fn of(binding: &str, message: String, help: String) -> Self {
        Self {
            binding: Some(binding.to_owned()),
            message,
            help,
        }
    }
}

/// The method of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    rule: usize,
    captures: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    Found(Found),
    /// There is something of that path for these HTTP methods.
    Methods(Vec<String>),
    Nothing,
}

/// The client's mistake, in words for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// An answer that is not what its descriptor says.
#[derive(Debug, thiserror::Error)]
pub enum BadAnswer {
    #[error("the answer's message cannot be decoded")]
    Decode(#[from] prost_reflect::prost::DecodeError),
    #[error("the answer's message cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Api {
    /// `set`: a FileDescriptorSet with its imports. `services`: whose rules count; none named: all. `bindings`: rules
    /// besides those of the set, as `GET /v1/items/{id}` → `shop.v1.Shop/GetItem`.
    pub fn compile(
        set: &[u8],
        services: &[String],
        bindings: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Problem>> {
        let pool = DescriptorPool::decode(set).map_err(|error| {
            let help = "make it with protoc --include_imports --descriptor_set_out=FILE".to_owned();
            vec![Problem::new(format!("no descriptor set: {error}"), help)]
        })?;
        let mut problems = Vec::new();
        let mut rules = rules::annotated(&pool, services, &mut problems);
        for (key, target) in bindings {
            rules::bound(&pool, key, target, &mut rules, &mut problems);
        }
        if rules.is_empty() && problems.is_empty() {
            let help = "annotate methods with google.api.http, or write bindings = { \"GET /v1/items/{id}\" = \"shop.v1.Shop/GetItem\" }";
            problems.push(Problem::new("no method has a rule".to_owned(), help.to_owned()));
        }
        rules.sort_by(|one, other| one.template.order(&other.template));
        if problems.is_empty() {
            Ok(Self { rules })
        } else {
            Err(problems)
        }
    }

    /// `GET /v1/items/{id}`-like words for each method, in the order in which they are asked.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// `path`: decoded. HEAD is asked as GET.
    pub fn find(&self, verb: &str, path: &str) -> Lookup {
        let verb = if verb == "HEAD" { "GET" } else { verb };
        let mut others = Vec::new();
        for (rule, each) in self.rules.iter().enumerate() {
            match each.template.captures(path) {
                Some(captures) if each.verb == verb => return Lookup::Found(Found { rule, captures }),
                Some(_) if !others.contains(&each.verb) => others.push(each.verb.clone()),
                _ => {}
            }
        }
        if others.is_empty() {
            Lookup::Nothing
        } else {
            Lookup::Methods(others)
        }
    }

    /// The target of the call: `/shop.v1.Shop/GetItem`.
    pub fn target(&self, found: &Found) -> String {
        let method = &self.rules[found.rule].method;
        format!("/{}/{}", method.parent_service().full_name(), method.name())
    }

    /// The request's message. Nothing of the request is left over: unknown fields and parameters are mistakes.
    pub fn request(&self, found: &Found, query: Option<&str>, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let rule = &self.rules[found.rule];
        let mut tree = self.body(rule, body)?;
        let input = rule.method.input();
        for (name, text) in fields::pairs(query.unwrap_or_default()).map_err(BadRequest)? {
            if rule.body == Body::All {
                return Err(BadRequest(format!("`{name}`: all fields are in the body")));
            }
            let way = fields::way(&input, &name).map_err(BadRequest)?;
            let Some(field) = way.last().filter(|field| fields::is_text(field)) else {
                return Err(BadRequest(format!("`{name}` cannot be part of a query")));
            };
            let value = fields::value(field, &text).map_err(BadRequest)?;
            fields::put(&mut tree, &way, value, Place::Free).map_err(BadRequest)?;
        }
        for (way, text) in rule.ways.iter().zip(&found.captures) {
            if let Some(field) = way.last() {
                let value = fields::value(field, text).map_err(BadRequest)?;
                fields::put(&mut tree, way, value, Place::Over).map_err(BadRequest)?;
            }
        }
        let strict = DeserializeOptions::new().deny_unknown_fields(true);
        DynamicMessage::deserialize_with_options(input, Value::Object(tree), &strict)
            .map(|message| message.encode_to_vec())
            .map_err(|error| BadRequest(error.to_string()))
    }

    fn body(&self, rule: &Rule, body: &[u8]) -> Result<Map<String, Value>, BadRequest> {
        let read = || {
            serde_json::from_slice(body).map_err(|error| BadRequest(format!("the body is no JSON: {error}")))
        };
        match &rule.body {
            _ if body.is_empty() => Ok(Map::new()),
            Body::None => Err(BadRequest("this takes no body".to_owned())),
            Body::All => match read()? {
                Value::Object(fields) => Ok(fields),
                _ => Err(BadRequest("the body is no JSON object".to_owned())),
            },
            Body::Field(field) => Ok(Map::from_iter([(field.json_name().to_owned(), read()?)])),
        }
    }

    /// The answer's text, out of its message.
    pub fn answer(&self, found: &Found, message: &[u8]) -> Result<String, BadAnswer> {
        let rule = &self.rules[found.rule];
        let message = DynamicMessage::decode(rule.method.output(), message)?;
        let Some(field) = &rule.response else {
            return text(&message, &SerializeOptions::new());
        };
        // A field that has its default is not said otherwise.
        let all = SerializeOptions::new().skip_default_fields(message.has_field(field));
        let tree = message.serialize_with_options(serde_json::value::Serializer, &all)?;
        Ok(tree.get(field.json_name()).unwrap_or(&Value::Null).to_string())
    }
}

fn text(message: &DynamicMessage, options: &SerializeOptions) -> Result<String, BadAnswer> {
    let mut out = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut out), options)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Whether a path of a rule can be read, for `banyan-fuzz`: if so, the values in `path`.
#[doc(hidden)]
pub fn captures(template: &str, path: &str) -> Option<Vec<String>> {
    template::Template::parse(template).ok()?.captures(path)
}
