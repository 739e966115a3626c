//! What a statement's text may do to the session that runs it: a first look that costs little, then tokens.
//!
//! A statement that changes nothing of the session is the rule: its first word and a search for a few words say so.
//! Everything else is split into tokens. Doubt means a mark, and a mark means that the server is asked before its
//! backend goes to another client.

use super::code;
use super::marks::{Effect, Marks, Reference, Touched};
use super::prepared::decides;
use super::settings::Settings;
use super::words;
use crate::parse::lex::{self, Token, TokenKind};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// What may be other after it.
    pub(crate) marks: Marks,
    /// Those of them that may keep the backend with its client.
    pub(crate) ties: Marks,
    pub(crate) touched: Vec<Touched>,
    pub(crate) references: Vec<Reference>,
    pub(crate) effects: Vec<Effect>,
}

impl Scan {
    pub(crate) fn of(text: &[u8]) -> Self {
        match quick(text) {
            Some(marks) => Self {
                marks,
                ..Self::default()
            },
            None => slow(text),
        }
    }

    /// What is not known keeps the backend with its client.
    pub(crate) fn doubt(&mut self, marks: Marks) {
        self.marks = self.marks.with(marks);
        self.ties = self.ties.with(marks.only(Marks::UNKNOWN));
    }

    /// What another piece of the same statement may do, too.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        let before = (self.marks, self.ties, self.touched.len(), self.effects.len());
        self.marks = self.marks.with(other.marks);
        self.ties = self.ties.with(other.ties);
        for one in &other.touched {
            match self.touched.iter_mut().find(|known| known.name == one.name) {
                // Set by one and reset by the other: the value that is there counts.
                Some(known) => known.reset &= one.reset,
                None => self.touched.push(one.clone()),
            }
        }
        for effect in &other.effects {
            if !self.effects.contains(effect) {
                self.effects.push(effect.clone());
            }
        }
        before != (self.marks, self.ties, self.touched.len(), self.effects.len())
    }

    /// One statement more, by its tokens without comments.
    pub(super) fn judge(&mut self, text: &[u8], tokens: &[Token]) {
        Words { text, tokens }.judge(self);
    }

    fn tie(&mut self, marks: Marks) {
        self.marks = self.marks.with(marks);
        self.ties = self.ties.with(marks.without(Marks::FREE));
    }

    /// Nothing beyond marks: no name, no reference, no effect.
    pub(crate) fn is_plain(&self) -> bool {
        self.references.is_empty() && self.effects.is_empty()
    }
}

/// The rule: one statement whose kind is harmless and that holds none of a few words.
fn quick(text: &[u8]) -> Option<Marks> {
    let first = lex::first_word(text);
    let is = |word: &str| first.eq_ignore_ascii_case(word.as_bytes());
    let reads = [
        "select",
        "begin",
        "commit",
        "values",
        "show",
        "rollback",
        "table",
        "fetch",
        "savepoint",
        "release",
    ];
    let writes = ["insert", "update", "delete", "with", "copy", "merge"];
    let marks = if reads.iter().any(|word| is(word)) {
        Marks::NONE
    } else if writes.iter().any(|word| is(word)) {
        Marks::SEQUENCE_WRITE
    } else {
        return None;
    };
    if let Some(at) = memchr::memchr(b';', text)
        && !text[at + 1..]
            .iter()
            .all(|b| b.is_ascii_whitespace() || *b == b';')
    {
        return None;
    }
    (!words::holds_any(text)).then_some(marks)
}

fn slow(text: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let mut tokens = Vec::new();
    for token in lex::tokens(text) {
        let Ok(token) = token else {
            // The server will refuse it; should it not, we have not understood it.
            scan.marks = scan.marks.with(Marks::UNKNOWN);
            return scan;
        };
        match token.kind {
            TokenKind::Comment => {}
            TokenKind::Punctuation if text[token.start] == b';' => {
                Words {
                    text,
                    tokens: &tokens,
                }
                .judge(&mut scan);
                tokens.clear();
            }
            _ => tokens.push(token),
        }
    }
    Words {
        text,
        tokens: &tokens,
    }
    .judge(&mut scan);
    scan
}

