//! What statements may leave in their session without showing it: by functions, triggers, defaults, views and whatever else they reach.
//!
//! A statement that reaches code names it, or a relation that it hangs on; so words are enough, whatever a statement's grammar. Most
//! databases have no code that changes a session, and then nothing is looked for.

use std::collections::HashMap;

use super::body::Body;
use super::reach::{Graph, reached};
use super::{Catalog, Relation};
use crate::parse::lex::{self, TokenKind};
use crate::session::marks::Marks;
use crate::session::scan::Scan;

/// PostgreSQL cuts longer names.
const NAME: usize = 63;
/// What event triggers fire at.
const DEFINES: [&str; 10] = [
    "create", "alter", "drop", "grant", "revoke", "comment", "refresh", "import", "reindex", "into",
];

/// Without one of these no trigger fires.
const WRITES: [&[u8]; 7] = [
    b"insert",
    b"update",
    b"delete",
    b"merge",
    b"truncate",
    b"copy",
    b"execute",
];

/// Of one generation of definitions.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    /// By functions, views and the policies of tables.
    read: Words,
    /// By triggers, defaults and checks of tables.
    written: Words,
    /// What any statement may leave: by operators, casts, types.
    everywhere: Scan,
    /// All of it together; what would keep a backend only makes sure that it is asked.
    anything: Scan,
}

/// By a name in lower case, or its first word if it has several.
#[derive(Debug, Default)]
struct Words {
    left: HashMap<Box<[u8]>, Scan>,
    /// By a word's first byte: which lengths there are.
    lengths: Vec<u64>,
}

impl Leaves {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let graph = Graph::of(catalog);
        let mut leaves = Self::default();
        if graph.is_empty() {
            return leaves;
        }
        let found = graph.closed();
        let (functions, relations) = found.split_at(catalog.functions.len());
        for (function, left) in catalog.functions.iter().zip(functions) {
            leaves.name(&function.row.name, left);
        }
        for (relation, left) in catalog.relations.iter().zip(relations) {
            leaves.relation(catalog, relation, left, &found);
        }
        leaves.implied(catalog, &found);
        for oid in &catalog.event_triggers {
            if let Some(at) = catalog.function_of.get(oid) {
                DEFINES.iter().for_each(|word| leaves.name(word, &functions[*at]));
            }
        }
        leaves
    }

    fn name(&mut self, name: &str, left: &Scan) {
        self.seen(left);
        if !self.read.add(name, left) {
            self.everywhere.absorb(left);
        }
    }

    /// That a write may advance a sequence shows in its verb.
    fn relation(&mut self, catalog: &Catalog, relation: &Relation, left: &Scan, found: &[Scan]) {
        if left.marks.without(Marks::SEQUENCE_WRITE).is_none() {
            return;
        }
        if relation.row.view.is_some() {
            return self.name(&relation.row.name, left);
        }
        let mut read = Scan::default();
        for policy in relation.expressions.iter().filter(|expression| expression.policy) {
            for node in reached(catalog, &Body::of(&policy.text)) {
                read.absorb(&found[node]);
            }
        }
        self.name(&relation.row.name, &read);
        self.seen(left);
        if !self.written.add(&relation.row.name, left) {
            self.everywhere.absorb(left);
        }
    }

    /// By operators, casts, types and domains.
    fn implied(&mut self, catalog: &Catalog, found: &[Scan]) {
        let operators = catalog
            .operators
            .values()
            .flatten()
            .map(|operator| operator.function);
        let oids = catalog.implied.functions.iter().copied().chain(operators);
        let functions = oids.filter_map(|oid| catalog.function_of.get(&oid).copied());
        let domains = catalog.implied.expressions.iter();
        let checks = domains.flat_map(|domain| reached(catalog, &Body::of(&domain.text)));
        for node in functions.chain(checks) {
            self.everywhere.absorb(&found[node]);
        }
        let everywhere = self.everywhere.clone();
        self.seen(&everywhere);
    }

    fn seen(&mut self, left: &Scan) {
        self.anything.absorb(&perhaps(left));
    }

    /// Nothing is hidden in this database.
    pub(crate) fn is_empty(&self) -> bool {
        is_nothing(&self.anything)
    }

    /// What a statement may leave that is not known.
    pub(crate) fn anything(&self) -> &Scan {
        &self.anything
    }

    /// What a statement with this text may leave; nothing has no marks.
    pub(crate) fn left_by(&self, text: &[u8]) -> Scan {
        let mut left = Scan::default();
        if self.is_empty() {
            return left;
        }
        left.absorb(&self.everywhere);
        if memchr::memmem::find(text, b"&\"").is_some() {
            // A name that is spelled by numbers.
            left.absorb(&self.anything);
        }
        let any = |word| self.read.get(word).is_some() || self.written.get(word).is_some() || is_blind(word);
        if words(text).any(any) {
            self.look_closer(text, &mut left);
        }
        left
    }

    /// Texts within DO and definitions are code; elsewhere they are values.
    fn look_closer(&self, text: &[u8], left: &mut Scan) {
        let writes = words(text).any(|word| WRITES.iter().any(|verb| word.eq_ignore_ascii_case(verb)));
        let first = lex::first_word(text).to_ascii_lowercase();
        if matches!(&*first, b"do" | b"create" | b"alter") {
            return self.absorb(text, writes, left);
        }
        for token in lex::tokens(text) {
            let Ok(token) = token else {
                left.absorb(&self.anything);
                return;
            };
            if matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) {
                self.absorb(&text[token.start..token.end], writes, left);
            }
        }
    }

    fn absorb(&self, text: &[u8], writes: bool, left: &mut Scan) {
        for word in words(text) {
            let blind = is_blind(word).then_some(&self.anything);
            let written = self.written.get(word).filter(|_| writes);
            for found in [blind, written, self.read.get(word)].into_iter().flatten() {
                left.absorb(found);
            }
        }
    }
}

