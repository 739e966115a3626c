//! Prepared statements: one per (text, parameter types, what parsing depends on) and worker, under a name of ours.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

use super::scan::Scan;
use super::settings::Settings;
use crate::workload::Query;

/// Names of ours on servers begin with this.
pub(crate) const PREFIX: &[u8] = b"_bn_";

#[derive(Debug)]
pub(crate) struct Statement {
    /// Its name on servers.
    pub(crate) name: Box<str>,
    pub(crate) text: Box<[u8]>,
    /// As in Parse, with their count.
    pub(crate) types: Box<[u8]>,
    /// The settings that decide what the text means.
    meaning: Rc<Settings>,
    era: Era,
    pub(crate) scan: Scan,
    /// See [`asks_for_standby`].
    pub(crate) asks_for_standby: bool,
    /// What it is measured as.
    pub(crate) query: Cell<Query>,
}

const APART: &str = "banyan.apart";

impl Statement {
    /// Of one client, see [`meaning_apart`].
    pub(crate) fn is_apart(&self) -> bool {
        self.meaning.get(APART).is_some()
    }

    pub(crate) fn meaning(&self) -> &Settings {
        &self.meaning
    }
}

/// Of which definitions a statement is: as often as they have changed before it was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Era {
    /// By what clients of any worker did.
    told: u64,
    /// By what others did, seen by this worker: a server refused a plan.
    found: u64,
}

/// What a text's meaning depends on, of all settings.
const DECIDES: [&str; 7] = [
    "search_path",
    "role",
    "session_authorization",
    "standard_conforming_strings",
    "backslash_quote",
    "transform_null_equals",
    "client_encoding",
];

pub(crate) fn decides(name: &str) -> bool {
    DECIDES.contains(&name)
}

/// The same statement under another `search_path` is another one.
pub(crate) fn meaning(settings: &Settings) -> Settings {
    let mut found = Settings::default();
    for name in DECIDES {
        if let Some(value) = settings.get(name) {
            found.set(name, value);
        }
    }
    found
}

/// `current_setting('transaction_read_only')`, which the primary is to answer: a client of the proxy can always write.
pub(crate) fn asks_for_standby(text: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"transaction_read_only", b"in_hot_standby"];
    names
        .iter()
        .any(|name| memchr::memmem::find(text, name).is_some())
}

/// Of a text that may mean what it means nowhere else: `number` is nobody else's.
pub(crate) fn meaning_apart(meaning: &Settings, number: u64) -> Settings {
    let mut meaning = meaning.clone();
    meaning.set(APART, &number.to_string());
    meaning
}

/// All statements of a worker.
#[derive(Default)]
pub(crate) struct Statements {
    /// By a hash of all that makes one: nothing is allocated to find one that is known.
    known: HashMap<u64, Vec<Rc<Statement>>>,
    hasher: RandomState,
    count: usize,
    next: u64,
    /// How often a server has refused a plan.
    found: u64,
    sweep_at: usize,
}

impl Statements {
    /// `definitions`: how often clients have changed them. A text that is prepared after a change is another statement: servers refuse
    /// the one that they hold once its rows look different ("cached plan must not change result type"), and give it the types of its
    /// parameters as they were. Who has it keeps it.
    pub(crate) fn intern(
        &mut self,
        text: &[u8],
        types: &[u8],
        meaning: &Rc<Settings>,
        definitions: u64,
    ) -> Rc<Statement> {
        let era = Era {
            told: definitions,
            found: self.found,
        };
        let hash = self.hasher.hash_one((text, types, &**meaning));
        let same = |known: &&Rc<Statement>| {
            *known.text == *text && *known.types == *types && known.meaning == *meaning && known.era == era
        };
        if let Some(known) = self.known.get(&hash).and_then(|known| known.iter().find(same)) {
            return Rc::clone(known);
        }
        if self.count >= self.sweep_at {
            self.sweep();
        }
        self.next += 1;
        self.count += 1;
        let statement = Rc::new(Statement {
            name: format!("_bn_{}", self.next).into(),
            text: text.into(),
            types: types.into(),
            meaning: Rc::clone(meaning),
            era,
            scan: Scan::of(text),
            asks_for_standby: asks_for_standby(text),
            query: Cell::default(),
        });
        self.known.entry(hash).or_default().push(Rc::clone(&statement));
        statement
    }

    /// Somebody who is no client of ours has changed definitions: a server refused a plan.
    pub(crate) fn plan_refused(&mut self) {
        self.found += 1;
    }

    fn sweep(&mut self) {
        self.known.retain(|_, statements| {
            statements.retain(|statement| Rc::strong_count(statement) > 1);
            !statements.is_empty()
        });
        self.count = self.known.values().map(Vec::len).sum();
        self.sweep_at = (self.count * 2).max(1024);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Statement>> {
        self.known.values().flatten()
    }
}

/// The named statements of one client; no allocation while there is none.
#[derive(Default)]
pub(crate) struct Prepared(HashMap<Box<[u8]>, Rc<Statement>>);

impl Prepared {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        self.0.get(name)
    }

    /// The client's name of the statement that servers know as `ours`.
    pub(crate) fn client_name(&self, ours: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|(_, s)| s.name.as_bytes() == ours);
        found.map(|(name, _)| &**name)
    }

    pub(crate) fn insert(&mut self, name: Box<[u8]>, statement: Rc<Statement>) {
        self.0.insert(name, statement);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Statement)> {
        self.0.iter().map(|(name, statement)| (&**name, &**statement))
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        let removed = self.0.remove(name);
        if self.0.is_empty() {
            self.0 = HashMap::new();
        }
        removed
    }

    pub(crate) fn clear(&mut self) {
        self.0 = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_under_another_search_path_or_after_a_change_is_another_statement() {
        let mut statements = Statements::default();
        let mut settings = Settings::default();
        let plain = Rc::new(meaning(&settings));
        settings.set("work_mem", "1MB");
        let same = Rc::new(meaning(&settings));
        settings.set("search_path", "other");
        let other = Rc::new(meaning(&settings));
        let first = statements.intern(b"SELECT 1", &[0, 0], &plain, 0);
        assert!(Rc::ptr_eq(
            &first,
            &statements.intern(b"SELECT 1", &[0, 0], &same, 0)
        ));
        assert_ne!(
            first.name,
            statements.intern(b"SELECT 1", &[0, 0], &other, 0).name
        );
        assert_ne!(
            first.name,
            statements
                .intern(b"SELECT 1", &[0, 1, 0, 0, 0, 23], &plain, 0)
                .name
        );
        assert_ne!(
            first.name,
            statements.intern(b"SELECT 1", &[0, 0], &plain, 1).name
        );
        statements.plan_refused();
        assert_ne!(
            first.name,
            statements.intern(b"SELECT 1", &[0, 0], &plain, 0).name
        );
    }
}
