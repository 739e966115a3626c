//! `Cache-Control` of requests and responses (RFC 9111 §5.2, RFC 5861, RFC 8246), and the targeted fields that replace
//! it for us (RFC 9213; `Surrogate-Control` of the Edge Architecture Specification, which came before).
//!
//! Of several ages in a response the first counts (RFC 9111 §4.2.1); where directives contradict each other the strictest
//! reading does: `private` without names over `private` with names, in requests the smallest age. An age that is not a
//! number of seconds is zero: the response is stale.

use std::time::Duration;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The largest age that is told apart from larger ones (RFC 9111 §1.2.2).
const LARGEST: u64 = 1 << 31;

/// Our own targeted field, then the one for every CDN (RFC 9213 §2).
pub const TARGETED: [HeaderName; 2] = [
    HeaderName::from_static("banyan-cache-control"),
    HeaderName::from_static("cdn-cache-control"),
];

/// What CDNs were told by before RFC 9213.
pub const SURROGATE: HeaderName = HeaderName::from_static("surrogate-control");

/// A directive that may name header fields: `no-cache`, `private`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    #[default]
    Absent,
    /// Only these fields are meant.
    Fields(Vec<HeaderName>),
    Whole,
}

impl Scope {
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }

    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::Absent | Self::Whole => &[],
        }
    }

    fn add(&mut self, argument: Argument<'_>) {
        let Argument::Text(text) = argument else {
            *self = Self::Whole;
            return;
        };
        let names: Option<Vec<HeaderName>> = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| name.parse().ok())
            .collect();
        match (names, &mut *self) {
            (_, Self::Whole) => {}
            (Some(names), Self::Fields(known)) if !names.is_empty() => known.extend(names),
            (Some(names), Self::Absent) if !names.is_empty() => *self = Self::Fields(names),
            // Names that are none: the author wanted something kept back, and it is unknown what.
            _ => *self = Self::Whole,
        }
    }
}

/// What a response asks of a shared cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    pub no_store: bool,
    pub no_cache: Scope,
    pub private: Scope,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub no_transform: bool,
    pub immutable: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// A targeted field spoke: `Expires` means nothing to us (RFC 9213 §2.1).
    pub targeted: bool,
}

impl Response {
    /// The first valid targeted field, else `Surrogate-Control`, else `Cache-Control`.
    pub fn of(headers: &HeaderMap) -> Self {
        TARGETED
            .iter()
            .find_map(|name| targeted(headers, name))
            .or_else(|| surrogate(headers))
            .unwrap_or_else(|| Self::untargeted(headers))
    }

    /// `Cache-Control` as other caches read it.
    pub fn untargeted(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for_each(headers, &CACHE_CONTROL, |name, argument| {
            read.take(name, argument)
        });
        read
    }

    fn take(&mut self, name: &str, argument: Argument<'_>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache.add(argument),
            "private" => self.private.add(argument),
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "no-transform" => self.no_transform = true,
            "immutable" => self.immutable = true,
            "max-age" => first(&mut self.max_age, argument),
            "s-maxage" => first(&mut self.s_maxage, argument),
            "stale-while-revalidate" => first(&mut self.stale_while_revalidate, argument),
            "stale-if-error" => first(&mut self.stale_if_error, argument),
            _ => {}
        }
    }

    /// The lifetime that is stated for shared caches, `Expires` apart.
    pub fn lifetime(&self) -> Option<Duration> {
        self.s_maxage.or(self.max_age)
    }

    /// Using it stale is forbidden (RFC 9111 §4.2.4); `s-maxage` means `proxy-revalidate` (§5.2.2.10).
    pub fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache.is_whole() || self.s_maxage.is_some()
    }
}

/// What a request asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    pub no_store: bool,
    pub no_cache: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// `Some(None)`: however stale.
    pub max_stale: Option<Option<Duration>>,
}

impl Request {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for_each(headers, &CACHE_CONTROL, |name, argument| {
            read.take(name, argument)
        });
        // RFC 9111 §5.4: only for clients that know no Cache-Control.
        if !headers.contains_key(CACHE_CONTROL) {
            for_each(headers, &PRAGMA, |name, _| read.no_cache |= name == "no-cache");
        }
        read
    }

    fn take(&mut self, name: &str, argument: Argument<'_>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => least(&mut self.max_age, argument.seconds()),
            "min-fresh" => {
                let span = argument.seconds();
                self.min_fresh = Some(self.min_fresh.map_or(span, |known| known.max(span)));
            }
            "max-stale" => self.max_stale = Some((argument != Argument::None).then(|| argument.seconds())),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Argument<'a> {
    None,
    Text(&'a str),
    /// There is one, and it cannot be read.
    Malformed,
}

impl Argument<'_> {
    fn seconds(self) -> Duration {
        let Self::Text(text) = self else {
            return Duration::ZERO;
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Duration::ZERO;
        }
        Duration::from_secs(text.parse().unwrap_or(LARGEST).min(LARGEST))
    }
}

fn first(known: &mut Option<Duration>, new: Argument<'_>) {
    known.get_or_insert_with(|| new.seconds());
}

fn least(known: &mut Option<Duration>, new: Duration) {
    *known = Some(known.map_or(new, |known| known.min(new)));
}

