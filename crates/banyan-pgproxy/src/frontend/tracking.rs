//! What a client's statements may change, from their sending to their acknowledgement: so that no replica is read before it has it.
//!
//! Only while there are replicas. What was sent before there were any counts as having changed everything.

use crate::catalog::Effect;
use crate::fresh::{ClientFreshness, Epoch, Fresh, Ticket};
use crate::route::Plan;

/// Of one client.
#[derive(Debug)]
pub(crate) struct Tracking {
    pub(crate) freshness: ClientFreshness,
    /// Of the statements of the open transaction.
    effect: Effect,
    /// Of the catalog that `effect` was taken from; 0 if it was several.
    generation: u64,
    /// The transaction may be committing.
    ticket: Option<Ticket>,
    /// A COMMIT was sent, and its transaction is open: it may have been bound only.
    commit_bound: bool,
    /// Something was sent while nobody looked.
    blind: bool,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            freshness: ClientFreshness::default(),
            effect: Effect::none(),
            generation: 0,
            ticket: None,
            commit_bound: false,
            blind: false,
        }
    }
}

impl Tracking {
    /// Something is about to be sent to the primary while there are no replicas.
    pub(crate) fn send_blindly(&mut self) {
        self.blind = true;
    }

    /// A statement is about to be sent to the primary. `commits`: its transaction may end with it.
    pub(crate) fn send(&mut self, fresh: &Fresh, plan: &Plan, commits: bool) {
        if !plan.effect.is_none() {
            let first = self.effect.is_none();
            self.generation = if first || self.generation == plan.generation {
                plan.generation
            } else {
                0
            };
            self.effect = self.effect.union(&plan.effect);
            // What it said of fewer tables does not hold back enough.
            if let Some(ticket) = self.ticket.take() {
                fresh.end(ticket);
                self.ticket = fresh.begin(&self.effect);
            }
        }
        if commits {
            self.commits(fresh);
        }
    }

    /// What was sent may commit from now on.
    pub(crate) fn commits(&mut self, fresh: &Fresh) {
        if self.ticket.is_none() {
            self.ticket = fresh.begin(&self.effect);
        }
    }

    /// A portal is about to be executed. `true`: it may be that of a COMMIT that was bound in an earlier unit.
    pub(crate) fn executes(&mut self, fresh: &Fresh) -> bool {
        if self.commit_bound {
            self.commits(fresh);
        }
        self.commit_bound
    }

    /// What is about to be sent cannot be looked into.
    pub(crate) fn send_unknown(&mut self, fresh: &Fresh) {
        self.generation = 0;
        self.effect = Effect::everything();
        if let Some(ticket) = self.ticket.take() {
            fresh.end(ticket);
        }
        self.ticket = fresh.begin(&self.effect);
    }

    /// Replies of the primary have come and are not forwarded yet: if the transaction may have ended, what it changed is marked now.
    pub(crate) fn replied(&mut self, fresh: &Fresh) {
        if self.blind && fresh.has_replicas() {
            self.wrote(fresh.changed(&Effect::everything(), 0));
        }
        if self.ticket.is_some() {
            self.wrote(fresh.changed(&self.effect, self.generation));
        }
    }

    /// A unit has ended on the primary; not forwarded yet. `idle`: no transaction is open and nothing more is owed.
    pub(crate) fn ended(&mut self, fresh: &Fresh, idle: bool, owed: bool) {
        if !owed && let Some(ticket) = self.ticket.take() {
            fresh.end(ticket);
            self.commit_bound = true;
        }
        if idle {
            self.commit_bound = false;
            self.effect = Effect::none();
            self.blind = false;
        }
        if fresh.has_replicas() {
            self.freshness.primary_read(&fresh.marks, &fresh.commits);
        }
    }

    pub(crate) fn is_committing(&self) -> bool {
        self.ticket.is_some()
    }

    /// The server or the client is gone: what was under way may have happened.
    pub(crate) fn lost(&mut self, fresh: &Fresh) {
        self.replied(fresh);
        self.ended(fresh, true, false);
    }

    fn wrote(&mut self, epoch: Epoch) {
        self.freshness.wrote(epoch);
    }
}
