//! What a client has sent that is not acknowledged: as much of it as is needed to say what became of it, or to run it again.

use std::rc::Rc;

use super::client::{Blocked, Client};
use crate::backend::expected::{Expected, Kind, Ours};
use crate::parse::lex;
use crate::route::{Control, Plan};
use crate::session::prepared::Statement;
use crate::session::settings::Parameters;
use crate::wire::frame::Head;

/// Longer units are not kept, and so not run again.
const KEPT: usize = 64 * 1024;

/// The unit under way.
#[derive(Default)]
pub(super) struct Flight {
    /// Its end has not been read.
    pub(super) open: bool,
    /// Its bytes, as far as they have been read; with `cut` not all of them.
    pub(super) sent: Vec<u8>,
    pub(super) cut: bool,
    /// Bytes for the client that were there before.
    pub(super) mark: usize,
    /// Some of its answer has gone to the client.
    pub(super) forwarded: bool,
    /// An earlier one was not answered when it began.
    pub(super) several: bool,
    /// One of those may have changed something.
    pub(super) doubtful: bool,
    /// It began in a transaction.
    pub(super) within: bool,
    /// All that it runs is known to change nothing.
    pub(super) harmless: bool,
    /// It may have committed something.
    pub(super) commits: bool,
    unnamed: Option<Rc<Statement>>,
    parameters: Option<Rc<Parameters>>,
    /// Names that it prepares and that the client did not have.
    pub(super) defined: Vec<Box<[u8]>>,
}

impl Flight {
    /// It runs a statement of this plan. `commits`: the transaction may end with it.
    pub(super) fn runs(&mut self, plan: &Plan, commits: bool) {
        let harmless = plan.read.is_ok() || plan.control == Control::Begin;
        self.harmless &= harmless;
        self.commits |= commits && !harmless;
    }

    /// So many bytes have gone to the client; those of earlier units go first.
    pub(super) fn goes_out(&mut self, bytes: usize) {
        self.forwarded |= bytes > self.mark;
        self.mark = self.mark.saturating_sub(bytes);
    }

    /// Nobody knows what the statement is.
    pub(super) fn runs_unknown(&mut self) {
        self.harmless = false;
        self.commits = true;
    }

    /// Without replicas no plans are made: only what cannot end the transaction is told from the rest.
    pub(super) fn runs_blindly(&mut self, text: &[u8]) {
        const ENDS: [&[u8]; 6] = [b"commit", b"end", b"prepare", b"call", b"do", b"rollback"];
        let word = lex::first_word(text);
        let alone = memchr::memchr(b';', text).is_none();
        let stays = alone && !ENDS.iter().any(|ends| word.eq_ignore_ascii_case(ends));
        let begins = alone
            && [&b"begin"[..], b"start", b"show"]
                .iter()
                .any(|w| word.eq_ignore_ascii_case(w));
        self.harmless &= begins;
        self.commits |= !(begins || self.within && stays);
    }
}

impl Client {
    /// A message of a unit comes next, perhaps the first.
    pub(super) fn unit_begins(&mut self) {
        let Some(lease) = &self.lease else { return };
        let flight = &mut self.flight;
        if flight.open {
            return;
        }
        let sent = std::mem::take(&mut flight.sent);
        let several = lease.expected.iter().any(|one| !one.hidden);
        *flight = Flight {
            open: true,
            sent,
            mark: self.outbox.len(),
            several,
            doubtful: several && (flight.doubtful || flight.commits || !flight.harmless),
            within: lease.status != b'I',
            harmless: true,
            unnamed: self.session.unnamed.clone(),
            parameters: Some(Rc::clone(&self.session.parameters)),
            ..Flight::default()
        };
        flight.sent.clear();
    }

    /// The server has yet to say what the last unit has left in its session; the next one begins when it has, and on the
    /// backend that this leads to.
    pub(super) fn is_asked_what_it_is(&self) -> bool {
        let last = self.lease.as_ref().and_then(|lease| lease.expected.back());
        let asked = |one: &Expected| matches!(one.kind, Kind::Ours(Ours::Truth { .. }));
        !self.flight.open && last.is_some_and(asked)
    }

    /// These bytes of the unit have been dealt with.
    pub(super) fn unit_sent(&mut self, bytes: &[u8]) {
        let flight = &mut self.flight;
        if flight.sent.len() + bytes.len() > KEPT {
            flight.cut = true;
        } else {
            flight.sent.extend_from_slice(bytes);
        }
    }

    pub(super) fn unit_ends(&mut self, head: Head) {
        if matches!(head.tag, b'Q' | b'S' | b'F') {
            self.flight.open = false;
        }
    }

    /// The session as it was before the unit, which is to run again; its bytes.
    pub(super) fn unit_again(&mut self) -> Vec<u8> {
        let flight = std::mem::take(&mut self.flight);
        self.session.unnamed = flight.unnamed;
        if let Some(parameters) = flight.parameters {
            self.session.parameters = parameters;
        }
        for name in &flight.defined {
            self.session.prepared.remove(name);
        }
        flight.sent
    }

    /// Is it to run between a BEGIN and a COMMIT of ours?
    pub(super) fn is_to_be_guarded(&self, plan: &Plan, open: bool) -> bool {
        let free = self.lease.as_ref().is_some_and(|lease| lease.guard.is_none());
        plan.alone
            && plan.read.is_err()
            && !open
            && free
            && !self.flight.several
            && !self.worker.session_mode()
    }

    /// The number of the transaction that `text` ends is asked for first. `true`: it has to wait for that.
    pub(super) fn asks_number(&mut self, text: &[u8]) -> bool {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        if !matches!(first, Some(b'c' | b'C' | b'e' | b'E' | b'/' | b'-'))
            || !self.worker.fresh.has_replicas()
        {
            return false;
        }
        let Some(lease) = &self.lease else { return false };
        if lease.status != b'T' || lease.guard.is_some() {
            return false;
        }
        let word = lex::first_word(text);
        let ends = word.eq_ignore_ascii_case(b"commit") || word.eq_ignore_ascii_case(b"end");
        if !ends || self.worker.plan(text).control != Control::Commit {
            return false;
        }
        if lease.expected.is_empty()
            && let Some(lease) = &mut self.lease
        {
            lease.ask_number();
            self.blocked = Blocked::Quiet;
        } else {
            self.block_until_quiet();
        }
        true
    }

    /// What is sent next commits by itself: BEGIN is put before it.
    pub(super) fn guard_begins(&mut self, extended: bool) {
        let meaning = Rc::clone(&self.session.meaning);
        let Some(lease) = &mut self.lease else { return };
        let begun = if extended {
            let begin = self.worker.statement(b"BEGIN", &[0, 0], &meaning);
            lease.begin_ours_within(&begin)
        } else {
            lease.begin_ours();
            true
        };
        if !begun {
            self.tracking.commits(&self.worker.fresh);
        }
    }

    /// The unit is sent: the number is asked for behind it, and nothing is read on before the commit is acknowledged.
    pub(super) fn guard_ends(&mut self) {
        if let Some(lease) = &mut self.lease
            && lease.guard.as_ref().is_some_and(|guard| guard.ours)
        {
            lease.ask_number();
            self.blocked = Blocked::Settled;
        }
    }
}
