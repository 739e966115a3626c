//! The number of a transaction is known before its COMMIT is sent: so a server that dies in the middle leaves nobody in doubt.
//!
//! A statement that would commit by itself runs between a BEGIN and a COMMIT of ours, which the client never sees; its
//! answer is kept back until the commit is acknowledged. Before a client's own COMMIT the number is asked for. The number
//! must leave the server before COMMIT begins, so COMMIT is sent when it has come (measured: in one multi-statement Query
//! it arrives after the commit).

use std::rc::Rc;

use super::Backend;
use super::expected::{Kind, Ours};
use crate::route::Control;
use crate::session::prepared::Statement;
use crate::wire::message;
use crate::workload::Run;

#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// BEGIN and COMMIT are ours.
    pub(crate) ours: bool,
    /// The server has answered the question for the number.
    pub(crate) told: bool,
    /// 64 bits, with the epoch; `None`: it has none, nothing was changed.
    pub(crate) number: Option<u64>,
    /// COMMIT was sent.
    pub(crate) commits: bool,
    /// The client's unit has been answered but for its ReadyForQuery, which waits for the commit.
    pub(crate) answered: bool,
    /// Where in the client's bytes the success of its simple query stands: a commit that fails takes it back.
    pub(crate) success_at: Option<usize>,
    /// It was begun by the extended protocol, whose success stands before a commit that fails.
    pub(crate) extended: bool,
    /// The client wants to see answers before its unit ends.
    pub(crate) flushed: bool,
    /// A statement that is measured with its commit.
    pub(crate) run: Run,
}

impl Backend {
    /// What is sent next runs in a transaction of ours. Between units only.
    pub(crate) fn begin_ours(&mut self) {
        self.ask("BEGIN", Ours::Begin);
        self.guard = Some(Box::new(Guard {
            ours: true,
            ..Guard::default()
        }));
    }

    /// The same in the middle of a unit of the extended protocol, by `begin`, a prepared BEGIN. `false`: not now.
    pub(crate) fn begin_ours_within(&mut self, begin: &Rc<Statement>) -> bool {
        const PORTAL: &[u8] = b"_bn_";
        if !self.provide(begin) {
            return false;
        }
        message::write(&mut self.outbox, b'B', |out| {
            message::put_text(out, PORTAL);
            message::put_text(out, begin.name.as_bytes());
            out.extend([0; 6]);
        });
        self.expect(Kind::Bind, true);
        message::write(&mut self.outbox, b'E', |out| {
            message::put_text(out, PORTAL);
            out.extend([0; 4]);
        });
        self.expect(Kind::Execute(None), true);
        self.guard = Some(Box::new(Guard {
            ours: true,
            extended: true,
            ..Guard::default()
        }));
        true
    }

    /// The client's own BEGIN, COMMIT or ROLLBACK in a unit whose BEGIN was ours: from here on the transaction is the client's.
    pub(crate) fn guard_meets(&mut self, control: Control) {
        let Some(guard) = &mut self.guard else { return };
        if guard.ours && matches!(control, Control::Begin | Control::Commit | Control::Rollback) {
            self.guard = None;
        } else {
            guard.commits |= !guard.ours && control == Control::Commit;
        }
    }

    pub(crate) fn ask_number(&mut self) {
        self.guard.get_or_insert_default();
        self.ask("SELECT pg_catalog.pg_current_xact_id_if_assigned()", Ours::Number);
    }

    pub(crate) fn ask_outcome(&mut self, number: u64) {
        let sql = format!("SELECT pg_catalog.pg_xact_status('{number}'::pg_catalog.xid8)");
        self.ask(&sql, Ours::Outcome);
    }

    /// The answer to [`Backend::ask_number`]. What runs in a transaction of ours commits now; a failed one ends the same way.
    pub(super) fn numbered(&mut self, row: Option<Vec<Option<String>>>) {
        let status = self.status;
        let Some(guard) = &mut self.guard else { return };
        if let Some(row) = row {
            guard.told = true;
            guard.number = row
                .into_iter()
                .next()
                .flatten()
                .and_then(|text| text.parse().ok());
        }
        if guard.ours {
            guard.commits = status == b'T';
            self.ask("COMMIT", Ours::Commit);
        }
    }

    /// Something runs, and it is not a commit: one that is cancelled while it waits for its standby is acknowledged
    /// without it.
    pub(crate) fn may_be_cancelled(&self) -> bool {
        !self.expected.is_empty() && !self.guard.as_ref().is_some_and(|guard| guard.commits)
    }

    /// Is the client's answer kept back?
    pub(crate) fn keeps_back(&self, bytes: usize) -> bool {
        const KEPT: usize = 64 * 1024;
        let ours = self.guard.as_ref().filter(|guard| guard.ours && !guard.flushed);
        // Of a simple query little comes behind its success.
        ours.is_some_and(|guard| guard.success_at.is_some() && !guard.extended || bytes < KEPT)
    }

    /// So many of the bytes for the client have gone to it.
    pub(crate) fn goes_out(&mut self, bytes: usize) {
        if let Some(guard) = &mut self.guard {
            guard.success_at = guard.success_at.and_then(|at| at.checked_sub(bytes));
        }
    }

    /// A CommandComplete has come and is not in `out` yet.
    pub(super) fn succeeded(&mut self, out: &[u8]) {
        let hidden = self.expected.front().is_some_and(|head| head.hidden);
        if let Some(guard) = self.guard.as_mut().filter(|_| !hidden) {
            guard.success_at = Some(out.len());
        }
    }

    /// BEGIN and COMMIT around what runs are ours.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.ours)
    }

    /// COMMIT of ours is on its way.
    pub(crate) fn commits_ours(&self) -> bool {
        self.guard
            .as_ref()
            .is_some_and(|guard| guard.ours && guard.commits)
    }

    /// A commit of ours that failed: the success of a simple query was none.
    pub(super) fn commit_failed(&mut self, out: &mut Vec<u8>) {
        let guard = self.guard.as_ref().filter(|guard| !guard.extended);
        if let Some(at) = guard.and_then(|guard| guard.success_at) {
            out.truncate(at);
        }
    }

    /// The client's unit is answered. A transaction of ours holds back its end; the client's own has come to one.
    pub(super) fn waits_for_commit(&mut self) -> bool {
        match &mut self.guard {
            Some(guard) if guard.ours => {
                guard.answered = true;
                true
            }
            // The next COMMIT asks anew.
            _ => {
                self.guard = None;
                false
            }
        }
    }

    /// What [`Backend::ask_outcome`] brought.
    pub(crate) fn take_outcome(&mut self) -> Option<String> {
        self.row.take()?.into_iter().next().flatten()
    }
}
