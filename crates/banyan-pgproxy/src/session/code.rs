//! What code that a statement runs without showing it may leave in the session: the bodies of functions, procedures and DO.
//!
//! The same judgement as of a statement's text ([`super::scan`]), for each statement in the code. SQL that is put together at run time
//! counts as its parts when they are constants, quoted names and quoted values. Of any other it is only known that it is not known:
//! [`Marks::HIDDEN`], or [`Marks::UNKNOWN`] where the constants in it look like a change of the session.

use super::marks::{Effect, Marks};
use super::scan::Scan;
use crate::parse::lex::{self, Token, TokenKind};

/// In a comment of a body: its author's word that it leaves the session as it was.
const UNTOUCHED: &str = "banyan: session=untouched";

/// Words before a statement in a code.
const BEFORE: [&str; 5] = ["begin", "then", "else", "loop", "atomic"];

/// Of constants that are no proven SQL: these look like a change of the session.
const SUSPECT: [&str; 14] = [
    "set",
    "reset",
    "set_config",
    "role",
    "authorization",
    "temp",
    "temporary",
    "listen",
    "unlisten",
    "load",
    "prepare",
    "deallocate",
    "discard",
    "hold",
];

/// What a body may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) scan: Scan,
    /// The SQL that it puts together; a name that is only known at run time is `"?"`.
    pub(crate) assembled: Vec<String>,
    /// It names relations or functions at run time: it may run whatever there is.
    pub(crate) reaches_all: bool,
}

/// Of a function in SQL or PL/pgSQL.
pub(crate) fn of(text: &str) -> Code {
    let mut code = Code::default();
    if text.contains(UNTOUCHED) {
        return code;
    }
    let Ok(tokens) = tokens_of(text) else {
        code.scan.doubt(Marks::UNKNOWN);
        return code;
    };
    for statement in statements(text, &tokens) {
        code.scan.judge(text.as_bytes(), statement);
        for at in 0..statement.len() {
            if is(text, &statement[at], "execute") {
                code.dynamic(text, &statement[at + 1..]);
            }
        }
    }
    if code.scan.marks.has(Marks::HIDDEN) && suspicious(text, &tokens) {
        code.scan.doubt(Marks::UNKNOWN);
    }
    if code.scan.touched.iter().any(|one| one.name.contains('?')) {
        code.scan.doubt(Marks::UNKNOWN);
    }
    // The statements of the server's session go with it; which of them are ours is then not known.
    let known = |effect: &Effect| matches!(effect, Effect::ResetAll);
    if !code.scan.effects.iter().all(known) {
        code.scan.doubt(Marks::UNKNOWN);
        code.scan.effects.retain(known);
    }
    code.scan.references.clear();
    // Those that PL/pgSQL closes are its own.
    let cursors = code.scan.ties.only(Marks::CURSOR);
    code.scan.marks = code.scan.marks.without(Marks::CURSOR).with(cursors);
    code
}

/// Of one in another language than SQL, PL/pgSQL and C: what cannot talk to the server leaves nothing.
pub(crate) fn of_other_language(text: &str) -> Scan {
    const TALKS: [&str; 6] = ["spi", "plpy", "plv8", "execute", "query", "subtransaction"];
    let mut scan = Scan::default();
    let lower = text.to_ascii_lowercase();
    if !text.contains(UNTOUCHED) && TALKS.iter().any(|word| lower.contains(word)) {
        scan.doubt(Marks::HIDDEN);
        if suspects(&lower).next().is_some() {
            scan.doubt(Marks::UNKNOWN);
        }
    }
    scan
}

