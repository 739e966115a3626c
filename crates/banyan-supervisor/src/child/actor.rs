//! The task of one child: performs the machine's actions, feeds results back, answers who waits.
//!
//! Ends when the child is stopped, or when the service is gone: then it leaves the process running.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use banyan_runtime::{Clock, Tasks};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::error::{NotReady, StartError};
use super::machine::{Action, Event, Judgement, Machine, ReadyWait, Rules, Signal};
use super::process::{Launcher, Process};
use super::procfs::Footprint;
use super::spec::{ChildId, ChildSpec, LiveRule, Probe, RunAs};
use super::status::{Adopted, ChildState, StopReport};
use super::{diagnose, log, probe};
use crate::account;

/// From the service.
pub(super) enum ToChild {
    Ready(oneshot::Sender<Result<(), NotReady>>),
    Stop(oneshot::Sender<StopReport>),
    /// The same without grace.
    Fence(oneshot::Sender<StopReport>),
    Configure(Box<ChildSpec>),
}

/// To the service.
pub(super) enum FromChild {
    /// Which process it is now; `None`: none.
    Process(ChildId, Option<Adopted>),
    Ended(ChildId),
}

/// What `status` shows without asking the task.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) state: ChildState,
    pub(super) pid: Option<u32>,
    pub(super) since_ms: Option<u64>,
    pub(super) restarts: u32,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    /// Why it does not become ready, as far as its sockets tell.
    pub(super) hint: Option<String>,
}

/// What every child task of a service shares by copy.
#[derive(Clone)]
pub(super) struct World {
    pub(super) launcher: Launcher,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) to_service: mpsc::UnboundedSender<FromChild>,
    /// Cancelled: everything is killed at once.
    pub(super) kill: CancellationToken,
}

impl World {
    pub(super) async fn clear_the_place(&self, spec: &ChildSpec) {
        let (launcher, spec) = (self.launcher.clone(), spec.clone());
        // A panic in there would show at the launch, as a taken port.
        self.tasks
            .spawn_blocking(move || launcher.clear_the_place(&spec))
            .await
            .ok();
    }
}

type InFlight<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

pub(super) struct Actor {
    spec: ChildSpec,
    world: World,
    machine: Machine,
    process: Option<Process>,
    commands: mpsc::Receiver<ToChild>,
    published: watch::Sender<Published>,
    /// Length of the log when this task began: earlier lines are not this start's.
    log_from: u64,
    since_ms: Option<u64>,
    waiting_ready: Vec<(ReadyWait, oneshot::Sender<Result<(), NotReady>>)>,
    waiting_stop: Vec<oneshot::Sender<StopReport>>,
    ready_probe: InFlight<Result<(), String>>,
    live_probe: InFlight<Result<(), String>>,
    sweep: InFlight<usize>,
    kill_seen: bool,
    looking: InFlight<Option<String>>,
    last_look: Option<Instant>,
    /// Why it does not become ready: it listens elsewhere. Only a hint: a program may open another port first and its
    /// real one later.
    hint: Option<String>,
}

/// A start that takes this long is looked at, and again and again: an app on the wrong port would else wait for its whole
/// grace before anybody is told.
const LOOK_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Link {
    pub(super) commands: mpsc::Sender<ToChild>,
    pub(super) status: watch::Receiver<Published>,
}

impl Actor {
    /// A child without a process yet; `adopted`: with one.
    pub(super) fn new(spec: ChildSpec, world: World, adopted: Option<Process>) -> (Self, Link) {
        let seed = rand::random();
        let rules = Rules::of(&spec);
        let machine = match &adopted {
            Some(_) => Machine::adopted(rules, seed, world.clock.now()),
            None => Machine::new(rules, seed).0,
        };
        let since_ms = adopted
            .as_ref()
            .and_then(|process| super::procfs::started_at_ms(process.start_ticks));
        let (commands, receiver) = mpsc::channel(16);
        let (published, status) = watch::channel(Published {
            state: ChildState::Starting,
            pid: adopted.as_ref().map(|process| process.pid),
            since_ms,
            restarts: 0,
            port: spec.port,
            user: user_name(&spec),
            hint: None,
        });
        let actor = Self {
            log_from: log::length(&spec.log),
            spec,
            world,
            machine,
            process: adopted,
            commands: receiver,
            published,
            since_ms,
            waiting_ready: Vec::new(),
            waiting_stop: Vec::new(),
            ready_probe: None,
            live_probe: None,
            sweep: None,
            kill_seen: false,
            looking: None,
            last_look: None,
            hint: None,
        };
        (actor, Link { commands, status })
    }

    /// Starts the process, answers whether that worked, then lives on.
    pub(super) async fn start(mut self, reply: oneshot::Sender<Result<(), StartError>>) {
        self.world.clear_the_place(&self.spec).await;
        match self.launch() {
            Ok(()) => {
                // A caller that has gone away does not unmake the start.
                reply.send(Ok(())).ok();
                self.apply(Event::Launched);
                self.live().await;
            }
            Err(error) => {
                self.tell(FromChild::Ended(self.spec.id.clone()));
                reply.send(Err(error)).ok();
            }
        }
    }

