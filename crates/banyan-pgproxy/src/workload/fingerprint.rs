//! What statements of one shape have in common: their template (`parse::template`) with lists and rows of values shrunk to one,
//! and a hash of it that costs little to find.
//!
//! [`quick`] goes over a text eight bytes at a time and passes over literals and comments; equal hashes mean equal templates, but one
//! template may have several hashes. What it does not understand at once (escapes, dollar quotes, nested comments) has none.

use std::borrow::Cow;

use md5::{Digest as _, Md5};

use crate::parse::lex::{self, Unterminated};
use crate::parse::template;

/// A shape: its literals are `?n` and `?s`, its parameters `?p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) text: String,
    /// The same in every process and version that writes templates so.
    pub(crate) key: u64,
}

impl Shape {
    /// `buffer`: of the caller's, so that it grows once.
    pub(super) fn of(text: &[u8], buffer: &mut Vec<u8>) -> Result<Self, Unterminated> {
        template::write(text, buffer)?;
        let mut tokens: Vec<&[u8]> = Vec::new();
        for token in buffer.split(|byte| *byte == b' ') {
            push(&mut tokens, token);
        }
        Ok(Self::new(
            String::from_utf8_lossy(&tokens.join(&b' ')).into_owned(),
        ))
    }

    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let hash = Md5::digest(text.as_bytes());
        let key = hash
            .iter()
            .take(8)
            .fold(0, |key, byte| key << 8 | u64::from(*byte));
        Self { text, key }
    }
}

fn push<'a>(tokens: &mut Vec<&'a [u8]>, token: &'a [u8]) {
    let is_parameter = token.len() > 1 && token[0] == b'$' && token[1..].iter().all(u8::is_ascii_digit);
    if !is_parameter {
        tokens.push(token);
        if token == b")" {
            shrink_rows(tokens);
        }
        return;
    }
    if tokens.ends_with(&[b"?p", b","]) {
        tokens.pop();
    } else {
        tokens.push(b"?p");
    }
}