impl Code {
    /// SQL that is put together at run time.
    fn dynamic(&mut self, text: &str, argument: &[Token]) {
        match assembled(text, argument) {
            Some(sql) => {
                self.reaches_all |= sql.contains(NAME);
                let sql = sql.replace(NAME, "\"?\"");
                self.scan.absorb(&of(&sql).scan);
                self.assembled.push(sql);
            }
            None => {
                self.reaches_all = true;
                self.scan.doubt(Marks::HIDDEN);
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn tokens_of(text: &str) -> Result<Vec<Token>, lex::Unterminated> {
    let tokens: Result<Vec<_>, _> = lex::tokens(text.as_bytes()).collect();
    tokens.map(|mut tokens| {
        tokens.retain(|token| token.kind != TokenKind::Comment);
        tokens
    })
}

fn spelled<'a>(text: &'a str, token: &Token) -> &'a str {
    &text[token.start..token.end]
}

fn is(text: &str, token: &Token, word: &str) -> bool {
    token.kind == TokenKind::Word && spelled(text, token).eq_ignore_ascii_case(word)
}

/// Where one may begin: an assignment `x := (SELECT 1)` or an `UPDATE t SET` stays whole.
fn statements<'a>(text: &'a str, tokens: &'a [Token]) -> impl Iterator<Item = &'a [Token]> {
    tokens
        .split_inclusive(|token| {
            let end = token.kind == TokenKind::Punctuation && spelled(text, token) == ";"
                || token.kind == TokenKind::Operator && spelled(text, token) == ">>";
            end || BEFORE.iter().any(|word| is(text, token, word))
        })
        .map(|statement| match statement {
            [rest @ .., last] if spelled(text, last) == ";" => rest,
            whole => whole,
        })
}

/// A name that is only known at run time.
const NAME: &str = "\u{1}";

/// The SQL of an EXECUTE, if all of it is constants, `format` of one, quoted names and quoted values.
fn assembled(text: &str, argument: &[Token]) -> Option<String> {
    let mut sql = String::new();
    let mut at = 0;
    while let Some(token) = argument.get(at) {
        let word = spelled(text, token).to_ascii_lowercase();
        match (token.kind, word.as_str()) {
            (TokenKind::Text, _) => sql += &constant(text, token)?,
            (TokenKind::Operator, "||") => {}
            (TokenKind::Word, "using" | "into" | "loop") => break,
            (TokenKind::Word, "quote_ident") => {
                sql += NAME;
                at = behind(text, argument, at + 1)?;
                continue;
            }
            (TokenKind::Word, "quote_literal" | "quote_nullable") => {
                sql += "''";
                at = behind(text, argument, at + 1)?;
                continue;
            }
            (TokenKind::Word, "format") => {
                sql += &formatted(&constant(text, argument.get(at + 2)?)?)?;
                at = behind(text, argument, at + 1)?;
                continue;
            }
            _ => return None,
        }
        at += 1;
    }
    // A function whose name comes at run time may be any, of PostgreSQL's own, too.
    let called = sql.match_indices(NAME).any(|(at, _)| {
        let after = sql[at + NAME.len()..].trim_start();
        after.starts_with('(') && !names_a_relation(&sql[..at])
    });
    (!called).then_some(sql)
}

/// `INSERT INTO a.NAME (`, `CREATE TABLE NAME (`, `ON NAME (`.
fn names_a_relation(before: &str) -> bool {
    let mut before = before.trim_end();
    while let Some(schema) = before.strip_suffix('.') {
        before = schema
            .trim_end_matches(|c: char| is_word(c) || c == '"' || NAME.contains(c))
            .trim_end();
    }
    let last = before.rsplit(|c: char| !is_word(c)).next().unwrap_or_default();
    let relations = ["into", "table", "exists", "on", "references"];
    relations.iter().any(|word| last.eq_ignore_ascii_case(word))
}

/// Behind the parenthesis that closes the one at `open`.
fn behind(text: &str, tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match spelled(text, token) {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (at > open).then_some(at + 1);
        }
    }
    None
}

/// What a quoted constant says; `None`: it has escapes.
pub(super) fn constant(text: &str, token: &Token) -> Option<String> {
    let spelled = spelled(text, token);
    if token.kind != TokenKind::Text {
        return None;
    }
    if let Some(inner) = spelled.strip_prefix('\'') {
        return Some(inner.strip_suffix('\'')?.replace("''", "'"));
    }
    if let Some(inner) = spelled.strip_prefix('$') {
        let tag = inner.find('$')? + 2;
        return spelled.get(tag..spelled.len() - tag).map(str::to_owned);
    }
    let inner = spelled.strip_prefix(['e', 'E'])?;
    let inner = inner.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains('\\')).then(|| inner.replace("''", "'"))
}

/// PostgreSQL documentation, 9.4.1 format.
fn formatted(template: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        out += &rest[..at];
        rest =
            rest[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '$' | '-' | '*'));
        match rest.chars().next()? {
            'I' => out += NAME,
            'L' => out += "''",
            '%' => out.push('%'),
            _ => return None,
        }
        rest = &rest[1..];
    }
    Some(out + rest)
}

fn suspicious(text: &str, tokens: &[Token]) -> bool {
    let constants = tokens.iter().filter(|token| token.kind == TokenKind::Text);
    constants.into_iter().any(|token| {
        let lower = spelled(text, token).to_ascii_lowercase();
        let update = lower.contains("update");
        suspects(&lower).any(|word| word != "set" || !update)
    })
}

