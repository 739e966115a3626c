//! The controller's loop: the one owner of what is known and of the one running change.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_runtime::control::Listener;
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks};
use banyan_topology::report::{EdgeReport, ObserveReport, PgproxyReport, RoleReport};
use banyan_topology::{AppName, Database, PlaceName, Topology};
use tokio::sync::mpsc;

use super::busy::{Busy, What};
use super::change::{Changer, done_reply};
use super::handle::{Asked, Handle, Message};
use super::rates::Rates;
use super::scale::{self, Scaling};
use super::status::{Known, status};
use super::{Done, Ending, Newest};
use crate::driver::{Driver, Failing};
use crate::execute::Event;
use crate::lock::Lock;
use crate::proto::{ConfigPaths, MendedState, Outcome, Reply, Request};
use crate::purge::{Purges, endpoint};

/// Reports wait here for the loop; a role sends one each second.
const REPORTS: usize = 64;
/// Certificates live for months: this only decides how soon a failure is tried again.
const TEND_EVERY: Duration = Duration::from_secs(600);

/// Runs the controller; made by [`super::build`].
pub struct Service<D> {
    pub(super) lock: Lock,
    pub(super) changer: Changer<D>,
    pub(super) config: ConfigPaths,
    pub(super) control: Listener,
    pub(super) report: Listener,
    pub(super) handle: Handle,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) newest: Newest,
    pub(super) purges: Purges,
    pub(super) purge_endpoint: endpoint::Wanted,
    pub(super) tasks: Tasks,
}

pub(super) struct Loop<D> {
    pub(super) changer: Changer<D>,
    pub(super) config: ConfigPaths,
    pub(super) tasks: Tasks,
    pub(super) purges: Purges,
    pub(super) purge_endpoint: endpoint::Wanted,
    pub(super) topology: Option<Topology>,
    pub(super) rates: Rates,
    /// Of the edge's places.
    pub(super) places: BTreeMap<PlaceName, Rates>,
    /// What the PostgreSQL proxy said last.
    pub(super) pgproxy: Option<PgproxyReport>,
    pub(super) observe: Option<ObserveReport>,
    pub(super) scaling: Scaling,
    pub(super) busy: Option<Busy>,
    pub(super) unfinished: Option<(usize, usize, String)>,
    pub(super) mended: Option<MendedState>,
    pub(super) clock: Clock,
    pub(super) ending: Option<Ending>,
    /// Who is primary may have changed: it is to be watched anew.
    pub(super) watch_anew: bool,
}

enum Happened {
    Message(Message),
    Report(Box<EdgeReport>),
    Event(Event),
    Finished(Option<Box<Reply>>),
    Tend,
    Scale,
    Failed,
    Drain,
    Now,
}

