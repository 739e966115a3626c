//! The control task: takes snapshots, checks endpoints, binds listeners, tells the cores, reports, drains.
//!
//! It owns all global state; cores own theirs. It is never on a request's path. Tasks: itself, the reporter, one per
//! running check.

mod attacks;
mod cached;
mod certificates;
mod checks;
mod compression;
mod drain;
mod ejections;
mod fetch;
mod handover;
mod health;
mod identities;
mod instances;
mod limits;
mod listen;
mod measured;
mod on_disk;
mod origins;
mod page;
mod purges;
mod scrape;
mod sight;
mod streams;
mod take;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use banyan_runtime::handover::{Door, Inherited, asked, inherit};
use banyan_runtime::watched::Watch;
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks, cores, reporter, spans};
use banyan_tls::Server;
use banyan_topology::report::{EdgeReport, EndpointReport, RoleReport};
use banyan_topology::snapshot::EdgeSnapshot;
use banyan_topology::{Epoch, InstanceId, PlaceName, ProcessName};
use banyan_upstream::health::{CheckResult, Outliers};

use crate::cache;
use crate::core::census::Census;
use crate::core::command::{Command, Event};
use crate::core::{self, CoreStart};
use crate::filter::auth::passwords;
use crate::filter::buckets::Buckets;
use crate::forward::gate::Gate;
use crate::metrics::{CoreMetrics, totals};
use crate::sticky::Key;
use crate::{Config, Error, access_log};
use certificates::Certificates;
use health::Checked;
use identities::Identities;
use limits::Limits;
use listen::Listening;
use measured::Measured;
use origins::Origins;
use purges::Purges;
use scrape::{Ask, Scrape};
use sight::Sight;

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The control task's view of one core.
struct CoreLink {
    commands: mpsc::UnboundedSender<Command>,
    applied: Epoch,
    metrics: Arc<CoreMetrics>,
    drained: bool,
    /// Resolves when the core's thread has ended.
    ended: oneshot::Receiver<()>,
}

pub(crate) struct Control {
    clock: Clock,
    start: Instant,
    tasks: Tasks,
    /// Where it runs; `None`: it is the first edge.
    place: Option<PlaceName>,
    snapshot: EdgeSnapshot,
    cores: Vec<CoreLink>,
    endpoints: BTreeMap<InstanceId, Checked>,
    outliers: Outliers<InstanceId>,
    /// The line of each process.
    gates: BTreeMap<ProcessName, Arc<Gate>>,
    /// Where the installation's secrets are.
    secrets: PathBuf,
    /// Where the cache keeps what outlives the process.
    cache_folder: PathBuf,
    /// Read when sticky sessions by cookie are wanted for the first time.
    sticky: Option<Key>,
    /// What listeners that speak no HTTP have passed.
    streams: streams::Cells,
    listening: Vec<Listening>,
    /// Addresses given up whose connections go on: they count until the last has ended.
    given_up: Vec<Listening>,
    certificates: Certificates,
    identities: Identities,
    origins: Origins,
    limits: Limits,
    refused: Option<String>,
    events: mpsc::UnboundedReceiver<Event>,
    results: mpsc::UnboundedReceiver<Result>,
    results_to: mpsc::UnboundedSender<Result>,
    reports: watch::Sender<EdgeReport>,
    log_written: oneshot::Receiver<()>,
    /// Of the edge that ran before us, until we accept.
    inherited: Inherited,
    /// While inherited sockets wait for our first checks: until when at most.
    opening: Option<tokio::time::Instant>,
    door_path: PathBuf,
    door: Option<Door>,
    measured: Measured,
    /// What the cores share of the cache.
    stored: Arc<cache::Shared>,
    purges: Purges,
    sight: Sight,
    /// Who asks about the cache.
    questions: mpsc::UnboundedReceiver<sight::Asked>,
    scrape: Scrape,
    /// Who reads metrics.
    asks: mpsc::UnboundedReceiver<Ask>,
    /// Of traces.
    spans: spans::Way,
    started_unix_ms: u64,
}

