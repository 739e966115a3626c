//! Carries out what the [`Sampler`] decides: one connection to each server, asked in its own task; and keeps the catalog.
//!
//! Tasks: the loop here (owner of the sampler), one per server, one for the catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_topology::NodeId;

use super::entrance::Entrance;
use super::marks::Epoch;
use super::sampler::{Action, Event, Sampler};
use super::server::{self, Question};
use super::shared::Fresh;
use super::view::View;
use super::{Commits, Marks};
use crate::catalog::Catalog;
use crate::catalog::refresh::{self, Refresh};

/// What workers ask for.
#[derive(Debug)]
pub enum Ask {
    /// A reader waits for this epoch.
    Epoch(Epoch),
    Definitions,
    UnknownName,
    Nodes(Box<Nodes>),
}

/// Where the servers are, and how to log in as the role that may look.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// Where definitions are read.
    pub definitions: Option<Entrance>,
    /// Whose positions are asked for; nobody's while there is one server.
    pub primary: Option<Server>,
    /// With their weights; 0 gets nothing.
    pub replicas: Vec<(Server, u32)>,
}

#[derive(Clone, Debug)]
pub struct Server {
    pub id: NodeId,
    pub login: tokio_postgres::Config,
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.login == other.login
    }
}

/// To be run once; the process's other half of [`Fresh`].
#[derive(Debug)]
pub struct Watcher {
    fresh: Arc<Fresh>,
    asks: mpsc::UnboundedReceiver<Ask>,
    view: watch::Sender<Arc<View>>,
    catalog: watch::Sender<Option<Arc<Catalog>>>,
}

/// Nothing is asked before [`Watcher::run`] and [`Fresh::nodes`].
pub fn build() -> (Watcher, Arc<Fresh>) {
    let (asks, asked) = mpsc::unbounded_channel();
    let (view, views) = watch::channel(Arc::default());
    let (catalog, catalogs) = watch::channel(None);
    let fresh = Arc::new(Fresh {
        marks: Marks::default(),
        commits: Commits::default(),
        view: views,
        catalog: catalogs,
        asks,
        ended: watch::Sender::new(()),
        replicas: AtomicBool::new(false),
    });
    let watcher = Watcher {
        fresh: Arc::clone(&fresh),
        asks: asked,
        view,
        catalog,
    };
    (watcher, fresh)
}

struct Running {
    fresh: Arc<Fresh>,
    view: watch::Sender<Arc<View>>,
    sampler: Sampler,
    tasks: Tasks,
    events: mpsc::UnboundedSender<Event>,
    nodes: Nodes,
    primary: Option<mpsc::UnboundedSender<Question>>,
    replicas: Vec<(Server, mpsc::UnboundedSender<Question>)>,
    refresh: mpsc::UnboundedSender<Refresh>,
}

impl Watcher {
    /// Ends when dropped, or when every [`Fresh`] but its own is gone with the process.
    pub async fn run(mut self, tasks: Tasks) {
        let (events, mut answers) = mpsc::unbounded_channel();
        let (refresh, refreshes) = mpsc::unbounded_channel();
        let keeper = refresh::Keeper {
            fresh: Arc::clone(&self.fresh),
            catalog: self.catalog,
            asked: refreshes,
            tasks: tasks.clone(),
        };
        tasks.spawn(TaskKind::Background, "catalog", keeper.run());
        let mut running = Running {
            fresh: self.fresh,
            view: self.view,
            sampler: Sampler::default(),
            tasks,
            events,
            nodes: Nodes::default(),
            primary: None,
            replicas: Vec::new(),
            refresh,
        };
        loop {
            let tick = running.sampler.next_tick(Clock.now());
            let event = tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => running.ask(ask),
                    None => return,
                },
                answer = answers.recv() => answer,
                () = tokio::time::sleep(tick), if running.is_busy() => Some(Event::Tick),
            };
            if let Some(event) = event {
                running.step(event);
            }
        }
    }
}

