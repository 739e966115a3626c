//! What a statement's text may do to the session that runs it: a first look that costs little, then tokens.
//!
//! A statement that changes nothing of the session is the rule: its first word and a search for a few words say so.
//! Everything else is split into tokens. Doubt means a mark, and a mark means that the server is asked before its
//! backend goes to another client.

use super::marks::{Effect, Marks, Reference, Touched};
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
            "do" => self.block(scan),
            "call" => mark(Marks::ADVISORY.with(Marks::TEMPORARY).with(Marks::SEQUENCE_WRITE)),
            "insert" | "update" | "delete" | "with" | "copy" | "merge" => mark(Marks::SEQUENCE_WRITE),
            _ => {}
        }
        self.execute(scan);
        self.functions(scan);
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
                "set_config" => match self.constant(at + 2) {
                    Some(name) if self.bytes(at + 1) == b"(" && self.bytes(at + 3) == b"," => {
                        touch(scan, &name, false);
                    }
                    _ => scan.tie(Marks::UNKNOWN),
                },
                word if word.starts_with("pg_temp") => scan.tie(Marks::TEMPORARY),
                word if word.contains("advisory_unlock") || word.contains("advisory_xact") => {
                    mark(Marks::ADVISORY)
                }
                word if word.contains("advisory") => scan.tie(Marks::ADVISORY),
                _ => {}
            }
        }
    }

    fn set(&self, scan: &mut Scan) {
        let mut at = 1;
        if self.is(1, "local") || self.is(1, "transaction") || self.is(1, "constraints") {
            // Ends with the transaction, and so before the backend goes to another client.
            return;
        }
        if self.is(1, "session") && self.is(2, "characteristics") {
            for mode in ["isolation", "read_only", "deferrable"] {
                touch(scan, &format!("default_transaction_{mode}"), false);
            }
            return;
        }
        if self.is(1, "session") && !self.is(2, "authorization") {
            at = 2;
        }
        if self.is(at, "session") && self.is(at + 1, "authorization") {
            touch(scan, "session_authorization", false);
            touch(scan, "role", false);
        } else if self.is(at, "time") && self.is(at + 1, "zone") {
            touch(scan, "timezone", false);
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

    /// DO: its text is code of another language.
    fn block(&self, scan: &mut Scan) {
        let text = String::from_utf8_lossy(self.text).to_ascii_lowercase();
        let words: Vec<&str> = text
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .collect();
        let any = |wanted: &[&str]| wanted.iter().any(|w| words.contains(w));
        let mut mark = |marks: Marks| scan.tie(marks);
        mark(Marks::SEQUENCE_WRITE);
        if any(&["set", "set_config", "reset", "role", "load", "execute"]) {
            mark(Marks::UNKNOWN);
        }
        if text.contains("temp") {
            mark(Marks::TEMPORARY);
        }
        if text.contains("advisory") {
            mark(Marks::ADVISORY);
        }
        if any(&["hold"]) {
            mark(Marks::CURSOR);
        }
        if any(&["listen", "unlisten"]) {
            mark(Marks::LISTEN);
        }
        if any(&["prepare", "deallocate", "discard"]) {
            mark(Marks::PREPARED.with(Marks::UNKNOWN));
        }
    }
}

fn touch(scan: &mut Scan, name: &str, reset: bool) {
    scan.marks = scan.marks.with(Marks::SETTINGS);
    let name: Box<str> = name.to_ascii_lowercase().into();
    scan.touched.retain(|touched| touched.name != name);
    scan.touched.push(Touched { name, reset });
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn show(texts: &[&str]) -> String {
        let mut out = String::new();
        for text in texts {
            let scan = Scan::of(text.as_bytes());
            let references: Vec<_> = scan
                .references
                .iter()
                .map(|r| format!("{}@{}", String::from_utf8_lossy(&r.name), &text[r.start..r.end]))
                .collect();
            out.push_str(&format!(
                "{text} -> {:#x} {:?} {references:?} {:?}\n",
                scan.marks.0,
                scan.touched
                    .iter()
                    .map(|t| format!("{}{}", t.name, if t.reset { "!" } else { "" }))
                    .collect::<Vec<_>>(),
                scan.effects
                    .iter()
                    .map(|e| format!("{e:?}").split('(').next().unwrap_or_default().to_owned())
                    .collect::<Vec<_>>(),
            ));
        }
        out
    }

    #[test]
    fn what_leaves_nothing_behind_has_no_marks() {
        for text in [
            "SELECT 1",
            " /* a /* b */ */ select * from t where a = 'SET x'",
            "BEGIN",
            "(SELECT 1) UNION SELECT 2;",
            "SET LOCAL work_mem = '1MB'",
            "SET TRANSACTION READ ONLY",
            "SELECT 1; SELECT 'set_config'; COMMIT",
            "SELECT temperature FROM attempts",
            "CREATE TABLE t (a int)",
            "",
            "GRANT EXECUTE ON FUNCTION f TO x",
        ] {
            assert_eq!(Scan::of(text.as_bytes()), Scan::default(), "{text}");
        }
    }

    #[test]
    fn what_stays_in_the_session_is_named() {
        let found = show(&[
            "SET search_path TO a, b",
            "set session statement_timeout = 5",
            "SET my.tenant = '4'",
            "/* x */ SET TIME ZONE 'UTC'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET ROLE bob",
            "SET SESSION AUTHORIZATION bob",
            "SELECT set_config('a.b', 'x', false)",
            "SELECT set_config(name, 'x', false) FROM t",
            "BEGIN; SET work_mem = '1MB'; SELECT 1",
            "RESET ALL",
            "RESET role",
            "DISCARD ALL",
            "DEALLOCATE PREPARE \"Ab\"",
            "DEALLOCATE ALL",
            "EXPLAIN EXECUTE foo(1)",
            "PREPARE foo AS SELECT 1",
            "PREPARE TRANSACTION 'x'",
            "CREATE TEMP TABLE x (a int)",
            "SELECT 1 INTO TEMPORARY y",
            "SELECT pg_try_advisory_lock(1)",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "LISTEN x",
            "LOAD 'auto_explain'",
            "SELECT lastval()",
            "INSERT INTO t VALUES (nextval('s'))",
            "DO $$ begin set work_mem = '1MB'; end $$",
            "SELECT 'unterminated; SET x = 1",
        ]);
        expect![[r#"
            SET search_path TO a, b -> 0x1 ["search_path"] [] []
            set session statement_timeout = 5 -> 0x1 ["statement_timeout"] [] []
            SET my.tenant = '4' -> 0x1 ["my.tenant"] [] []
            /* x */ SET TIME ZONE 'UTC' -> 0x1 ["timezone"] [] []
            SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY -> 0x1 ["default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"] [] []
            SET ROLE bob -> 0x1 ["role"] [] []
            SET SESSION AUTHORIZATION bob -> 0x1 ["session_authorization", "role"] [] []
            SELECT set_config('a.b', 'x', false) -> 0x1 ["a.b"] [] []
            SELECT set_config(name, 'x', false) FROM t -> 0x80 [] [] []
            BEGIN; SET work_mem = '1MB'; SELECT 1 -> 0x1 ["work_mem"] [] []
            RESET ALL -> 0x1 [] [] ["ResetAll"]
            RESET role -> 0x1 ["role!"] [] []
            DISCARD ALL -> 0x3f [] [] ["DiscardAll"]
            DEALLOCATE PREPARE "Ab" -> 0x10 [] ["Ab@\"Ab\""] ["Deallocate"]
            DEALLOCATE ALL -> 0x10 [] [] ["DeallocateAll"]
            EXPLAIN EXECUTE foo(1) -> 0x200 [] ["foo@foo"] []
            PREPARE foo AS SELECT 1 -> 0x10 [] [] []
            PREPARE TRANSACTION 'x' -> 0x0 [] [] []
            CREATE TEMP TABLE x (a int) -> 0x2 [] [] []
            SELECT 1 INTO TEMPORARY y -> 0x2 [] [] []
            SELECT pg_try_advisory_lock(1) -> 0x4 [] [] []
            DECLARE c CURSOR WITH HOLD FOR SELECT 1 -> 0x8 [] [] []
            LISTEN x -> 0x20 [] [] []
            LOAD 'auto_explain' -> 0x40 [] [] []
            SELECT lastval() -> 0x100 [] [] []
            INSERT INTO t VALUES (nextval('s')) -> 0x200 [] [] []
            DO $$ begin set work_mem = '1MB'; end $$ -> 0x280 [] [] []
            SELECT 'unterminated; SET x = 1 -> 0x80 [] [] []
        "#]]
        .assert_eq(&found);
    }
}