/// What was prepared earlier, or a name that the server will cut.
fn is_blind(word: &[u8]) -> bool {
    word.len() > NAME || word.eq_ignore_ascii_case(b"execute")
}

impl Words {
    /// Whether it could be added.
    fn add(&mut self, name: &str, left: &Scan) -> bool {
        if is_nothing(left) {
            return true;
        }
        let lower = name.to_ascii_lowercase();
        let Some(word) = words(lower.as_bytes()).next() else {
            return false;
        };
        self.lengths.resize(256, 0);
        self.lengths[usize::from(word[0])] |= 1 << (word.len() & 63);
        self.left.entry(word.into()).or_default().absorb(left);
        true
    }

    fn get(&self, word: &[u8]) -> Option<&Scan> {
        let lengths = self.lengths.get(usize::from(word[0].to_ascii_lowercase()))?;
        if lengths >> (word.len() & 63) & 1 == 0 {
            return None;
        }
        self.left.get(&*word.to_ascii_lowercase())
    }
}

/// What may be reached, or not: it is asked for, and keeps no backend for itself.
pub(super) fn perhaps(left: &Scan) -> Scan {
    let mut left = left.clone();
    if left.marks.has(Marks::UNKNOWN) {
        left.marks = left.marks.without(Marks::UNKNOWN).with(Marks::HIDDEN);
        left.ties = left.ties.without(Marks::UNKNOWN);
    }
    left
}

pub(super) fn is_nothing(left: &Scan) -> bool {
    left.marks.is_none()
}