impl Running {
    fn is_busy(&self) -> bool {
        !self.replicas.is_empty()
    }

    fn ask(&mut self, ask: Ask) -> Option<Event> {
        match ask {
            Ask::Epoch(epoch) => Some(Event::Wanted(epoch)),
            Ask::Definitions => self.catalog(Refresh::Now),
            Ask::UnknownName => self.catalog(Refresh::Soon),
            Ask::Nodes(nodes) => {
                self.follow(*nodes);
                None
            }
        }
    }

    fn catalog(&self, refresh: Refresh) -> Option<Event> {
        // The keeper ends with the process only.
        let _ended: Result<(), _> = self.refresh.send(refresh).map_err(drop);
        None
    }

    fn follow(&mut self, nodes: Nodes) {
        if nodes.primary != self.nodes.primary {
            self.primary = nodes.primary.as_ref().map(|server| self.connect(server));
            self.fresh.marks.reset();
            self.step(Event::PrimaryChanged);
        }
        if nodes.definitions != self.nodes.definitions || nodes.primary != self.nodes.primary {
            self.fresh.marks.definitions_changed();
            let login = nodes.definitions.clone();
            self.catalog(Refresh::From(login.map(Box::new)));
        }
        let some = nodes.replicas.iter().any(|(_, weight)| *weight > 0);
        // In this order: who saw it false has committed before the reset.
        if !self.fresh.replicas.swap(some, SeqCst) && some {
            // While there were none, nobody marked anything.
            self.fresh.marks.reset();
        }
        let mut replicas = Vec::with_capacity(nodes.replicas.len());
        for (server, _) in &nodes.replicas {
            let kept = self.replicas.iter().position(|(known, _)| known == server);
            let asker = match kept {
                Some(at) => self.replicas.swap_remove(at).1,
                None => self.connect(server),
            };
            replicas.push((server.clone(), asker));
        }
        self.replicas = replicas;
        let weights = nodes
            .replicas
            .iter()
            .map(|(server, weight)| (server.id, *weight))
            .collect();
        self.nodes = nodes;
        self.step(Event::Replicas(weights));
    }

    fn connect(&self, server: &Server) -> mpsc::UnboundedSender<Question> {
        let (asker, questions) = mpsc::unbounded_channel();
        let asking = server::answer(server.clone(), questions, self.events.clone(), self.tasks.clone());
        self.tasks.spawn(TaskKind::Background, "server positions", asking);
        asker
    }

    fn step(&mut self, event: Event) {
        let now = Clock.now();
        for action in self.sampler.step(now, event) {
            match action {
                Action::Sample => self.sample(now),
                Action::Probe(id) => self.probe(id, now),
                Action::Nudge => {
                    // Without a primary there is nobody to push.
                    let _sent = self
                        .primary
                        .as_ref()
                        .map(|primary| primary.send(Question::Nudge).is_ok());
                }
                Action::Publish => {
                    self.view.send_replace(Arc::new(self.sampler.view().clone()));
                }
            }
        }
    }

    fn sample(&self, now: Instant) {
        // In this order: what is marked with the closed epoch was committed before the question.
        let epoch = self.fresh.marks.close();
        let sent = self.primary.as_ref().is_some_and(|primary| {
            let question = Question::Primary { epoch, asked: now };
            primary.send(question).is_ok()
        });
        if !sent {
            self.unanswered(Event::Sampled {
                epoch,
                asked: now,
                answer: None,
            });
        }
    }

    fn probe(&self, id: NodeId, now: Instant) {
        let replica = self.replicas.iter().find(|(server, _)| server.id == id);
        if replica.is_none_or(|(_, asker)| asker.send(Question::Replica { asked: now }).is_err()) {
            self.unanswered(Event::Probed {
                id,
                asked: now,
                answer: None,
            });
        }
    }

    fn unanswered(&self, event: Event) {
        // We hold the receiving end.
        let _ended: Result<(), _> = self.events.send(event).map_err(drop);
    }
}
