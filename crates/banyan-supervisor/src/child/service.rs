//! The owner of the list of children, and the handle to it.

mod handle;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use banyan_config::LogSettings;
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::handle::Handle;
use self::handle::Request;
use super::actor::{Actor, FromChild, Link, ToChild, World};
use super::cgroup::Cgroups;
use super::error::{NotReady, StartError};
use super::once::Once;
use super::process::Launcher;
use super::spec::{ChildId, ChildSpec};
use super::status::{Adopted, ChildStatus, RunOutcome, StopReport};
use super::{log, procfs, survivor};

/// How often the sizes of logs are looked at.
const ROTATE_EVERY: Duration = Duration::from_secs(2);

/// Where the supervisor keeps what it must: `state_dir/children.json` (what to adopt).
pub struct SupervisorConfig {
    pub state_dir: PathBuf,
    /// Path of this binary, for the `launch` shim.
    pub program: PathBuf,
}

pub struct Service {
    state_dir: PathBuf,
    /// What is kept of logs, as told last.
    logs: watch::Receiver<LogSettings>,
    /// Rotates, packs and clears logs; one at a time.
    upkeep: Option<JoinHandle<()>>,
    world: World,
    requests: mpsc::Receiver<Request>,
    from_children: mpsc::UnboundedReceiver<FromChild>,
    children: BTreeMap<ChildId, Child>,
    /// Recorded by an earlier controller and neither adopted nor ended yet.
    unclaimed: Vec<Adopted>,
}

struct Child {
    link: Link,
    process: Option<Adopted>,
    log: PathBuf,
}

/// Starts nothing.
pub fn build(config: SupervisorConfig, tasks: &Tasks) -> io::Result<(Service, Handle)> {
    let state_dir = std::fs::canonicalize(&config.state_dir)?;
    let installation = survivor::installation(&state_dir);
    let (sender, requests) = mpsc::channel(64);
    let (to_service, from_children) = mpsc::unbounded_channel();
    let (keep, logs) = watch::channel(LogSettings::default());
    let service = Service {
        world: World {
            launcher: Launcher {
                cgroups: Cgroups::detect(&installation),
                installation,
                program: config.program,
            },
            tasks: tasks.clone(),
            clock: Clock,
            to_service,
            kill: CancellationToken::new(),
        },
        unclaimed: survivor::recorded(&state_dir),
        state_dir,
        logs,
        upkeep: None,
        requests,
        from_children,
        children: BTreeMap::new(),
    };
    Ok((service, Handle::new(sender, keep)))
}

