//! The client's own record of its writes, and the verdict against what the database holds in the end.
//!
//! Each write carries an id that is sent in one request only. *Unknown* (the connection broke, a 502, a timeout) is a class of its own: such a
//! write may be present or absent, and counting it as failed or as done would make the checker lie in one direction.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server said that it is done.
    Acknowledged,
    /// The server said that it is not done, or nothing was sent.
    Refused,
    /// No answer, or one that does not tell.
    Unknown,
}

/// Every write, by its id. A write that was begun and never settled counts as unknown.
///
/// The lock is held for one map operation, never across an await.
#[derive(Debug, Default)]
pub struct Ledger {
    writes: Mutex<BTreeMap<String, Outcome>>,
}

impl Ledger {
    /// To be called before the first byte is sent.
    ///
    /// # Panics
    /// When the id was used before: then "twice" could not be judged.
    pub fn begin(&self, id: &str) {
        let before = self.writes().insert(id.to_owned(), Outcome::Unknown);
        assert!(before.is_none(), "write id {id} was used twice by the client");
    }

    /// # Panics
    /// When the write was never begun.
    pub fn settle(&self, id: &str, outcome: Outcome) {
        let mut writes = self.writes();
        let write = writes.get_mut(id).expect("only a begun write can be settled");
        *write = outcome;
    }

    /// `found`: one entry per row of the database; an id that stands in two rows comes twice.
    pub fn judge(&self, found: impl IntoIterator<Item = String>) -> Verdict {
        let mut rows: BTreeMap<String, usize> = BTreeMap::new();
        for id in found {
            *rows.entry(id).or_default() += 1;
        }
        let mut verdict = Verdict::default();
        for (id, outcome) in self.writes().iter() {
            verdict.count(id, *outcome, rows.remove(id).unwrap_or(0));
        }
        verdict.phantom.extend(rows.into_keys());
        verdict
    }

    fn writes(&self) -> MutexGuard<'_, BTreeMap<String, Outcome>> {
        self.writes.lock().expect("no holder of this lock panics")
    }
}

/// What became of the writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown_present: usize,
    pub unknown_absent: usize,
    /// Acknowledged, not in the database.
    pub lost: Vec<String>,
    /// In the database, though refused or never sent.
    pub phantom: Vec<String>,
    /// In the database more than once.
    pub twice: Vec<String>,
}

impl Verdict {
    /// Nothing lost, no phantom, nothing twice.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.phantom.is_empty() && self.twice.is_empty()
    }

    fn count(&mut self, id: &str, outcome: Outcome, rows: usize) {
        match outcome {
            Outcome::Acknowledged => self.acknowledged += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Unknown if rows == 0 => self.unknown_absent += 1,
            Outcome::Unknown => self.unknown_present += 1,
        }
        match (outcome, rows) {
            (Outcome::Acknowledged, 0) => self.lost.push(id.to_owned()),
            (Outcome::Refused, 1..) => self.phantom.push(id.to_owned()),
            _ => {}
        }
        if rows > 1 {
            self.twice.push(id.to_owned());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} refused, {} unknown ({} present, {} absent); lost {}, twice {}, phantom {}",
            self.acknowledged,
            self.refused,
            self.unknown_present + self.unknown_absent,
            self.unknown_present,
            self.unknown_absent,
            self.lost.len(),
            self.twice.len(),
            self.phantom.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(writes: &[(&str, Option<Outcome>)]) -> Ledger {
        let ledger = Ledger::default();
        for (id, outcome) in writes {
            ledger.begin(id);
            if let Some(outcome) = outcome {
                ledger.settle(id, *outcome);
            }
        }
        ledger
    }

    fn judge(writes: &[(&str, Option<Outcome>)], found: &[&str]) -> Verdict {
        ledger(writes).judge(found.iter().map(|id| (*id).to_owned()))
    }

    #[test]
    fn what_was_acknowledged_and_is_there_once_is_clean() {
        let verdict = judge(
            &[("a", Some(Outcome::Acknowledged)), ("b", Some(Outcome::Refused))],
            &["a"],
        );
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!((verdict.acknowledged, verdict.refused), (1, 1));
    }

    #[test]
    fn a_planted_loss_is_found() {
        let verdict = judge(&[("a", Some(Outcome::Acknowledged))], &[]);
        assert_eq!(verdict.lost, ["a"]);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn a_planted_double_is_found_whatever_its_outcome() {
        for outcome in [Some(Outcome::Acknowledged), None] {
            let verdict = judge(&[("a", outcome)], &["a", "a"]);
            assert_eq!(verdict.twice, ["a"]);
            assert!(!verdict.is_clean());
        }
    }

    #[test]
    fn rows_that_were_refused_or_never_sent_are_phantoms() {
        let verdict = judge(&[("a", Some(Outcome::Refused))], &["a", "stranger"]);
        assert_eq!(verdict.phantom, ["a", "stranger"]);
        assert!(!verdict.is_clean());
    }

    #[test]
    fn an_unknown_write_may_be_present_or_absent() {
        let verdict = judge(&[("a", Some(Outcome::Unknown)), ("b", None)], &["a"]);
        assert!(verdict.is_clean(), "{verdict}");
        assert_eq!((verdict.unknown_present, verdict.unknown_absent), (1, 1));
    }

    #[test]
    #[should_panic(expected = "used twice by the client")]
    fn an_id_may_be_sent_only_once() {
        ledger(&[("a", None), ("a", None)]);
    }
}
