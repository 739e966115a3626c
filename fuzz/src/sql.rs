//! SQL as strangers write it: the proxy's tokens against PostgreSQL's grammar.

use banyan_pgproxy::catalog::body::Body;
use banyan_pgproxy::parse::lex::{self, TokenKind};
use banyan_pgproxy::parse::{Grammar as _, PostgresGrammar, StatementFacts, template};

pub(crate) const WORDS: &[&str] = &[
    "SELECT ",
    "FROM ",
    "WHERE ",
    "INSERT INTO ",
    "VALUES ",
    "UPDATE ",
    "SET ",
    "DELETE ",
    "WITH ",
    " AS ",
    "RETURNING ",
    "FOR UPDATE",
    "INTO ",
    "(",
    ")",
    ",",
    ";",
    "'",
    "''",
    "E'",
    "\\'",
    "U&'",
    "B'",
    "$$",
    "$q$",
    "$1",
    "\"",
    "--",
    "/*",
    "*/",
    "\n",
    "::",
    ".",
    "..",
    "1",
    "1e",
    ".5",
    "0x",
    "f(",
    "*",
    "=",
    "<",
    "||",
    "-",
    "+",
    "@",
    "?",
    "é",
    "\u{0}",
    "/* banyan: fresh=off */",
    "BEGIN",
    "COMMIT",
    "COPY t FROM STDIN",
    "NULL",
    "[",
    "]",
];

fn facts(text: &str) -> Option<Vec<StatementFacts>> {
    PostgresGrammar.parse(text).ok()
}

fn key(text: &str) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    template::write(text.as_bytes(), &mut key).ok().map(|_| key)
}

/// What the grammar takes, the tokens take; comments change no template, and other literals no facts: that is what plans are kept by.
pub(crate) fn statements(input: &[u8]) {
    let _word: &[u8] = lex::first_word(input);
    let Ok(text) = std::str::from_utf8(input) else {
        for token in lex::tokens(input).flatten() {
            assert!(token.start < token.end && token.end <= input.len());
        }
        return;
    };
    let Some(known) = facts(text) else { return };
    assert_eq!(facts(text).as_ref(), Some(&known), "once so, once so");
    let template = key(text);
    assert!(template.is_some(), "PostgreSQL parses what has no tokens");
    assert_eq!(
        key(&format!("/* a /* b */ c */ {text} -- d")),
        template,
        "a comment changes the template"
    );
    let other = with_other_literals(text);
    if let Some(others) = facts(&other) {
        assert_eq!(others, known, "other literals, other facts: {other}");
        assert_eq!(key(&other), template, "other literals, another template: {other}");
    }
}

fn with_other_literals(text: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    for token in lex::tokens(text.as_bytes()).flatten() {
        let spelled = &text[token.start..token.end];
        let other = match token.kind {
            TokenKind::Text if spelled.starts_with(['\'', '$']) => "'x'",
            TokenKind::Number => "7",
            _ => continue,
        };
        out.push_str(&text[at..token.start]);
        out.push_str(other);
        at = token.end;
    }
    out + &text[at..]
}

/// Any text of a function has a bound.
pub(crate) fn function_bodies(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert_eq!(Body::of(&text), Body::of(&text));
}
