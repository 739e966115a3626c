//! Names under which a purge reaches several responses at once: cache groups (RFC 9875), surrogate keys, rules' tags.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, List, ListEntry, Parser};

const GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
/// As Fastly, Cloudflare and Varnish name them.
const TAG_FIELDS: [(HeaderName, char); 3] = [
    (HeaderName::from_static("surrogate-key"), ' '),
    (HeaderName::from_static("cache-tag"), ','),
    (HeaderName::from_static("xkey"), ' '),
];
/// More tags of one response are ignored.
const MOST: usize = 64;

/// A group's name apart from tags, which operators and apps choose freely.
fn group(name: &str) -> String {
    format!("group:{name}")
}

/// All tags of a response, its groups included.
pub(crate) fn of(headers: &HeaderMap, rule: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = rule.to_vec();
    for (field, separator) in TAG_FIELDS {
        for line in headers.get_all(field) {
            let text = line.to_str().unwrap_or_default();
            let names = text
                .split([separator, '\t'])
                .map(str::trim)
                .filter(|name| !name.is_empty());
            tags.extend(names.map(String::from));
        }
    }
    tags.extend(strings(headers, &GROUPS).iter().map(|name| group(name)));
    tags.sort();
    tags.dedup();
    tags.truncate(MOST);
    tags
}

/// The groups that the response to an unsafe request invalidates (RFC 9875 §3).
pub(crate) fn invalidated(headers: &HeaderMap) -> Vec<String> {
    strings(headers, &GROUP_INVALIDATION)
        .iter()
        .map(|name| group(name))
        .collect()
}

/// A structured list of strings; anything else in it makes it nothing (RFC 9875 §2).
fn strings(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines: Option<Vec<&str>> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let Some(lines) = lines.filter(|lines| !lines.is_empty()) else {
        return Vec::new();
    };
    let Ok(list) = Parser::new(&lines.join(", ")).parse::<List>() else {
        return Vec::new();
    };
    let strings: Option<Vec<String>> = list
        .iter()
        .map(|entry| match entry {
            ListEntry::Item(item) => match &item.bare_item {
                BareItem::String(text) => Some(text.as_str().to_owned()),
                _ => None,
            },
            ListEntry::InnerList(_) => None,
        })
        .collect();
    strings.unwrap_or_default()
}
