//! How far the log of purges is known and in force here. An edge that asks another says how far it knows, and one that is
//! behind uses nothing that it has: what it answered would outlive the purge at the edge that asked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::HeaderValue;

#[derive(Default)]
pub(crate) struct Followed(Mutex<State>);

#[derive(Default)]
struct State {
    log: String,
    /// Up to here purges may be in force.
    known: u64,
    /// Up to here they are.
    applied: u64,
}

impl Followed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before any of it is applied.
    pub(crate) fn know(&self, log: &str, seq: u64) {
        let mut state = self.state();
        if state.log != log {
            (state.log, state.applied) = (log.to_owned(), 0);
        }
        state.known = seq;
    }

    /// All that is known.
    pub(crate) fn applied(&self) {
        let mut state = self.state();
        state.applied = state.known;
    }

    /// For another edge; `None`: nothing was purged yet.
    pub(super) fn word(&self) -> Option<HeaderValue> {
        let state = self.state();
        let text = (state.known > 0).then(|| format!("{} {}", state.log, state.known));
        HeaderValue::try_from(text?).ok()
    }

    /// Who says this knows of purges that are not in force here.
    pub(super) fn is_behind(&self, word: &str) -> bool {
        let state = self.state();
        let Some((log, Ok(seq))) = word.rsplit_once(' ').map(|(log, seq)| (log, seq.parse::<u64>())) else {
            return true;
        };
        log != state.log || seq > state.applied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_behind_until_all_that_the_other_may_hold_to_is_in_force() {
        let (asks, answers) = (Followed::default(), Followed::default());
        assert_eq!(asks.word(), None);
        asks.know("a", 3);
        let word = asks.word().unwrap();
        let is_behind = || answers.is_behind(word.to_str().unwrap());
        assert!(is_behind());
        answers.know("a", 3);
        assert!(is_behind(), "it is known, not in force");
        answers.applied();
        assert!(!is_behind());
        answers.know("b", 9);
        answers.applied();
        assert!(is_behind(), "another log");
        assert!(answers.is_behind("what?"));
    }
}