/// Of a check.
struct Result {
    id: InstanceId,
    address: SocketAddr,
    result: CheckResult,
}

/// The role's whole life.
pub(crate) async fn run(
    config: Config,
    reports: watch::Sender<EdgeReport>,
    mut shutdown: Shutdown,
) -> std::result::Result<(), Error> {
    let (trigger, inner) = banyan_runtime::shutdown::channel();
    let tasks = Tasks::new(trigger);
    let mut watch = Watch::new(&config.snapshot_path())?;
    tasks.spawn(
        TaskKind::Background,
        "report",
        reporter::report(config.report_path(), reports.subscribe(), |report| {
            RoleReport::Edge(Box::new(report))
        }),
    );
    let Some(snapshot) = take::first(&mut watch, config.place.as_ref(), &reports, &mut shutdown).await else {
        return Ok(());
    };
    let inherited = inherit(config.handover_path(), &tasks).await;
    let mut control = Control::begin(config, snapshot, reports, tasks, inherited)?;
    let served = control.serve(&mut watch, &mut shutdown, inner).await;
    control.door = None;
    control.drain(&mut shutdown).await;
    control.end().await;
    served
}

impl Control {
    fn begin(
        config: Config,
        snapshot: EdgeSnapshot,
        reports: watch::Sender<EdgeReport>,
        tasks: Tasks,
        inherited: Inherited,
    ) -> std::result::Result<Self, Error> {
        let clock = Clock;
        let started_unix_ms = clock.unix_ms();
        let purges = Purges::begin(&config.purge_path(), started_unix_ms);
        let (sight, questions) = Sight::new(&config.sight_path(), started_unix_ms);
        let (door_path, cache_folder) = (config.handover_path(), config.cache_path());
        let start = clock.now();
        let (scrape, asks) = Scrape::new(&config.metrics_path(), started_unix_ms);
        let certificates = Certificates::new(&config.state_dir, Server::new().map_err(Error::Tls)?);
        let (events_to, events) = mpsc::unbounded_channel();
        let (results_to, results) = mpsc::unbounded_channel();
        let (log, buffers) = access_log::channel();
        let (written, log_written) = oneshot::channel();
        cores::spawn("edge-log", 0, move || async move {
            access_log::write_all(config.access_log, buffers).await;
            let _nobody_waits = written.send(());
        })
        .map_err(Error::Thread)?;
        let (way, batches) = spans::channel();
        let socket = spans::socket(&config.state_dir);
        tasks.spawn(TaskKind::Background, "spans", spans::send_all(socket, batches));
        let count = snapshot
            .settings
            .workers
            .map_or(cores::available().get(), usize::from)
            .max(1);
        let secrets = config.state_dir.join("secrets");
        let census = Arc::new(Census::default());
        let buckets = Arc::new(Buckets::default());
        let stored = Arc::new(cache::Shared::at(&snapshot.app, config.place.as_ref()));
        let (passwords, jobs) = passwords::channel();
        let cores = (0..count)
            .map(|index| {
                let metrics = Arc::new(CoreMetrics::default());
                start_core(CoreStart {
                    index,
                    clock,
                    start,
                    settings: snapshot.settings.clone(),
                    metrics,
                    log: log.clone(),
                    spans: way.clone(),
                    events: events_to.clone(),
                    census: Arc::clone(&census),
                    buckets: Arc::clone(&buckets),
                    stored: Arc::clone(&stored),
                    passwords: passwords.clone(),
                    // Each core counts its own tasks.
                    tasks: Tasks::new(banyan_runtime::shutdown::channel().0),
                })
            })
            .collect::<std::io::Result<_>>()
            .map_err(Error::Thread)?;
        let outliers = Outliers::new(snapshot.settings.health.clone(), |a: &InstanceId, b| {
            a.process == b.process
        });
        let mut control = Self {
            clock,
            start,
            tasks,
            place: config.place,
            snapshot,
            cores,
            endpoints: BTreeMap::new(),
            outliers,
            gates: BTreeMap::new(),
            secrets,
            cache_folder,
            sticky: None,
            streams: streams::Cells::new(),
            listening: Vec::new(),
            given_up: Vec::new(),
            certificates,
            identities: Identities::new(jobs),
            origins: Origins::new(),
            limits: Limits::new(config.limits_deadline),
            refused: None,
            events,
            results,
            results_to,
            reports,
            log_written,
            inherited,
            opening: None,
            door_path,
            door: None,
            measured: Measured::default(),
            stored,
            purges,
            sight,
            questions,
            scrape,
            asks,
            spans: way,
            started_unix_ms,
        };
        let wanted = control.snapshot.settings.sticky.clone();
        control.refused = control.need_key(wanted.as_ref()).err();
        let known = control.need_secret(&control.snapshot);
        control.refused = control.refused.or(known.err());
        let kept = control.need_disk(&control.snapshot.clone());
        control.refused = control.refused.or(kept.err());
        let identities = control.identities.prepare(&control.snapshot.settings, start);
        control.refused = control
            .refused
            .or_else(|| identities.values().find_map(|entry| entry.problem().cloned()));
        control.identify_by(identities);
        match control.origins.prepare(&control.snapshot.settings, count, start) {
            Ok(origins) => control.origins.take(origins),
            Err(why) => control.refused = Some(why),
        }
        control.look_at_limits();
        control.spread_snapshot();
        control.measured.taken = u64::from(!control.inherited.is_empty());
        if !control.inherited.is_empty() {
            control.purges.beside_another();
        }
        control.look_for_others();
        control.keep_sight();
        control.keep_metrics();
        control.begin_to_listen();
        Ok(control)
    }