/// `( a ) , ( a )` is `( a )`.
fn shrink_rows(tokens: &mut Vec<&[u8]>) {
    let mut depth = 0;
    let begins = tokens.iter().rposition(|token| {
        match *token {
            b")" => depth += 1,
            b"(" => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    let Some(begins) = begins else { return };
    let row = &tokens[begins..];
    let before = begins.checked_sub(row.len() + 1);
    if let Some(before) = before
        && tokens[begins - 1] == b","
        && tokens[before..begins - 1] == *row
    {
        tokens.truncate(begins - 1);
    }
}

/// For people: `SELECT * FROM t WHERE a = ?`.
pub(crate) fn shown(shape: &str) -> String {
    let mut out = String::with_capacity(shape.len());
    for token in shape.split(' ') {
        let token = match token {
            "?n" | "?s" | "?p" => "?",
            token => token,
        };
        let tight =
            matches!(token, "," | ")" | "." | "::" | ";") || out.ends_with(['(', '.']) || out.ends_with("::");
        // A call has its parenthesis at its name, as most write it.
        if !out.is_empty() && !tight {
            out.push(' ');
        }
        out.push_str(token);
    }
    out
}

/// One of its statements, to be parsed; what its values are changes neither tables nor functions.
pub(crate) fn example(shape: &str) -> String {
    let tokens = shape.split(' ').map(|token| match token {
        "?n" => "1",
        "?s" => "''",
        "?p" => "$1",
        token => token,
    });
    tokens.collect::<Vec<_>>().join(" ")
}

/// What the statement does, by its first word; bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation(u8);

impl Operation {
    const NAMES: [&'static str; 14] = [
        "OTHER", "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "COPY", "CALL", "EXECUTE", "BEGIN",
        "COMMIT", "ROLLBACK", "SET",
    ];
    pub(crate) const COUNT: usize = Self::NAMES.len();
    pub(crate) const OTHER: Self = Self(0);

    pub(super) fn of(text: &[u8]) -> Self {
        let word = String::from_utf8_lossy(lex::first_word(text)).to_ascii_uppercase();
        let word = match word.as_str() {
            "START" => Cow::Borrowed("BEGIN"),
            "END" => Cow::Borrowed("COMMIT"),
            "ABORT" => Cow::Borrowed("ROLLBACK"),
            "VALUES" | "TABLE" => Cow::Borrowed("SELECT"),
            _ => Cow::Owned(word),
        };
        let place = Self::NAMES.iter().position(|name| *name == word);
        Self(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0))
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT)
            .filter_map(|place| u8::try_from(place).ok())
            .map(Self)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// `None`: it has to be looked at as [`Shape::of`] does.
pub(super) fn quick(text: &[u8]) -> Option<u64> {
    let mut skim = Skim {
        text,
        at: 0,
        hash: 0,
        list: None,
    };
    while skim.at < text.len() {
        skim.plain();
        if skim.at < text.len() {
            skim.special()?;
        }
    }
    Some((skim.hash ^ skim.hash >> 32).wrapping_mul(MULTIPLIER))
}

const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
/// Words that no eight bytes of a statement are.
const NUMBER: u64 = u64::MAX;
const TEXT: u64 = u64::MAX - 1;
const PARAMETER: u64 = u64::MAX - 2;

struct Skim<'a> {
    text: &'a [u8],
    at: usize,
    hash: u64,
    /// The last literal: its kind, where it ended, the hash up to there.
    list: Option<(u64, usize, u64)>,
}

/// The bytes from 0x22 to 0x39 (quotes, digits, `$`, `-`, `/`, `,`, parentheses …) of eight, each as its highest bit.
fn specials(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const HIGH: u64 = !LOW;
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = word & LOW;
    let below = (EACH * (0x7f + 0x3a)).wrapping_sub(low);
    let above = low.wrapping_add(EACH * (0x7f - 0x21));
    below & !word & above & HIGH
}

impl Skim<'_> {
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }

    /// Up to the next byte that may begin a literal or a comment.
    fn plain(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let (word, length) = match rest.first_chunk::<8>() {
                Some(chunk) => (u64::from_le_bytes(*chunk), 8),
                None if rest.is_empty() => return,
                None => {
                    let mut padded = [0; 8];
                    padded[..rest.len()].copy_from_slice(rest);
                    (u64::from_le_bytes(padded), rest.len())
                }
            };
            let specials = specials(word);
            if specials != 0 {
                let clean = specials.trailing_zeros() / 8;
                if clean > 0 {
                    self.mix(word & ((1 << (clean * 8)) - 1));
                }
                self.at += clean as usize;
                return;
            }
            self.mix(word);
            self.at += length;
        }
    }

    fn special(&mut self) -> Option<()> {
        let byte = self.text[self.at];
        let next = self.text.get(self.at + 1).copied().unwrap_or(0);
        let begins = self.at;
        let in_word = begins.checked_sub(1).is_some_and(|at| is_word(self.text[at]));
        match byte {
            b'0'..=b'9' if !in_word => self.number(begins),
            b'.' if next.is_ascii_digit() && !in_word => self.number(begins),
            b'\'' => {
                let rest = &self.text[begins + 1..];
                let ends = memchr::memchr2(b'\'', b'\\', rest).filter(|at| rest[*at] == b'\'')?;
                self.at += ends + 2;
                self.literal(TEXT, begins);
            }
            b'"' => {
                let ends = memchr::memchr(b'"', &self.text[begins + 1..])?;
                for at in begins..begins + ends + 2 {
                    self.mix(u64::from(self.text[at]));
                }
                self.at += ends + 2;
            }
            b'$' if next.is_ascii_digit() && !in_word => {
                self.at += 1;
                while self.byte().is_ascii_digit() {
                    self.at += 1;
                }
                if is_word(self.byte()) {
                    return None;
                }
                self.literal(PARAMETER, begins);
            }
            b'$' if !in_word => return None,
            b'-' if next == b'-' => {
                let ends = memchr::memchr2(b'\n', b'\r', &self.text[begins..]);
                self.at = ends.map_or(self.text.len(), |ends| begins + ends);
            }
            b'/' if next == b'*' => {
                let inner = &self.text[begins + 2..];
                let ends = memchr::memmem::find(inner, b"*/")?;
                if memchr::memmem::find(&inner[..ends], b"/*").is_some() {
                    return None;
                }
                self.at = begins + 2 + ends + 2;
            }
            _ => {
                self.mix(u64::from(byte));
                self.at += 1;
            }
        }
        Some(())
    }

    /// 0 at the end.
    fn byte(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// As the lexer's number ends, so that `1e-5` is not `1 - 5`.
    fn number(&mut self, begins: usize) {
        loop {
            let (byte, next) = (self.byte(), self.text.get(self.at + 1).copied().unwrap_or(0));
            if !(lex::is_word(byte) || byte == b'.' && next != b'.') {
                break;
            }
            self.at += 1;
            let digit = self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit);
            if matches!(byte, b'e' | b'E') && matches!(next, b'+' | b'-') && digit {
                self.at += 1;
            }
        }
        self.literal(NUMBER, begins);
    }

    /// One that follows another of its kind and a comma is part of a list, which counts once.
    fn literal(&mut self, kind: u64, begins: usize) {
        match self.list {
            Some((before, ended, hash)) if before == kind && is_comma(&self.text[ended..begins]) => {
                self.hash = hash
            }
            _ => self.mix(kind),
        }
        self.list = Some((kind, self.at, self.hash));
    }
}

fn is_comma(between: &[u8]) -> bool {
    between.len() <= 8 && between.trim_ascii() == b","
}

