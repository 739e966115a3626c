//! A core's life: commands in order, a tick, and its end.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use banyan_topology::InstanceId;
use banyan_topology::snapshot::Listener;
use banyan_upstream::Rules;

use super::accept::{self, Place};
use super::command::{Command, CoreSnapshot, Event, Share};
use super::streams::Streams;
use super::{Core, CoreStart, Stage, hsts, http_date};
use crate::cache::Cache;
use crate::challenges::Challenges;
use crate::filter::Filters;
use crate::filter::auth::{Claims, Materials};
use crate::filter::together::Together;
use crate::forward::pool::Upstream;
use crate::route::Table;
use crate::route::serving::Routes;
use crate::{introduction, plain};

const TICK: Duration = Duration::from_millis(250);
/// Each takes what up to 1024 sockets have for us.
const CLOSING_TURNS: usize = 16;
/// For tasks to end after their connections were ended.
const LAST: Duration = Duration::from_secs(1);

/// Those of one core by address: several where a process with more threads passed its sockets on.
type Acceptors = HashMap<Listener, Vec<mpsc::UnboundedSender<Share>>>;

/// Until the end.
pub(crate) async fn run(start: CoreStart, mut commands: mpsc::UnboundedReceiver<Command>) {
    let core = Rc::new(Core::new(start));
    let mut acceptors = Acceptors::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            command = commands.recv() => {
                // Without a control task nobody could ever stop this core.
                let command = command.unwrap_or(Command::End);
                let end = matches!(command, Command::End);
                core.obey(command, &mut acceptors);
                if end {
                    break;
                }
            }
            _ = tick.tick() => core.tick(),
        }
    }
    // A task that hangs on a peer must not keep the last log lines back.
    let _some_hang = tokio::time::timeout(LAST, core.tasks.finished()).await;
    core.log.borrow_mut().flush();
    core.teller.borrow_mut().flush();
}

/// A connection with a request in its socket is not idle. After a stall (a busy machine) many may not have been read yet:
/// each turn asks the kernel once more and lets those connections run.
async fn close_idle(core: Rc<Core>) {
    for _ in 0..CLOSING_TURNS {
        tokio::task::yield_now().await;
    }
    let stage = core.stages.now().max(Stage::Closing);
    core.advance(stage);
}

impl Core {
    fn obey(self: &Rc<Self>, command: Command, acceptors: &mut Acceptors) {
        match command {
            Command::Snapshot(snapshot) => self.apply(*snapshot),
            Command::Ready { id, ready } => {
                self.groups.borrow().set_ready(&id, ready, self.now());
                self.settle_unready(&id, ready);
                self.hand_out();
            }
            Command::Ejected { id, ejected } => {
                self.groups.borrow().set_ejected(&id, ejected, self.now());
                self.hand_out();
            }
            Command::Origins(known) => self.origins.borrow_mut().update(&known, self.index),
            Command::Materials(materials) => self.take_materials(materials),
            Command::MaterialsLookedFor => {
                self.memory.borrow_mut().looked();
                self.auth_changed.notify_waiters();
            }
            Command::CountLimits(terms) => drop(self.together.replace(terms.map(Together::new))),
            Command::Tls(config) => *self.tls.borrow_mut() = config,
            Command::Listen {
                at,
                asked,
                listener,
                cells,
            } => {
                let (ask, asks) = mpsc::unbounded_channel();
                acceptors.entry(at).or_default().push(ask);
                self.accepting.set(self.accepting.get() + 1);
                self.spawn(
                    "listener",
                    accept::accept(Rc::clone(self), Place { at, asked }, listener, cells, asks),
                );
            }
            // Dropping the senders stops the acceptors.
            Command::StopListening { at } => drop(acceptors.remove(&at)),
            Command::Share(to) => {
                for acceptor in acceptors.values().flatten() {
                    let _ended = acceptor.send(to.clone());
                }
            }
            Command::Drain => {
                acceptors.clear();
                self.draining.set(true);
                self.advance(Stage::LameDuck);
                self.tell_if_drained();
            }
            Command::Part => self.advance(Stage::Parting),
            Command::CloseIdle => self.spawn("close idle", close_idle(Rc::clone(self))),
            Command::End => {
                acceptors.clear();
                self.close_upstreams();
                drop(self.together.take());
                self.advance(Stage::Ended);
            }
        }
    }

