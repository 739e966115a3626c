//! What the text of a function in SQL or PL/pgSQL can do at most.
//!
//! No grammar: static SQL must name its tables, functions and verbs as words, so the words are enough for an upper bound. What is
//! not static (EXECUTE and the like) makes the body unbounded.

use crate::parse::lex::{TokenKind, tokens};

/// An upper bound of a body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Body {
    /// Every name in it, folded as PostgreSQL does. Columns, variables and keywords are among them.
    pub names: Vec<Box<str>>,
    /// Names followed by `(`.
    pub calls: Vec<Box<str>>,
    /// Names behind a dot.
    pub attributes: Vec<Box<str>>,
    pub operators: Vec<Box<str>>,
    /// It has a verb that changes rows.
    pub writes: bool,
    /// It has a verb that is no read: settings, locks, notifications, transactions.
    pub acts: bool,
    /// Dynamic SQL or definitions: nothing is bounded.
    pub unbounded: bool,
}

const WRITES: [&str; 6] = ["insert", "update", "delete", "merge", "truncate", "copy"];
const UNBOUNDED: [&str; 12] = [
    "execute", "create", "drop", "alter", "grant", "revoke", "call", "do", "refresh", "reindex", "cluster",
    "import",
];
const ACTS: [&str; 12] = [
    "set", "reset", "lock", "notify", "listen", "unlisten", "share", "commit", "rollback", "load", "discard",
    "vacuum",
];

impl Body {
    pub fn of(text: &str) -> Self {
        let mut body = Self::default();
        let mut last: Option<Box<str>> = None;
        let mut after_dot = false;
        for token in tokens(text.as_bytes()) {
            let Ok(token) = token else {
                body.unbounded = true;
                return body;
            };
            let spelled = &text[token.start..token.end];
            match token.kind {
                TokenKind::Comment => continue,
                TokenKind::Word | TokenKind::QuotedName => {
                    let name = body.word(spelled, token.kind);
                    if after_dot {
                        remember(&mut body.attributes, &name);
                    }
                    last = Some(name);
                    after_dot = false;
                    continue;
                }
                TokenKind::Operator => remember(&mut body.operators, spelled),
                TokenKind::Punctuation if spelled == "(" => {
                    if let Some(name) = &last {
                        remember(&mut body.calls, name);
                    }
                }
                _ => {}
            }
            after_dot = spelled == ".";
            last = None;
        }
        body
    }

    fn word(&mut self, spelled: &str, kind: TokenKind) -> Box<str> {
        if kind == TokenKind::QuotedName {
            // Escapes could spell anything.
            self.unbounded |= spelled.starts_with(['u', 'U']);
            let name: Box<str> = spelled.trim_matches('"').replace("\"\"", "\"").into();
            remember(&mut self.names, &name);
            return name;
        }
        let name: Box<str> = spelled.to_lowercase().into();
        self.writes |= WRITES.contains(&&*name);
        self.unbounded |= UNBOUNDED.contains(&&*name);
        self.acts |= ACTS.contains(&&*name);
        remember(&mut self.names, &name);
        name
    }
}

fn remember(names: &mut Vec<Box<str>>, name: &str) {
    if !names.iter().any(|known| &**known == name) {
        names.push(name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touching_trigger_writes_nothing_else() {
        let body = Body::of("BEGIN NEW.updated_at = now(); RETURN NEW; END");
        assert!(!body.writes && !body.unbounded && !body.acts);
        assert_eq!(body.calls, [Box::from("now")]);
    }

    #[test]
    fn verbs_in_text_and_comments_do_not_count() {
        let body = Body::of("BEGIN -- insert\n RAISE NOTICE 'update %', TG_OP; /* execute */ RETURN 1; END");
        assert!(!body.writes && !body.unbounded);
    }

    #[test]
    fn an_audit_trigger_names_its_table() {
        let body = Body::of("BEGIN INSERT INTO \"Audit\".Log VALUES (OLD.*); RETURN NULL; END");
        assert!(body.writes && !body.unbounded);
        for name in ["Audit", "log"] {
            assert!(body.names.iter().any(|known| &**known == name), "{name}");
        }
    }

    #[test]
    fn dynamic_sql_is_unbounded() {
        for text in [
            "BEGIN EXECUTE 'x'; END",
            "BEGIN OPEN c FOR EXECUTE q; END",
            "U&\"\\0061\"",
            "BEGIN CREATE TABLE x(); END",
            "'open",
        ] {
            assert!(Body::of(text).unbounded, "{text}");
        }
    }
}
