//! Which method a request is of: google.api.http rules of a descriptor set, and those that are written beside it.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MethodDescriptor, Value,
};

use crate::Problem;
use crate::fields::{self, Way};
use crate::template::Template;

/// Of google/api/annotations.proto.
const EXTENSION: &str = "google.api.http";
const EXTENSION_NUMBER: u32 = 72_295_728;

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// `GET`
    pub(crate) verb: String,
    pub(crate) template: Template,
    /// By variable of the template.
    pub(crate) ways: Vec<Way>,
    pub(crate) method: MethodDescriptor,
    pub(crate) body: Body,
    /// The field of the answer that is the whole answer.
    pub(crate) response: Option<FieldDescriptor>,
}

/// What a request's body is of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    None,
    All,
    Field(FieldDescriptor),
}

/// A rule as it is written.
struct Written<'a> {
    verb: String,
    path: String,
    body: String,
    response: String,
    method: &'a MethodDescriptor,
    /// Of the configuration.
    binding: Option<&'a str>,
}

/// `services`: whose rules count; none named: all.
pub(crate) fn annotated(
    pool: &DescriptorPool,
    services: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    for name in services
        .iter()
        .filter(|name| pool.get_service_by_name(name).is_none())
    {
        let known: Vec<String> = pool.services().map(|one| one.full_name().to_owned()).collect();
        problems.push(Problem::new(
            format!("the descriptor set has no service `{name}`"),
            format!("it has {}", known.join(", ")),
        ));
    }
    let extension = pool.get_extension_by_name(EXTENSION);
    let mut rules = Vec::new();
    for service in pool.services() {
        if !services.is_empty() && !services.iter().any(|name| name == service.full_name()) {
            continue;
        }
        for method in service.methods() {
            of_method(&method, extension.as_ref(), &mut rules, problems);
        }
    }
    rules
}

fn of_method(
    method: &MethodDescriptor,
    extension: Option<&ExtensionDescriptor>,
    rules: &mut Vec<Rule>,
    problems: &mut Vec<Problem>,
) {
    let options = method.options();
    let Some(extension) = extension else {
        if options
            .unknown_fields()
            .any(|field| field.number() == EXTENSION_NUMBER)
        {
            problems.push(Problem::new(
                format!("the rule of {} cannot be read: google/api/annotations.proto is not in the descriptor set", method.full_name()),
                "make it with protoc --include_imports --descriptor_set_out=FILE".to_owned(),
            ));
        }
        return;
    };
    if !options.has_extension(extension) {
        return;
    }
    if let Value::Message(rule) = options.get_extension(extension).as_ref() {
        of_message(method, rule, rules, problems);
    }
}

fn of_message(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    rules: &mut Vec<Rule>,
    problems: &mut Vec<Problem>,
) {
    let text = |message: &DynamicMessage, name: &str| {
        let value = message.get_field_by_name(name);
        value
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    let mut pattern = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .map(|verb| (verb.to_ascii_uppercase(), text(rule, verb)))
        .find(|(_, path)| !path.is_empty());
    if pattern.is_none()
        && let Some(custom) = rule.get_field_by_name("custom")
        && let Some(custom) = custom.as_message()
    {
        pattern = Some((text(custom, "kind"), text(custom, "path")));
    }
    if let Some((verb, path)) = pattern {
        let written = Written {
            verb,
            path,
            body: text(rule, "body"),
            response: text(rule, "response_body"),
            method,
            binding: None,
        };
        take(written, rules, problems);
    }
    let more = rule.get_field_by_name("additional_bindings");
    for rule in more.iter().filter_map(|more| more.as_list()).flatten() {
        if let Some(rule) = rule.as_message() {
            of_message(method, rule, rules, problems);
        }
    }
}

/// `GET /v1/items/{id}` → `shop.v1.Shop/GetItem`. The body is the whole message where the method has one.
pub(crate) fn bound(
    pool: &DescriptorPool,
    key: &str,
    target: &str,
    rules: &mut Vec<Rule>,
    problems: &mut Vec<Problem>,
) {
    let mut wrong = |message: String, help: &str| problems.push(Problem::of(key, message, help.to_owned()));
    let Some((verb, path)) = key
        .split_once(' ')
        .filter(|(verb, _)| !verb.is_empty() && verb.bytes().all(|b| b.is_ascii_uppercase()))
    else {
        return wrong(
            format!("\"{key}\" is no rule"),
            "write \"GET /v1/items/{id}\" = \"shop.v1.Shop/GetItem\"",
        );
    };
    let (service, name) = target.split_once('/').unwrap_or((target, ""));
    let Some(service) = pool.get_service_by_name(service) else {
        let known: Vec<String> = pool.services().map(|one| one.full_name().to_owned()).collect();
        return wrong(
            format!("the descriptor set has no service `{service}`"),
            &format!("it has {}", known.join(", ")),
        );
    };
    let Some(method) = service.methods().find(|method| method.name() == name) else {
        let known: Vec<String> = service.methods().map(|one| one.name().to_owned()).collect();
        return wrong(
            format!("{} has no method `{name}`", service.full_name()),
            &format!("it has {}", known.join(", ")),
        );
    };
    let body = if ["POST", "PUT", "PATCH"].contains(&verb) {
        "*"
    } else {
        ""
    };
    let written = Written {
        verb: verb.to_owned(),
        path: path.trim().to_owned(),
        body: body.to_owned(),
        response: String::new(),
        method: &method,
        binding: Some(key),
    };
    take(written, rules, problems);
}

fn take(written: Written<'_>, rules: &mut Vec<Rule>, problems: &mut Vec<Problem>) {
    let place = format!(
        "{} {} of {}",
        written.verb,
        written.path,
        written.method.full_name()
    );
    let result = judge(&written).and_then(|rule| match rules.iter().find(|other| clash(other, &rule)) {
        Some(other) if other.method != rule.method => {
            Err(format!("{} takes the same requests", other.method.full_name()))
        }
        // The same is written twice.
        Some(_) => Ok(()),
        None => {
            rules.push(rule);
            Ok(())
        }
    });
    if let Err(why) = result {
        let help = "rules are those of google/api/http.proto".to_owned();
        let message = format!("{place}: {why}");
        problems.push(match written.binding {
            Some(key) => Problem::of(key, message, help),
            None => Problem::new(message, help),
        });
    }
}

fn clash(one: &Rule, other: &Rule) -> bool {
    one.verb == other.verb && one.template.is_same(&other.template)
}

fn judge(written: &Written<'_>) -> Result<Rule, String> {
    let method = written.method;
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err("it streams, and only unary methods can be asked by JSON".to_owned());
    }
    let template = Template::parse(&written.path).map_err(|why| format!("the path: {why}"))?;
    let mut ways = Vec::new();
    for variable in template.variables() {
        let way = fields::way(&method.input(), &variable.field)?;
        let last = way
            .last()
            .filter(|field| !field.is_list() && fields::is_text(field));
        last.ok_or_else(|| format!("`{}` cannot be part of a path", variable.field))?;
        ways.push(way);
    }
    let field = |message: prost_reflect::MessageDescriptor, name: &str| {
        let found = message.get_field_by_name(name);
        found.ok_or_else(|| format!("{} has no field `{name}`", message.full_name()))
    };
    Ok(Rule {
        verb: written.verb.clone(),
        body: match written.body.as_str() {
            "" => Body::None,
            "*" => Body::All,
            name => Body::Field(field(method.input(), name)?),
        },
        response: match written.response.as_str() {
            "" => None,
            name => Some(field(method.output(), name)?),
        },
        template,
        ways,
        method: method.clone(),
    })
}
