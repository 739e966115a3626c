//! The control task: takes snapshots, starts the workers, looks up verifiers, passes cancel requests on, reports, drains.
//!
//! It is never on a statement's path. Tasks: itself, the reporter, one per verifier that is looked up.

mod doors;
mod handover;
mod lag;
pub(crate) mod names;
pub(crate) mod nodes;
mod page;
mod rates;
mod reports;
mod requests;
mod sampler;
mod signals;
mod told;
mod verifiers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use banyan_runtime::handover::{Inherited, inherit};
use banyan_runtime::watched::{self, Watch};
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks, cores, reporter, spans};
use banyan_tls::{Pair, Server, TlsAcceptor};
use banyan_topology::report::{NodeSignals, PgproxyReport, RoleReport};
use banyan_topology::snapshot::PgproxySnapshot;

use crate::fresh::{self, Fresh};
use crate::frontend::accept::{self, Command};
use crate::metrics::WorkerMetrics;
use crate::worker::WorkerStart;
use crate::{Config, Error};
use doors::Doors;
use handover::{HandOver, Paths};
use lag::LagHistory;
use names::Names;
use rates::Rates;
pub(crate) use requests::{NoAnswer, Request, Rights, Stored};
use sampler::{Login, Sampled};
use signals::Judge;
use verifiers::Verifiers;

const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Clients in a transaction may end it.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// For the last clients to be with the next process.
const GIVE_LIMIT: Duration = Duration::from_secs(5);

struct Link {
    commands: mpsc::UnboundedSender<Command>,
    ended: oneshot::Receiver<()>,
}

struct Control {
    snapshot: Arc<PgproxySnapshot>,
    workers: Vec<Link>,
    metrics: Arc<[Arc<WorkerMetrics>]>,
    doors: Doors,
    refused: Option<String>,
    reports: watch::Sender<PgproxyReport>,
    verifiers: Verifiers,
    tls: Server,
    told: NodeSignals,
    tasks: Tasks,
    fresh: Arc<Fresh>,
    begun: Instant,
    started_unix_ms: u64,
    logins: watch::Sender<Login>,
    sampled: watch::Receiver<Arc<Sampled>>,
    judge: Judge,
    lag: LagHistory,
    rates: Rates,
    names: Names,
    hand_over: HandOver,
    requests: mpsc::UnboundedSender<Request>,
    spans: spans::Way,
}

pub(crate) async fn run(
    config: Config,
    reports: watch::Sender<PgproxyReport>,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let (trigger, inner) = banyan_runtime::shutdown::channel();
    let tasks = Tasks::new(trigger);
    let mut watch = Watch::new(&config.snapshot_path())?;
    let reporter = reporter::report(config.report_path(), reports.subscribe(), |report| {
        RoleReport::Pgproxy(Box::new(report))
    });
    tasks.spawn(TaskKind::Background, "report", reporter);
    let Some(snapshot) = first(&mut watch, &reports, &mut shutdown).await else {
        return Ok(());
    };
    let inherited = inherit(config.handover_path(), &tasks).await;
    let (requests_to, mut requests) = mpsc::unbounded_channel();
    let (signals, metrics) = (config.signals_path(), config.metrics_dir());
    let paths = Paths {
        sockets: config.handover_path(),
        clients: config.clients_path(),
    };
    let inherited = (inherited, paths);
    let (way, batches) = spans::channel();
    let sending = spans::send_all(spans::socket(&config.state_dir), batches);
    tasks.spawn(TaskKind::Background, "spans", sending);
    let mut control = Control::begin(
        snapshot,
        inherited,
        reports,
        tasks.clone(),
        requests_to.clone(),
        way,
    )?;
    let _sockets = told::open(&signals, &metrics, control.started_unix_ms, &requests_to, &tasks);
    drop(requests_to);
    control.publish().await;
    let served = control
        .serve(&mut watch, &mut requests, &mut shutdown, inner)
        .await;
    control.drain(&mut shutdown, &mut requests).await;
    served
}

