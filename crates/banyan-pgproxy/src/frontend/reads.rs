//! Proven reads run on a replica that is fresh enough.
//!
//! The unit is read whole, routed, and run with its answer kept back until it is complete (or large): a replica's word is forwarded only
//! when every commit that it may show is acknowledged, and an error that comes of being a replica is never forwarded: the unit then runs
//! on the primary as if nothing had happened.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use banyan_runtime::Clock;

use super::cancel;
use super::client::{Blocked, Client, Ending, Refused};
use crate::catalog::Tables;
use crate::fresh::{Candidates, Fresh, Lsn, Need, Verdict, View};
use crate::pool::{Lease, Pool};
use crate::respond::Refusal;
use crate::route::balance::{self, Candidate};
use crate::route::unit::{self, Shape, Text};
use crate::route::{Control, Freshness, Plan, SessionView, Target, Why, decide};
use crate::session::prepared::{Statement, asks_for_standby};
use crate::session::scan::Scan;
use crate::session::settings::Parameters;
use crate::wire::frame::{self, HEADER};
use crate::wire::message;

/// For a backend on a replica; then the primary is asked.
const POOL_WAIT: Duration = Duration::from_millis(100);
/// For commits that the answer may show; then the primary is asked.
const GATE: Duration = Duration::from_millis(200);
/// Bytes of an answer that are kept back; a longer one is forwarded as it comes, once its gate is open.
const KEPT: usize = 128 * 1024;

/// A unit that may go to a replica.
struct Read {
    length: usize,
    tables: Tables,
    freshness: Freshness,
    /// Names that it prepares and that the client did not have.
    defines: Vec<Box<[u8]>>,
}

impl Read {
    /// Does its answer wait for commits that it may show?
    fn is_gated(&self) -> bool {
        !matches!(self.freshness, Freshness::Off | Freshness::Bounded(_))
    }
}

/// What the session was before the unit; a unit that is run again finds it so.
struct Before {
    unit: Vec<u8>,
    rest: Vec<u8>,
    unnamed: Option<Rc<Statement>>,
    parameters: Rc<Parameters>,
}

enum Pumped {
    /// The whole answer is there and the backend given back.
    Whole,
    /// More than is kept back.
    Long,
}

impl Client {
    /// Is the unit that begins to be looked at?
    pub(super) fn may_read_elsewhere(&self) -> bool {
        let worker = &self.worker;
        !self.to_primary
            && worker.fresh.has_replicas()
            && !worker.session_mode()
            && self.session.pins.is_none()
            && *self.account.database == *worker.snapshot.borrow().database.name
    }

    /// Runs the unit that is next on a replica if it is a proven read and one is fresh. False: nothing has happened.
    pub(super) async fn read_elsewhere(&mut self) -> Result<bool, Ending> {
        if !self.may_read_elsewhere()
            || self.lease.is_some()
            || self.passing > 0
            || self.refused != Refused::No
        {
            return Ok(false);
        }
        self.read_whole_unit().await?;
        let Some(read) = self.routed() else {
            return Ok(false);
        };
        if read.is_gated() && self.worker.fresh.is_long_changed(&read.tables, GATE) {
            self.worker.metrics.reads_behind.increment();
            return Ok(false);
        }
        // What is kept back must not mix with what the client has not read yet.
        if !self.outbox.is_empty() {
            return Ok(false);
        }
        let Some(lease) = self.lease_for(&read).await? else {
            self.worker.metrics.reads_behind.increment();
            return Ok(false);
        };
        self.run_elsewhere(&read, lease).await
    }