/// The tokens of one statement.
struct Words<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl Words<'_> {
    fn bytes(&self, at: usize) -> &[u8] {
        self.tokens
            .get(at)
            .map_or(b"", |token| &self.text[token.start..token.end])
    }

    fn is(&self, at: usize, word: &str) -> bool {
        let kind = self.tokens.get(at).map(|token| token.kind);
        kind == Some(TokenKind::Word) && self.bytes(at).eq_ignore_ascii_case(word.as_bytes())
    }

    fn any(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    /// As the server reads an identifier: lower case unless quoted.
    fn identifier(&self, at: usize) -> Option<Box<[u8]>> {
        let bytes = self.bytes(at);
        match self.tokens.get(at)?.kind {
            TokenKind::Word => Some(bytes.to_ascii_lowercase().into()),
            TokenKind::QuotedName if bytes.first() == Some(&b'"') => {
                let inner = String::from_utf8_lossy(&bytes[1..bytes.len() - 1]).replace("\"\"", "\"");
                Some(inner.into_bytes().into())
            }
            _ => None,
        }
    }

    /// The text of a plain `'...'`.
    fn constant(&self, at: usize) -> Option<String> {
        let bytes = self.bytes(at);
        let inner = bytes.strip_prefix(b"'")?.strip_suffix(b"'")?;
        let text = std::str::from_utf8(inner).ok()?;
        (!text.contains(['\'', '\\'])).then(|| text.to_owned())
    }

    fn judge(&self, scan: &mut Scan) {
        if self.tokens.is_empty() {
            return;
        }
        let mut mark = |marks: Marks| scan.marks = scan.marks.with(marks);
        if self.names_temporary_schema() {
            // What is created next may be temporary without saying so.
            mark(Marks::TEMPORARY);
        }
        let first = String::from_utf8_lossy(self.bytes(self.first())).to_ascii_lowercase();
        match first.as_str() {
            "set" => return self.set(scan),
            "reset" => return self.reset(scan),
            "deallocate" => return self.deallocate(scan),
            "discard" => return self.discard(scan),
            "listen" => scan.tie(Marks::LISTEN),
            "unlisten" => mark(Marks::LISTEN),
            "load" => scan.tie(Marks::LOAD),
            "close" => mark(Marks::CURSOR),
            "drop" => mark(Marks::TEMPORARY),
            "declare" if self.any("hold") => scan.tie(Marks::CURSOR),
            "prepare" if !self.is(1, "transaction") => scan.tie(Marks::PREPARED),
            "create" | "alter" | "import" if !self.is_temporary() => self.define(scan),
            "do" => self.block(scan),
            "call" => mark(Marks::ADVISORY.with(Marks::TEMPORARY).with(Marks::SEQUENCE_WRITE)),
            "insert" | "update" | "delete" | "with" | "copy" | "merge" => mark(Marks::SEQUENCE_WRITE),
            _ => {}
        }
        self.execute(scan);
        self.functions(scan);
    }

    /// What it defines may be called before it can be read: the settings that it names are looked at.
    fn define(&self, scan: &mut Scan) {
        scan.marks = scan.marks.with(Marks::DEFINITIONS);
        if ["role", "user", "database"].iter().any(|word| self.is(1, word))
            && (self.any("set") || self.any("reset"))
        {
            scan.marks = scan.marks.with(Marks::DEFAULTS);
        }
        if !self.any("function") && !self.any("procedure") {
            return;
        }
        for token in self.tokens.iter().filter(|token| token.kind == TokenKind::Text) {
            let text = std::str::from_utf8(self.text).ok();
            if let Some(body) = text.and_then(|text| code::constant(text, token)) {
                for one in code::of(&body).scan.touched {
                    touch(scan, &one.name, false);
                }
            }
        }
    }

    /// CREATE of what others never see.
    fn is_temporary(&self) -> bool {
        (1..3).any(|at| self.is(at, "temp") || self.is(at, "temporary"))
    }

    /// `SET search_path = pg_temp`, `set_config('search_path', 'pg_temp', true)`
    fn names_temporary_schema(&self) -> bool {
        (0..self.tokens.len()).any(|at| {
            let parts = &mut self.bytes(at).windows(7);
            parts.any(|part| part.eq_ignore_ascii_case(b"pg_temp"))
        })
    }

    /// Behind opening parentheses.
    fn first(&self) -> usize {
        let open = |at: &usize| self.bytes(*at) == b"(";
        (0..self.tokens.len()).find(|at| !open(at)).unwrap_or(0)
    }

    fn functions(&self, scan: &mut Scan) {
        for (at, token) in self.tokens.iter().enumerate() {
            let word = match token.kind {
                TokenKind::Word => String::from_utf8_lossy(self.bytes(at)).to_ascii_lowercase(),
                TokenKind::QuotedName => {
                    let name = self.identifier(at).unwrap_or_default();
                    String::from_utf8_lossy(&name).into_owned()
                }
                _ => continue,
            };
            let mut mark = |marks: Marks| scan.marks = scan.marks.with(marks);
            match word.as_str() {
                "temp" | "temporary" => scan.tie(Marks::TEMPORARY),
                "lastval" | "currval" => mark(Marks::SEQUENCE_READ),
                "nextval" | "setval" => mark(Marks::SEQUENCE_WRITE),
                "set_config" => self.set_config(at, scan),
                // They run a text that may be anything.
                word if word.starts_with("query_to_xml") || word == "ts_stat" => mark(Marks::HIDDEN),
                word if word.starts_with("pg_temp") => scan.tie(Marks::TEMPORARY),
                word if word.contains("advisory_unlock") || word.contains("advisory_xact") => {
                    mark(Marks::ADVISORY)
                }
                word if word.contains("advisory") => scan.tie(Marks::ADVISORY),
                _ => {}
            }
        }
    }

    fn set_config(&self, at: usize, scan: &mut Scan) {
        let name = self.constant(at + 2).map(|name| name.to_ascii_lowercase());
        let name = name.filter(|_| self.bytes(at + 1) == b"(" && self.bytes(at + 3) == b",");
        match name {
            Some(name) if !self.is_local(at + 1) => touch(scan, &name, self.is(at + 4, "null")),
            Some(name) if !decides(&name) => {}
            _ if self.is_local(at + 1) => scan.marks = scan.marks.with(Marks::LOCAL),
            _ => scan.tie(Marks::UNKNOWN),
        }
    }

    fn set(&self, scan: &mut Scan) {
        if self.is(1, "local") || self.is(1, "transaction") || self.is(1, "constraints") {
            // Ends with the transaction, and so before the backend goes to another client.
            return self.set_local(scan);
        }
        if self.is(1, "session") && self.is(2, "characteristics") {
            for mode in ["isolation", "read_only", "deferrable"] {
                touch(scan, &format!("default_transaction_{mode}"), false);
            }
            return;
        }
        let long = self.is(1, "session") && !self.is(2, "authorization");
        self.set_at(if long { 2 } else { 1 }, scan);
    }

    fn set_at(&self, at: usize, scan: &mut Scan) {
        if self.is(at, "session") && self.is(at + 1, "authorization") {
            touch(scan, "session_authorization", false);
            touch(scan, "role", false);
        } else if self.is(at, "time") && self.is(at + 1, "zone") {
            touch(
                scan,
                "timezone",
                self.is(at + 2, "default") || self.is(at + 2, "local"),
            );
        } else if self.is(at, "schema")
            && self.tokens.get(at + 1).map(|token| token.kind) == Some(TokenKind::Text)
        {
            touch(scan, "search_path", false);
        } else if self.is(at, "names") {
            touch(scan, "client_encoding", false);
        } else if self.is(at, "xml") {
            touch(scan, "xmloption", false);
        } else if self.is(at, "seed") {
            scan.marks = scan.marks.with(Marks::NONE);
        } else {
            self.touch_at(at, false, scan);
        }
    }

    fn set_local(&self, scan: &mut Scan) {
        let mut set = Scan::default();
        if self.is(1, "local") {
            self.set_at(2, &mut set);
        }
        if set.marks.has(Marks::UNKNOWN) || set.touched.iter().any(|one| decides(&one.name)) {
            scan.marks = scan.marks.with(Marks::LOCAL);
        }
    }

    fn reset(&self, scan: &mut Scan) {
        if self.is(1, "all") {
            scan.effects.push(Effect::ResetAll);
            scan.marks = scan.marks.with(Marks::SETTINGS);
        } else if self.is(1, "session") {
            touch(scan, "session_authorization", true);
            touch(scan, "role", true);
        } else if self.is(1, "time") {
            touch(scan, "timezone", true);
        } else {
            self.touch_at(1, true, scan);
        }
    }

    /// `name` or `extension.name`.
    fn touch_at(&self, at: usize, reset: bool, scan: &mut Scan) {
        let part = |at| {
            let name = self.identifier(at)?;
            String::from_utf8(name.into()).ok()
        };
        let Some(mut name) = part(at) else {
            scan.marks = scan.marks.with(Marks::UNKNOWN);
            return;
        };
        let mut at = at;
        while self.bytes(at + 1) == b"." {
            let Some(next) = part(at + 2) else { break };
            name = format!("{name}.{next}");
            at += 2;
        }
        let default = self.is(at + 2, "default") && self.tokens.len() == at + 3;
        touch(scan, &name, reset || default);
    }

    fn deallocate(&self, scan: &mut Scan) {
        let at = if self.is(1, "prepare") { 2 } else { 1 };
        scan.marks = scan.marks.with(Marks::PREPARED);
        if self.is(at, "all") {
            scan.effects.push(Effect::DeallocateAll);
        } else if let Some(name) = self.refer(at, scan) {
            scan.effects.push(Effect::Deallocate(name));
        }
    }

    fn discard(&self, scan: &mut Scan) {
        if self.is(1, "all") {
            scan.effects.push(Effect::DiscardAll);
            let all = [Marks::SETTINGS, Marks::TEMPORARY, Marks::ADVISORY, Marks::CURSOR];
            let all = all
                .into_iter()
                .fold(Marks::LISTEN.with(Marks::PREPARED), Marks::with);
            scan.marks = scan.marks.with(all);
        } else {
            scan.marks = scan.marks.with(Marks::TEMPORARY);
        }
    }

    /// EXECUTE, also within EXPLAIN and CREATE TABLE AS; not the privilege and not a trigger's.
    fn execute(&self, scan: &mut Scan) {
        for at in 0..self.tokens.len() {
            let other = ["function", "procedure", "on"];
            if self.is(at, "execute") && !other.iter().any(|word| self.is(at + 1, word)) {
                scan.marks = scan.marks.with(Marks::SEQUENCE_WRITE);
                self.refer(at + 1, scan);
            }
        }
    }

    fn refer(&self, at: usize, scan: &mut Scan) -> Option<Box<[u8]>> {
        let name = self.identifier(at)?;
        let token = self.tokens[at];
        scan.references.push(Reference {
            start: token.start,
            end: token.end,
            name: name.clone(),
        });
        Some(name)
    }

    /// DO: its text is code.
    fn block(&self, scan: &mut Scan) {
        scan.tie(Marks::SEQUENCE_WRITE);
        let language = (0..self.tokens.len()).find(|at| self.is(*at, "language"));
        let language = language.and_then(|at| self.identifier(at + 1));
        let mut texts = self.tokens.iter().filter(|token| token.kind == TokenKind::Text);
        let text = texts
            .next()
            .and_then(|token| code::constant(std::str::from_utf8(self.text).ok()?, token));
        match (text, language.as_deref()) {
            (Some(text), None | Some(b"plpgsql")) => {
                let code = code::of(&text);
                scan.absorb(&code.scan);
                if code.reaches_all {
                    scan.doubt(Marks::HIDDEN);
                }
            }
            (Some(text), Some(_)) => {
                scan.absorb(&code::of_other_language(&text));
            }
            (None, _) => scan.doubt(Marks::UNKNOWN),
        }
    }

    /// `set_config(name, value, true)` ends with the transaction.
    fn is_local(&self, open: usize) -> bool {
        let mut depth = 0_i32;
        for at in open..self.tokens.len() {
            match self.bytes(at) {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at > open && self.is(at - 1, "true") && self.bytes(at - 2) == b",";
            }
        }
        false
    }
}

fn touch(scan: &mut Scan, name: &str, reset: bool) {
    let name: Box<str> = name.to_ascii_lowercase().into();
    if Settings::is_momentary(&name) {
        return;
    }
    scan.marks = scan.marks.with(Marks::SETTINGS);
    scan.touched.retain(|touched| touched.name != name);
    scan.touched.push(Touched { name, reset });
}

#[cfg(test)]
mod tests;