/// Calls `take` with each directive: its name in lower case and its argument.
fn for_each(headers: &HeaderMap, field: &HeaderName, mut take: impl FnMut(&str, Argument<'_>)) {
    for line in headers.get_all(field) {
        // Lines are joined by a comma, so no directive spans two (RFC 9110 §5.3).
        for member in members(line.as_bytes()) {
            let Ok(member) = std::str::from_utf8(member) else {
                continue;
            };
            let (name, argument) = split(member);
            if !name.is_empty() {
                let unquoted;
                let argument = match argument {
                    Raw::None => Argument::None,
                    Raw::Malformed => Argument::Malformed,
                    Raw::Token(text) => Argument::Text(text),
                    Raw::Quoted(text) => {
                        unquoted = unescape(text);
                        Argument::Text(&unquoted)
                    }
                };
                take(&name.to_ascii_lowercase(), argument);
            }
        }
    }
}

enum Raw<'a> {
    None,
    Token(&'a str),
    Quoted(&'a str),
    Malformed,
}

fn split(member: &str) -> (&str, Raw<'_>) {
    let Some((name, value)) = member.split_once('=') else {
        return (member.trim(), Raw::None);
    };
    // Space around "=" is not allowed; what was meant is clear enough to be strict about it.
    if name != name.trim() || value != value.trim() {
        return (name.trim(), Raw::Malformed);
    }
    match value.strip_prefix('"') {
        Some(rest) => match rest.strip_suffix('"') {
            Some(inside) => (name, Raw::Quoted(inside)),
            None => (name, Raw::Malformed),
        },
        None if value.is_empty() || value.contains('"') => (name, Raw::Malformed),
        None => (name, Raw::Token(value)),
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for character in text.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            out.push(character);
            escaped = false;
        }
    }
    out
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), trimmed, without empty ones. Commas in quotes do not split.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = comma(text);
        rest = text.get(end + 1..);
        Some(text[..end.min(text.len())].trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

/// Where the first comma outside quotes is, else the length.
fn comma(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// A targeted field: a strict structured dictionary, parameters ignored; empty, unparsable or wrongly typed is absent
/// (RFC 9213 §2.1).
fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<Response> {
    let lines: Option<Vec<&str>> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let text = lines.filter(|lines| !lines.is_empty())?.join(", ");
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut read = Response {
        targeted: true,
        ..Response::default()
    };
    for (key, entry) in &dictionary {
        let ListEntry::Item(item) = entry else {
            // No directive that is known has a list.
            if is_known(key.as_str()) {
                return None;
            }
            continue;
        };
        let number;
        let argument = match &item.bare_item {
            BareItem::Boolean(true) => Argument::None,
            BareItem::Boolean(false) => continue,
            BareItem::Integer(value) => {
                number = value.to_string();
                Argument::Text(&number)
            }
            BareItem::String(text) => Argument::Text(text.as_str()),
            BareItem::Token(text) => Argument::Text(text.as_str()),
            _ => Argument::Malformed,
        };
        if !well_typed(key.as_str(), &item.bare_item) {
            return None;
        }
        read.take(key.as_str(), argument);
    }
    Some(read)
}

/// `Surrogate-Control` (Edge Architecture Specification 1.0 §2.2), `None`: it says nothing that is known. Its own words alone
/// are heard, with those that CDNs added; those for another surrogate (`;NAME`) are not. `max-age=600+30` is fresh for 600
/// seconds and may be used for 30 more while it is validated. What `Cache-Control` calls private stays so: an app that says
/// both means its browsers' content, whatever it lets a CDN keep.
fn surrogate(headers: &HeaderMap) -> Option<Response> {
    if !headers.contains_key(&SURROGATE) {
        return None;
    }
    let mut read = Response {
        targeted: true,
        private: Response::untargeted(headers).private,
        ..Response::default()
    };
    let mut says = false;
    for_each(headers, &SURROGATE, |name, argument| match name {
        "max-age" => {
            let Argument::Text(text) = argument else { return };
            // What is malformed is no word of it.
            if let Some((fresh, stale)) = surrogate_age(text) {
                says = true;
                read.max_age.get_or_insert(fresh);
                read.stale_while_revalidate = read.stale_while_revalidate.or(stale);
            }
        }
        "no-store" | "no-store-remote" if matches!(argument, Argument::None) => {
            says = true;
            read.no_store = true;
        }
        "stale-while-revalidate" | "stale-if-error" => {
            says = true;
            read.take(name, argument);
        }
        _ => {}
    });
    says.then_some(read)
}

fn surrogate_age(text: &str) -> Option<(Duration, Option<Duration>)> {
    let seconds = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Duration::from_secs(text.parse().unwrap_or(LARGEST).min(LARGEST)))
    };
    match text.split_once('+') {
        Some((fresh, stale)) => Some((seconds(fresh)?, Some(seconds(stale)?))),
        None => Some((seconds(text)?, None)),
    }
}

fn is_known(name: &str) -> bool {
    !well_typed(name, &BareItem::ByteSequence(Vec::new()))
}

fn well_typed(name: &str, item: &BareItem) -> bool {
    match name {
        "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error" => {
            matches!(item, BareItem::Integer(value) if i64::from(*value) >= 0)
        }
        "no-cache" | "private" => {
            matches!(
                item,
                BareItem::Boolean(_) | BareItem::String(_) | BareItem::Token(_)
            )
        }
        "no-store" | "public" | "must-revalidate" | "proxy-revalidate" | "must-understand"
        | "no-transform" | "immutable" => matches!(item, BareItem::Boolean(_)),
        _ => true,
    }
}
