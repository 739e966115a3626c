//! A small rule set of our own against what scanners and scripts send: in paths, queries, forms and headers.
//!
//! `rules` has the patterns, each with its id; this file says what they are shown. Heads are judged before anything else looks
//! at a request, forms while they pass, pair by pair, before their last bytes reach an instance. In mode "log" a hit is counted and
//! logged, in "block" the request is refused, too. Paranoia is low: a rule that an honest request meets is a wrong rule, and
//! `except` takes it out by its id until it is mended. No protection against who knows what is looked for.
//!
//! Bounds: patterns in linear time; 128 KiB of a form (the rest passes unseen), forms as `application/x-www-form-urlencoded` only.

mod rules;

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use http::header::{self, HeaderMap};
use http::request::Parts;

use banyan_config::WafMode;

use crate::core::Core;
use crate::respond::Refusal;
pub(crate) use rules::{COUNT, RULES};
use rules::{Part, Set};

/// Of a form.
const MOST: usize = 128 * 1024;
/// Of ranges; more are asked for by who wants to see a server sweat.
const RANGES: usize = 20;
/// A second, of each route and core.
const LINES: u32 = 10;
/// That apps like to log or parse.
const LOGGED: [header::HeaderName; 6] = [
    header::REFERER,
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::COOKIE,
    header::HeaderName::from_static("x-forwarded-for"),
];

/// Of a route.
#[derive(Clone)]
pub(crate) struct Waf {
    blocks: bool,
    /// By rule: it is not asked.
    except: Rc<[bool]>,
    /// The second of the last lines, and how many it had.
    logged: Rc<Cell<(u64, u32)>>,
}

impl Waf {
    pub(crate) fn new(config: &banyan_config::Waf) -> Self {
        let excepted = |rule: &rules::Rule| config.except.iter().any(|id| id == rule.id);
        Self {
            blocks: config.mode == WafMode::Block,
            except: RULES.iter().map(excepted).collect(),
            logged: Rc::default(),
        }
    }

    pub(super) fn judge(&self, core: &Core, head: &Parts) -> Result<(), Refusal> {
        match self.of_head(head) {
            Some(rule) => self.hit(core, rule, head.uri.path(), false),
            None => Ok(()),
        }
    }

    /// Looks at a form while it passes; `None`: the body is none.
    pub(crate) fn form(&self, core: &Rc<Core>, head: &Parts) -> Option<Box<Form>> {
        let kind = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            .then(|| {
                Box::new(Form {
                    waf: self.clone(),
                    core: Rc::clone(core),
                    path: head.uri.path().to_owned(),
                    pending: Vec::new(),
                    seen: 0,
                })
            })
    }

    /// The first rule that is met.
    fn of_head(&self, head: &Parts) -> Option<usize> {
        let path = self.of(Part::Path, head.uri.path(), false);
        let query = head.uri.query().unwrap_or_default();
        path.or_else(|| query.split('&').find_map(|pair| self.of_pair(pair, true)))
            .or_else(|| self.of_headers(&head.headers))
    }

    fn of_headers(&self, headers: &HeaderMap) -> Option<usize> {
        let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(rule) = text(&header::USER_AGENT).and_then(|agent| self.of(Part::Agent, agent, false)) {
            return Some(rule);
        }
        let of_logged =
            |name: header::HeaderName| text(&name).and_then(|value| self.of(Part::Header, value, false));
        if let Some(rule) = LOGGED.into_iter().find_map(of_logged) {
            return Some(rule);
        }
        let ranges = text(&header::RANGE).map_or(0, |range| range.split(',').count());
        let odd = if ranges > RANGES {
            "W501"
        } else if headers.contains_key("proxy") {
            "W502"
        } else {
            return None;
        };
        let rule = RULES.iter().position(|rule| rule.id == odd)?;
        (!self.except[rule]).then_some(rule)
    }