    /// Lives until stopped.
    pub(super) async fn live(mut self) {
        self.apply(Event::Tick);
        while !self.machine.is_done() {
            let Some(event) = self.next_event().await else {
                // The service is gone: leave the process as it is, the next controller adopts it.
                return;
            };
            self.apply(event);
        }
    }

    fn launch(&mut self) -> Result<(), StartError> {
        let owner = match &self.spec.user {
            RunAs::User(user) => account::find(user).map(|account| (account.uid, account.gid)),
            RunAs::Same => None,
        };
        let spawn = |source| StartError::Spawn {
            id: self.spec.id.clone(),
            source,
        };
        let log = log::open(&self.spec.log, owner).map_err(spawn)?;
        let process = self.world.launcher.launch(&self.spec, log)?;
        self.tell(FromChild::Process(
            self.spec.id.clone(),
            Some(process.record(&self.spec.id)),
        ));
        tracing::info!(child = %self.spec.id, pid = process.pid, "started");
        self.process = Some(process);
        self.since_ms = Some(self.world.clock.unix_ms());
        Ok(())
    }

    /// `None`: the service is gone.
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            let wake = self.wake();
            tokio::select! {
                command = self.commands.recv() => {
                    if let Some(event) = self.command(command?) {
                        return Some(event);
                    }
                }
                () = self.world.kill.cancelled(), if !self.kill_seen => {
                    self.kill_seen = true;
                    return Some(Event::Kill);
                }
                exit = ended(self.process.as_ref()), if !self.machine.main_is_gone() => {
                    tracing::info!(child = %self.spec.id, exit = exit, "ended");
                    return Some(Event::Exited(exit));
                }
                result = in_flight(&mut self.ready_probe) => return Some(Event::Ready(result)),
                result = in_flight(&mut self.live_probe) => return Some(Event::Live(result)),
                left = in_flight(&mut self.sweep) => return Some(Event::Left(left)),
                found = in_flight(&mut self.looking) => self.looked(found),
                () = sleep_until(wake) => return Some(Event::Tick),
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        let waits = self.waiting_ready.iter().map(|(wait, _)| wait.until);
        waits.chain(self.machine.wake()).min()
    }

    fn command(&mut self, command: ToChild) -> Option<Event> {
        match command {
            ToChild::Ready(reply) => {
                let wait = self.machine.await_ready(self.world.clock.now());
                self.waiting_ready.push((wait, reply));
                Some(Event::Tick)
            }
            ToChild::Stop(reply) => {
                self.waiting_stop.push(reply);
                Some(Event::Stop)
            }
            ToChild::Fence(reply) => {
                self.waiting_stop.push(reply);
                Some(Event::Kill)
            }
            ToChild::Configure(spec) => {
                self.machine.configure(Rules::of(&spec));
                self.spec = *spec;
                Some(Event::Tick)
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if event == Event::Left(0)
                && let Some(process) = self.process.take()
            {
                process.release();
                self.since_ms = None;
                self.tell(FromChild::Process(self.spec.id.clone(), None));
            }
            if matches!(event, Event::Exited(_)) {
                // What they would say is about the process that was.
                (self.ready_probe, self.live_probe, self.looking, self.hint) = (None, None, None, None);
            }
            let now = self.world.clock.now();
            match event {
                Event::Ready(Err(_)) if self.machine.starting_for(now) > LOOK_AFTER => self.look(now),
                Event::Ready(Ok(())) => self.hint = None,
                _ => {}
            }
            for action in self.machine.step(now, event) {
                events.extend(self.perform(action));
            }
        }
        self.publish();
        self.answer_ready();
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Launch => {
                return Some(match self.launch() {
                    Ok(()) => Event::Launched,
                    Err(error) => {
                        tracing::warn!(child = %self.spec.id, %error, "failed to start again");
                        Event::LaunchFailed(error.to_string())
                    }
                });
            }
            Action::ProbeReady => self.ready_probe = Some(Box::pin(probe::run(self.spec.ready.clone()))),
            Action::ProbeLive => {
                let probe = self
                    .spec
                    .live
                    .as_ref()
                    .map(|(probe, _): &(Probe, LiveRule)| probe.clone());
                self.live_probe = probe.map(|probe| Box::pin(probe::run(probe)) as _);
            }
            Action::Signal(signal) => self.signal(signal),
            Action::KillAll => {
                let footprint = self.footprint();
                self.world.tasks.spawn_blocking(move || footprint.kill());
            }
            Action::Sweep { kill } => self.sweep(kill),
            Action::Stopped(report) => self.stopped(&report),
        }
        None
    }

