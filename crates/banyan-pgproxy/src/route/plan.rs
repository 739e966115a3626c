//! What is known of a text's statements before the moment they run.

use super::Why;
use crate::catalog::{Catalog, Effect, Tables};
use crate::parse::{Doubt, Hint, StatementFacts, StatementKind, lex};

/// Of one text: all its statements together.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tables of a proven read, or why it is none.
    pub read: Result<Tables, Why>,
    pub effect: Effect,
    pub control: Control,
    pub hint: Option<Hint>,
    /// One statement about rows, which may as well run in a transaction of its own.
    pub alone: bool,
    /// Definitions' generation that this was made from; 0: from none.
    pub generation: u64,
}

/// What the text does to the transaction it runs in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    None,
    /// Exactly one BEGIN or START TRANSACTION.
    Begin,
    /// Exactly one COMMIT or END, not AND CHAIN.
    Commit,
    /// Exactly one ROLLBACK or ABORT, not AND CHAIN.
    Rollback,
    /// Several, or some among other statements: it may commit.
    Mixed,
}

impl Plan {
    pub(super) fn of(statements: &[StatementFacts], catalog: Option<&Catalog>, hint: Option<Hint>) -> Self {
        let mut plan = Self {
            read: Ok(Tables::none()),
            effect: Effect::none(),
            control: control(statements),
            hint,
            alone: matches!(statements, [only] if is_about_rows(&only.kind)),
            generation: catalog.map_or(0, Catalog::generation),
        };
        for facts in statements {
            plan.effect = plan.effect.union(&effect(facts, catalog));
            let read = match catalog {
                _ if is_control(&facts.kind) => Err(Why::Control),
                Some(catalog) => catalog.proven_read(facts).map_err(Why::NotProven),
                None => Err(Why::NoCatalog),
            };
            plan.read = match (plan.read, read) {
                (Ok(known), Ok(more)) => Ok(known.union(&more)),
                (Err(why), _) | (Ok(_), Err(why)) => Err(why),
            };
        }
        if statements.is_empty() {
            plan.read = Err(Why::Control);
        }
        plan
    }

    /// Of a text that was not parsed.
    pub(super) fn doubtful(text: &[u8], doubt: Doubt, generation: u64) -> Self {
        Self {
            read: Err(Why::NotProven(crate::catalog::Reason::Doubt(doubt))),
            effect: if changes_rows_at_most(text) {
                Effect::rows()
            } else {
                Effect::everything()
            },
            control: Control::Mixed,
            hint: None,
            alone: false,
            generation,
        }
    }
}

/// Without a catalog (or with one that is out of date), anything that runs may have triggers that are not known.
fn effect(facts: &StatementFacts, catalog: Option<&Catalog>) -> Effect {
    match catalog {
        Some(catalog) => catalog.effect(facts),
        None => Catalog::effect_of_kind(&facts.kind).unwrap_or_else(Effect::rows),
    }
}

/// One statement that begins with a word of row changes or reading.
fn changes_rows_at_most(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 9] = [
        b"select", b"insert", b"update", b"delete", b"merge", b"with", b"values", b"table", b"copy",
    ];
    let first = lex::first_word(text);
    if !WORDS.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return false;
    }
    let mut after_end = false;
    for token in lex::tokens(text) {
        match token {
            Ok(token) if token.kind == lex::TokenKind::Comment => {}
            Ok(_) if after_end => return false,
            Ok(token) => after_end = &text[token.start..token.end] == b";",
            Err(_) => return false,
        }
    }
    true
}

fn is_about_rows(kind: &StatementKind) -> bool {
    use StatementKind as Kind;
    matches!(
        kind,
        Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge
    )
}

fn is_control(kind: &StatementKind) -> bool {
    use StatementKind as Kind;
    matches!(
        kind,
        Kind::Begin(_)
            | Kind::Commit { .. }
            | Kind::Rollback { .. }
            | Kind::Savepoint(_)
            | Kind::Release(_)
            | Kind::RollbackTo(_)
            | Kind::PrepareTransaction
            | Kind::FinishPrepared
    )
}

fn control(statements: &[StatementFacts]) -> Control {
    match statements {
        [only] => match only.kind {
            StatementKind::Begin(_) => Control::Begin,
            StatementKind::Commit { chain: false } => Control::Commit,
            StatementKind::Rollback { chain: false } => Control::Rollback,
            StatementKind::Call | StatementKind::Do | StatementKind::PrepareTransaction => Control::Mixed,
            StatementKind::Commit { .. } | StatementKind::Rollback { .. } => Control::Mixed,
            _ => Control::None,
        },
        _ if statements.iter().any(|facts| is_control(&facts.kind)) => Control::Mixed,
        _ => Control::None,
    }
}
