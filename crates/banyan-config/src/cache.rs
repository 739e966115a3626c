//! `[edge.cache]`: the edge as a shared HTTP cache, and rules for apps whose headers say little.

mod endpoint;
mod warm;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use endpoint::PurgeEndpoint;
pub(crate) use endpoint::check_port;
pub use warm::Warm;

use crate::files::Files;
use crate::name::PlaceName;
use crate::picture::{self, Pictures};
use crate::read::Reader;
use crate::report::Report;
use crate::tree::Value;
use crate::units::{duration, duration_if_any, format_duration};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes, over all cores. Default 256 MiB.
    pub memory: u64,
    /// Bytes of the disk, per edge; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    pub profile: CacheProfile,
    /// What leaves the memory first.
    #[serde(default)]
    pub policy: CachePolicy,
    /// The place whose edge all others ask on a miss; `None`: each asks the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield: Option<PlaceName>,
    /// Edges that share what they keep: whom each stands beside. Only those that do; nobody stands beside one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<PlaceName, PlaceName>,
    /// In the order of the file: the first that matches counts.
    #[serde(default)]
    pub rules: Vec<CacheRule>,
    /// Where apps may purge over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<PurgeEndpoint>,
    /// What a deploy has every edge fetch. Of no effect in the edge itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Warm>,
}

/// How far storing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheProfile {
    /// For apps that never thought of a shared cache.
    #[default]
    Safe,
    /// All that RFC 9111 allows.
    Rfc,
}

/// What leaves the memory first when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// What was asked for once, then what was least asked for lately.
    #[default]
    S3Fifo,
    /// What was used longest ago.
    Lru,
    /// What was used least often.
    Lfu,
    /// What came first.
    Fifo,
}

impl CachePolicy {
    pub const ALL: [Self; 4] = [Self::S3Fifo, Self::Lru, Self::Lfu, Self::Fifo];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3_fifo",
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
        }
    }
}

/// What is in force for the paths that match; `None`: what the answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRule {
    /// `*` is any run of characters.
    pub path: String,
    pub store: bool,
    pub class: Option<CacheClass>,
    #[serde(default, with = "duration_if_any")]
    pub ttl: Option<Duration>,
    /// `ttl` counts although the answer says another time.
    pub overrides: bool,
    #[serde(default, with = "duration_if_any")]
    pub browser_ttl: Option<Duration>,
    #[serde(default, with = "duration_if_any")]
    pub stale_while_revalidate: Option<Duration>,
    #[serde(with = "duration")]
    pub stale_if_error: Duration,
    #[serde(with = "duration")]
    pub negative_ttl: Duration,
    /// Parameters that count; `None`: the whole query.
    pub query: Option<Vec<String>>,
    pub strip_cookies: bool,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Pictures in other sizes and formats.
    #[serde(default)]
    pub image: Option<Pictures>,
}

/// A kind of content with its usual times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheClass {
    Html,
    Api,
    Image,
    /// The address changes with the content.
    Versioned,
}

impl Cache {
    /// Whether edges ask each other.
    pub fn edges_ask(&self) -> bool {
        self.shield.is_some() || !self.beside.is_empty()
    }

    /// The place by which those go that share what they keep: of all of them the same.
    pub fn site<'a>(&'a self, place: &'a str) -> &'a str {
        let mut beside = self.beside.iter();
        let other = beside.find(|(name, _)| name.as_str() == place);
        other.map_or(place, |(_, other)| other.as_str())
    }
}

impl CacheProfile {
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Rfc => "rfc",
        }
    }
}

impl CacheClass {
    const ALL: [Self; 4] = [Self::Html, Self::Api, Self::Image, Self::Versioned];

    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Api => "api",
            Self::Image => "image",
            Self::Versioned => "versioned",
        }
    }

    /// How long it is fresh here.
    pub fn ttl(self) -> Duration {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Duration::from_secs(match self {
            Self::Html => 5 * MINUTE,
            Self::Api => MINUTE,
            Self::Image => 7 * DAY,
            Self::Versioned => 365 * DAY,
        })
    }
}

impl CacheRule {
    /// In this cache.
    pub fn lifetime(&self) -> Option<Duration> {
        self.ttl.or_else(|| self.class.map(CacheClass::ttl))
    }

    /// In browsers. What cannot change under its address is kept there as long as here.
    pub fn browser_lifetime(&self) -> Option<Duration> {
        let versioned = self.class.filter(|class| *class == CacheClass::Versioned);
        self.browser_ttl.or_else(|| versioned.map(CacheClass::ttl))
    }
}

