//! The worker's loop: accepts clients, obeys the control task, ends when all clients have.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use banyan_runtime::parcels::Parcel;
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_telemetry::Gauge;
use banyan_tls::TlsAcceptor;
use banyan_topology::Epoch;
use banyan_topology::report::HoldState;
use banyan_topology::snapshot::PgproxySnapshot;

use super::console::{self, Action, Show};
use super::{cancel, client, greet, moved};
use crate::wire::startup::CancelKey;
use crate::worker::{Worker, WorkerStart};
use crate::workload::Counts;

/// From connect to the end of the login.
const GREET_LIMIT: Duration = Duration::from_secs(60);
/// After an accept failed (no file descriptors): clients queue meanwhile.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long spans of statements gather.
const SPANS_EVERY: Duration = Duration::from_millis(200);

/// While the role ends and another takes over, clients are looked at so often.
const LOOK: Duration = Duration::from_millis(20);
/// Looks after which those that cannot move are let go between two units: 20 s.
const PATIENCE: u32 = 1000;

pub(crate) enum Command {
    Snapshot(Arc<PgproxySnapshot>),
    Tls(Option<TlsAcceptor>),
    /// The client of that key is this worker's; done when it has taken effect.
    Cancel(CancelKey, oneshot::Sender<()>),
    Look(oneshot::Sender<View>),
    Show(Show, oneshot::Sender<Vec<Vec<String>>>),
    Act(Action),
    /// What was measured, and over how many seconds what is recent was.
    Counts(oneshot::Sender<(Counts, f64)>),
    /// A client of the process before.
    Moved(Parcel),
    /// Clients come by this socket, too.
    Listen(SocketAddr, std::net::TcpListener),
    /// No more by that of this address; those that have come stay.
    Leave(SocketAddr),
    /// No new clients; those between units go to the next process, or are told 57P01.
    Drain(Option<mpsc::UnboundedSender<Parcel>>),
    /// End all.
    Now,
}

/// What the control task learns of a worker.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) epoch: Epoch,
    pub(crate) hold: HoldState,
    pub(crate) hold_failure: Option<String>,
    pub(crate) backends: u64,
    pub(crate) waiting: u64,
    pub(crate) pinned: u64,
    /// Slow statements since the start.
    pub(crate) slow: u64,
}

pub(crate) async fn run(start: WorkerStart, tasks: Tasks, mut commands: mpsc::UnboundedReceiver<Command>) {
    let worker = Worker::new(start, tasks);
    let mut doors = Doors::default();
    let mut look = tokio::time::interval(LOOK);
    let mut looks = 0;
    let mut spans = tokio::time::interval(SPANS_EVERY);
    spans.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick(), if worker.ending.get() => {
                looks += 1;
                drain(&worker, looks >= PATIENCE || worker.next.borrow().is_none());
            }
            accepted = doors.accept() => match accepted {
                Ok((stream, peer)) => begin(&worker, stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a client");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            _ = spans.tick() => worker.tend_spans(),
            command = commands.recv() => match command {
                Some(Command::Listen(address, socket)) => doors.open(address, socket),
                Some(Command::Leave(address)) => {
                    doors.close(address).into_iter().for_each(|(stream, peer)| begin(&worker, stream, peer));
                }
                Some(Command::Drain(next)) => {
                    doors = Doors::default();
                    *worker.next.borrow_mut() = next;
                    worker.ending.set(true);
                    worker.pools().iter().for_each(|pool| pool.close_idle());
                }
                Some(Command::Now) | None => break,
                Some(command) => obey(&worker, command),
            },
        }
    }
}

type Accepted = (TcpStream, SocketAddr);

/// The sockets that clients come by.
#[derive(Default)]
struct Doors(Vec<(SocketAddr, TcpListener)>);