    /// Until the end is asked for, or a bug ended a core: then the whole role is to be started anew.
    async fn serve(
        &mut self,
        watch: &mut Watch,
        shutdown: &mut Shutdown,
        mut inner: Shutdown,
    ) -> std::result::Result<(), Error> {
        let mut tick = tokio::time::interval(REPORT_EVERY);
        let stored = Arc::clone(&self.stored);
        loop {
            self.start_due_checks();
            self.check_origins();
            self.let_return();
            self.open_if_warm();
            let due = self.next_check().min(self.next_return());
            let due = due.min(self.origins.next_check(self.clock.now()));
            let due = tokio::time::Instant::from_std(due);
            tokio::select! {
                () = shutdown.draining() => return Ok(()),
                () = inner.draining() => return Err(Error::TaskPanicked),
                () = watch.changed() => {
                    self.look(watch);
                    self.look_at_purges();
                }
                () = stored.store.elsewhere.news() => self.gather_invalidated(),
                Some(event) = self.events.recv() => self.note(event),
                Some(result) = self.results.recv() => self.judge(result),
                Some(fetched) = self.identities.next() => self.take_fetched(fetched),
                Some(checked) = self.origins.next() => self.judge_origin(checked),
                Some(asker) = asked(self.door.as_ref()) => self.hand_over(asker),
                Some(ask) = self.asks.recv() => self.tell_measured(ask),
                Some(asked) = self.questions.recv() => self.tell_of_the_cache(asked),
                () = tokio::time::sleep_until(due) => {}
                // The watch's own second starts anew with each turn of this loop, so the timer looks, too.
                _ = tick.tick() => {
                    self.look(watch);
                    self.look_at_purges();
                    self.look_at_who_ended();
                    self.look_for_others();
                    self.keep_sight();
                    self.keep_door();
                    self.keep_metrics();
                    self.look_at_certificates();
                    self.look_at_identities();
                    self.look_at_origins();
                    self.look_at_limits();
                    self.forget_given_up();
                    self.publish();
                    if self.cores.iter().any(|core| core.commands.is_closed()) {
                        return Err(Error::TaskPanicked);
                    }
                }
            }
        }
    }

    fn tell_measured(&self, ask: Ask) {
        let mut families = self.families();
        if let Some(place) = &self.place {
            families.label("place", place.as_str());
        }
        // Who asked may have gone.
        let _gone = ask.send(families);
    }