    async fn read_whole_unit(&mut self) -> Result<(), Ending> {
        std::future::poll_fn(|cx| {
            self.shared.register(cx.waker());
            if self.shared.kill.get() {
                return Poll::Ready(Err(Refusal::Killed.into()));
            }
            while unit::shape(&self.inbox) == Shape::Incomplete {
                self.write(cx)?;
                let mut scratch = self.worker.scratch.borrow_mut();
                match self.stream.poll_read(cx, &mut scratch) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(read)) if read > 0 => self.inbox.extend_from_slice(&scratch[..read]),
                    Poll::Ready(_) => return Poll::Ready(Err(Ending::Left)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// The unit as a read; None: the primary's.
    fn routed(&self) -> Option<Read> {
        let Shape::Whole {
            length,
            texts,
            defines,
        } = unit::shape(&self.inbox)
        else {
            return None;
        };
        if defines
            .iter()
            .any(|name| self.session.prepared.get(name).is_some())
        {
            return None;
        }
        let mut plans = Vec::with_capacity(texts.len());
        for text in texts {
            plans.push(self.plan_of(text)?);
        }
        let session = SessionView {
            in_transaction: false,
            pinned: false,
            lexable: true,
        };
        let route = decide(
            plans.iter().map(|plan| &**plan),
            session,
            &self.worker.snapshot.borrow().database.reads,
        );
        match route.target {
            Target::Replica { tables, freshness } => Some(Read {
                length,
                tables,
                freshness,
                defines: defines.into_iter().map(Into::into).collect(),
            }),
            Target::Primary(Why::NotProven(reason)) if reason.is_unknown_name() => {
                self.worker.fresh.unknown_name();
                None
            }
            Target::Primary(_) => None,
        }
    }

    /// None: of a statement that is not known, or that means something to the session.
    fn plan_of(&self, text: Text<'_>) -> Option<Arc<Plan>> {
        let harmless = |scan: &Scan| scan.is_plain() && scan.marks.is_none();
        match text {
            Text::Sql(text) => {
                let plain =
                    self.session.can_lex(text) && harmless(&Scan::of(text)) && !asks_for_standby(text);
                plain.then(|| self.worker.plan(text))
            }
            Text::Named(name) => {
                let statement = if name.is_empty() {
                    self.session.unnamed.as_ref()
                } else {
                    self.session.prepared.get(name)
                };
                let statement = statement.filter(|statement| harmless(&statement.scan))?;
                if !self.session.can_lex(&statement.text) || statement.asks_for_standby {
                    return None;
                }
                Some(self.worker.plan(&statement.text))
            }
        }
    }

    /// A statement is about to be sent on the backend that the client has.
    /// `true`: it is to run between a BEGIN and a COMMIT of ours.
    pub(super) fn track(&mut self, text: &[u8]) -> bool {
        if self.on_replica {
            return false;
        }
        let fresh = &self.worker.fresh;
        if !fresh.has_replicas() {
            self.tracking.send_blindly();
            self.flight.runs_blindly(text);
            return false;
        }
        if !self.session.can_lex(text) {
            self.track_unknown();
            return false;
        }
        let plan = self.worker.plan(text);
        // The status is that of the last answer; behind a unit that is still owed nobody knows.
        let open = self.lease.as_ref().is_some_and(|lease| {
            lease.status != b'I' && !lease.expected.iter().any(|expected| expected.kind.ends_unit())
        });
        let commits = !open || matches!(plan.control, Control::Commit | Control::Mixed);
        let guarded = self.is_to_be_guarded(&plan, open);
        let ours = |lease: &Lease| lease.guard.as_ref().is_some_and(|guard| guard.ours);
        let within = guarded || plan.control == Control::None && self.lease.as_ref().is_some_and(ours);
        self.tracking.send(fresh, &plan, commits && !within);
        self.flight.runs(&plan, commits);
        if let Some(lease) = &mut self.lease {
            lease.guard_meets(plan.control);
        }
        guarded
    }

    pub(super) fn track_unknown(&mut self) {
        self.flight.runs_unknown();
        match self.worker.fresh.has_replicas() {
            true => self.tracking.send_unknown(&self.worker.fresh),
            false => self.tracking.send_blindly(),
        }
    }

    async fn lease_for(&mut self, read: &Read) -> Result<Option<Lease>, Ending> {
        let worker = Rc::clone(&self.worker);
        let fresh = &worker.fresh;
        let need = match read.freshness {
            Freshness::Bounded(lag) => Need::Within(lag),
            freshness => {
                let epoch = self
                    .tracking
                    .freshness
                    .needs(&fresh.marks, &read.tables, freshness);
                epoch.map_or(Need::Nothing, Need::Epoch)
            }
        };
        let candidates = match fresh.candidates(need) {
            Ok(candidates) => Some(candidates),
            Err(Verdict::Nobody) => None,
            Err(_) => fresh.wait_for_candidates(need).await,
        };
        let Some(pool) = candidates.and_then(|candidates| self.choose(&candidates)) else {
            return Ok(None);
        };
        if pool.is_renewed() {
            return Ok(None);
        }
        let lease = match pool.try_take() {
            Some(lease) => lease,
            None => {
                let now = Clock.now();
                match self.until(pool.wait(now, now + POOL_WAIT), None).await? {
                    Some(Ok(Ok(lease))) => lease,
                    _ => return Ok(None),
                }
            }
        };
        let (node, born) = (pool.node, lease.born);
        // What the view promises is of the server's run that was asked; a backend that came later may be of another.
        let vouched = |view: &View| {
            let mut replicas = view.replicas.iter();
            replicas.any(|replica| replica.id == node && replica.vouches_for(born, Lsn(0)))
        };
        if need == Need::Nothing || vouched(&fresh.view()) || fresh.wait_for(need, vouched).await.is_some() {
            return Ok(Some(lease));
        }
        lease.give_back();
        Ok(None)
    }

    fn choose(&self, candidates: &Candidates) -> Option<Rc<Pool>> {
        let pools: Vec<(Rc<Pool>, u32)> = candidates
            .replicas
            .iter()
            .filter_map(|at| {
                let replica = &candidates.view.replicas[*at];
                Some((self.worker.pool_of(&self.account, replica.id)?, replica.weight))
            })
            .collect();
        let loads: Vec<Candidate> = pools
            .iter()
            .map(|(pool, weight)| Candidate {
                weight: *weight,
                under_way: pool.busy(),
            })
            .collect();
        let chosen = balance::choose(&loads, [rand::random(), rand::random()])?;
        Some(Rc::clone(&pools[chosen].0))
    }

    async fn run_elsewhere(&mut self, read: &Read, lease: Lease) -> Result<bool, Ending> {
        let worker = Rc::clone(&self.worker);
        let rest = self.inbox.split_off(read.length);
        let before = Before {
            unit: self.inbox.clone(),
            rest,
            unnamed: self.session.unnamed.clone(),
            parameters: Rc::clone(&self.session.parameters),
        };
        self.on_replica = true;
        self.blocked = Blocked::No;
        self.adopt(lease);
        let pumped = self.pump_elsewhere().await;
        let over = matches!(&pumped, Err(Ending::Left | Ending::Refused(Refusal::Killed)));
        if over {
            return pumped.map(|_| true);
        }
        let good = match pumped {
            Ok(_) if comes_of_a_replica(&self.outbox) => false,
            Ok(_) => self.gate_opens(&worker.fresh, read).await,
            Err(_) => false,
        };
        if !good {
            self.take_back(before, read);
            worker.metrics.reads_again.increment();
            return Ok(false);
        }
        worker.metrics.reads_elsewhere.increment();
        self.inbox.extend(before.rest);
        if self.lease.is_some() {
            // A long answer: what the client sends meanwhile waits until the backend is given back.
            self.blocked = Blocked::Quiet;
        } else {
            self.on_replica = false;
        }
        Ok(true)
    }

    /// What may show in the answer must be acknowledged before the answer is.
    async fn gate_opens(&self, fresh: &Fresh, read: &Read) -> bool {
        if !read.is_gated() {
            return true;
        }
        let tickets = fresh.commits.before(&read.tables);
        tickets.is_empty() || fresh.gate(&tickets, GATE).await
    }

    async fn pump_elsewhere(&mut self) -> Result<Pumped, Ending> {
        self.resume()?;
        std::future::poll_fn(|cx| self.poll_elsewhere(cx)).await
    }

    fn poll_elsewhere(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pumped, Ending>> {
        self.shared.register(cx.waker());
        if self.shared.kill.get() {
            return Poll::Ready(Err(Refusal::Killed.into()));
        }
        if let Some(askers) = self.shared.take_cancels()
            && let Some(lease) = self.lease.as_ref().filter(|lease| lease.may_be_cancelled())
        {
            cancel::send(&self.worker, lease, askers);
        }
        loop {
            self.write_server(cx);
            let mut moved = self.read_server(cx)?;
            if self.blocked == Blocked::Quiet && self.lease.as_ref().is_none_or(|lease| lease.has_answered())
            {
                self.blocked = Blocked::No;
                self.resume()?;
                moved = true;
            }
            if self.lease.is_none() {
                return Poll::Ready(Ok(Pumped::Whole));
            }
            if self.outbox.len() >= KEPT && self.blocked == Blocked::No {
                return Poll::Ready(Ok(Pumped::Long));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// As if the unit had not been run: it runs on the primary next.
    fn take_back(&mut self, before: Before, read: &Read) {
        if let Some(mut lease) = self.lease.take() {
            lease.spent = true;
            self.worker.metrics.active.decrement();
        }
        self.on_replica = false;
        self.to_primary = true;
        self.blocked = Blocked::No;
        self.bound.clear();
        self.passing = 0;
        self.outbox.clear();
        self.session.unnamed = before.unnamed;
        self.session.parameters = before.parameters;
        for name in &read.defines {
            self.session.prepared.remove(name);
        }
        self.inbox = before.unit;
        self.inbox.extend(before.rest);
    }
}

/// The first error of an answer is one that the primary would not give: read only, not on a standby, a conflict with replay, an object
/// or a state that is not there yet.
fn comes_of_a_replica(answer: &[u8]) -> bool {
    let mut at = 0;
    while let Ok(Some(head)) = frame::from_server(&answer[at..]) {
        let Some(body) = answer.get(at + HEADER..at + head.total()) else {
            return false;
        };
        if head.tag == b'E' {
            let code = message::error_field(body, b'C').unwrap_or_default();
            return matches!(
                code,
                b"25006"
                    | b"0A000"
                    | b"55000"
                    | b"40001"
                    | b"57P01"
                    | b"57P02"
                    | b"57P03"
                    | b"57P04"
                    | b"53300"
                    | b"XX000"
            ) || code.starts_with(b"42");
        }
        at += head.total();
    }
    false
}