fn is_word(byte: u8) -> bool {
    lex::is_word(byte) || byte == b'$'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(text: &str) -> String {
        Shape::of(text.as_bytes(), &mut Vec::new())
            .expect("terminated")
            .text
    }

    #[test]
    fn values_lists_and_rows_shrink_and_are_never_shown() {
        let all = [
            "SELECT * FROM t WHERE a=1 AND b = 'x'",
            "select a.b, f(1, 'x') from a where id in ($1, $2, $3) and c = $4",
            "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y'), (3, 'z')",
            "INSERT INTO t VALUES ($1, $2), ($3, $4)",
            "SELECT 1::int, 'secret'::text -- why",
        ];
        let text = all.map(|text| shown(&shape(text))).join("\n");
        expect_test::expect![[r#"
            SELECT * FROM t WHERE a = ? AND b = ?
            select a.b, f (?, ?) from a where id in (?) and c = ?
            INSERT INTO t (a, b) VALUES (?, ?)
            INSERT INTO t VALUES (?)
            SELECT ?::int, ?::text"#]]
        .assert_eq(&text);
    }

    #[test]
    fn an_example_of_a_shape_can_be_parsed() {
        use crate::parse::{Grammar as _, PostgresGrammar};
        for text in [
            "SELECT a FROM t WHERE b IN (1,2) AND c = 'x' LIMIT 5",
            "INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING id",
            "SELECT interval '1 day', date '2020-01-01', 1.5e3, \"odd name\" FROM s.t",
        ] {
            let example = example(&shape(text));
            assert!(PostgresGrammar.parse(&example).is_ok(), "{example}");
        }
    }

    #[test]
    fn the_quick_way_passes_over_values_and_comments() {
        let same = |a: &str, b: &str| {
            let (a, b) = (quick(a.as_bytes()), quick(b.as_bytes()));
            a.is_some() && a == b
        };
        for (a, b) in [
            (
                "SELECT abalance FROM t WHERE aid = 1;",
                "SELECT abalance FROM t WHERE aid = 123456;",
            ),
            ("SELECT 'a', x", "SELECT 'a longer one, with \" and -- in it', x"),
            ("a IN (1, 2, 3)", "a IN (7)"),
            ("a IN ($1,$2)", "a IN ($1)"),
            (
                "SELECT 1 /*traceparent='00-1'*/",
                "SELECT 2 /*traceparent='00-2', x='y'*/",
            ),
        ] {
            assert!(same(a, b), "{a} | {b}");
        }
        for (a, b) in [
            ("SELECT t1.a FROM t1", "SELECT t2.a FROM t2"),
            ("SELECT 1", "SELECT '1'"),
            ("SELECT \"a1\"", "SELECT \"a2\""),
            ("f(1,'2')", "f(1)"),
            ("SELECT a, b FROM t", "SELECT b, a FROM t"),
        ] {
            assert!(!same(a, b), "{a} | {b}");
        }
        for doubtful in [
            "SELECT E'a\\'b'",
            "SELECT $x$ 1 $x$",
            "/* a /* b */ */ SELECT 1",
            "SELECT 'open",
        ] {
            assert_eq!(quick(doubtful.as_bytes()), None, "{doubtful}");
        }
    }

    #[test]
    fn operations_are_the_first_word() {
        let name = |text: &str| Operation::of(text.as_bytes()).name();
        assert_eq!(
            [
                name("/* x */ (select 1)"),
                name("start transaction"),
                name("end"),
                name("vacuum t"),
                name("")
            ],
            ["SELECT", "BEGIN", "COMMIT", "OTHER", "OTHER"]
        );
    }

    /// Texts of parts that statements are made of, so that equal shapes come up.
    fn text() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "SELECT ", "a", "t1", " ", ",", ", ", "(", ")", "1", "23", "4.5", "'x'", "'it''s'", "$1", "$2",
            "--c\n", "/*c*/", "\"q 1\"", ".", "-", "/", "*", "=", "E'y'", "1e", "_2",
        ]);
        prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn equal_quick_hashes_mean_equal_shapes(texts in prop::collection::vec(text(), 2..6)) {
            let mut known: std::collections::HashMap<u64, (String, String)> = std::collections::HashMap::new();
            for text in texts {
                let (Some(hash), Ok(shape)) = (quick(text.as_bytes()), Shape::of(text.as_bytes(), &mut Vec::new())) else {
                    continue;
                };
                let (before, of) = known.entry(hash).or_insert_with(|| (shape.text.clone(), text.clone()));
                prop_assert_eq!(&*before, &shape.text, "{} | {}", of, text);
            }
        }

        #[test]
        fn any_bytes_are_gone_over(text: Vec<u8>) {
            let _any = quick(&text);
        }
    }
}