    /// Name and value alike: both reach the app.
    fn of_pair(&self, pair: &str, of_query: bool) -> Option<usize> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        [name, value].into_iter().find_map(|text| {
            self.of(Part::Value, text, true)
                .or_else(|| of_query.then(|| self.of(Part::Query, text, true)).flatten())
        })
    }

    fn of(&self, part: Part, text: &str, plus: bool) -> Option<usize> {
        // No shape is made of these alone.
        if text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            && part != Part::Agent
        {
            return None;
        }
        let plain = plain(text, plus, part == Part::Query);
        let set = Set::of(part);
        let met = set.patterns.matches(plain.as_bytes());
        met.into_iter()
            .map(|n| set.rules[n])
            .find(|rule| !self.except[*rule])
    }

    /// A flood of attacks must not be one of lines.
    fn may_log(&self, core: &Core) -> bool {
        let now = core.since_start() / 1_000_000_000;
        let (second, lines) = self.logged.get();
        let lines = if second == now { lines + 1 } else { 1 };
        self.logged.set((now, lines));
        lines <= LINES
    }

    fn hit(&self, core: &Core, rule: usize, path: &str, in_body: bool) -> Result<(), Refusal> {
        let (id, message) = (RULES[rule].id, RULES[rule].message);
        let blocked = self.blocks;
        core.metrics.waf[rule][usize::from(blocked)].increment();
        if self.may_log(core) {
            // The path without its query, which may hold secrets.
            tracing::warn!(
                rule = id,
                path,
                in_body,
                blocked,
                "a request looks like an attack"
            );
        }
        if blocked {
            Err(Refusal::Attack { message, in_body })
        } else {
            Ok(())
        }
    }
}

/// A form on its way.
pub(crate) struct Form {
    waf: Waf,
    core: Rc<Core>,
    path: String,
    /// The pair that has not ended.
    pending: Vec<u8>,
    seen: usize,
}

impl Form {
    /// What comes next of it. `ended`: nothing follows.
    pub(crate) fn take(&mut self, data: &[u8], ended: bool) -> Result<(), Refusal> {
        let room = MOST.saturating_sub(self.seen);
        let (seen, cut) = (&data[..data.len().min(room)], data.len() > room);
        self.seen += seen.len();
        let mut rest = seen;
        while let Some(end) = rest.iter().position(|b| *b == b'&') {
            self.pending.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.judge()?;
        }
        self.pending.extend_from_slice(rest);
        if ended || cut {
            self.judge()?;
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), Refusal> {
        let pair = std::mem::take(&mut self.pending);
        match self.waf.of_pair(&String::from_utf8_lossy(&pair), false) {
            Some(rule) => self.waf.hit(&self.core, rule, &self.path, true),
            None => Ok(()),
        }
    }
}

/// As patterns want it: decoded (what is encoded twice, twice), in lower case, one space for runs of space and for comments of SQL.
/// `lines`: their ends stay.
fn plain(text: &str, plus: bool, lines: bool) -> String {
    let once = decoded(text, plus);
    let twice = if once.contains('%') {
        decoded(&once, false)
    } else {
        once
    };
    let mut plain = String::with_capacity(twice.len());
    let mut rest = twice.as_ref();
    // No comment begins behind it: each beginning would look for its end in vain, through all that follows.
    let last_end = rest.rfind("*/").unwrap_or_default();
    while let Some(c) = rest.chars().next() {
        // What MySQL would run is none.
        let may_end = twice.len() - rest.len() < last_end;
        let comment = rest
            .strip_prefix("/*")
            .filter(|comment| may_end && !comment.starts_with('!'));
        if let Some((_, behind)) = comment.and_then(|comment| comment.split_once("*/")) {
            rest = behind;
            space(&mut plain);
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if lines && (c == '\r' || c == '\n') {
            plain.push(c);
        } else if c.is_whitespace() {
            space(&mut plain);
        } else {
            plain.extend(c.to_lowercase());
        }
    }
    plain
}

fn space(text: &mut String) {
    if !text.ends_with(' ') {
        text.push(' ');
    }
}

/// What is no escape stays as it is: apps differ in what they make of it.
fn decoded(text: &str, plus: bool) -> Cow<'_, str> {
    let encoded = text.contains('%') || (plus && text.contains('+'));
    if !encoded {
        return Cow::Borrowed(text);
    }
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(b) = bytes.get(at) {
        let escape = (*b == b'%').then(|| Some(digit(bytes.get(at + 1))? << 4 | digit(bytes.get(at + 2))?));
        match escape.flatten().and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus && *b == b'+' { b' ' } else { *b });
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