impl Doors {
    fn open(&mut self, address: SocketAddr, socket: std::net::TcpListener) {
        match TcpListener::from_std(socket) {
            Ok(listener) => self.0.push((address, listener)),
            Err(error) => tracing::error!(%error, "failed to use the listening socket"),
        }
    }

    /// Who waits to be accepted there is not sent away.
    fn close(&mut self, address: SocketAddr) -> Vec<Accepted> {
        let closed = self.0.extract_if(.., |(asked, _)| *asked == address);
        let closed = closed.filter_map(|(_, listener)| listener.into_std().ok());
        let mut waiting = Vec::new();
        for listener in closed {
            while let Ok((stream, peer)) = listener.accept() {
                let stream = stream
                    .set_nonblocking(true)
                    .and_then(|()| TcpStream::from_std(stream));
                waiting.extend(stream.ok().map(|stream| (stream, peer)));
            }
        }
        waiting
    }

    async fn accept(&self) -> std::io::Result<Accepted> {
        poll_fn(|context| {
            let mut polled = self.0.iter().map(|(_, listener)| listener.poll_accept(context));
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

/// Who may move does so as it comes to rest; `all`: who may not is told to go then.
fn drain(worker: &Rc<Worker>, all: bool) {
    for client in worker.clients.borrow().values() {
        client.drain.set(all);
        client.wake();
    }
}

fn obey(worker: &Rc<Worker>, command: Command) {
    match command {
        Command::Snapshot(snapshot) => worker.take_snapshot(snapshot),
        Command::Tls(acceptor) => *worker.tls.borrow_mut() = acceptor,
        Command::Cancel(key, done) => cancel::local(worker, key, done),
        Command::Show(what, reply) => {
            let _gone = reply.send(console::show::rows(worker, what));
        }
        Command::Act(action) => act(worker, action),
        Command::Counts(reply) => {
            let workload = &worker.shop.workload;
            let _gone = reply.send((workload.counts(), workload.recent_seconds()));
        }
        Command::Look(reply) => {
            let backends = u64::from(worker.backends());
            let now = Clock.now();
            let parked = worker.gate.parked() as u64;
            let pools = worker.pools();
            let figures = || pools.iter().map(|pool| pool.figures(now));
            let waiting: u64 = figures().map(|figures| figures.waiting as u64).sum();
            let _gone = reply.send(View {
                epoch: worker.snapshot.borrow().epoch,
                hold: worker.gate.state(),
                hold_failure: worker.gate.failure(),
                backends,
                waiting: waiting + parked,
                pinned: figures().map(|figures| u64::from(figures.pinned)).sum(),
                slow: worker.shop.workload.slow(),
            });
        }
        Command::Moved(parcel) => moved::settle_in(worker, parcel),
        Command::Listen(..) | Command::Leave(_) | Command::Drain(_) | Command::Now => {}
    }
}

fn act(worker: &Rc<Worker>, action: Action) {
    match action {
        Action::Pause(limit) => worker.gate.pause(worker, limit),
        Action::Resume => worker.gate.resume(worker),
        Action::Reconnect => worker.renew(),
        Action::Kill(number) => {
            if let Some(client) = worker.clients.borrow().get(&number) {
                client.kill.set(true);
                client.wake();
            }
        }
    }
}

fn begin(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
    let worker_too = Rc::clone(worker);
    worker
        .tasks
        .spawn_local(TaskKind::Connection, "client", async move {
            let worker = worker_too;
            let _counted = Counted::new(&worker.metrics.clients);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "failed to set TCP_NODELAY");
            }
            // Boxed: what the greeting needs is freed before the client idles.
            let greeted = Box::pin(tokio::time::timeout(
                GREET_LIMIT,
                greet::greet(stream, peer, &worker),
            ))
            .await;
            if let Ok(Some(client)) = greeted {
                client::run(client).await;
            }
        });
}

/// Counts as long as it lives.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    pub(super) fn new(gauge: &'a Gauge) -> Self {
        gauge.increment();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.decrement();
    }
}