/// Waits for the first good snapshot; `None`: the end came before.
async fn first(
    watch: &mut Watch,
    reports: &watch::Sender<PgproxyReport>,
    shutdown: &mut Shutdown,
) -> Option<PgproxySnapshot> {
    loop {
        let refused = match read(watch.path().to_owned()) {
            Ok(Some(snapshot)) => return Some(snapshot),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        reports.send_replace(PgproxyReport {
            pid: std::process::id(),
            refused,
            ..PgproxyReport::default()
        });
        tokio::select! {
            () = watch.changed() => {}
            () = shutdown.draining() => return None,
        }
    }
}

fn read(path: PathBuf) -> Result<Option<PgproxySnapshot>, String> {
    watched::read(&path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

/// Workers split the pool between them, and one serves what PostgreSQL on the same machine can answer.
const WORKERS: usize = 1;

impl Control {
    fn begin(
        snapshot: PgproxySnapshot,
        (inherited, paths): (Inherited, Paths),
        reports: watch::Sender<PgproxyReport>,
        tasks: Tasks,
        requests: mpsc::UnboundedSender<Request>,
        spans: spans::Way,
    ) -> Result<Self, Error> {
        let size = snapshot.database.pool.size.max(1) as usize;
        let first_client = match inherited.is_empty() {
            true => 0,
            false => rand::random(),
        };
        let sockets = doors::open(&snapshot, inherited, WORKERS.min(size))?;
        let count = sockets.get(&snapshot.listen).map_or(0, Vec::len);
        let hand_over = HandOver::new(paths, &sockets);
        let doors = Doors::of(&sockets).map_err(Error::Thread)?;
        let (watcher, fresh) = fresh::build();
        tasks.spawn(TaskKind::Background, "freshness", watcher.run(tasks.clone()));
        let (logins, asked) = watch::channel(Ok(None));
        let (told, sampled) = watch::channel(Arc::default());
        let sampler = sampler::run(asked, told, tasks.clone());
        tasks.spawn(TaskKind::Background, "figures", sampler);
        let metrics: Arc<[_]> = (0..count).map(|_| Arc::new(WorkerMetrics::default())).collect();
        let mut control = Self {
            snapshot: Arc::new(snapshot),
            workers: Vec::new(),
            metrics,
            doors,
            refused: None,
            reports,
            verifiers: Verifiers::default(),
            tls: Server::new()?,
            told: NodeSignals::default(),
            tasks,
            fresh,
            begun: Clock.now(),
            started_unix_ms: Clock.unix_ms(),
            logins,
            sampled,
            judge: Judge::new(),
            lag: LagHistory::default(),
            rates: Rates::default(),
            names: Names::default(),
            hand_over,
            requests: requests.clone(),
            spans,
        };
        control.follow();
        let tls = control.acceptor();
        for index in 0..count {
            let start = WorkerStart {
                index,
                snapshot: Arc::clone(&control.snapshot),
                all_metrics: Arc::clone(&control.metrics),
                control: requests.clone(),
                tls: tls.clone(),
                fresh: Arc::clone(&control.fresh),
                first_client,
                spans: control.spans.clone(),
            };
            control.workers.push(start_worker(start)?);
        }
        control.admit(sockets);
        Ok(control)
    }

    /// What TLS is spoken by. A certificate that cannot be used is reported, and SSLRequest is answered with N.
    fn acceptor(&mut self) -> Option<TlsAcceptor> {
        let files = self.snapshot.certificate.as_ref()?;
        let now = i64::try_from(Clock.unix_ms() / 1000).unwrap_or(i64::MAX);
        let made = Pair::read(&files.cert, &files.key, now)
            .map_err(|error| error.to_string())
            .and_then(|pair| {
                self.tls
                    .config_for(&[pair], &["postgresql"])
                    .map_err(|error| error.to_string())
            });
        match made {
            Ok(config) => Some(TlsAcceptor::from(config)),
            Err(why) => {
                tracing::error!(why, "TLS is not spoken: the certificate cannot be used");
                self.refused = Some(why);
                None
            }
        }
    }

    async fn serve(
        &mut self,
        watch: &mut Watch,
        requests: &mut mpsc::UnboundedReceiver<Request>,
        shutdown: &mut Shutdown,
        mut inner: Shutdown,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(REPORT_EVERY);
        loop {
            tokio::select! {
                () = shutdown.draining() => return Ok(()),
                () = inner.draining() => return Err(Error::TaskPanicked),
                () = watch.changed() => self.look(watch).await,
                Some(request) = requests.recv() => self.answer(request).await,
                Some(asker) = self.hand_over.asked() => self.hand_over.give(asker, &self.tasks),
                Some(giver) = self.hand_over.visited() => {
                    HandOver::take(giver, self.requests.clone(), &self.tasks);
                }
                _ = tick.tick() => {
                    self.hand_over.keep_door();
                    self.look(watch).await;
                    self.names.ask(&self.snapshot, &self.requests, &self.tasks);
                    self.publish().await;
                    if self.workers.iter().any(|worker| worker.commands.is_closed()) {
                        return Err(Error::TaskPanicked);
                    }
                }
            }
        }
    }

    /// Takes a newer snapshot; the last good one serves otherwise.
    async fn look(&mut self, watch: &Watch) {
        let snapshot = match read(watch.path().to_owned()) {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return,
            Err(why) => {
                self.refused = Some(why);
                return;
            }
        };
        if snapshot.epoch > self.snapshot.epoch {
            tracing::info!(epoch = %snapshot.epoch, "snapshot taken");
            self.take(self.names.corrected(snapshot)).await;
        }
    }

    async fn take(&mut self, snapshot: PgproxySnapshot) {
        let certificate = snapshot.certificate != self.snapshot.certificate;
        let auth = snapshot.auth != self.snapshot.auth
            || snapshot.database.primary() != self.snapshot.database.primary();
        match self.doors.open_for(&snapshot, self.workers.len()) {
            Ok(sockets) => {
                self.hand_over.add(&sockets);
                self.admit(sockets);
            }
            // It leads clients where they would find nobody.
            Err(error) => {
                self.refused = Some(error.to_string());
                return self.publish().await;
            }
        }
        for address in self.doors.close_for(&snapshot) {
            self.hand_over.remove(address);
            self.tell_all(|| Command::Leave(address));
        }
        self.refused = None;
        self.snapshot = Arc::new(snapshot);
        if auth {
            self.verifiers.forget();
        }
        if certificate {
            let acceptor = self.acceptor();
            self.tell_all(|| Command::Tls(acceptor.clone()));
        }
        self.follow();
        let snapshot = Arc::clone(&self.snapshot);
        self.tell_all(|| Command::Snapshot(Arc::clone(&snapshot)));
        self.publish().await;
    }

    /// Each worker accepts clients there, too.
    fn admit(&self, sockets: doors::Sockets) {
        for (address, sockets) in sockets {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                // A worker that is gone has ended with the role.
                let _gone = worker.commands.send(Command::Listen(address, socket));
            }
        }
    }

    /// Positions and definitions are those of the snapshot's servers.
    fn follow(&self) {
        match nodes::of(&self.snapshot) {
            Ok(nodes) => self.fresh.nodes(nodes),
            Err(why) => tracing::error!(why, "replicas cannot be watched: reads go to the primary"),
        }
        let login = nodes::entrance(&self.snapshot);
        self.logins.send_if_modified(|known| {
            let other = *known != login;
            *known = login;
            other
        });
    }

    fn tell_all(&self, mut command: impl FnMut() -> Command) {
        for worker in &self.workers {
            // A worker that is gone has ended with the role.
            let _gone = worker.commands.send(command());
        }
    }

    /// Clients between two units go to the next process, if there is one, or end at once; others at the end of their
    /// transaction, or at the limit.
    async fn drain(mut self, shutdown: &mut Shutdown, requests: &mut mpsc::UnboundedReceiver<Request>) {
        tracing::info!("draining");
        let tasks = self.tasks.clone();
        let (next, giving) = self.hand_over.end(&tasks).await.unzip();
        self.tell_all(|| Command::Drain(next.clone()));
        drop(next);
        let deadline = tokio::time::Instant::now() + DRAIN_LIMIT;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while self.metrics.iter().any(|metrics| metrics.clients.get() > 0) {
            tokio::select! {
                () = shutdown.now() => break,
                () = tokio::time::sleep_until(deadline) => break,
                Some(request) = requests.recv() => self.answer(request).await,
                _ = tick.tick() => {}
            }
        }
        self.publish().await;
        self.tell_all(|| Command::Now);
        for worker in &mut self.workers {
            if tokio::time::timeout(Duration::from_secs(2), &mut worker.ended)
                .await
                .is_err()
            {
                tracing::warn!("a worker did not end in time");
            }
        }
        if let Some(giving) = giving {
            // What went wrong it has said.
            let _late = tokio::time::timeout(GIVE_LIMIT, giving).await;
        }
    }
}

fn start_worker(start: WorkerStart) -> Result<Link, Error> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (ending, ended) = oneshot::channel();
    cores::spawn("pgproxy", start.index, move || async move {
        // Each worker counts its own tasks.
        let tasks = Tasks::new(banyan_runtime::shutdown::channel().0);
        accept::run(start, tasks, receiver).await;
        let _nobody_waits = ending.send(());
    })
    .map_err(Error::Thread)?;
    Ok(Link { commands, ended })
}
