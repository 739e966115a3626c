//! What an edge says of its cache when it is asked, over `.banyan/cdn/`: numbers since it started, and what would become of
//! one URL; and how it is given files. Lines of JSON: one [`Question`], one [`Answer`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The tier that clients come to.
pub const EDGE: &str = "edge";
/// What edges ask each other that share what they keep; each counts what it was asked.
pub const BESIDE: &str = "beside";
/// The tier that edges ask on a miss; clients of its own place come to it, too.
pub const SHIELD: &str = "shield";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Question {
    Stats,
    /// A GET of this whole URL with these headers.
    Explain {
        url: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Keep a file as if the app had answered with it.
    Push(Box<Push>),
}

/// A file for the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Whole, as clients ask for it.
    pub url: String,
    /// Absolute, on the machine of the edge, which reads it.
    pub file: PathBuf,
    /// Of its bytes, in hexadecimal digits: others are not taken. The ETag is made of it.
    pub sha256: String,
    pub bytes: u64,
    /// When it was written, in Unix seconds.
    #[serde(default)]
    pub modified: Option<i64>,
    /// `None`: the rule of its path says how long it is fresh.
    #[serde(default)]
    pub cache_control: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// This edge keeps nothing.
    NoCache,
    Stats(Box<CacheStats>),
    Explained(Box<Explained>),
    /// It is stored.
    Pushed {
        /// This process.
        edge: String,
        pid: u32,
        /// For so many seconds it is fresh.
        ttl_s: i64,
    },
    /// The question cannot be answered, and why.
    Refused {
        why: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// [`EDGE`] or [`SHIELD`].
    #[serde(default = "edge")]
    pub tier: String,
    /// This process.
    pub edge: String,
    pub pid: u32,
    /// Unix time in ms.
    pub since_ms: u64,
    pub routes: Vec<RouteCache>,
    /// What edges that share what they keep asked this one, apart from its clients' requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<RouteCache>,
    /// What was asked for most and not answered from the store.
    pub misses: Vec<Missed>,
    pub stored_bytes: u64,
    /// URIs of which something is stored.
    pub stored: u64,
    pub evicted: u64,
    /// Purges are applied up to this one.
    pub purged: u64,
    /// `None`: no rule has pictures.
    #[serde(default)]
    pub pictures: Option<PictureStats>,
}

/// Pictures that were made, since the edge started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureStats {
    /// By format.
    pub made: BTreeMap<String, u64>,
    /// They cannot be made, or would not become smaller: the original answers.
    pub unmade: u64,
    /// Too many waited already: the original answers.
    pub busy: u64,
    /// Of threads.
    pub took_ms: u64,
    /// Of originals that something was made of, and of what was made.
    pub original_bytes: u64,
    pub made_bytes: u64,
}

/// One route's requests that came to the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCache {
    /// "*": what no route matched.
    pub route: String,
    /// By what the cache did: `hit`, `stale`, `validated`, `collapsed`, `stood-in`, `miss`, `bypass`.
    pub results: BTreeMap<String, u64>,
    /// Of what was no hit, by the reason.
    pub whys: BTreeMap<String, u64>,
    /// What would help against a reason, if anything.
    #[serde(default)]
    pub remedies: BTreeMap<String, String>,
    /// Bytes of bodies from the store, and of all.
    pub stored_bytes: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    pub url: String,
    pub route: String,
    pub why: String,
    pub count: u64,
    /// Of that, so many at most were others'.
    pub over: u64,
    /// What would help, if anything.
    pub remedy: Option<String>,
}

/// What would become of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// [`EDGE`] or [`SHIELD`].
    #[serde(default = "edge")]
    pub tier: String,
    pub edge: String,
    pub pid: u32,
    /// Under which it is stored: what a purge names.
    pub key: String,
    /// The rule that matches, in words; `None`: none does.
    pub rule: Option<String>,
    /// In words: "a hit", "asked of the app: …".
    pub verdict: String,
    pub stored: Vec<Kept>,
    /// Why it was not answered from the store lately.
    pub missed: Vec<Missed>,
    /// How old content can get before users see a change.
    pub worst: Option<Worst>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// One stored answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The route that it was stored for; "": none.
    pub route: String,
    pub status: u16,
    /// Fields that `Vary` names, as they were.
    pub varies: Vec<String>,
    pub bytes: u64,
    /// Of a part: how long the whole is.
    pub whole: Option<u64>,
    pub age_s: u64,
    /// Negative: past its time.
    pub ttl_s: i64,
    /// Where its lifetime comes from.
    pub source: String,
    /// "soft", "hard"; `None`: no purge has reached it.
    pub purged: Option<String>,
    /// Whether it has an ETag or a Last-Modified.
    pub can_be_validated: bool,
    pub tags: Vec<String>,
}

/// In seconds; they add up, as each tier may have got it at the end of what the tier before allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    pub edge_s: u64,
    pub browser_s: u64,
    pub sum_s: u64,
    /// And so much more while the app is down.
    pub if_error_s: u64,
}

fn edge() -> String {
    EDGE.to_owned()
}

impl RouteCache {
    pub fn count(&self, result: &str) -> u64 {
        self.results.get(result).copied().unwrap_or(0)
    }

    pub fn requests(&self) -> u64 {
        self.results.values().sum()
    }

    /// Without a body from the app for this request.
    pub fn answered(&self) -> u64 {
        ["hit", "stale", "collapsed", "stood-in"]
            .iter()
            .map(|name| self.count(name))
            .sum()
    }
}