/// Runs of what names are made of without quotes.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || *byte >= 128))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::rows::{
        ExpressionRow, FunctionKind, FunctionRow, Links, RelationKind, RelationRow, Rows, Volatility,
    };
    use crate::parse::PostgresGrammar;

    fn function(oid: u32, name: &str, language: &str, body: &str) -> FunctionRow {
        FunctionRow {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: FunctionKind::Function,
            volatility: Volatility::Volatile,
            language: language.into(),
            body: body.into(),
            library: "".into(),
            parts: Vec::new(),
            takes_row: false,
        }
    }

    fn relation(oid: u32, name: &str, view: Option<&str>) -> RelationRow {
        RelationRow {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: if view.is_some() {
                RelationKind::View
            } else {
                RelationKind::Table
            },
            unlogged: false,
            guarded: false,
            rewritten: false,
            view: view.map(Into::into),
        }
    }

    fn leaves() -> Leaves {
        let rows = Rows {
            functions: vec![
                function(
                    20_001,
                    "set_tenant",
                    "plpgsql",
                    "BEGIN PERFORM set_config('my.tenant', x, false); END",
                ),
                function(20_002, "login", "sql", "SELECT set_tenant('a')"),
                function(
                    20_003,
                    "stamp",
                    "plpgsql",
                    "BEGIN PERFORM login(); RETURN NEW; END",
                ),
                function(20_004, "plus", "sql", "SELECT $1 + $2"),
                function(20_005, "Odd one", "plpgsql", "BEGIN EXECUTE q; END"),
                function(
                    20_006,
                    "adds",
                    "plpgsql",
                    "BEGIN INSERT INTO plain VALUES (1); END",
                ),
                function(20_007, "native", "c", ""),
            ],
            relations: vec![
                relation(21_001, "stamped", None),
                relation(21_002, "plain", None),
                relation(21_003, "shown", Some("SELECT login() AS who")),
                relation(21_004, "defaulted", None),
            ],
            expressions: vec![ExpressionRow {
                relation: 21_004,
                policy: false,
                text: "login()".into(),
            }],
            links: Links {
                triggers: vec![(21_001, 20_003)],
                ..Links::default()
            },
            ..Rows::default()
        };
        Leaves::of(&Catalog::build(1, rows, &PostgresGrammar))
    }

    fn left(leaves: &Leaves, text: &str) -> (Vec<String>, Marks) {
        let left = leaves.left_by(text.as_bytes());
        let names = left.touched.iter().map(|one| one.name.to_string());
        (names.collect(), left.marks)
    }

    #[test]
    fn a_statement_leaves_what_the_code_leaves_that_it_reaches() {
        let leaves = leaves();
        for text in [
            "SELECT set_tenant('a')",
            "select Public.LOGIN()",
            "INSERT INTO \"stamped\" VALUES (1)",
            "WITH x AS (UPDATE stamped SET a = 1 RETURNING *) SELECT * FROM x",
            "SELECT who FROM shown",
            "INSERT INTO defaulted DEFAULT VALUES",
            "DO $$ BEGIN PERFORM login(); END $$",
            "EXECUTE something",
            "SELECT U&\"log\\0069n\"()",
        ] {
            assert_eq!(left(&leaves, text).0, ["my.tenant"], "{text}");
        }
    }

    #[test]
    fn values_comments_and_reads_of_tables_leave_nothing() {
        let leaves = leaves();
        for text in [
            "SELECT 1",
            "SELECT 'login', a /* set_tenant */ FROM plain",
            "SELECT plus(a, b) FROM stamped",
            "INSERT INTO plain VALUES ('stamped')",
            "SELECT * FROM defaulted",
        ] {
            assert!(left(&leaves, text).1.is_none(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_looked_into_is_asked_for() {
        let leaves = leaves();
        assert!(left(&leaves, "SELECT native()").1.has(Marks::HIDDEN));
        let (names, marks) = left(&leaves, "SELECT \"Odd one\"()");
        assert!(
            marks.has(Marks::HIDDEN),
            "of SQL that is put together nothing is known"
        );
        assert_eq!(names, ["my.tenant"], "and it may call whatever there is");
        assert_eq!(left(&leaves, "SELECT adds()").1, Marks::SEQUENCE_WRITE);
    }

    #[test]
    fn a_database_without_such_code_is_not_looked_into() {
        let rows = Rows {
            functions: vec![function(20_004, "plus", "sql", "SELECT $1 + $2")],
            relations: vec![relation(21_002, "plain", None)],
            ..Rows::default()
        };
        assert!(Leaves::of(&Catalog::build(1, rows, &PostgresGrammar)).is_empty());
    }
}
