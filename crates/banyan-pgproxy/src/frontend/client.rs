//! A client's task: owns the client's socket, its session and the backend it has borrowed; moves bytes both ways.
//!
//! Reads go into the worker's one buffer and are dealt with before anything else runs, so an idle client owns none.
//! A client that does not read stops its backend from being read, and the other way round.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::flight::Flight;
use super::leave::settled;
use super::tracking::Tracking;
use super::{Shared, cancel};
use crate::backend::replies::Sink;
use crate::backend::stream::Stream;
use crate::pool::Lease;
use crate::pool::account::Account;
use crate::respond::Refusal;
use crate::session::Session;
use crate::session::marks::Marks;
use crate::session::prepared::Statement;
use crate::session::settings::Settings;
use crate::wire::message;
use crate::wire::startup::CancelKey;
use crate::worker::Worker;
use crate::workload::Query;

/// Bytes on their way to one side; above, the other side is not read.
const HIGH: usize = 256 * 1024;

/// Why a client's task ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It said so, or it closed.
    Left,
    /// The connection to the server has ended; the client's may go on.
    Lost,
    Refused(Refusal),
    /// The server ended its session and the client has been told in the server's words.
    ServerEnded,
    /// It goes on with the next process.
    Moves,
}

impl<T: Into<Refusal>> From<T> for Ending {
    fn from(cause: T) -> Self {
        Self::Refused(cause.into())
    }
}

/// Why the client's messages are not read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    No,
    /// The next message needs a backend.
    Backend,
    /// The next message needs all replies to be in.
    Quiet,
    /// The next message needs it to be known what the session is, which is asked when all replies are in.
    Settled,
}

/// What of a refused unit is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    No,
    /// The simple Query (or function call) that comes next.
    Query,
    /// Everything up to its Sync.
    Unit,
}

pub(crate) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) account: Rc<Account>,
    pub(super) shared: Rc<Shared>,
    pub(super) stream: Stream,
    /// What has been read and not been dealt with.
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Vec<u8>,
    /// Bytes of a message still to be passed on (or dropped).
    pub(super) passing: usize,
    pub(super) dropping: bool,
    pub(super) refused: Refused,
    pub(super) session: Session,
    pub(super) lease: Option<Lease>,
    pub(super) blocked: Blocked,
    /// Portals of statements whose success means something.
    pub(super) bound: Vec<(Box<[u8]>, Rc<Statement>)>,
    pub(super) pinned: bool,
    /// Backends in a row on which the session could not be restored.
    pub(super) unfit: u32,
    pub(super) tracking: Tracking,
    /// The unit has been looked at: it is the primary's.
    pub(super) to_primary: bool,
    /// The backend is a replica's.
    pub(super) on_replica: bool,
    pub(super) flight: Flight,
    /// Its server is gone with the transaction that it believes to be in.
    pub(super) transaction_lost: bool,
    /// How often in a row its unit was run again.
    pub(super) again: u8,
    /// What the portal that was bound last is measured as.
    pub(super) executes: Query,
    /// How long the unit under way waited before it began.
    pub(super) waited_us: u64,
}

enum Step {
    Wait,
    End(Ending),
}

pub(super) async fn run(mut client: Client) {
    let ending = client.serve().await;
    client.finish(ending).await;
}

impl Client {
    pub(super) fn new(
        stream: Stream,
        worker: &Rc<Worker>,
        account: &Rc<Account>,
        shared: Rc<Shared>,
        settings: Rc<Settings>,
    ) -> Self {
        let parameters = worker
            .shop
            .intern_parameters(crate::session::settings::Parameters::default());
        Self {
            worker: Rc::clone(worker),
            account: Rc::clone(account),
            shared,
            stream,
            inbox: Vec::new(),
            outbox: Vec::new(),
            passing: 0,
            dropping: false,
            refused: Refused::No,
            session: Session::new(settings, parameters, &worker.shop),
            lease: None,
            blocked: Blocked::No,
            bound: Vec::new(),
            pinned: false,
            unfit: 0,
            tracking: Tracking::default(),
            to_primary: false,
            on_replica: false,
            flight: Flight::default(),
            transaction_lost: false,
            again: 0,
            executes: Query::NONE,
            waited_us: 0,
        }
    }

    /// The last part of a login: parameters, cancel key, ReadyForQuery. `out`: what comes before.
    pub(super) async fn greet(mut self, mut out: Vec<u8>) -> Option<Self> {
        let known = self.account.greeting(&self.session.settings);
        if (known.is_none() || self.worker.session_mode())
            && let Err(ending) = self.first_backend().await
        {
            self.outbox = out;
            self.finish(ending).await;
            return None;
        }
        if let Some(parameters) = known {
            self.session.parameters = parameters;
        }
        for (name, value) in self.session.parameters.iter() {
            message::parameter_status(&mut out, name, value);
        }
        let key = CancelKey {
            process: self.shared.number,
            secret: self.shared.secret,
        };
        message::backend_key(&mut out, key);
        message::ready(&mut out, b'I');
        self.outbox = out;
        let mut clients = self.worker.clients.borrow_mut();
        clients.insert(self.shared.number, Rc::clone(&self.shared));
        drop(clients);
        Some(self)
    }