impl<D: Driver> Service<D> {
    /// Serves until everything was brought down: by a `Down` request, or in order when `shutdown` begins to drain
    /// (Ctrl-C); `shutdown` at `Now` kills everything at once.
    pub async fn run(self, mut shutdown: Shutdown) -> Ending {
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let metrics = self.changer.state.metrics();
        let acceptors = [
            self.tasks.spawn(
                TaskKind::Background,
                "metrics of the controller",
                super::measured::serve(metrics, self.handle.clone()),
            ),
            self.tasks.spawn(
                TaskKind::Background,
                "control socket",
                super::sockets::serve_control(self.control, self.handle, self.tasks.clone()),
            ),
            self.tasks.spawn(
                TaskKind::Background,
                "report socket",
                super::sockets::serve_reports(self.report, reports, self.tasks.clone()),
            ),
        ];
        let mut messages = self.messages;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let files = &self.changer.state;
        let scaling = Scaling::new(files.scale(), files.decisions(), cores, Clock.unix_ms());
        let mut state = Loop {
            scaling,
            changer: self.changer,
            config: self.config,
            tasks: self.tasks,
            purges: self.purges,
            purge_endpoint: self.purge_endpoint,
            topology: None,
            rates: Rates::default(),
            places: BTreeMap::new(),
            pgproxy: None,
            observe: None,
            busy: None,
            unfinished: None,
            mended: None,
            clock: Clock,
            ending: None,
            watch_anew: false,
        };
        let mut failing: Failing = Box::pin(std::future::pending());
        let mut drain = shutdown.clone();
        let mut draining = false;
        let mut tend = tokio::time::interval(TEND_EVERY);
        let mut scale = tokio::time::interval(scale::EVERY);
        let ending = loop {
            let happened = tokio::select! {
                biased;
                () = shutdown.now() => Happened::Now,
                () = drain.draining(), if !draining => Happened::Drain,
                Some(report) = reported.recv() => match report {
                    RoleReport::Edge(report) => Happened::Report(report),
                    RoleReport::Observe(report) => {
                        state.observe = Some((*report).clone());
                        self.newest.observe.send_replace(Some(*report));
                        continue;
                    }
                    RoleReport::Pgproxy(report) => {
                        state.pgproxy = Some((*report).clone());
                        self.newest.pgproxy.send_replace(Some(*report));
                        continue;
                    }
                },
                happened = progress(&mut state.busy) => happened,
                () = &mut failing => Happened::Failed,
                Some(message) = messages.recv() => Happened::Message(message),
                _ = tend.tick() => Happened::Tend,
                _ = scale.tick() => Happened::Scale,
            };
            match happened {
                Happened::Message(message) => state.asked(message).await,
                Happened::Report(report) => {
                    state.purges.heard(&report);
                    let now = state.clock.now();
                    state.rates_at(report.place.as_ref()).take(now, (*report).clone());
                    if let Some(topology) = &state.topology {
                        state.scaling.heard(now, topology, &report);
                    }
                    self.newest.take(*report);
                }
                Happened::Event(event) => state.heard(event),
                Happened::Finished(reply) => state.finished(reply.map(|reply| *reply), draining),
                Happened::Tend => {
                    if let Some(topology) = &state.topology {
                        state.changer.driver.tend(topology);
                    }
                }
                Happened::Scale => state.scale().await,
                Happened::Failed => {
                    failing = Box::pin(std::future::pending());
                    state.begin_mend().await;
                }
                Happened::Drain => {
                    draining = true;
                    state.begin_down(None).await;
                }
                Happened::Now => {
                    state.kill().await;
                    break Ending::Killed;
                }
            }
            if let (true, Some(topology)) = (std::mem::take(&mut state.watch_anew), &state.topology) {
                failing = state.changer.driver.failing(topology);
            }
            if let Some(ending) = state.ending {
                break ending;
            }
        };
        for acceptor in acceptors {
            acceptor.abort();
        }
        drop(self.lock);
        ending
    }
}

/// What the running change does next; never, while there is none.
async fn progress(busy: &mut Option<Busy>) -> Happened {
    let Some(busy) = busy else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        Some(event) = busy.events.recv() => Happened::Event(event),
        ended = &mut busy.task => Happened::Finished(ended.ok().flatten().map(Box::new)),
    }
}

impl<D: Driver> Loop<D> {
    /// Of the edge there.
    fn rates_at(&mut self, place: Option<&PlaceName>) -> &mut Rates {
        match place {
            Some(place) => self.places.entry(place.clone()).or_default(),
            None => &mut self.rates,
        }
    }

    async fn asked(&mut self, message: Message) {
        let Message { asked, replies } = message;
        match asked {
            Asked::Request(Request::Status) => {
                let status = self.status().await;
                tell(&replies, Reply::Status(Box::new(status)));
            }
            Asked::Request(Request::Plan { config, change }) => {
                let changer = self.changer.clone();
                self.tasks.spawn(TaskKind::Connection, "plan", async move {
                    tell(&replies, changer.plan(&config, &change).await);
                });
            }
            Asked::Request(Request::Backup { kind }) => {
                let changer = self.changer.clone();
                self.tasks.spawn(TaskKind::Connection, "backup", async move {
                    super::backup::back_up(&*changer.driver, kind, &replies).await;
                });
            }
            Asked::Request(Request::Purge { scopes, mode }) => {
                let purges = self.purges.clone();
                let has_cache = self.topology.as_ref().is_some_and(super::purging::has_cache);
                self.tasks.spawn(TaskKind::Connection, "purge", async move {
                    super::purging::purge(&purges, has_cache, scopes, mode, &replies).await;
                });
            }
            Asked::Request(Request::Autoscale { verb }) => self.autoscale(verb, &replies),
            Asked::Request(Request::Down) => self.begin_down(Some(replies)).await,
            Asked::Kill => {
                self.kill().await;
                self.ending = Some(Ending::Killed);
            }
            asked => match &self.busy {
                // People come first: the load is looked at again when they are done.
                Some(busy) if busy.what == What::Scale => {
                    self.cut_short("another change was asked for").await;
                    self.begin(asked, replies);
                }
                Some(busy) => tell(&replies, done_reply(busy.refusal())),
                None => self.begin(asked, replies),
            },
        }
    }