    /// What it listens on, while it does not become ready. At most every [`LOOK_AFTER`].
    fn look(&mut self, now: Instant) {
        let soon = |last: Instant| now < last + LOOK_AFTER;
        if self.looking.is_some() || self.last_look.is_some_and(soon) {
            return;
        }
        self.last_look = Some(now);
        let (footprint, port) = (self.footprint(), self.spec.port);
        let work = self.world.tasks.spawn_blocking(move || {
            let pids: Vec<u32> = footprint.members().iter().map(|entry| entry.pid).collect();
            diagnose::elsewhere(&pids, port)
        });
        self.looking = Some(Box::pin(async move { work.await.ok().flatten() }));
    }

    fn looked(&mut self, found: Option<String>) {
        if let Some(found) = found.as_ref().filter(|found| self.hint.as_ref() != Some(found)) {
            tracing::warn!(child = %self.spec.id, "not ready yet: {found}");
        }
        self.hint = found;
        self.publish();
    }

    fn signal(&self, signal: Signal) {
        use rustix::process::Signal as Unix;
        let Some(process) = &self.process else { return };
        match signal {
            Signal::Terminate => process.signal_group(Unix::TERM),
            Signal::Interrupt => process.signal_main(Unix::INT),
            Signal::Quit => process.signal_main(Unix::QUIT),
        }
    }

    fn footprint(&self) -> Footprint {
        match &self.process {
            Some(process) => process.footprint.clone(),
            None => self.world.launcher.footprint(&self.spec),
        }
    }

    fn sweep(&mut self, kill: bool) {
        let footprint = self.footprint();
        let work = move || {
            if kill {
                footprint.kill();
            }
            footprint.members().len()
        };
        let work = self.world.tasks.spawn_blocking(work);
        // A panic in there must not read as "nothing left".
        self.sweep = Some(Box::pin(async move { work.await.unwrap_or(1) }));
    }

    fn stopped(&mut self, report: &StopReport) {
        tracing::info!(child = %self.spec.id, how = report.how, "stopped");
        // Before the answers: who hears them may start a child of the same name at once.
        self.tell(FromChild::Ended(self.spec.id.clone()));
        for reply in self.waiting_stop.drain(..) {
            reply.send(report.clone()).ok();
        }
    }

    fn publish(&self) {
        let state = self.machine.state(self.world.clock.now());
        self.published.send_replace(Published {
            state,
            pid: self.process.as_ref().map(|process| process.pid),
            since_ms: self.since_ms,
            restarts: self.machine.restarts(),
            port: self.spec.port,
            user: user_name(&self.spec),
            hint: self.hint.clone(),
        });
    }

    fn answer_ready(&mut self) {
        let now = self.world.clock.now();
        for (wait, reply) in std::mem::take(&mut self.waiting_ready) {
            match self.machine.judge(now, &wait) {
                None => self.waiting_ready.push((wait, reply)),
                Some(Judgement::Ready) => {
                    reply.send(Ok(())).ok();
                }
                Some(judgement) => self.refuse(judgement, reply),
            }
        }
    }

    /// Looks at the log and the sockets, off this task: the child goes on meanwhile.
    fn refuse(&self, judgement: Judgement, reply: oneshot::Sender<Result<(), NotReady>>) {
        let (spec, footprint, log_from) = (self.spec.clone(), self.footprint(), self.log_from);
        let work = move || {
            let id = spec.id.clone();
            let log_tail = log::tail_since(&spec.log, log_from);
            reply
                .send(match judgement {
                    Judgement::Ready => Ok(()),
                    Judgement::Stopped => Err(NotReady::Stopped(id)),
                    Judgement::Exited { exit, times } => Err(NotReady::Exited {
                        id,
                        exit,
                        times,
                        log_tail,
                    }),
                    Judgement::TimedOut { reason } => Err(NotReady::Timeout {
                        id,
                        after: spec.start_grace,
                        reason: diagnosed(reason, &footprint, spec.port),
                        log_tail,
                    }),
                })
                .ok();
        };
        self.world.tasks.spawn_blocking(work);
    }

    fn tell(&self, message: FromChild) {
        // The service may be gone; then there is nobody to tell.
        self.world.to_service.send(message).ok();
    }
}

/// The probe's view, and what the child really listens on. Blocking.
fn diagnosed(reason: String, footprint: &Footprint, port: Option<u16>) -> String {
    let pids: Vec<u32> = footprint.members().iter().map(|entry| entry.pid).collect();
    match diagnose::listening(&pids, port) {
        Some(found) => format!("{reason}; {found}"),
        None => reason,
    }
}

fn user_name(spec: &ChildSpec) -> Option<String> {
    match &spec.user {
        RunAs::User(user) => Some(user.clone()),
        RunAs::Same => account::find_by_uid(rustix::process::geteuid().as_raw()).map(|account| account.name),
    }
}

async fn ended(process: Option<&Process>) -> String {
    match process {
        Some(process) => process.ended().await.words,
        None => std::future::pending().await,
    }
}

async fn in_flight<T>(future: &mut InFlight<T>) -> T {
    match future {
        Some(running) => {
            let result = running.await;
            *future = None;
            result
        }
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