    fn look_at_certificates(&mut self) {
        if let Some(renewed) = self
            .certificates
            .renewed(&self.snapshot.settings, self.unix_seconds())
        {
            tracing::info!("certificates changed: new handshakes are done by the new ones");
            self.serve_certificates(renewed);
        }
    }

    fn unix_seconds(&self) -> i64 {
        i64::try_from(self.clock.unix_ms() / 1000).unwrap_or(i64::MAX)
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Applied { core, epoch } => {
                let before = self.applied();
                self.cores[core].applied = epoch;
                if self.applied() == before {
                    return;
                }
            }
            Event::Suspect { id } => {
                let now = self.clock.now();
                if let Some(checked) = self.endpoints.get_mut(&id) {
                    checked.suspect(now);
                }
                return;
            }
            Event::Failed { id, cause } => {
                if !self.count_failure(&id, cause) {
                    return;
                }
            }
            Event::KeysWanted { core, auth, known } => {
                self.want_keys(core, &auth, known.as_ref());
                return;
            }
            Event::CountsAlone { core, problem } => self.note_counts(core, problem),
            Event::Emptied => {}
            Event::StoppedListening { core, at } => self.stopped_listening(core, at),
            Event::Drained { core } => self.cores[core].drained = true,
        }
        self.publish();
    }

    /// The epoch that every core serves.
    fn applied(&self) -> Epoch {
        self.cores
            .iter()
            .map(|core| core.applied)
            .min()
            .unwrap_or_default()
    }

    fn tell_all(&self, mut command: impl FnMut() -> Command) {
        for core in &self.cores {
            // A core that is gone has ended with the role.
            let _gone = core.commands.send(command());
        }
    }

    fn publish(&self) {
        let metrics: Vec<_> = self.cores.iter().map(|c| Arc::clone(&c.metrics)).collect();
        let second = self.clock.now().saturating_duration_since(self.start).as_secs();
        self.reports.send_replace(EdgeReport {
            pid: std::process::id(),
            place: self.place.clone(),
            epoch: self.applied(),
            listening: self.listening_on(),
            certificates: self.certificates.report(),
            auth: self.identities.report(),
            origins: self.origins.report(),
            counts_alone: self.limits.report(),
            refused: self.refused.clone(),
            streams: self.stream_reports(),
            endpoints: self
                .snapshot
                .endpoints()
                .filter_map(|e| self.endpoint_report(&e.id))
                .collect(),
            totals: totals(
                &metrics,
                self.gates.values().map(|gate| gate.waiting()).sum(),
                second,
            ),
            processes: self.measured.reports(second, |process| {
                self.gates.get(process).map_or(0, |gate| gate.waiting())
            }),
            metrics: self.scrape.report(),
            purge: self.purges.report(),
            cache: self.cache_report(),
        });
    }

    fn endpoint_report(&self, id: &InstanceId) -> Option<EndpointReport> {
        let checked = self.endpoints.get(id)?;
        Some(EndpointReport {
            id: id.clone(),
            healthy: checked.active.ready(),
            reason: checked.active.reason().map(str::to_owned),
            ejected: self.why_ejected(id),
            ejections: self.outliers.ejections(id),
            in_flight: checked.cells.iter().map(|c| c.in_flight.get()).sum(),
            requests: checked.cells.iter().map(|c| c.requests.get()).sum(),
            failures: checked.cells.iter().map(|c| c.failures.get()).sum(),
        })
    }
}

fn start_core(start: CoreStart) -> std::io::Result<CoreLink> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let (ending, ended) = oneshot::channel();
    let metrics = Arc::clone(&start.metrics);
    cores::spawn("edge", start.index, move || async move {
        core::run(start, receiver).await;
        let _nobody_waits = ending.send(());
    })?;
    Ok(CoreLink {
        commands,
        applied: Epoch::default(),
        metrics,
        drained: false,
        ended,
    })
}