    fn begin(&mut self, asked: Asked, replies: mpsc::UnboundedSender<Reply>) {
        let changer = self.changer.clone();
        let config = self.config.clone();
        let (sender, events) = mpsc::unbounded_channel();
        let what = match &asked {
            Asked::BringUp => What::BringUp,
            Asked::Request(_) | Asked::Kill => What::Change,
        };
        let task = self.tasks.spawn(TaskKind::Background, "change", async move {
            let mut hear = |event| drop(sender.send(event));
            Box::pin(perform(&changer, asked, &config, &mut hear)).await
        });
        let now_ms = self.clock.unix_ms();
        self.busy = Some(Busy::begin(what, task, events, vec![replies], now_ms));
    }

    /// Cuts a running change short (what it had begun is set aside), then stops everything in order.
    async fn begin_down(&mut self, replies: Option<mpsc::UnboundedSender<Reply>>) {
        if let Some(busy) = &mut self.busy
            && busy.what == What::Down
        {
            busy.listeners.extend(replies);
            return;
        }
        self.cut_short("everything goes down").await;
        let changer = self.changer.clone();
        let app = self.topology.as_ref().map(|topology| topology.app.clone());
        let config = self.config.clone();
        let (sender, events) = mpsc::unbounded_channel();
        let task = self.tasks.spawn(TaskKind::Background, "down", async move {
            let mut hear = |event| drop(sender.send(event));
            Box::pin(bring_down(&changer, app, &config, &mut hear)).await
        });
        let (listeners, now_ms) = (replies.into_iter().collect(), self.clock.unix_ms());
        self.busy = Some(Busy::begin(What::Down, task, events, listeners, now_ms));
    }

    /// A change that is under way is cut short if it might take another server for the primary; it can be resumed.
    async fn begin_mend(&mut self) {
        let Some(topology) = self.topology.clone() else {
            return;
        };
        let alone = topology.database.as_ref().is_none_or(Database::is_alone);
        match &self.busy {
            Some(busy) if busy.what == What::Down || busy.what == What::Mend || alone => {
                // The supervisor starts it again; what is under way goes on.
                self.watch_anew = true;
                return;
            }
            Some(_) => self.cut_short("the primary of the database has failed").await,
            None => {}
        }
        let changer = self.changer.clone();
        let (sender, events) = mpsc::unbounded_channel();
        let app = topology.app;
        let task = self.tasks.spawn(TaskKind::Background, "mend", async move {
            let mut hear = |event| drop(sender.send(event));
            done_reply(Box::pin(changer.mend(&app, &mut hear)).await)
        });
        let now_ms = self.clock.unix_ms();
        self.busy = Some(Busy::begin(What::Mend, task, events, Vec::new(), now_ms));
    }

    pub(super) async fn cut_short(&mut self, why: &str) {
        if let Some(busy) = self.busy.take() {
            busy.task.abort();
            // Its end is awaited: the journal must have one writer.
            drop(busy.task.await);
            let done = Done {
                outcome: Outcome::Stopped,
                error: Some(format!("cut short: {why}")),
                notes: Vec::new(),
            };
            for listener in &busy.listeners {
                tell(listener, done_reply(done.clone()));
            }
        }
    }