impl Service {
    /// Returns when `shutdown` says now, **leaving the children running**: stopping is the plan's work.
    pub async fn run(mut self, shutdown: Shutdown) {
        self.serve(shutdown).await;
        // Those of the children that were stopped last; a busy one is tried for some moments.
        const TRIES: u32 = 20;
        for _try in 0..TRIES {
            if self.tidy() || !self.children.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Removes cgroups that no child needs any more. True: none is left.
    fn tidy(&self) -> bool {
        let cgroups = self.world.launcher.cgroups.as_ref();
        cgroups.is_none_or(|cgroups| cgroups.remove_empty(|id| self.children.contains_key(id)))
    }

    async fn serve(&mut self, mut shutdown: Shutdown) {
        let mut rotation = tokio::time::interval(ROTATE_EVERY);
        rotation.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // First what children say, so that an answer they gave is already true here.
                biased;
                Some(message) = self.from_children.recv() => self.heard(message),
                () = shutdown.now() => return,
                request = self.requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => return,
                },
                _ = rotation.tick() => {
                    self.tend_logs();
                    self.tidy();
                }
            }
        }
    }

    fn heard(&mut self, message: FromChild) {
        match message {
            FromChild::Process(id, process) => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.process = process;
                }
            }
            FromChild::Ended(id) => {
                self.children.remove(&id);
            }
        }
        self.record();
    }

    fn record(&mut self) {
        self.unclaimed.retain(survivor::is_alive);
        let running = self.children.values().filter_map(|child| child.process.clone());
        let all: Vec<Adopted> = running.chain(self.unclaimed.iter().cloned()).collect();
        survivor::record(&self.state_dir, &all);
    }

    async fn handle(&mut self, request: Request) {
        match request {
            Request::Start(spec, reply) => self.start(*spec, reply),
            Request::Run(spec, limit, reply) => self.run_once(*spec, limit, reply),
            Request::Ready(id, reply) => self.ready(id, reply).await,
            Request::Stop(id, reply) => self.stop(&id, reply).await,
            Request::Fence(id, reply) => self.fence(&id, reply).await,
            Request::Watch(id, reply) => {
                if let Some(child) = self.children.get(&id) {
                    reply.send(child.link.status.clone()).ok();
                }
            }
            Request::Configure(spec) => self.configure(*spec).await,
            Request::KillAll(reply) => self.kill_all(reply),
            Request::Survivors(reply) => self.survivors(reply),
            Request::Adopt(spec, survivor, reply) => {
                let adopted = self.adopt(*spec, &survivor);
                reply.send(adopted).ok();
            }
            Request::Status(reply) => self.status(reply),
        }
    }

    fn start(&mut self, spec: ChildSpec, reply: oneshot::Sender<Result<(), StartError>>) {
        if self.children.contains_key(&spec.id) {
            reply.send(Err(StartError::Exists(spec.id))).ok();
            return;
        }
        self.unclaimed.retain(|survivor| survivor.id != spec.id);
        let (id, log) = (spec.id.clone(), spec.log.clone());
        let (actor, link) = Actor::new(spec, self.world.clone(), None);
        self.insert(id, link, log, None);
        self.world
            .tasks
            .spawn(TaskKind::Background, "child", actor.start(reply));
    }

    fn run_once(
        &mut self,
        spec: ChildSpec,
        limit: Duration,
        reply: oneshot::Sender<Result<RunOutcome, StartError>>,
    ) {
        if self.children.contains_key(&spec.id) {
            reply.send(Err(StartError::Exists(spec.id))).ok();
            return;
        }
        let (id, log) = (spec.id.clone(), spec.log.clone());
        let (once, link) = Once::new(spec, self.world.clone(), limit);
        self.insert(id, link, log, None);
        self.world
            .tasks
            .spawn(TaskKind::Background, "command", once.run(reply));
    }

    fn insert(&mut self, id: ChildId, link: Link, log: PathBuf, process: Option<Adopted>) {
        self.children.insert(id, Child { link, process, log });
    }

    async fn ready(&self, id: ChildId, reply: oneshot::Sender<Result<(), NotReady>>) {
        match self.children.get(&id) {
            None => {
                reply.send(Err(NotReady::Unknown(id))).ok();
            }
            // A closed channel drops the reply: the caller hears that the child is gone.
            Some(child) => {
                child.link.commands.send(ToChild::Ready(reply)).await.ok();
            }
        }
    }

    async fn stop(&self, id: &ChildId, reply: oneshot::Sender<StopReport>) {
        if let Some(child) = self.children.get(id) {
            child.link.commands.send(ToChild::Stop(reply)).await.ok();
        }
    }

    async fn fence(&self, id: &ChildId, reply: oneshot::Sender<StopReport>) {
        if let Some(child) = self.children.get(id) {
            child.link.commands.send(ToChild::Fence(reply)).await.ok();
        }
    }

    async fn configure(&mut self, spec: ChildSpec) {
        if let Some(child) = self.children.get_mut(&spec.id) {
            child.log.clone_from(&spec.log);
            let message = ToChild::Configure(Box::new(spec));
            child.link.commands.send(message).await.ok();
        }
    }

    /// The children's tasks kill their own; the rest is found by record, marker and cgroup.
    fn kill_all(&mut self, reply: oneshot::Sender<()>) {
        const ROUND: Duration = Duration::from_millis(20);
        self.world.kill.cancel();
        self.world.kill = CancellationToken::new();
        let launcher = self.world.launcher.clone();
        let recorded = std::mem::take(&mut self.unclaimed);
        let tasks = self.world.tasks.clone();
        let actors: Vec<_> = self
            .children
            .values()
            .map(|child| child.link.commands.clone())
            .collect();
        self.world
            .tasks
            .spawn(TaskKind::Background, "kill all", async move {
                // One may be in the middle of a start: it sees the order right after.
                for actor in actors {
                    actor.closed().await;
                }
                loop {
                    let (launcher, recorded) = (launcher.clone(), recorded.clone());
                    let round = move || survivor::kill_everything(&launcher, &recorded);
                    if tasks.spawn_blocking(round).await.unwrap_or(false) {
                        break;
                    }
                    tokio::time::sleep(ROUND).await;
                }
                reply.send(()).ok();
            });
    }

    fn survivors(&self, reply: oneshot::Sender<Vec<Adopted>>) {
        let managed: BTreeSet<ChildId> = self.children.keys().cloned().collect();
        let (launcher, recorded) = (self.world.launcher.clone(), self.unclaimed.clone());
        self.world.tasks.spawn_blocking(move || {
            reply.send(survivor::find(&launcher, &recorded, &managed)).ok();
        });
    }

    fn adopt(&mut self, spec: ChildSpec, survivor: &Adopted) -> bool {
        if self.children.contains_key(&spec.id) {
            return false;
        }
        let Some(process) = self.world.launcher.adopt(&spec, survivor) else {
            return false;
        };
        tracing::info!(child = %spec.id, pid = process.pid, "adopted");
        self.unclaimed.retain(|other| other.id != spec.id);
        let (id, log) = (spec.id.clone(), spec.log.clone());
        let (actor, link) = Actor::new(spec, self.world.clone(), Some(process));
        self.insert(id, link, log, Some(survivor.clone()));
        self.record();
        self.world
            .tasks
            .spawn(TaskKind::Background, "child", actor.live());
        true
    }

    fn status(&self, reply: oneshot::Sender<Vec<ChildStatus>>) {
        let children: Vec<_> = self
            .children
            .iter()
            .map(|(id, child)| (id.clone(), child.link.status.borrow().clone()))
            .collect();
        self.world.tasks.spawn_blocking(move || {
            let table = procfs::table();
            let status = children.into_iter().map(|(id, shown)| {
                let members = shown
                    .pid
                    .map(|pid| procfs::family(&table, pid))
                    .unwrap_or_default();
                ChildStatus {
                    id,
                    state: shown.state,
                    pid: shown.pid,
                    since_ms: shown.since_ms,
                    restarts: shown.restarts,
                    memory_bytes: procfs::memory_bytes(members.iter().map(|entry| entry.pid)),
                    cpu_ms: shown.pid.map(|_| {
                        members
                            .iter()
                            .map(|entry| entry.cpu_ticks * procfs::TICK_MS)
                            .sum()
                    }),
                    port: shown.port,
                    user: shown.user,
                    hint: shown.hint,
                }
            });
            reply.send(status.collect()).ok();
        });
    }

    /// Not while the last time is under way: packing a large file takes longer than the time between two.
    fn tend_logs(&mut self) {
        if self.upkeep.as_ref().is_some_and(|upkeep| !upkeep.is_finished()) {
            return;
        }
        let written: Vec<PathBuf> = self.children.values().map(|child| child.log.clone()).collect();
        let settings = self.logs.borrow().clone();
        let folder = self.state_dir.join("logs");
        let now_ms = self.world.clock.unix_ms();
        let upkeep = move || log::tend(&folder, &written, &settings, now_ms);
        self.upkeep = Some(self.world.tasks.spawn_blocking(upkeep));
    }
}
