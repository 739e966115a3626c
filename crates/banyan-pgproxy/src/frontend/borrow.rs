//! The backend that a client borrows: taken for the unit that begins, brought to the session, given back when nothing of the client is
//! left on it.

use std::rc::Rc;

use super::Activity;
use super::client::{Blocked, Client, Ending};
use crate::backend::replies::Sink;
use crate::pool::Lease;
use crate::respond::Refusal;
use crate::session::marks::{Marks, Touched};
use crate::session::scan::Scan;

/// Backends that are tried before a client is told that its session cannot be restored.
const UNFIT: u32 = 3;
/// The same, when what ended it was a limit of the client before or a cancel: on each backend some times, and each is closed
/// then, so that new ones come.
const CUT_SHORT: u32 = 60;

impl Client {
    /// Whether a message may go to the backend that is held. RESET leads to the server's default; what the client asked
    /// for at its start instead is set before its next unit. In a hold the backend is given back first.
    fn may_go_on(&mut self) -> bool {
        let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_open()) else {
            return true;
        };
        let in_transaction = lease.is_quiet() && lease.status != b'I';
        let ours = lease.status == b'I' && lease.expected.iter().all(|one| one.hidden);
        let waits_for_it = ours && !self.pinned && self.worker.holding();
        if waits_for_it || !in_transaction && self.session.touched.iter().any(|one| one.reset) {
            self.blocked = Blocked::Settled;
        } else if lease.is_idle() && !Rc::ptr_eq(&lease.settings, &self.session.settings) {
            lease.bring_to(&self.session.settings);
            self.blocked = Blocked::Quiet;
        }
        self.blocked == Blocked::No
    }

    /// A backend for what these marks mean; `left`: those of code that the statement may run without showing it. `false`: blocked, or refused.
    pub(super) fn ready_for(
        &mut self,
        tag: u8,
        scan: Option<&Scan>,
        left: Option<&Scan>,
    ) -> Result<bool, Ending> {
        if self.lease.is_some() {
            return Ok(self.may_go_on());
        }
        let harmless = scan.is_none_or(|scan| scan.marks.is_none() && scan.ties.is_none());
        if harmless && self.may_read_elsewhere() {
            self.blocked = Blocked::Backend;
            return Ok(false);
        }
        let Some(pool) = self.worker.primary(&self.account) else {
            self.blocked = Blocked::Backend;
            return Ok(false);
        };
        let of = |scan: Option<&Scan>| scan.map_or(Marks::NONE, |scan| scan.ties);
        let ties = of(scan).with(of(left));
        if !ties.is_none() && !pool.may_pin() {
            self.refuse_unit(
                tag,
                &Refusal::PinCap {
                    reason: ties.reason(),
                },
            );
            return Ok(false);
        }
        if scan.is_some_and(|scan| scan.marks.has(Marks::SEQUENCE_READ)) {
            self.account.reads_sequences.set(true);
            let same = self
                .session
                .sequence
                .and_then(|(id, tenure)| pool.take_same(id, tenure));
            let Some(lease) = same else {
                self.refuse_unit(tag, &Refusal::Sequence);
                return Ok(false);
            };
            self.adopt(lease);
        } else {
            match pool.try_take() {
                Some(lease) => self.adopt(lease),
                None => self.blocked = Blocked::Backend,
            }
        }
        Ok(self.blocked == Blocked::No)
    }

    /// Takes a backend for the unit that begins.
    pub(super) fn adopt(&mut self, mut lease: Lease) {
        self.worker.metrics.active.increment();
        self.shared.activity.set(Activity::Active);
        lease.info.client.set(self.shared.number);
        let others = lease.tenant != self.shared.number;
        if others {
            lease.tenant = self.shared.number;
            lease.tenure += 1;
            if lease.sequences && self.account.reads_sequences.get() {
                lease.forget_sequences();
                self.blocked = Blocked::Quiet;
            }
        }
        if others && lease.unclean {
            lease.bring_anew(&self.session.settings);
            self.blocked = Blocked::Quiet;
        } else if !Rc::ptr_eq(&lease.settings, &self.session.settings) {
            lease.bring_to(&self.session.settings);
            self.blocked = Blocked::Quiet;
        } else {
            let mut sink = Sink::new(
                &self.worker.shop,
                &mut self.session,
                &mut self.outbox,
                self.shared.number,
            );
            lease.tell_parameters(&mut sink);
        }
        self.lease = Some(lease);
        self.flight.open = false;
        self.unit_begins();
    }

    /// After replies: the backend goes back when nothing of this client is left on it.
    pub(super) fn settle(&mut self) -> Result<(), Ending> {
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        if lease.failure.is_some() && !lease.is_quiet() {
            // Its end is still to come.
            return Ok(());
        }
        if let Some(failure) = lease.failure.take() {
            self.unfit += 1;
            let most = match failure.is_cut_short() {
                true => CUT_SHORT,
                false => UNFIT,
            };
            if self.unfit > most || !lease.is_idle() {
                lease.spent = true;
                return Err(Refusal::Settings(failure.words).into());
            }
            // A cancel of the client's own, or the time limit of the client before, can hit what restores its session: all of
            // that or nothing has happened.
            if self.pinned || failure.is_cut_short() && !self.unfit.is_multiple_of(UNFIT) {
                match lease.unclean && !self.pinned {
                    true => lease.bring_anew(&self.session.settings),
                    false => lease.bring_to(&self.session.settings),
                }
                self.blocked = Blocked::Quiet;
                return Ok(());
            }
            lease.spent = true;
            // Nothing of the client's is on it: another one may do (a former client's time limit ended ours).
            self.lease = None;
            self.worker.metrics.active.decrement();
            if self.blocked == Blocked::Quiet {
                self.blocked = Blocked::Backend;
            }
            return Ok(());
        }
        let between = self.blocked == Blocked::No && self.passing == 0;
        if !between || lease.sync_prepared() || !lease.is_idle() {
            return Ok(());
        }
        let session = &mut self.session;
        let marks = std::mem::take(&mut session.marks);
        if marks.has(Marks::SEQUENCE_WRITE) {
            session.sequence = Some((lease.id, lease.tenure));
            if self.account.reads_sequences.get() {
                session.pins = session.pins.with(Marks::SEQUENCE_WRITE);
            }
        }
        let forever = Marks::UNKNOWN.with(Marks::LOAD);
        session.pins = session.pins.with(marks.only(forever));
        let ask = marks.without(forever.with(Marks::FREE));
        if !ask.is_none() {
            let mut touched = dedup(std::mem::take(&mut session.touched));
            if ask.has(Marks::HIDDEN) && !touched.iter().any(|one| &*one.name == "role") {
                let name = "role".into();
                touched.push(Touched { name, reset: false });
            }
            if touched.iter().any(|one| one.reset) {
                // What comes next must not run before it is known which value it is to see.
                self.blocked = Blocked::Settled;
            }
            lease.ask_truth(ask, touched);
            return Ok(());
        }
        // What the client has prepared in SQL would go, too; it keeps the backend, and sees what it would see without us.
        if lease.stale && !session.pins.has(Marks::PREPARED) {
            lease.stale = false;
            lease.known.clear();
            lease.clean("DEALLOCATE ALL");
            return Ok(());
        }
        // Where too many are kept, currval is refused instead: a pool that is kept whole serves nobody else.
        if session.pins == Marks::SEQUENCE_WRITE && !self.pinned && !lease.pool.may_pin() {
            session.pins = Marks::NONE;
        }
        let pinned = !session.pins.is_none();
        if pinned != self.pinned {
            self.pinned = pinned;
            self.shared.pins.set(session.pins.reason());
            if pinned {
                self.worker.metrics.pins.increment();
                lease.pool.pin();
            } else {
                lease.pool.unpin();
            }
        }
        if pinned {
            self.unfit = 0;
        } else {
            self.release();
        }
        Ok(())
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.bound.clear();
            self.unfit = 0;
            self.to_primary = false;
            self.on_replica = false;
            self.waited_us = 0;
            self.worker.metrics.active.decrement();
            self.shared.activity.set(Activity::Idle);
            lease.give_back();
        }
    }
}

/// The last mention of a name counts.
fn dedup(touched: Vec<Touched>) -> Vec<Touched> {
    let mut kept: Vec<Touched> = Vec::with_capacity(touched.len());
    for one in touched {
        kept.retain(|other| other.name != one.name);
        kept.push(one);
    }
    kept
}
