//! `aggregate`: one answer made of several services' answers.

use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::Builder;
use crate::name::ProcessName;
use crate::nearest::list;
use crate::read::{Reader, Spot};
use crate::tree::{Entry, Value};
use crate::units::duration;

/// Parts of one answer: each is a request of its own.
const MOST: usize = 16;

/// A JSON object of what several processes answer to a GET, asked at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// 1 to 16, in the order of the object. All names differ.
    pub parts: Vec<Part>,
    /// For all parts together, also to end their answers.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Of the client's headers, those that parts get; in lower case. What the edge itself says of a request they always get.
    pub headers: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub process: ProcessName,
    /// The target. `{path}`, `{rest}`, `{query}` and the names of the route's regular expression stand for the request's.
    pub path: String,
    /// Of this part. At most that of all.
    #[serde(with = "duration")]
    pub timeout: Duration,
    pub on_failure: OnFailure,
    /// Bytes of its answer.
    pub max: u64,
}

/// What becomes of the whole when a part fails: anything but 2xx with JSON, in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The whole fails: with the part's status if that is 4xx, else 502 or 504.
    Fail,
    /// The object lacks it.
    Omit,
    /// It is `null`.
    Null,
    /// It is `{"status":…,"error":"…"}`.
    Note,
}

impl OnFailure {
    pub const ALL: [Self; 4] = [Self::Fail, Self::Omit, Self::Null, Self::Note];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Omit => "omit",
            Self::Null => "null",
            Self::Note => "note",
        }
    }
}

impl Builder<'_> {
    pub(super) fn aggregate(&self, route: &Reader<'_>) -> Aggregate {
        let table = route.table("aggregate");
        self.reads_only(route);
        let timeout = table.duration("timeout");
        let known = self.placeholders(route);
        let (entries, keys) = table.map("parts");
        let mut parts = Vec::new();
        for entry in entries {
            if let Value::Table(fields) = &entry.node.value {
                let read = Reader::new(fields, keys);
                parts.extend(self.part(&table, entry, &read, timeout, &known));
            }
        }
        if let Some(parts) = table
            .entry("parts")
            .filter(|_| entries.is_empty() || entries.len() > MOST)
        {
            let message = format!("`parts` has {} parts: 1 to {MOST} are possible", entries.len());
            let help = "write parts = { user = { process = \"users\", path = \"/me\" } }";
            self.report.error(&parts.node.place, message, &[help]);
        }
        Aggregate {
            parts,
            timeout,
            headers: self.passed_on(&table),
        }
    }

    fn part(
        &self,
        all: &Reader<'_>,
        entry: &Entry,
        read: &Reader<'_>,
        most: Duration,
        known: &[String],
    ) -> Option<Part> {
        let process = match read.text("process") {
            Some(spot) => self.known(&spot.value, &spot.place),
            None => Some(self.default.clone()),
        };
        let path = read.text("path");
        if let Some(path) = &path {
            self.target(path, known);
        }
        if let Some(own) = read.duration_if_any("timeout").filter(|own| *own > most) {
            let place = read.entry("timeout").map(|entry| &entry.node.place);
            let message = format!(
                "a part cannot wait {} where all together wait {}",
                crate::units::format_duration(own),
                crate::units::format_duration(most)
            );
            let help = "shorten it, or lengthen `timeout` of `aggregate`";
            self.report
                .error(place.unwrap_or(&entry.node.place), message, &[help]);
        }
        let word = read.text("on_failure").map(|spot| spot.value);
        let word = word.unwrap_or_else(|| all.text_or_default("on_failure"));
        Some(Part {
            name: entry.name.clone(),
            process: process?,
            path: path?.value,
            timeout: read.duration_if_any("timeout").unwrap_or(most),
            on_failure: OnFailure::ALL
                .into_iter()
                .find(|policy| policy.name() == word)
                .unwrap_or(OnFailure::Fail),
            max: read.bytes("max"),
        })
    }

    fn reads_only(&self, route: &Reader<'_>) {
        let others = |spot: &Spot<String>| !["GET", "HEAD"].contains(&spot.value.as_str());
        if let Some(spot) = route.texts("methods").into_iter().find(others) {
            let message = format!("`aggregate` answers GET and HEAD, never {}", spot.value);
            let help = "write methods = [\"GET\", \"HEAD\"], and another route for the rest";
            self.report.error(&spot.place, message, &[help]);
        }
        self.one_reading(route, "aggregate");
    }

    /// What paths of parts may name.
    fn placeholders(&self, route: &Reader<'_>) -> Vec<String> {
        let mut known = vec!["path".to_owned(), "query".to_owned()];
        if route.has("prefix") {
            known.push("rest".to_owned());
        }
        if let Some(regex) = route.text("regex").and_then(|spot| Regex::new(&spot.value).ok()) {
            known.extend(regex.capture_names().flatten().map(str::to_owned));
        }
        known
    }

    fn target(&self, path: &Spot<String>, known: &[String]) {
        let mut rest = path.value.as_str();
        let mut bare = String::new();
        while let Some((before, after)) = rest.split_once('{') {
            bare.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                bare.push('{');
                rest = after;
                continue;
            };
            if !known.iter().any(|one| one == name) {
                let all = list(known.iter().map(String::as_str));
                let help = format!("known here are {all}; names of a regex are (?P<name>…)");
                let message = format!("nothing is called {{{name}}}");
                self.report.error(&path.place, message, &[&help]);
            }
            if name == "query" && !after.is_empty() {
                let help = "it is the whole query with its `?`: write it at the end";
                self.report
                    .error(&path.place, "{query} is followed by something", &[help]);
            }
            rest = after;
        }
        bare.push_str(rest);
        let begins = path.value.starts_with('/')
            || path.value.starts_with("{path}")
            || path.value.starts_with("{rest}");
        let (plain, _query) = bare.split_once('?').unwrap_or((&bare, ""));
        let dots = plain.split('/').any(|part| part == "." || part == "..");
        let sound = bare
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"{}\"<>\\^`|#".contains(&b));
        if !begins || dots || !sound {
            let help = "write for example \"/users/{id}\"; URL-encode what is no letter of a URL";
            let message = format!("\"{}\" is no path of a request", path.value);
            self.report.error(&path.place, message, &[help]);
        }
    }

    fn passed_on(&self, table: &Reader<'_>) -> Vec<String> {
        for spot in table.texts("headers") {
            let name = spot.value.to_ascii_lowercase();
            let framing = [
                "connection",
                "content-length",
                "transfer-encoding",
                "te",
                "upgrade",
                "expect",
                "range",
            ];
            let conditional = name.starts_with("if-") || name == "accept-encoding";
            if framing.contains(&name.as_str()) || conditional {
                let message = format!("`{name}` cannot be passed on to parts");
                let help = "parts are whole answers without conditions; leave it out";
                self.report.error(&spot.place, message, &[help]);
            }
        }
        let words = table.words("headers");
        words.into_iter().map(|word| word.to_ascii_lowercase()).collect()
    }
}