    fn advance(&self, stage: Stage) {
        self.stages.set(stage);
        self.stage.send_replace(stage);
    }

    /// From here on every pick follows the new snapshot; earlier picks are already counted as in flight.
    fn apply(&self, snapshot: CoreSnapshot) {
        let CoreSnapshot {
            epoch,
            settings,
            upstreams,
            routes,
            apis,
            origins,
            challenges,
            streams,
            passthrough,
            route_cells,
            redirect_to,
            mut cells,
            mut cookies,
            materials,
        } = snapshot;
        let rules = Rules::from(&settings);
        *self.hsts.borrow_mut() = hsts(&settings);
        *self.filters.borrow_mut() = Filters::compile(&settings.filters, &settings);
        *self.claims.borrow_mut() = Claims::of(&settings);
        let cache = settings.cache.clone();
        self.take_materials(materials);
        self.redirect_to.set(redirect_to);
        let told = upstreams
            .iter()
            .any(|group| group.upstream.proxy_protocol.is_some());
        self.tells_ends.set(told);
        self.plain.set(plain::passes_heads(&settings));
        self.introduces_late.set(introduction::may_be_late(&settings));
        *self.settings.borrow_mut() = Rc::new(settings);
        self.groups.borrow_mut().update(&upstreams, rules, |endpoint| {
            let cells = cells.remove(&endpoint.id).unwrap_or_default();
            Upstream::new(endpoint, cells)
        });
        self.groups
            .borrow()
            .each(|entry| entry.data.set_cookie(cookies.remove(&entry.id)));
        self.origins.borrow_mut().update(&origins, self.index);
        *self.cache.borrow_mut() = Cache::compile(cache.as_deref(), &self.stored, &self.groups.borrow());
        // The control task has compiled them before: what it takes, compiles.
        let table = (!routes.is_empty())
            .then(|| Table::compile(&routes).ok())
            .flatten();
        *self.challenges.borrow_mut() = Challenges::of(challenges);
        *self.streams.borrow_mut() = Streams::compile(streams, passthrough, &self.groups.borrow());
        let routes = table.map(|table| {
            Rc::new(Routes::new(
                table,
                (&self.groups.borrow(), &self.origins.borrow()),
                &self.settings(),
                &route_cells,
                &apis,
            ))
        });
        *self.routes.borrow_mut() = routes;
        self.hand_out();
        self.tell(Event::Applied {
            core: self.index,
            epoch,
        });
    }

    /// Connections to an endpoint that is out are not to be trusted when it returns.
    fn settle_unready(&self, id: &InstanceId, ready: bool) {
        if ready {
            return;
        }
        self.groups.borrow().each(|entry| {
            if entry.id == *id {
                entry.data.close_idle();
            }
        });
    }

    fn close_upstreams(&self) {
        self.groups.borrow().each(|entry| entry.data.close_idle());
        self.origins.borrow().close_idle();
    }

    fn tell_time(&self) {
        *self.date.borrow_mut() = http_date(self.clock.unix_ms());
    }

    fn tick(self: &Rc<Self>) {
        self.log.borrow_mut().flush();
        self.teller.borrow_mut().flush();
        self.tell_time();
        self.hand_out();
        if let Some(together) = self.together() {
            together.tick(self);
        }
        let now = self.now();
        self.groups.borrow().each(|entry| {
            entry.data.expire_idle(now);
            entry.data.forget_told();
        });
        self.origins.borrow().expire_idle(now);
    }

    fn take_materials(&self, materials: Materials) {
        let mut memory = self.memory.borrow_mut();
        memory.take(materials);
        memory.looked();
        self.auth_changed.notify_waiters();
    }
}
