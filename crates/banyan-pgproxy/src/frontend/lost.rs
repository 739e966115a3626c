//! The backend is gone in the middle: the client waits for a primary, learns what became of its statement, and goes on.
//!
//! The outcome rule (`txn::outcome`) decides: acknowledged if the new primary has it, run again if it surely left nothing
//! and the client has seen nothing, else an error that says which of the two is known. Never run again blindly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Blocked, Client, Ending, Refused};
use super::leave::settled;
use super::{Activity, leave};
use crate::backend::expected::{Expected, Kind, Ours};
use crate::backend::guard::Guard;
use crate::backend::replies::Sink;
use crate::pool::Lease;
use crate::respond::{self, Refusal};
use crate::session::marks::Marks;
use crate::txn::outcome::{self, Lost, Outcome, Status, Verdict};
use crate::wire::message;

/// Units that run again and again are not what is wrong.
const AGAIN: u8 = 5;
/// For definitions to be read from the next primary, while a client's session depends on them.
const DEFINITIONS: Duration = Duration::from_secs(15);

/// What is left of a backend.
struct Remains {
    owed: VecDeque<Expected>,
    guard: Option<Box<Guard>>,
    farewell: Option<Vec<u8>>,
    failovers: u64,
    /// I, T or E.
    status: u8,
    /// Part of a message is with the client: nothing can follow it.
    half: bool,
    /// Of the unit's answer, what the client has not got.
    kept: Vec<u8>,
    forwarded: bool,
}

impl Client {
    /// The connection to the server has ended.
    pub(super) async fn recover(&mut self) -> Result<(), Ending> {
        let Some(mut lease) = self.lease.take() else {
            return Ok(());
        };
        lease.spent = true;
        self.worker.metrics.active.decrement();
        let node = lease.pool.node;
        if self.pinned {
            lease.pool.unpin();
        }
        let remains = Remains {
            owed: std::mem::take(&mut lease.expected),
            guard: lease.guard.take(),
            farewell: lease.farewell.take(),
            failovers: lease.failovers,
            status: lease.status,
            half: lease.is_half(),
            kept: match self.flight.forwarded {
                true => std::mem::take(&mut self.outbox),
                false => self.outbox.split_off(self.flight.mark.min(self.outbox.len())),
            },
            forwarded: self.flight.forwarded,
        };
        drop(lease);
        let elsewhere = std::mem::take(&mut self.on_replica);
        if !elsewhere {
            self.tracking.lost(&self.worker.fresh);
            self.worker.suspect(node);
        }
        // What nextval left in that session is gone.
        self.session.sequence = None;
        self.session.marks = self.session.marks.without(Marks::FREE);
        self.bound.clear();
        self.to_primary = false;
        self.dropping = true;
        if remains.half && remains.forwarded || self.again >= AGAIN {
            return Err(Refusal::BackendLost.into());
        }
        self.blocked = Blocked::No;
        self.shared.activity.set(Activity::Waiting);
        let recovered = self.judge(remains, elsewhere).await;
        self.shared.activity.set(Activity::Idle);
        recovered?;
        self.resume()
    }

    async fn judge(&mut self, remains: Remains, elsewhere: bool) -> Result<(), Ending> {
        let waited = self.wait_for_primary().await;
        let crashed = self.worker.failovers() != remains.failovers || waited.is_err();
        if let Some(farewell) = remains.farewell.as_ref().filter(|_| !crashed && !elsewhere) {
            // Somebody ended this very session.
            self.outbox.extend_from_slice(farewell);
            return Err(Ending::ServerEnded);
        }
        let pinned = std::mem::take(&mut self.pinned);
        let unknown = self.session_unknown(&remains);
        if pinned || !self.session.pins.is_none() || unknown && !self.left_nothing(waited.is_ok()).await {
            // Lost locks, temporary tables, notifications and settings are not to be hidden.
            tracing::warn!(
                user = &*self.shared.user,
                "a client's session was lost with its server"
            );
            return Err(Refusal::SessionLost.into());
        }
        let nothing_sent = remains.owed.iter().all(|one| one.hidden) && remains.guard.is_none();
        if nothing_sent && !self.flight.open {
            self.outbox.extend(remains.kept);
            self.transaction_lost = remains.status != b'I';
            return Ok(());
        }
        let lost = self.lost(&remains, elsewhere);
        let found = match waited {
            Ok(()) => self.outcome(&lost, remains.failovers).await?,
            Err(Ending::Refused(_)) if !lost.commit_sent || lost.read_only => Outcome::Aborted,
            Err(Ending::Refused(_)) => Outcome::Unknown,
            Err(ending) => return Err(ending),
        };
        tracing::info!(?found, "a server connection was lost under a statement");
        match outcome::verdict(&lost, found) {
            Verdict::Acknowledge => {
                // What it has changed of the session is gone, unless it was run again.
                let marked = !self.session.marks.without(Marks::FREE).is_none();
                let lost = marked && !self.left_nothing(true).await;
                self.acknowledge(remains);
                if lost {
                    return Err(Refusal::SessionLost.into());
                }
            }
            Verdict::RunAgain => self.run_again(),
            Verdict::Serialization => self.tell(&remains, &Refusal::RolledBack),
            Verdict::Unknown => self.tell(&remains, &Refusal::BackendLost),
        }
        Ok(())
    }