/// Words in it that look like a change of the session.
fn suspects(lower: &str) -> impl Iterator<Item = &str> {
    let words = lower.split(|c: char| !is_word(c));
    words.filter(|word| SUSPECT.contains(word) || word.contains("advisory"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn show(bodies: &[&str]) -> String {
        let mut out = String::new();
        for text in bodies {
            let code = of(text);
            let names: Vec<&str> = code.scan.touched.iter().map(|t| &*t.name).collect();
            let all = if code.reaches_all { " all" } else { "" };
            out += &format!("{text} -> {:#x} {names:?}{all}\n", code.scan.marks.0);
        }
        out
    }

    #[test]
    fn what_a_body_leaves_behind_is_named() {
        let found = show(&[
            "BEGIN NEW.updated_at = now(); RETURN NEW; END",
            "BEGIN UPDATE t SET a = 1 WHERE b; INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2; END",
            "BEGIN SET LOCAL my.tenant = '1'; PERFORM set_config('my.tenant', x, true); END",
            "BEGIN SET my.tenant = '1'; IF a THEN SET ROLE team; ELSE RESET work_mem; END IF; END",
            "SELECT set_config('my.tenant', $1, false); SELECT 1",
            "BEGIN PERFORM set_config(name, 'x', false); END",
            "BEGIN PERFORM pg_advisory_lock(1); PERFORM pg_advisory_xact_lock(1); END",
            "BEGIN CREATE TEMP TABLE IF NOT EXISTS scratch (a int); END",
            "BEGIN PREPARE x AS SELECT 1; END",
            "BEGIN DEALLOCATE ALL; END",
            "BEGIN EXECUTE 'SET my.tenant = 1'; END",
            "BEGIN EXECUTE format('INSERT INTO audit.%I (a) VALUES (%L)', TG_TABLE_NAME, x); END",
            "BEGIN EXECUTE format('SELECT %I(1)', f); END",
            "BEGIN EXECUTE format('SET %I = %L', a, b); END",
            "BEGIN EXECUTE format('SELECT * FROM %s', x) INTO y; END",
            "BEGIN EXECUTE 'DELETE FROM ' || quote_ident(t) || ' WHERE a = ' || quote_literal(b) USING c; END",
            "BEGIN EXECUTE 'SELECT ' || what; END",
            "BEGIN EXECUTE 'SET ' || what; END",
            "BEGIN FOR r IN EXECUTE q LOOP NULL; END LOOP; END",
            "BEGIN -- banyan: session=untouched\n EXECUTE q; END",
            "BEGIN EXECUTE 'open; END",
        ]);
        expect![[r#"
            BEGIN NEW.updated_at = now(); RETURN NEW; END -> 0x0 []
            BEGIN UPDATE t SET a = 1 WHERE b; INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2; END -> 0x200 []
            BEGIN SET LOCAL my.tenant = '1'; PERFORM set_config('my.tenant', x, true); END -> 0x0 []
            BEGIN SET my.tenant = '1'; IF a THEN SET ROLE team; ELSE RESET work_mem; END IF; END -> 0x1 ["my.tenant", "role", "work_mem"]
            SELECT set_config('my.tenant', $1, false); SELECT 1 -> 0x1 ["my.tenant"]
            BEGIN PERFORM set_config(name, 'x', false); END -> 0x80 []
            BEGIN PERFORM pg_advisory_lock(1); PERFORM pg_advisory_xact_lock(1); END -> 0x4 []
            BEGIN CREATE TEMP TABLE IF NOT EXISTS scratch (a int); END -> 0x2 []
            BEGIN PREPARE x AS SELECT 1; END -> 0x10 []
            BEGIN DEALLOCATE ALL; END -> 0x90 []
            BEGIN EXECUTE 'SET my.tenant = 1'; END -> 0x201 ["my.tenant"]
            BEGIN EXECUTE format('INSERT INTO audit.%I (a) VALUES (%L)', TG_TABLE_NAME, x); END -> 0x200 [] all
            BEGIN EXECUTE format('SELECT %I(1)', f); END -> 0x1200 [] all
            BEGIN EXECUTE format('SET %I = %L', a, b); END -> 0x281 ["?"] all
            BEGIN EXECUTE format('SELECT * FROM %s', x) INTO y; END -> 0x1200 [] all
            BEGIN EXECUTE 'DELETE FROM ' || quote_ident(t) || ' WHERE a = ' || quote_literal(b) USING c; END -> 0x200 [] all
            BEGIN EXECUTE 'SELECT ' || what; END -> 0x1200 [] all
            BEGIN EXECUTE 'SET ' || what; END -> 0x1280 [] all
            BEGIN FOR r IN EXECUTE q LOOP NULL; END LOOP; END -> 0x1200 [] all
            BEGIN -- banyan: session=untouched
             EXECUTE q; END -> 0x0 []
            BEGIN EXECUTE 'open; END -> 0x80 []
        "#]].assert_eq(&found);
    }

    #[test]
    fn another_language_is_believed_when_it_cannot_talk_to_the_server() {
        assert_eq!(of_other_language("return a + b"), Scan::default());
        let talks = of_other_language("plpy.execute('UPDATE t')");
        assert!(talks.marks.has(Marks::HIDDEN) && !talks.marks.has(Marks::UNKNOWN));
        assert!(
            of_other_language("spi_exec_query(\"SET x = 1\")")
                .marks
                .has(Marks::UNKNOWN)
        );
        assert_eq!(
            of_other_language("# banyan: session=untouched\nplpy.execute(q)"),
            Scan::default()
        );
    }
}