    async fn kill(&mut self) {
        self.cut_short("everything was killed").await;
        self.changer.driver.kill_all().await;
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::Reached(topology) => {
                let servers = |topology: &Topology| (topology.database.clone(), topology.pgproxy.is_some());
                self.watch_anew |= self.topology.as_ref().map(servers) != Some(servers(&topology));
                self.changer.driver.tend(&topology);
                self.purge_endpoint
                    .send_replace(super::purging::endpoint_of(&topology));
                self.topology = Some(*topology);
            }
            Event::Progress(progress) => {
                let now_ms = self.clock.unix_ms();
                if let Some(busy) = &mut self.busy {
                    busy.heard(progress, now_ms);
                }
            }
        }
    }

    fn finished(&mut self, reply: Option<Reply>, draining: bool) {
        let Some(mut busy) = self.busy.take() else {
            return;
        };
        while let Ok(event) = busy.events.try_recv() {
            self.heard(event);
        }
        self.watch_anew |= busy.what == What::Mend;
        self.unfinished = self.changer.unfinished();
        let reply = reply.unwrap_or_else(|| {
            done_reply(Done {
                outcome: Outcome::Stopped,
                error: Some(
                    "this is a bug in Banyan: the change ended without saying how; see the log".to_owned(),
                ),
                notes: Vec::new(),
            })
        });
        if let Some(scaled) = &busy.scaled {
            self.scaled(scaled, &reply);
        }
        if busy.what == What::Mend
            && let Reply::Done { error, notes, .. } = &reply
            && !(notes.is_empty() && error.is_none())
        {
            self.mended = Some(MendedState {
                at_ms: self.clock.unix_ms(),
                notes: notes.iter().chain(error).cloned().collect(),
            });
        }
        self.ending = self.ending_after(busy.what, &reply, draining);
        for listener in &busy.listeners {
            tell(listener, reply.clone());
        }
    }

    /// Whether the controller's work is over: all is down, or the start failed and nothing runs.
    fn ending_after(&self, what: What, reply: &Reply, draining: bool) -> Option<Ending> {
        let Reply::Done { outcome, .. } = reply else {
            return None;
        };
        let nothing_runs = self.topology.as_ref().is_none_or(Topology::is_stopped);
        match (what, outcome) {
            (What::Down, Outcome::Nothing | Outcome::Changed) => Some(Ending::Down),
            (What::Down, _) if draining => Some(Ending::Incomplete),
            (What::BringUp, Outcome::Refused) => Some(Ending::NotStarted),
            (What::BringUp, Outcome::RolledBack | Outcome::Stopped) if nothing_runs => {
                Some(Ending::NotStarted)
            }
            _ => None,
        }
    }

    async fn status(&self) -> crate::proto::Status {
        let children = self.changer.driver.children();
        let children = tokio::time::timeout(Duration::from_secs(2), children).await;
        let unknown = Topology::nothing(self.app());
        status(Known {
            topology: self.topology.as_ref().unwrap_or(&unknown),
            children: children.unwrap_or_default(),
            rates: &self.rates,
            places: &self.places,
            pgproxy: self.pgproxy.as_ref(),
            observe: self.observe.as_ref(),
            unfinished: self.unfinished.clone(),
            under_way: self.busy.as_ref().map(Busy::under_way),
            state: &self.changer.state,
            certificate_problem: self.changer.driver.certificate_problem(),
            backup: self.changer.driver.backups(),
            autoscale: self
                .topology
                .as_ref()
                .and_then(|topology| self.scaling.shown(topology)),
            redis: self.changer.driver.redis(),
            mended: self.mended.clone(),
            now: self.clock.now(),
        })
    }

    /// Before the first topology is known nothing runs under any name yet.
    fn app(&self) -> AppName {
        let known = (self.changer.load)(&self.config).map(|loaded| loaded.config.name);
        known.unwrap_or_else(|_| "unknown".parse().expect("it is a name"))
    }
}

async fn perform<D: Driver>(
    changer: &Changer<D>,
    asked: Asked,
    config: &ConfigPaths,
    hear: &mut (dyn FnMut(Event) + Send),
) -> Reply {
    match asked {
        Asked::BringUp => done_reply(changer.bring_up(config, hear).await),
        Asked::Request(Request::Apply {
            config,
            change,
            config_hash,
        }) => done_reply(changer.apply(&config, change, config_hash, hear).await),
        Asked::Request(Request::Resume) => done_reply(changer.resume(hear).await),
        Asked::Request(Request::Revert) => done_reply(changer.revert(hear).await),
        Asked::Request(Request::Trial { config }) => changer.trial(&config).await,
        Asked::Request(
            Request::Status
            | Request::Plan { .. }
            | Request::Backup { .. }
            | Request::Purge { .. }
            | Request::Autoscale { .. }
            | Request::Down,
        )
        | Asked::Kill => {
            unreachable!("the loop answers these itself")
        }
    }
}

async fn bring_down<D: Driver>(
    changer: &Changer<D>,
    app: Option<AppName>,
    config: &ConfigPaths,
    hear: &mut (dyn FnMut(Event) + Send),
) -> Reply {
    done_reply(match app {
        Some(app) => changer.down(&app, hear).await,
        // Nothing was brought up by this controller: what runs was left by an earlier one.
        None => changer.take_over_and_down(config, hear).await,
    })
}

/// Who asked may have left.
pub(super) fn tell(listener: &mpsc::UnboundedSender<Reply>, reply: Reply) {
    drop(listener.send(reply));
}