    /// What an acknowledged unit has changed of the session was not learned yet.
    fn session_unknown(&self, remains: &Remains) -> bool {
        let asked = |one: &Expected| matches!(one.kind, Kind::Ours(Ours::Truth { .. }));
        let marks = !self.session.marks.without(Marks::FREE).is_none();
        remains.owed.iter().any(asked) || self.session.doubted.is_some() || (marks && self.flight.several)
    }

    /// Statements were not looked into because definitions were being read just then; what they have left in the session
    /// that is lost is found out now. `false`: something, or nobody knows.
    async fn left_nothing(&mut self, served: bool) -> bool {
        let Some(texts) = self.session.take_unread().filter(|_| served) else {
            return false;
        };
        let fresh = Arc::clone(&self.worker.fresh);
        let read = tokio::time::timeout(DEFINITIONS, fresh.definitions_read()).await;
        let nothing = read.is_ok() && texts.iter().all(|text| self.left_by(text).is_none());
        if nothing {
            self.session.marks = Marks::NONE;
            self.session.touched.clear();
        }
        nothing
    }

    /// Until units may begin again.
    async fn wait_for_primary(&mut self) -> Result<(), Ending> {
        while self.worker.holding() {
            self.wait_for_hold().await?;
        }
        Ok(())
    }

    fn lost(&self, remains: &Remains, elsewhere: bool) -> Lost {
        let flight = &self.flight;
        let guard = remains.guard.as_deref();
        let harmless = elsewhere || flight.harmless && !flight.doubtful;
        Lost {
            xid: guard.and_then(|guard| guard.number),
            read_only: harmless || guard.is_some_and(|guard| guard.told && guard.number.is_none()),
            commit_sent: match guard {
                Some(guard) => guard.commits,
                None => flight.commits || flight.doubtful,
            },
            unix_socket: false,
            forwarded: remains.forwarded || flight.cut,
            autocommit: !flight.within && !flight.several,
        }
    }

    async fn outcome(&mut self, lost: &Lost, since: u64) -> Result<Outcome, Ending> {
        if !lost.commit_sent || lost.read_only {
            return Ok(Outcome::Aborted);
        }
        // Without a bound the number may be another transaction's.
        let Some(bound) = self.worker.bound(since) else {
            return Ok(Outcome::Unknown);
        };
        let status = match outcome::asks(lost, bound) {
            Some(number) => self.status_of(number).await?,
            None => None,
        };
        Ok(outcome::outcome(lost, bound, status))
    }

    /// What the primary says of a transaction; `None`: nothing.
    async fn status_of(&mut self, number: u64) -> Result<Option<Status>, Ending> {
        let mut lease = match self.acquire().await {
            Ok(lease) => lease,
            Err(Ending::Refused(_)) => return Ok(None),
            Err(ending) => return Err(ending),
        };
        let mut heard = Vec::new();
        lease.ask_outcome(number);
        let asked = {
            let sink = &mut Sink::new(
                &self.worker.shop,
                &mut self.session,
                &mut heard,
                self.shared.number,
            );
            tokio::time::timeout(leave::CLEAN_LIMIT, settled(&mut lease, sink)).await
        };
        let status = lease.take_outcome();
        if !matches!(asked, Ok(Ok(()))) {
            return Ok(None);
        }
        Lease::give_back(lease);
        Ok(Status::parse(status.as_deref()))
    }