    /// Asks a server whether it takes what the client wants at its start, and what it reports then.
    async fn first_backend(&mut self) -> Result<(), Ending> {
        loop {
            let lease = self.acquire().await?;
            self.adopt(lease);
            self.blocked = Blocked::No;
            let Some(lease) = &mut self.lease else { break };
            let mut heard = Vec::new();
            let sink = &mut Sink::new(
                &self.worker.shop,
                &mut self.session,
                &mut heard,
                self.shared.number,
            );
            match settled(lease, sink).await {
                Ok(()) => break,
                // Nothing of the client's was on it.
                Err(Refusal::BackendLost) => {
                    let node = lease.pool.node;
                    self.lease = None;
                    self.worker.metrics.active.decrement();
                    self.worker.suspect(node);
                }
                Err(cause) => return Err(cause.into()),
            }
        }
        if let Some(lease) = &self.lease {
            self.session.parameters = Rc::clone(&lease.parameters);
            self.account
                .remember_greeting(&self.session.settings, &lease.parameters);
        }
        if self.worker.session_mode() {
            self.session.pins = Marks::SESSION_MODE;
        }
        self.settle()
    }

    async fn serve(&mut self) -> Ending {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                // Boxed: it is rare, and clients are many.
                Step::End(Ending::Lost) => match Box::pin(self.recover()).await {
                    Ok(()) => {}
                    Err(ending) => return ending,
                },
                Step::End(ending) => return ending,
                Step::Wait => match self.grant().await {
                    Ok(None) => {
                        if let Err(ending) = self.resume() {
                            return ending;
                        }
                    }
                    Ok(Some(lease)) => {
                        self.blocked = Blocked::No;
                        self.adopt(lease);
                        if let Err(ending) = self.resume() {
                            return ending;
                        }
                    }
                    Err(Ending::Refused(refusal)) if refusal_keeps_client(&refusal) => {
                        self.blocked = Blocked::No;
                        let tag = self.inbox.first().copied().unwrap_or_default();
                        self.refuse_unit(tag, &refusal);
                        if let Err(ending) = self.resume() {
                            return ending;
                        }
                    }
                    Err(ending) => return ending,
                },
            }
        }
    }

    /// A backend of the primary for the unit that begins; `None`: it has run on a replica.
    async fn grant(&mut self) -> Result<Option<Lease>, Ending> {
        // Boxed: clients are many, and few read at the same time.
        if self.may_read_elsewhere() && Box::pin(self.read_elsewhere()).await? {
            return Ok(None);
        }
        self.to_primary = true;
        self.acquire().await.map(Some)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.shared.register(cx.waker());
        match self.poll_all(cx) {
            Ok(true) => Poll::Ready(Step::Wait),
            Ok(false) => Poll::Pending,
            Err(ending) => Poll::Ready(Step::End(ending)),
        }
    }

    /// `true`: a backend is needed first.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        if self.shared.kill.get() {
            return Err(Refusal::Killed.into());
        }
        if let Some(askers) = self.shared.take_cancels()
            && let Some(lease) = self.lease.as_ref().filter(|lease| lease.may_be_cancelled())
        {
            cancel::send(&self.worker, lease, askers);
        }
        let mut dry = false;
        loop {
            self.write(cx)?;
            let mut moved = self.read_server(cx)?;
            let waits = matches!(self.blocked, Blocked::Quiet | Blocked::Settled);
            if waits && self.lease.as_ref().is_none_or(|lease| lease.has_answered()) {
                let settles = self.on_replica || self.blocked == Blocked::Settled;
                self.blocked = Blocked::No;
                if settles {
                    self.settle()?;
                }
                self.resume()?;
                moved = true;
            }
            if self.blocked == Blocked::Backend {
                self.write(cx)?;
                return Ok(true);
            }
            moved |= !dry && self.read_client(cx, &mut dry)?;
            if !moved {
                return match self.worker.ending.get() {
                    true => self.leaves_role().map(|()| false),
                    false => Ok(false),
                };
            }
        }
    }

    /// The role ends. What it had sent by now was read, and is answered first.
    fn leaves_role(&self) -> Result<(), Ending> {
        if self.worker.next.borrow().is_some() && self.may_move() {
            return Err(Ending::Moves);
        }
        let begun = self.passing > 0 || self.refused != Refused::No || !self.inbox.is_empty();
        if self.shared.drain.get() && self.lease.is_none() && !begun {
            return Err(Refusal::Killed.into());
        }
        Ok(())
    }

    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        self.write_server(cx);
        if !self.outbox.is_empty() && !self.keeps_back() {
            let before = self.outbox.len();
            let drained = self.stream.poll_drain(cx, &mut self.outbox);
            let gone = before - self.outbox.len();
            self.flight.goes_out(gone);
            if let Some(lease) = self.lease.as_mut().filter(|_| gone > 0) {
                lease.goes_out(gone);
            }
            match drained {
                Poll::Ready(Err(_)) => return Err(Ending::Left),
                Poll::Ready(Ok(())) => self.worker.give_buffer(std::mem::take(&mut self.outbox)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    fn keeps_back(&self) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.guard.is_some() && lease.keeps_back(self.outbox.len()))
    }

    pub(super) fn write_server(&mut self, cx: &mut Context<'_>) {
        if let Some(lease) = &mut self.lease {
            let lease = &mut **lease;
            if !lease.outbox.is_empty()
                && let Poll::Ready(Err(_)) = lease.stream.poll_drain(cx, &mut lease.outbox)
            {
                // What the server said before it closed is still to be read.
                lease.outbox.clear();
                lease.spent = true;
            }
        }
    }

    pub(super) fn read_server(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        // What is kept back goes on only when the end of the commit is read.
        if self.outbox.len() >= HIGH && !self.keeps_back() {
            return Ok(false);
        }
        let Some(lease) = &mut self.lease else {
            return Ok(false);
        };
        let mut scratch = self.worker.scratch.borrow_mut();
        let read = match lease.stream.poll_read(cx, &mut scratch) {
            Poll::Pending => return Ok(false),
            Poll::Ready(read) => read.unwrap_or(0),
        };
        if read == 0 {
            lease.spent = true;
            self.worker.metrics.eof.increment();
            return Err(Ending::Lost);
        }
        if self.outbox.capacity() == 0 {
            self.outbox = self.worker.buffer();
        }
        self.worker.metrics.bytes_out.add(read as u64);
        let sink = Sink::new(
            &self.worker.shop,
            &mut self.session,
            &mut self.outbox,
            self.shared.number,
        );
        let received = lease.receive(&scratch[..read], sink);
        drop(scratch);
        let slow = received.as_ref().ok().and_then(|received| received.slow);
        match received {
            Err(desync) => {
                lease.spent = true;
                self.worker.metrics.desyncs.increment();
                tracing::error!(
                    at = desync.0,
                    "a server's reply fits nothing that was sent: connection closed"
                );
                return Err(Refusal::Desync.into());
            }
            Ok(received) if received.fatal => {
                return Err(if lease.farewell.is_some() {
                    Ending::Lost
                } else {
                    Ending::ServerEnded
                });
            }
            Ok(received) => {
                if lease.commits_ours() {
                    // Not sent yet.
                    self.tracking.commits(&self.worker.fresh);
                }
                if !self.on_replica {
                    self.tracking.replied(&self.worker.fresh);
                }
                if received.ended {
                    self.again = 0;
                    if self.session.marks.has(Marks::DEFINITIONS) && lease.status == b'I' {
                        self.worker.fresh.definitions_changed();
                    }
                    if self.session.marks.has(Marks::DEFAULTS) && lease.status == b'I' {
                        self.worker.defaults_changed();
                    }
                    self.session.ask_again();
                    lease.info.units.set(lease.info.units.get() + 1);
                    self.worker.metrics.units.increment();
                    if !self.on_replica {
                        let owed = !lease.expected.is_empty();
                        let idle = lease.status == b'I' && !owed;
                        self.tracking.ended(&self.worker.fresh, idle, owed);
                    }
                }
            }
        }
        if let Some(slow) = slow {
            self.ended(slow);
        }
        self.settle()?;
        Ok(true)
    }

    /// `dry`: nothing more comes before the task is woken.
    fn read_client(&mut self, cx: &mut Context<'_>, dry: &mut bool) -> Result<bool, Ending> {
        let full = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.outbox.len() >= HIGH);
        if self.blocked != Blocked::No || full || self.outbox.len() >= HIGH {
            return Ok(false);
        }
        let worker = Rc::clone(&self.worker);
        let mut scratch = worker.scratch.borrow_mut();
        let read = match self.stream.poll_read(cx, &mut scratch) {
            Poll::Pending => {
                *dry = true;
                return Ok(false);
            }
            Poll::Ready(read) => read.unwrap_or(0),
        };
        if read == 0 {
            return Err(Ending::Left);
        }
        worker.metrics.bytes_in.add(read as u64);
        if self.inbox.is_empty() {
            let used = self.digest(&scratch[..read])?;
            if used < read {
                self.inbox = worker.buffer();
                self.inbox.extend_from_slice(&scratch[used..read]);
            }
        } else {
            self.inbox.extend_from_slice(&scratch[..read]);
            drop(scratch);
            self.resume()?;
        }
        Ok(true)
    }

    /// Deals with what has been read before.
    pub(super) fn resume(&mut self) -> Result<(), Ending> {
        if self.inbox.is_empty() || self.blocked != Blocked::No {
            return Ok(());
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let used = self.digest(&inbox)?;
        inbox.drain(..used);
        if inbox.is_empty() {
            self.worker.give_buffer(inbox);
        } else {
            self.inbox = inbox;
        }
        Ok(())
    }
}

/// Refusals of a single unit; the client may go on.
fn refusal_keeps_client(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::PoolWait { .. }
            | Refusal::Connect(_)
            | Refusal::Held
            | Refusal::ParkFull
            | Refusal::Cancelled
    )
}