impl fmt::Display for CacheRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path)?;
        if !self.store {
            return write!(f, " nothing is kept");
        }
        match (self.lifetime(), self.overrides) {
            (Some(ttl), true) => write!(f, " fresh for {} whatever the answer says", format_duration(ttl))?,
            (Some(ttl), false) => write!(f, " fresh for {} unless the answer says", format_duration(ttl))?,
            (None, _) => write!(f, " fresh as the answer says")?,
        }
        if let Some(ttl) = self.browser_lifetime() {
            write!(f, ", in browsers {}", format_duration(ttl))?;
        }
        if let Some(pictures) = &self.image {
            write!(f, ", {pictures}")?;
        }
        Ok(())
    }
}

/// `None`: nothing is kept.
pub(crate) fn build(edge: &Reader<'_>, files: &Files<'_>) -> Option<Cache> {
    let report = files.report;
    edge.entry("cache")?;
    let table = edge.table("cache");
    let profile = match table.text_or_default("profile").as_str() {
        "rfc" => CacheProfile::Rfc,
        _ => CacheProfile::Safe,
    };
    let (nodes, keys) = table.items("rules");
    let mut rules: Vec<CacheRule> = Vec::new();
    for node in nodes {
        let Value::Table(entries) = &node.value else {
            continue;
        };
        let Some(rule) = rule(&Reader::new(entries, keys), report) else {
            continue;
        };
        let shadow = rules.iter().find(|other| covers(&other.path, &rule.path));
        if let Some(other) = shadow {
            let message = format!(
                "the cache rule for {} never counts: {} above has all its paths",
                rule.path, other.path
            );
            let help = "the first rule that matches counts: write the narrower one first";
            report.warning(&node.place, message, &[help]);
        }
        rules.push(rule);
    }
    Some(Cache {
        // A place that is none is reported where places are known.
        shield: table.text("shield").and_then(|name| name.value.parse().ok()),
        // Places say it.
        beside: BTreeMap::new(),
        memory: table.bytes("memory"),
        disk: table.bytes_if_any("disk"),
        profile,
        policy: policy(&table),
        rules,
        purge: endpoint::build(&table, files),
        warm: warm::build(&table, report),
    })
}

/// A wrong word is reported elsewhere.
fn policy(table: &Reader<'_>) -> CachePolicy {
    let word = table.text_or_default("policy");
    let known = CachePolicy::ALL.into_iter().find(|policy| policy.name() == word);
    known.unwrap_or_default()
}

fn rule(table: &Reader<'_>, report: &Report) -> Option<CacheRule> {
    let path = table.text("path")?;
    if path.value.contains(['?', '#']) {
        let help = "write the path alone; which parameters count is said by `query = [\"page\"]`";
        let message = format!("\"{}\" is more than a path", path.value);
        report.error(&path.place, message, &[help]);
    }
    let class = table.text("class").and_then(|word| {
        let known = CacheClass::ALL.into_iter();
        known.into_iter().find(|class| class.name() == word.value)
    });
    let rule = CacheRule {
        path: path.value,
        store: table.boolean("store"),
        class,
        ttl: table.duration_if_any("ttl"),
        overrides: table.boolean("override"),
        browser_ttl: table.duration_if_any("browser_ttl"),
        stale_while_revalidate: table.duration_if_any("stale_while_revalidate"),
        stale_if_error: table.duration("stale_if_error"),
        negative_ttl: table.duration("negative_ttl"),
        query: table
            .has("query")
            .then(|| table.texts("query").into_iter().map(|name| name.value).collect()),
        strip_cookies: table.boolean("strip_cookies"),
        tags: table.words("tags"),
        image: picture::build(table, report),
    };
    check(table, &rule, report);
    Some(rule)
}

/// Keys that would be without effect.
fn check(table: &Reader<'_>, rule: &CacheRule, report: &Report) {
    if let (Some(entry), true, None) = (table.entry("override"), rule.overrides, rule.lifetime()) {
        let help = "write ttl = \"5m\" beside it, or a class";
        report.error(&entry.place, "`override` needs a time to put in place", &[help]);
    }
    if !rule.store {
        let idle = [
            "class",
            "ttl",
            "override",
            "browser_ttl",
            "query",
            "tags",
            "image",
        ];
        for entry in idle.iter().filter_map(|name| table.entry(name)) {
            let message = format!("`{}` has no effect with store = false", entry.name);
            report.warning(&entry.place, message, &["nothing under this path is kept"]);
        }
    }
}

/// Whether every path of `narrow` is one of `wide`, as far as their beginnings show.
fn covers(wide: &str, narrow: &str) -> bool {
    wide == narrow
        || wide
            .strip_suffix('*')
            .is_some_and(|start| !start.contains('*') && narrow.starts_with(start))
}