    fn run_again(&mut self) {
        self.worker.metrics.runs_again.increment();
        self.again += 1;
        let mut inbox = self.unit_again();
        inbox.append(&mut self.inbox);
        self.inbox = inbox;
        self.passing = 0;
        self.refused = Refused::No;
    }

    /// What the server could not say any more.
    fn acknowledge(&mut self, remains: Remains) {
        self.worker.metrics.acknowledged.increment();
        self.outbox.extend(remains.kept);
        let ours = remains.guard.is_some_and(|guard| guard.ours);
        for one in remains.owed {
            if !one.hidden {
                self.reply(one.kind);
            }
        }
        if ours {
            // All of its answer is here but this.
            message::ready(&mut self.outbox, b'I');
        }
    }

    /// What the server would have answered to a message of a unit whose COMMIT is done.
    fn reply(&mut self, kind: Kind) {
        let out = &mut self.outbox;
        match kind {
            Kind::Query(_) => {
                message::command_complete(out, "COMMIT");
                message::ready(out, b'I');
            }
            Kind::Parse { statement, name } => {
                message::write(out, b'1', |_| {});
                match name {
                    Some(name) if name.is_empty() => self.session.unnamed = Some(statement),
                    Some(name) => self.session.prepared.insert(name, statement),
                    None => {}
                }
            }
            Kind::Parsed { statement, name } => {
                message::write(out, b'1', |_| {});
                self.session.prepared.insert(name, statement);
            }
            Kind::Bind => message::write(out, b'2', |_| {}),
            Kind::Describe => message::write(out, b'n', |_| {}),
            Kind::Execute(_) => message::command_complete(out, "COMMIT"),
            Kind::Close { .. } => message::write(out, b'3', |_| {}),
            Kind::Closed { name } => {
                message::write(out, b'3', |_| {});
                self.session.prepared.remove(&name);
            }
            Kind::Sync | Kind::Function => message::ready(out, b'I'),
            Kind::Twice | Kind::CopyEnd | Kind::Ours(_) => {}
        }
    }

    /// Every unit that was under way ends with this error.
    fn tell(&mut self, remains: &Remains, refusal: &Refusal) {
        let flight = std::mem::take(&mut self.flight);
        if remains.forwarded {
            let success = remains.guard.as_ref().and_then(|guard| guard.success_at);
            let kept = success.and_then(|at| remains.kept.get(..at));
            self.outbox.extend_from_slice(kept.unwrap_or(&remains.kept));
        } else {
            for name in &flight.defined {
                self.session.prepared.remove(name);
            }
        }
        let ended = |one: &&Expected| !one.hidden && one.kind.ends_unit();
        let answered = remains.guard.as_ref().is_some_and(|guard| guard.answered);
        let ends = remains.owed.iter().filter(ended).count() + usize::from(answered);
        for _ in 0..ends {
            self.worker.refused(refusal);
            respond::error(&mut self.outbox, "ERROR", refusal);
            message::ready(&mut self.outbox, b'I');
        }
        if flight.open && flight.sent.is_empty() {
            // Its first message has not been dealt with: what is lost is the transaction that it was to end.
            self.transaction_lost = true;
        } else if flight.open {
            self.worker.refused(refusal);
            respond::error(&mut self.outbox, "ERROR", refusal);
            self.refused = Refused::Unit;
        }
    }

    /// The transaction that the client believes to be in is gone: its next statement is told so. `None`: nothing to be said.
    pub(super) fn tell_of_transaction(&mut self, tag: u8, message: &[u8]) {
        self.transaction_lost = false;
        let text = message.get(5..).and_then(|text| text.strip_suffix(&[0]));
        let word = crate::parse::lex::first_word(text.unwrap_or_default());
        if tag == b'Q' && (word.eq_ignore_ascii_case(b"rollback") || word.eq_ignore_ascii_case(b"abort")) {
            message::command_complete(&mut self.outbox, "ROLLBACK");
            self.refused = Refused::Query;
        } else {
            self.refuse_unit(tag, &Refusal::RolledBack);
        }
    }
}
